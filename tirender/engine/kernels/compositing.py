"""Colours of pixels from the packed points that each sees, nearest first, for any number of channels; and the adjoint.

A pixel's colour is sum_k w_k f_k over its fragments, f_k the features of the point, with

- ``ALPHA``: w_k = a_k prod_{j<k} (1 - a_j), compositing front to back (Porter and Duff 1984);
- ``NORM``: w_k = a_k / max(sum_j a_j, 1e-4);
- ``SUM``: w_k = a_k.

The adjoint goes through a pixel twice. From back to front, with d_k = grad . f_k, alpha compositing has
b_k = a_k d_k + (1 - a_k) b_{k+1}, what is seen from k on, and grad a_k = T_k (d_k - b_{k+1}), T_k the transmittance
before k. No division, so that opaque points are no exception.
"""

import taichi as ti

from tirender.engine.kernels.partial_sums import accumulate_at
from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.types import FloatArray, FloatArray2D, FloatArray3D, I32Array

ALPHA, NORM, SUM = 0, 1, 2
INV_SUM_MIN = 10000  # weights are divided by at least 1 / this


@ti.kernel
def composite_forward(
    offsets: I32Array, index: I32Array, alphas: FloatArray, features: FloatArray2D, mode: ti.i32, image: FloatArray2D
):
    """image: (pixel, channel), 0 where there is no point."""
    for pixel in range(image.shape[0]):
        for c in range(image.shape[1]):
            image[pixel, c] = 0
        begin, end = offsets[pixel], offsets[pixel + 1]
        if begin < end:
            scale = first_scale(alphas, begin, end, mode)
            for m in range(begin, end):
                a = alphas[m]
                for c in range(image.shape[1]):
                    image[pixel, c] = image[pixel, c] + scale * a * features[index[m], c]
                if mode == ALPHA:
                    scale *= 1 - a


@ti.kernel
def composite_adjoint(
    offsets: I32Array,
    index: I32Array,
    alphas: FloatArray,
    features: FloatArray2D,
    mode: ti.i32,
    grad_image: FloatArray2D,
    bounds: I32Array,
    wants_features: ti.i32,
    atomic: ti.template(),
    grad_alphas: FloatArray,
    grad_features: FloatArray3D,
):
    """bounds: the pixels of each part; grad_features: (part, point, channel), zero before, written where wanted."""
    ti.loop_config(block_dim=ti.static(task_block()))
    for s in range(bounds.shape[0] - 1):
        for pixel in range(bounds[s], bounds[s + 1]):
            begin, end = offsets[pixel], offsets[pixel + 1]
            if begin < end:
                scale = first_scale(alphas, begin, end, mode)
                behind = cast_like(0, scale)  # b_{k+1}; for the mean, the colour's part that follows the weights' sum
                for i in range(end - begin):
                    m = end - 1 - i
                    d = cast_like(0, scale)
                    for c in range(features.shape[1]):
                        d += grad_image[pixel, c] * features[index[m], c]
                    if mode == ALPHA:
                        grad_alphas[m] = d - behind
                        behind += alphas[m] * (d - behind)
                    else:
                        grad_alphas[m] = d
                        behind += scale * alphas[m] * d
                if mode == SUM or scale == INV_SUM_MIN:
                    behind *= 0
                for m in range(begin, end):
                    a, g = alphas[m], grad_alphas[m]
                    if mode != ALPHA:
                        g -= behind
                    grad_alphas[m] = scale * g
                    for c in range(wants_features * features.shape[1]):
                        accumulate_at(grad_features, s, index[m], c, scale * a * grad_image[pixel, c], atomic)
                    if mode == ALPHA:
                        scale *= 1 - a


@ti.func
def first_scale(alphas: ti.template(), begin: ti.i32, end: ti.i32, mode: ti.i32):
    """What the alpha of a pixel's first point is multiplied with."""
    scale = cast_like(1, alphas[begin])
    if mode == NORM:
        total = cast_like(0, scale)
        for m in range(begin, end):
            total += alphas[m]
        scale = ti.min(1 / total, cast_like(INV_SUM_MIN, scale)) if total > 0 else cast_like(INV_SUM_MIN, scale)
    return scale
