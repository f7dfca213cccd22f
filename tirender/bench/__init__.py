"""What ``tirender bench`` measures: the tutorials' steps, the operations in them, starts, and the machine's limits.

- ``workloads`` lists the rows of the table; ``steps`` and ``operations`` prepare them.
- ``measuring`` times a workload; ``worker`` does so in a process of its own, to measure its ``memory`` too.
- ``limits`` measures the machine; ``scaling`` varies sizes; ``starting`` times starts (of ``first_image``, a program).
- ``peer`` runs the same lines on another library; ``table`` prints.
"""
