"""What ``tirender bench`` measures: the tutorials' steps, the operations under them, starts, the machine's own limits.

``workloads`` lists what ``steps`` and ``operations`` make ready; ``measuring`` times it, ``worker`` in a process of its
own; ``scaling`` varies sizes, ``starting`` times what comes before any work, ``peer`` runs the same lines on another
library, ``table`` prints.
"""
