"""Keeping the k least of many (key, index) pairs: a binary heap in a stretch of two arrays, the greatest pair first."""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.scalars import comes_before


class Heaps(NamedTuple):
    """The arrays of many heaps, one after the other."""

    keys: Any  # (n,)
    indices: Any  # (n,)


@ti.func
def replace_greatest(heaps: ti.template(), begin, n, key, index):
    """Put (key, index) in the place of the greatest of the n pairs from ``begin`` on."""
    keys, indices = ti.static(heaps.keys, heaps.indices)
    hole = 0
    child = 1
    while child < n:
        left, right = begin + child, begin + ti.min(child + 1, n - 1)
        if comes_before(keys[left], indices[left], keys[right], indices[right]):
            child += 1
        place = begin + child
        if comes_before(key, index, keys[place], indices[place]):
            keys[begin + hole], indices[begin + hole] = keys[place], indices[place]
            hole = child
            child = 2 * hole + 1
        else:
            child = n
    keys[begin + hole], indices[begin + hole] = key, index


@ti.func
def sort_heap(heaps: ti.template(), begin, n):
    """Put the n pairs of a heap in ascending order."""
    for m in range(n - 1):
        last = begin + n - 1 - m
        key, index = heaps.keys[last], heaps.indices[last]
        heaps.keys[last], heaps.indices[last] = heaps.keys[begin], heaps.indices[begin]
        replace_greatest(heaps, begin, n - 1 - m, key, index)
