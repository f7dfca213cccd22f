"""Partial sums: many terms added to few owners without float atomics.

The terms are cut into parts at fixed places. Each part has its own copy of the sums and is the work of one thread; the
copies are added in order afterwards. So the result has the same bits whatever the number of threads. A GPU would take
too long over a part: there every term is a part of its own, and all share one copy through atomics.
"""

import taichi as ti


@ti.func
def accumulate(sums: ti.template(), part: ti.i32, owner: ti.i32, term, atomic: ti.template()):
    """Add a vector to an owner; sums: (part, owner) of vectors."""
    if ti.static(atomic):
        ti.atomic_add(sums[0, owner], term)
    else:
        sums[part, owner] = sums[part, owner] + term  # += would be atomic


@ti.func
def accumulate_at(sums: ti.template(), part: ti.i32, owner: ti.i32, column: ti.i32, term, atomic: ti.template()):
    """Add a number to one column of an owner; sums: (part, owner, column)."""
    if ti.static(atomic):
        ti.atomic_add(sums[0, owner, column], term)
    else:
        sums[part, owner, column] = sums[part, owner, column] + term
