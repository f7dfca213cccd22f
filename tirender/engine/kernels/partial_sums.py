"""Partial sums: many terms added to few owners without float atomics.

The terms are cut into parts at fixed places. Each part has its own copy of the sums and is the work of one thread; the
copies are added in order afterwards. So the result has the same bits whatever the number of threads. A GPU would take
too long over a part: there every term is a part of its own, and all share one copy through atomics.
"""

from typing import Any, NamedTuple

import taichi as ti


class Sums(NamedTuple):
    """One part's sums of several kinds of owners, whose numbers lie in a row.

    Attributes:
        numbers: (part, column) array, zero before.
        part: the part that adds.
        atomic: whether all parts share the first row.
    """

    numbers: Any
    part: Any
    atomic: Any


@ti.func
def add_row(sums: ti.template(), column: ti.i32, row):
    """Add a vector to as many columns, from ``column`` on."""
    for c in ti.static(range(row.n)):
        if ti.static(sums.atomic):
            ti.atomic_add(sums.numbers[0, column + c], row[c])
        else:
            sums.numbers[sums.part, column + c] = sums.numbers[sums.part, column + c] + row[c]


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
