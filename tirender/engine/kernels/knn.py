"""The K nearest points, and the adjoint of their distances.

Queries and targets are clouds of one forest (see ``kernels/bvh.py``). Queries that follow each other are neighbours, so
that each search begins where the one before it ended.
"""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.bvh import (
    NO_INDEX,
    Forest,
    Search,
    cloud_of,
    cloud_range,
    first_bit,
    leaf_range,
    likely_leaf,
    measure,
    next_leaf,
    root_cursor,
)
from tirender.engine.kernels.heap import Heaps, replace_greatest, sort_heap
from tirender.engine.kernels.partial_sums import accumulate_at
from tirender.engine.kernels.scalars import cast_like, comes_before
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.types import FloatArray, FloatArray2D, FloatArray3D, I32Array, I64Array, struct_of

LEAF_BITS = 4
LEAF = 1 << LEAF_BITS


class Queries(NamedTuple):
    """Which points are queries, and what they ask for."""

    n_queries: int  # the first sorted points
    shift: int  # a query's targets are the cloud so many clouds further on
    chunk: int  # queries in a row that are one task
    k: int  # neighbours a query


@ti.kernel
def nearest_points(
    queries: struct_of(Queries),
    norm: ti.template(),  # 1, or 2 for squared distances
    single: ti.template(),  # whether k = 1 and D = 3
    points: FloatArray2D,  # (D, n + padding) sorted, D >= 3
    order: I32Array,  # (n,) of the forest, as the next three
    first: I32Array,  # (C + 1,)
    boxes: FloatArray,  # (groups * 48,)
    lowest: I32Array,  # (groups * 8,)
    dists: FloatArray,  # (n_queries * k,) by the query's index, ascending
    index: I64Array,  # (n_queries * k,) within the target cloud
):
    """The k nearest target points of each query.

    A cloud of fewer than k points leaves index 0 and distance 0. Points at a distance of NaN count as none, and leave
    index 0 and distance NaN.
    """
    forest = ti.static(Forest(order, first, boxes, lowest))
    search = ti.static(Search(LEAF_BITS, norm))
    heaps = ti.static(Heaps(dists, index))
    n_clouds = first.shape[0] - 1
    ti.loop_config(block_dim=ti.static(task_block()))
    for task in range((queries.n_queries + queries.chunk - 1) // queries.chunk):
        cloud = cloud_of(first, task * queries.chunk)
        guess = -1
        for i in range(task * queries.chunk, ti.min((task + 1) * queries.chunk, queries.n_queries)):
            while i >= first[cloud + 1]:
                cloud += 1
                guess = -1
            target = (cloud + queries.shift) % n_clouds
            _begin, n = cloud_range(first, target)
            out = order[i] * queries.k
            if ti.static(single):
                dists[out], index[out], guess = nearest_neighbour(points, forest, search, i, target, guess)
            else:
                guess = nearest_neighbours(points, forest, search, heaps, i, target, queries.k, guess)
            for m in range(queries.k):
                if index[out + m] == NO_INDEX:
                    index[out + m] = 0
                    dists[out + m] = cast_like(ti.math.nan if m < n else 0.0, dists[out])


@ti.func
def nearest_neighbour(points: ti.template(), forest: ti.template(), search: ti.template(), i, target, guess):
    """Distance and index of the target point nearest to point i, and its leaf; ``guess`` is the leaf to begin with."""
    q = ti.Vector([points[0, i], points[1, i], points[2, i]])
    begin, n = cloud_range(forest.first, target)
    bound, bound_index = cast_like(ti.math.inf, q[0]), NO_INDEX
    if n > 0:
        if guess < 0:
            guess = likely_leaf(forest, target, search, q)
        cursor = root_cursor(forest, target, search, guess, guess + 1)
        while next_leaf(cursor, forest, search, q, q, bound, bound_index):
            start, count = leaf_range(cursor, search)
            d, m = nearest_in_leaf(points, forest.order, start, count, q, search.norm)
            if comes_before(d, forest.order[start + m] - begin, bound, bound_index):
                bound, bound_index = d, forest.order[start + m] - begin
                guess = cursor.leaf
    return bound, bound_index, guess


@ti.func
def nearest_neighbours(
    points: ti.template(), forest: ti.template(), search: ti.template(), heaps: ti.template(), i, target, k, guess
):
    """Fill the heap of point i with the k nearest target points, in order; return the leaf of the last one found."""
    q = ti.Vector([points[0, i], points[1, i], points[2, i]])
    begin, n = cloud_range(forest.first, target)
    heap = forest.order[i] * k
    bound, bound_index = cast_like(ti.math.inf, q[0]), NO_INDEX  # the greatest of the heap
    for m in range(k):
        heaps.keys[heap + m], heaps.indices[heap + m] = bound, bound_index
    if n > 0:
        if guess < 0:
            guess = likely_leaf(forest, target, search, q)
        # first the leaves around the guess, so that the bound is low when the search begins
        n_leaves = (n + LEAF - 1) >> LEAF_BITS
        window = ti.min((k + LEAF - 1) >> LEAF_BITS, n_leaves)
        window_begin = ti.math.clamp(guess - window // 2, 0, n_leaves - window)
        cursor = root_cursor(forest, target, search, window_begin, window_begin + window)
        while next_leaf(cursor, forest, search, q, q, bound, bound_index):
            start, count = leaf_range(cursor, search)
            near = leaf_points_within(points, start, count, q, search.norm, bound)
            while near != 0:
                j = start + first_bit(near)
                near &= near - 1
                d = distance(points, i, j, search.norm)
                if comes_before(d, forest.order[j] - begin, bound, bound_index):
                    replace_greatest(heaps, heap, k, d, forest.order[j] - begin)
                    bound, bound_index = heaps.keys[heap], ti.cast(heaps.indices[heap], ti.i32)
                    guess = cursor.leaf
        sort_heap(heaps, heap, k)
    return guess


@ti.func
def nearest_in_leaf(points: ti.template(), order: ti.template(), start, count, q, norm: ti.template()):
    """The least distance to the ``count`` points from ``start`` on, and the place of the lowest index that has it."""
    inf = cast_like(ti.math.inf, q[0])
    d = ti.Vector([inf] * LEAF)
    for m in ti.static(range(LEAF)):
        d_m = measure(points[0, start + m] - q[0], points[1, start + m] - q[1], points[2, start + m] - q[2], norm)
        d[m] = ti.select(m < count, d_m, inf)
    # in four lanes, so that it compiles to vector instructions; NaN is less than nothing
    lanes = ti.Vector([inf] * 4)
    for m in ti.static(range(LEAF)):
        lanes[m % 4] = ti.select(d[m] < lanes[m % 4], d[m], lanes[m % 4])
    least = ti.min(ti.min(lanes[0], lanes[1]), ti.min(lanes[2], lanes[3]))
    equal = 0
    for m in ti.static(range(LEAF)):
        equal |= ti.select(d[m] == least, 1 << m, 0)
    equal &= (1 << count) - 1
    if equal == 0:
        least = cast_like(ti.math.nan, least)
        equal = 1
    place = first_bit(equal)
    equal &= equal - 1
    while equal != 0:
        m = first_bit(equal)
        equal &= equal - 1
        if order[start + m] < order[start + place]:
            place = m
    return least, place


@ti.func
def leaf_points_within(points: ti.template(), start, count, q, norm: ti.template(), bound):
    """Bits of the ``count`` points from ``start`` on that are no further than ``bound`` by their first coordinates."""
    within = 0
    for m in ti.static(range(LEAF)):
        d = measure(points[0, start + m] - q[0], points[1, start + m] - q[1], points[2, start + m] - q[2], norm)
        within |= ti.select(d <= bound, 1 << m, 0)
    return within & ((1 << count) - 1)


@ti.func
def distance(points: ti.template(), i, j, norm: ti.template()):
    d = measure(points[0, j] - points[0, i], points[1, j] - points[1, i], points[2, j] - points[2, i], norm)
    for a in range(3, points.shape[0]):
        d += measure(points[a, j] - points[a, i], 0, 0, norm)
    return d


class Padding(NamedTuple):
    """Sizes of the clouds that hold pairs."""

    size1: int  # rows of each of the N clouds of the first kind
    size2: int  # of each of the second
    k: int  # neighbours a row


class Pairs(NamedTuple):
    """Points of N padded clouds of two kinds, and their neighbours in the cloud of the other kind."""

    points: Any  # (n, D), the clouds of the first kind and then those of the second
    lengths: Any  # (2 N,) int32
    index: Any  # (rows * k,) int64 neighbours of the first rows, counted within their cloud; -1 for none


@ti.kernel
def distances_forward(
    padding: struct_of(Padding),
    norm: ti.template(),  # 1, or 2 for squared distances
    points: FloatArray2D,  # (n, D) of the pairs, as the next two
    lengths: I32Array,  # (2 N,)
    index: I64Array,  # (rows * k,)
    dists: FloatArray,  # (rows * k,) zero before
):
    """Distances between the rows and their neighbours; 0 where there is none."""
    for row in range(index.shape[0] // padding.k):
        begin, count = neighbourhood(lengths, padding, row)
        for m in range(ti.min(padding.k, count)):
            j = ti.cast(index[row * padding.k + m], ti.i32)
            if j >= 0:
                for a in range(points.shape[1]):
                    d = points[row, a] - points[begin + j, a]
                    dists[row * padding.k + m] = dists[row * padding.k + m] + measure(d, 0, 0, norm)


@ti.kernel
def distances_adjoint(
    padding: struct_of(Padding),
    norm: ti.template(),  # 1, or 2 for squared distances
    atomic: ti.template(),  # whether all parts share one sum
    points: FloatArray2D,  # (n, D) of the pairs, as the next two
    lengths: I32Array,  # (2 N,)
    index: I64Array,  # (rows * k,)
    grad_dists: FloatArray,  # (rows * k,)
    bounds: I32Array,  # (parts + 1,) the rows of each part
    grad_rows: FloatArray2D,  # (rows, D) zero before
    grad_neighbours: FloatArray3D,  # (parts, m, D) of the last m points, zero before
):
    """Gradients in both ends of each distance."""
    shift = points.shape[0] - grad_neighbours.shape[1]
    ti.loop_config(block_dim=ti.static(task_block()))
    for part in range(bounds.shape[0] - 1):
        for row in range(bounds[part], bounds[part + 1]):
            begin, count = neighbourhood(lengths, padding, row)
            for m in range(ti.min(padding.k, count)):
                g = grad_dists[row * padding.k + m]
                j = ti.cast(index[row * padding.k + m], ti.i32)
                if j >= 0 and not g == 0:  # NaN passes
                    for a in range(points.shape[1]):
                        d = points[row, a] - points[begin + j, a]
                        h = 2 * g * d
                        if ti.static(norm == 1):
                            h = g * ti.math.sign(d)
                        grad_rows[row, a] = grad_rows[row, a] + h
                        accumulate_at(grad_neighbours, part, begin + j - shift, a, -h, atomic)


@ti.func
def neighbourhood(lengths: ti.template(), padding: ti.template(), row):
    """Where the cloud begins in which a row has its neighbours, and how many points it has; none for padding."""
    n_clouds = lengths.shape[0] // 2
    rows1 = n_clouds * padding.size1
    begin, place, own, other = 0, 0, 0, 0
    if row < rows1:
        own, place = row // padding.size1, row % padding.size1
        begin, other = rows1 + own * padding.size2, n_clouds + own
    else:
        other, place = (row - rows1) // padding.size2, (row - rows1) % padding.size2
        begin, own = other * padding.size1, n_clouds + other
    return begin, ti.select(place < lengths[own], lengths[other], 0)
