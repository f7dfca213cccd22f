"""Keeping the k least of many (key, index) pairs: a binary heap in a stretch of two arrays, the greatest pair first."""

import taichi as ti

from tirender.engine.kernels.scalars import comes_before


@ti.func
def replace_greatest(keys: ti.template(), index: ti.template(), begin, n, key, i):
    """Put (key, i) in the place of the greatest of the n pairs from ``begin`` on."""
    hole = 0
    child = 1
    while child < n:
        at = begin + child
        if child + 1 < n and comes_before(keys[at], index[at], keys[at + 1], index[at + 1]):
            child += 1
            at += 1
        if comes_before(key, i, keys[at], index[at]):
            keys[begin + hole], index[begin + hole] = keys[at], index[at]
            hole = child
            child = 2 * hole + 1
        else:
            child = n
    keys[begin + hole], index[begin + hole] = key, i


@ti.func
def sort_heap(keys: ti.template(), index: ti.template(), begin, n):
    """Put the n pairs of a heap in ascending order."""
    for m in range(n - 1):
        last = begin + n - 1 - m
        key, i = keys[last], index[last]
        keys[last], index[last] = keys[begin], index[begin]
        replace_greatest(keys, index, begin, n - 1 - m, key, i)
