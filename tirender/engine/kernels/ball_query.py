"""The points of lowest index within a radius."""

import taichi as ti

from tirender.engine.kernels.bvh import NO_INDEX, cloud_of, first_bit, next_leaf, root_cursor
from tirender.engine.kernels.heap import replace_greatest, sort_heap
from tirender.engine.kernels.knn import LEAF, LEAF_BITS, distance, leaf_points_within
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.types import FloatArray, FloatArray2D, I32Array, I64Array


@ti.kernel
def points_in_balls(
    points: FloatArray2D,
    order: I32Array,
    first: I32Array,
    boxes: FloatArray,
    lowest: I32Array,
    n_queries: ti.i32,
    shift: ti.i32,
    chunk: ti.i32,
    k: ti.i32,
    radius_sqr: FloatArray,
    dists: FloatArray,
    index: I64Array,
):
    """For the first ``n_queries`` sorted points, the k of lowest index that are strictly nearer than the radius, in the
    cloud ``shift`` clouds further on; ascending.

    Arguments as for ``nearest_points``; radius_sqr: one number; dists: zero before; index: -1 where there is no more.
    """
    n_clouds = first.shape[0] - 1
    ti.loop_config(block_dim=ti.static(task_block()))
    for task in range((n_queries + chunk - 1) // chunk):
        cloud = cloud_of(first, task * chunk)
        for i in range(task * chunk, ti.min((task + 1) * chunk, n_queries)):
            while i >= first[cloud + 1]:
                cloud += 1
            target = (cloud + shift) % n_clouds
            begin = first[target]
            n = first[target + 1] - begin
            q = ti.Vector([points[0, i], points[1, i], points[2, i]])
            out = order[i] * k
            bound = radius_sqr[0]
            highest = NO_INDEX  # that is kept, in a heap whose keys are the zeros in dists
            for m in range(k):
                index[out + m] = highest
            if n > 0:
                cursor = root_cursor(begin, n, target, LEAF_BITS)
                searching = True
                while searching:
                    next_leaf(cursor, boxes, lowest, n, LEAF_BITS, q, q, 2, True, bound, highest)
                    searching = cursor.leaf >= 0
                    if searching:
                        at = begin + (cursor.leaf << LEAF_BITS)
                        near = leaf_points_within(points, at, ti.min(begin + n - at, LEAF), q, 2, bound)
                        while near != 0:
                            j = at + first_bit(near)
                            near &= near - 1
                            if order[j] - begin < highest and distance(points, i, j, 2) < bound:
                                replace_greatest(dists, index, out, k, 0, order[j] - begin)
                                highest = ti.cast(index[out], ti.i32)
                sort_heap(dists, index, out, k)
            for m in range(k):
                if index[out + m] == NO_INDEX:
                    index[out + m] = -1
