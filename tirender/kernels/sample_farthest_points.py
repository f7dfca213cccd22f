"""Farthest point sampling (Eldar et al., "The farthest point strategy for progressive image sampling", 1997)."""

import taichi as ti

from tirender.kernels.bvh import Reals, Rows
from tirender.kernels.tasks import task_block
from tirender.kernels.triangle import Index, number

UNKNOWN, CHOSEN = -1, -2  # in place of a squared distance: of NaN, and of what is not to be chosen again

Table = ti.types.ndarray(dtype=ti.i64, ndim=2)


@ti.kernel
def farthest_points(
    points: Rows,
    n_dims: ti.template(),
    first: Index,
    starts: Index,
    counts: Index,
    nearest: Reals,
    index: Table,
):
    """points: (n, D) packed clouds, which begin at ``first``; starts, counts: the first point to choose in each cloud,
    and how many; nearest: scratch, a number a point; index: (cloud, k), -1 where no more is wanted."""
    ti.loop_config(block_dim=ti.static(task_block()))
    for cloud in range(counts.shape[0]):
        begin, end = first[cloud], first[cloud + 1]
        for i in range(begin, end):
            nearest[i] = number(ti.math.inf, nearest[i])
            for a in ti.static(range(n_dims)):
                if not (points[i, a] == points[i, a]):
                    nearest[i] = number(UNKNOWN, nearest[i])
        for m in range(counts[cloud], index.shape[1]):
            index[cloud, m] = -1
        chosen = begin + starts[cloud]
        for m in range(counts[cloud]):
            index[cloud, m] = chosen - begin
            nearest[chosen] = number(CHOSEN, nearest[chosen])
            following = begin
            farthest = number(CHOSEN, nearest[begin])
            for i in range(begin, end):
                d = 0 * farthest
                for a in ti.static(range(n_dims)):
                    d += (points[i, a] - points[chosen, a]) ** 2
                if d < nearest[i]:
                    nearest[i] = d
                if nearest[i] > farthest:
                    farthest, following = nearest[i], i
            chosen = following
