"""Colours of pixels from the packed points that each sees, nearest first, for any number of channels; and the adjoint.

A pixel's colour is sum_k w_k f_k over its fragments, f_k the features of the point, with

- ``ALPHA``: w_k = a_k prod_{j<k} (1 - a_j), compositing front to back (Porter and Duff 1984);
- ``NORM``: w_k = a_k / max(sum_j a_j, 1e-4);
- ``SUM``: w_k = a_k.

The adjoint goes through a pixel twice. From back to front, with d_k = grad . f_k, alpha compositing has
b_k = a_k d_k + (1 - a_k) b_{k+1}, what is seen from k on, and grad a_k = T_k (d_k - b_{k+1}), T_k the transmittance
before k. It divides by nothing, so that opaque points have their gradients.
"""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.partial_sums import accumulate_at
from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.tasks import round_pixels, task_block
from tirender.engine.kernels.types import FloatArray, FloatArray2D, FloatArray3D, I32Array, struct_of

ALPHA, NORM, SUM = 0, 1, 2
INV_SUM_MIN = 10000  # weights are divided by at least 1 / this


class CompositeSettings(NamedTuple):
    """Numbers of the kernels."""

    mode: int  # ALPHA, NORM or SUM
    features_wanted: bool = True  # whether the adjoint has a gradient in the features


class PackedPoints(NamedTuple):
    """The points that pixels see, nearest first: torch's tensors at a launch, Taichi's arrays in a kernel."""

    offsets: Any  # (pixels + 1,) int32 where each pixel's points begin
    index: Any  # (M,) int32 the points
    alphas: Any  # (M,) their weights
    features: Any  # (P, C) of all points


@ti.kernel
def composite_forward(
    settings: struct_of(CompositeSettings),
    offsets: I32Array,  # (pixels + 1,) of the packed points, as the next three
    index: I32Array,  # (M,)
    alphas: FloatArray,  # (M,)
    features: FloatArray2D,  # (P, C)
    image: FloatArray2D,  # (pixels, C)
):
    """Colours of pixels, 0 where there is no point."""
    n_pixels, run = image.shape[0], round_pixels(256)
    ti.loop_config(block_dim=ti.static(task_block()))
    for i in range((n_pixels + run - 1) // run):
        mode = settings.mode
        for pixel in range(i * run, ti.min((i + 1) * run, n_pixels)):
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
    settings: struct_of(CompositeSettings),
    atomic: ti.template(),  # whether all parts share one sum
    offsets: I32Array,  # (pixels + 1,) of the packed points, as the next three
    index: I32Array,  # (M,)
    alphas: FloatArray,  # (M,)
    features: FloatArray2D,  # (P, C)
    grad_image: FloatArray2D,  # (pixels, C)
    bounds: I32Array,  # (parts + 1,) the pixels of each part
    grad_alphas: FloatArray,  # (M,)
    grad_features: FloatArray3D,  # (parts, P, C) zero before, written where wanted
):
    """Gradients in the alphas, and where wanted in the features."""
    points = ti.static(PackedPoints(offsets, index, alphas, features))
    ti.loop_config(block_dim=ti.static(task_block()))
    for part in range(bounds.shape[0] - 1):
        mode, n_wanted = settings.mode, settings.features_wanted * features.shape[1]
        for pixel in range(bounds[part], bounds[part + 1]):
            begin, end = offsets[pixel], offsets[pixel + 1]
            if begin < end:
                scale = first_scale(alphas, begin, end, mode)
                shared = back_to_front(points, mode, pixel, scale, grad_image, grad_alphas)
                for m in range(begin, end):
                    a = alphas[m]
                    grad_alphas[m] = scale * (grad_alphas[m] - shared)
                    for c in range(n_wanted):
                        accumulate_at(grad_features, part, index[m], c, scale * a * grad_image[pixel, c], atomic)
                    if mode == ALPHA:
                        scale *= 1 - a


@ti.func
def back_to_front(
    points: ti.template(), mode: ti.i32, pixel: ti.i32, scale, grad_image: ti.template(), grad_alphas: ti.template()
):
    """Fill grad_alphas with d_k - b_{k+1} for ``ALPHA``, else with d_k; return what is still to be subtracted."""
    begin, end = points.offsets[pixel], points.offsets[pixel + 1]
    behind = cast_like(0, scale)  # b_{k+1}, or the weighted mean of d
    for i in range(end - begin):
        m = end - 1 - i
        d = cast_like(0, scale)
        for c in range(grad_image.shape[1]):
            d += grad_image[pixel, c] * points.features[points.index[m], c]
        if mode == ALPHA:
            grad_alphas[m] = d - behind
            behind += points.alphas[m] * (d - behind)
        else:
            grad_alphas[m] = d
            behind += scale * points.alphas[m] * d
    shared = cast_like(0, scale)
    if mode == NORM:
        shared = behind * (0 if scale == INV_SUM_MIN else 1)
    return shared


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
