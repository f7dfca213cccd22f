"""The K nearest points, and the adjoint of their distances.

Queries and targets are clouds of one forest (see ``kernels/bvh.py``), so that queries that follow each other are
neighbours: each begins where the one before it ended.
"""

import taichi as ti

from tirender.engine.kernels.bvh import NO_INDEX, cloud_of, first_bit, likely_leaf, measure, next_leaf, root_cursor
from tirender.engine.kernels.heap import replace_greatest, sort_heap
from tirender.engine.kernels.partial_sums import accumulate_at
from tirender.engine.kernels.scalars import cast_like, comes_before
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.types import FloatArray, FloatArray2D, FloatArray3D, I32Array, I64Array

LEAF_BITS = 4
LEAF = 1 << LEAF_BITS


@ti.kernel
def nearest_points(
    points: FloatArray2D,
    order: I32Array,
    first: I32Array,
    boxes: FloatArray,
    lowest: I32Array,
    n_queries: ti.i32,
    shift: ti.i32,
    chunk: ti.i32,
    k: ti.i32,
    norm: ti.template(),
    single: ti.template(),
    dists: FloatArray,
    index: I64Array,
):
    """For the first ``n_queries`` sorted points, their k nearest in the cloud ``shift`` clouds further on.

    points: (D, n) sorted, D >= 3; order: their indices; single: whether k = 1 and D = 3; dists, index: k a query, by
    its index, in ascending order. Where a cloud has fewer points the index is 0, and the distance 0; where fewer are at
    a distance other than NaN, NaN.
    """
    n_clouds = first.shape[0] - 1
    ti.loop_config(block_dim=ti.static(task_block()))
    for task in range((n_queries + chunk - 1) // chunk):
        cloud = cloud_of(first, task * chunk)
        guess = -1
        for i in range(task * chunk, ti.min((task + 1) * chunk, n_queries)):
            while i >= first[cloud + 1]:
                cloud += 1
                guess = -1
            target = (cloud + shift) % n_clouds
            begin = first[target]
            n = first[target + 1] - begin
            q = ti.Vector([points[0, i], points[1, i], points[2, i]])
            out = order[i] * k
            bound, bound_index = cast_like(ti.math.inf, q[0]), NO_INDEX  # the worst that is kept
            for m in range(k):
                dists[out + m], index[out + m] = bound, bound_index
            if n > 0:
                if guess < 0:
                    guess = likely_leaf(boxes, n, begin, target, LEAF_BITS, q, norm)
                # first the leaves around the guess, so that the bound is low when the search begins
                n_leaves = (n + LEAF - 1) >> LEAF_BITS
                window = ti.min((k + LEAF - 1) >> LEAF_BITS, n_leaves)
                window_begin = ti.math.clamp(guess - window // 2, 0, n_leaves - window)
                window_end = window_begin + window
                leaf = window_begin
                cursor = root_cursor(begin, n, target, LEAF_BITS)
                started = False
                while leaf >= 0:
                    at = begin + (leaf << LEAF_BITS)
                    count = ti.min(begin + n - at, LEAF)
                    if ti.static(single):
                        d, m = nearest_in_leaf(points, order, at, count, q, norm)
                        if comes_before(d, order[at + m] - begin, bound, bound_index):
                            bound, bound_index = d, order[at + m] - begin
                            guess = leaf
                    else:
                        near = leaf_points_within(points, at, count, q, norm, bound)
                        while near != 0:
                            j = at + first_bit(near)
                            near &= near - 1
                            d = distance(points, i, j, norm)
                            if comes_before(d, order[j] - begin, bound, bound_index):
                                replace_greatest(dists, index, out, k, d, order[j] - begin)
                                bound, bound_index = dists[out], ti.cast(index[out], ti.i32)
                                guess = leaf
                    if not started and leaf + 1 < window_end:
                        leaf += 1
                    else:
                        started = True
                        leaf = window_begin
                        while leaf >= window_begin and leaf < window_end:
                            next_leaf(cursor, boxes, lowest, n, LEAF_BITS, q, q, norm, False, bound, bound_index)
                            leaf = cursor.leaf
                if ti.static(single):
                    dists[out], index[out] = bound, bound_index
                else:
                    sort_heap(dists, index, out, k)
            for m in range(k):
                if index[out + m] == NO_INDEX:
                    index[out + m] = 0
                    dists[out + m] = cast_like(ti.math.nan if m < n else 0.0, q[0])


@ti.func
def nearest_in_leaf(points: ti.template(), order: ti.template(), at, count, q, norm: ti.template()):
    """The least distance to the ``count`` points from ``at`` on, and the place of the lowest index that has it."""
    inf = cast_like(ti.math.inf, q[0])
    d = ti.Vector([inf] * LEAF)
    for m in ti.static(range(LEAF)):
        d_m = measure(points[0, at + m] - q[0], points[1, at + m] - q[1], points[2, at + m] - q[2], norm)
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
        if order[at + m] < order[at + place]:
            place = m
    return least, place


@ti.func
def leaf_points_within(points: ti.template(), at, count, q, norm: ti.template(), bound):
    """Bits of the ``count`` points from ``at`` on that are no further than ``bound`` by their first coordinates."""
    within = 0
    for m in ti.static(range(LEAF)):
        d = measure(points[0, at + m] - q[0], points[1, at + m] - q[1], points[2, at + m] - q[2], norm)
        within |= ti.select(d <= bound, 1 << m, 0)
    return within & ((1 << count) - 1)


@ti.func
def distance(points: ti.template(), i, j, norm: ti.template()):
    d = measure(points[0, j] - points[0, i], points[1, j] - points[1, i], points[2, j] - points[2, i], norm)
    for a in range(3, points.shape[0]):
        d += measure(points[a, j] - points[a, i], 0, 0, norm)
    return d


@ti.kernel
def distances_forward(
    points: FloatArray2D,
    lengths: I32Array,
    size1: ti.i32,
    size2: ti.i32,
    index: I64Array,
    k: ti.i32,
    norm: ti.template(),
    dists: FloatArray,
):
    """Arguments as for the adjoint; dists: zero before."""
    for row in range(index.shape[0] // k):
        begin, count = neighbourhood(lengths, size1, size2, row)
        for m in range(ti.min(k, count)):
            j = ti.cast(index[row * k + m], ti.i32)
            if j >= 0:
                for a in range(points.shape[1]):
                    d = points[row, a] - points[begin + j, a]
                    dists[row * k + m] = dists[row * k + m] + measure(d, 0, 0, norm)


@ti.kernel
def distances_adjoint(
    points: FloatArray2D,
    lengths: I32Array,
    size1: ti.i32,
    size2: ti.i32,
    index: I64Array,
    k: ti.i32,
    norm: ti.template(),
    grad_dists: FloatArray,
    bounds: I32Array,
    atomic: ti.template(),
    grad_rows: FloatArray2D,
    grad_neighbours: FloatArray3D,
):
    """points: (n, D), N padded clouds of ``size1`` rows and then N of ``size2``; lengths: of all 2 N; index: k for each
    of the first rows, in the cloud of the other kind, -1 for none; bounds: the rows of each part; grad_rows: (rows, D);
    grad_neighbours: (part, m, D), of the last m points; both zero before."""
    shift = points.shape[0] - grad_neighbours.shape[1]
    ti.loop_config(block_dim=ti.static(task_block()))
    for s in range(bounds.shape[0] - 1):
        for row in range(bounds[s], bounds[s + 1]):
            begin, count = neighbourhood(lengths, size1, size2, row)
            for m in range(ti.min(k, count)):
                g = grad_dists[row * k + m]
                j = ti.cast(index[row * k + m], ti.i32)
                if j >= 0 and not g == 0:  # NaN passes
                    for a in range(points.shape[1]):
                        d = points[row, a] - points[begin + j, a]
                        h = 2 * g * d
                        if ti.static(norm == 1):
                            h = g * ti.math.sign(d)
                        grad_rows[row, a] = grad_rows[row, a] + h
                        accumulate_at(grad_neighbours, s, begin + j - shift, a, -h, atomic)


@ti.func
def neighbourhood(lengths: ti.template(), size1, size2, row):
    """Where the cloud begins in which a row has its neighbours, and how many points it has; none for padding."""
    n_clouds = lengths.shape[0] // 2
    rows1 = n_clouds * size1
    begin, at, own, other = 0, 0, 0, 0
    if row < rows1:
        own, at = row // size1, row % size1
        begin, other = rows1 + own * size2, n_clouds + own
    else:
        other, at = (row - rows1) // size2, (row - rows1) % size2
        begin, own = other * size1, n_clouds + other
    return begin, ti.select(at < lengths[own], lengths[other], 0)
