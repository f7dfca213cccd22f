"""Farthest point sampling (Eldar et al., "The farthest point strategy for progressive image sampling", 1997)."""

import taichi as ti

from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.types import FloatArray, FloatArray2D, I32Array, I64Array2D

UNKNOWN, CHOSEN = -1, -2  # in place of a squared distance: of NaN, and of what is not to be chosen again


@ti.kernel
def farthest_points(
    points: FloatArray2D,
    n_dims: ti.template(),
    first: I32Array,
    starts: I32Array,
    counts: I32Array,
    nearest: FloatArray,
    index: I64Array2D,
):
    """points: (n, D) packed clouds, which begin at ``first``; starts, counts: the first point to choose in each cloud,
    and how many; nearest: scratch, a number a point; index: (cloud, k), -1 where no more is wanted."""
    ti.loop_config(block_dim=ti.static(task_block()))
    for cloud in range(counts.shape[0]):
        begin, end = first[cloud], first[cloud + 1]
        for i in range(begin, end):
            nearest[i] = cast_like(ti.math.inf, nearest[i])
            for a in ti.static(range(n_dims)):
                if not (points[i, a] == points[i, a]):
                    nearest[i] = cast_like(UNKNOWN, nearest[i])
        for m in range(counts[cloud], index.shape[1]):
            index[cloud, m] = -1
        chosen = begin + starts[cloud]
        for m in range(counts[cloud]):
            index[cloud, m] = chosen - begin
            nearest[chosen] = cast_like(CHOSEN, nearest[chosen])
            following = begin
            farthest = cast_like(CHOSEN, nearest[begin])
            for i in range(begin, end):
                d = 0 * farthest
                for a in ti.static(range(n_dims)):
                    d += (points[i, a] - points[chosen, a]) ** 2
                if d < nearest[i]:
                    nearest[i] = d
                if nearest[i] > farthest:
                    farthest, following = nearest[i], i
            chosen = following
