"""The points of lowest index within a radius."""

import taichi as ti

from tirender.engine.kernels.bvh import (
    NO_INDEX,
    Forest,
    Search,
    cloud_of,
    cloud_range,
    first_bit,
    leaf_range,
    next_leaf,
    root_cursor,
)
from tirender.engine.kernels.heap import Heaps, replace_greatest, sort_heap
from tirender.engine.kernels.knn import LEAF_BITS, Queries, distance, leaf_points_within
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.types import FloatArray, FloatArray2D, I32Array, I64Array, struct_of


@ti.kernel
def points_in_balls(
    queries: struct_of(Queries),
    radius_sqr: FloatArray,  # (1,): a number in the points' type
    points: FloatArray2D,  # (D, n + padding) sorted, D >= 3
    order: I32Array,  # (n,) of the forest, as the next three
    first: I32Array,  # (C + 1,)
    boxes: FloatArray,  # (groups * 48,)
    lowest: I32Array,  # (groups * 8,)
    zeros: FloatArray,  # (n_queries * k,) keys of the heaps
    index: I64Array,  # (n_queries * k,) by the query's index, ascending; -1 where there is no more
):
    """The k target points of lowest index that are strictly nearer to each query than the radius."""
    forest = ti.static(Forest(order, first, boxes, lowest))
    heaps = ti.static(Heaps(zeros, index))
    n_clouds = first.shape[0] - 1
    ti.loop_config(block_dim=ti.static(task_block()))
    for task in range((queries.n_queries + queries.chunk - 1) // queries.chunk):
        cloud = cloud_of(first, task * queries.chunk)
        for i in range(task * queries.chunk, ti.min((task + 1) * queries.chunk, queries.n_queries)):
            while i >= first[cloud + 1]:
                cloud += 1
            target = (cloud + queries.shift) % n_clouds
            out = order[i] * queries.k
            for m in range(queries.k):
                index[out + m] = NO_INDEX
            if first[target + 1] > first[target]:
                lowest_in_ball(points, forest, heaps, i, target, queries.k, radius_sqr[0])
            for m in range(queries.k):
                if index[out + m] == NO_INDEX:
                    index[out + m] = -1


@ti.func
def lowest_in_ball(points: ti.template(), forest: ti.template(), heaps: ti.template(), i, target, k, radius_sqr):
    """Fill the heap of point i, whose keys are all 0, with the k lowest indices in its ball, in order."""
    search = ti.static(Search(LEAF_BITS, by_index=True))
    q = ti.Vector([points[0, i], points[1, i], points[2, i]])
    begin, _n = cloud_range(forest.first, target)
    heap = forest.order[i] * k
    highest = NO_INDEX  # of the heap
    cursor = root_cursor(forest, target, search, 0, 0)
    while next_leaf(cursor, forest, search, q, q, radius_sqr, highest):
        start, count = leaf_range(cursor, search)
        near = leaf_points_within(points, start, count, q, search.norm, radius_sqr)
        while near != 0:
            j = start + first_bit(near)
            near &= near - 1
            if forest.order[j] - begin < highest and distance(points, i, j, search.norm) < radius_sqr:
                replace_greatest(heaps, heap, k, 0, forest.order[j] - begin)
                highest = ti.cast(heaps.indices[heap], ti.i32)
    sort_heap(heaps, heap, k)
