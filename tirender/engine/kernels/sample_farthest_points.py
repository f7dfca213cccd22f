"""Farthest point sampling (Eldar et al., "The farthest point strategy for progressive image sampling", 1997)."""

import taichi as ti

from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.types import FloatArray, FloatArray2D, I32Array, I64Array2D

UNKNOWN, SAMPLED = -1, -2  # in place of a squared distance: of NaN, and of what is not to be sampled again


@ti.kernel
def farthest_points(
    n_dims: ti.template(),
    points: FloatArray2D,  # (n, D) packed clouds
    first: I32Array,  # (N + 1,) where each cloud begins, and n
    starts: I32Array,  # (N,) the first sample of each cloud
    n_samples: I32Array,  # (N,) of each cloud
    nearest: FloatArray,  # (n,) scratch memory: squared distance to the nearest sample
    index: I64Array2D,  # (N, K) samples in order, within their cloud; -1 past the end
):
    """The samples of each cloud: every next one is the point farthest from those before it."""
    ti.loop_config(block_dim=ti.static(task_block()))
    for cloud in range(n_samples.shape[0]):
        begin, end = first[cloud], first[cloud + 1]
        for i in range(begin, end):
            nearest[i] = cast_like(ti.math.inf, nearest[i])
            for a in ti.static(range(n_dims)):
                if not (points[i, a] == points[i, a]):
                    nearest[i] = cast_like(UNKNOWN, nearest[i])
        for m in range(n_samples[cloud], index.shape[1]):
            index[cloud, m] = -1
        sample = begin + starts[cloud]
        for m in range(n_samples[cloud]):
            index[cloud, m] = sample - begin
            nearest[sample] = cast_like(SAMPLED, nearest[sample])
            following = begin
            farthest = cast_like(SAMPLED, nearest[begin])
            for i in range(begin, end):
                d = 0 * farthest
                for a in ti.static(range(n_dims)):
                    d += (points[i, a] - points[sample, a]) ** 2
                if d < nearest[i]:
                    nearest[i] = d
                if nearest[i] > farthest:
                    farthest, following = nearest[i], i
            sample = following
