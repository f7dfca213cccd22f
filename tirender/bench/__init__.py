"""What ``tirender bench`` measures: the tutorials' steps, the operations under them, starts, the machine's own limits.

``workloads`` lists what ``steps`` and ``operations`` make ready; ``measuring`` times it, ``worker`` in a process of its
own, whose ``memory`` counts; ``scaling`` varies sizes, ``starting`` times what comes before any work (with
``first_image``, a program), ``peer`` runs the same lines on another library, ``table`` prints.
"""
