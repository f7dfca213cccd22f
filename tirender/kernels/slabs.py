"""Sums of many terms into few owners without float atomics.

The terms are cut into slabs at fixed places; each slab has its own copy of the sums and is the work of one thread, and
the copies are added in order afterwards. So the result has the same bits whatever the number of threads. On a GPU,
where a slab would be too long a task, every term is its own slab and they share one copy through atomics.
"""

import taichi as ti

PairSlabs = ti.types.ndarray(dtype=ti.math.vec2, ndim=2)  # torch (slab, n, 2)
PointSlabs = ti.types.ndarray(dtype=ti.math.vec3, ndim=2)  # torch (slab, n, 3)


@ti.func
def accumulate(sums: ti.template(), slab: ti.i32, i: ti.i32, term, atomic: ti.template()):
    """Add to owner i of a (slab, n) array of vectors."""
    if ti.static(atomic):
        ti.atomic_add(sums[0, i], term)
    else:
        sums[slab, i] = sums[slab, i] + term  # += would be atomic


@ti.func
def accumulate_at(sums: ti.template(), slab: ti.i32, i: ti.i32, column: ti.i32, term, atomic: ti.template()):
    """Add to column ``column`` of owner i of a (slab, n, columns) array of numbers."""
    if ti.static(atomic):
        ti.atomic_add(sums[0, i, column], term)
    else:
        sums[slab, i, column] = sums[slab, i, column] + term
