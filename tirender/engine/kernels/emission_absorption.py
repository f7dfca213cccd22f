"""Emission-absorption compositing of samples packed by ray, and its adjoint (Max 1995).

A ray's features are sum_k w_k f_k, w_k = d_k T_k, T_k = prod_{j<k} (1 - d_j), and its opacity is 1 - T after its last
sample.

The adjoint goes along a ray twice. From back to front, with g_k = grad . (f_k, 1), b_k = d_k g_k + (1 - d_k) b_{k+1} is
what is seen from k on, and grad d_k = T_k (g_k - b_{k+1}). It divides by nothing, so that opaque samples have their
gradients.
"""

import taichi as ti

from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.types import FloatArray, FloatArray2D, I32Array


@ti.kernel
def emission_absorption_forward(
    offsets: I32Array,  # (R + 1,) where each ray's samples begin
    densities: FloatArray,  # (M,)
    features: FloatArray2D,  # (M, C)
    out: FloatArray2D,  # (R, C + 1)
):
    """Features and then opacity of each ray, 0 where it has no sample."""
    for ray in range(offsets.shape[0] - 1):
        n_channels = features.shape[1]
        for c in range(n_channels + 1):
            out[ray, c] = 0
        begin, end = offsets[ray], offsets[ray + 1]
        if begin < end:
            transmittance = cast_like(1, densities[begin])
            for m in range(begin, end):
                w = densities[m] * transmittance
                for c in range(n_channels):
                    out[ray, c] = out[ray, c] + w * features[m, c]
                transmittance *= 1 - densities[m]
            out[ray, n_channels] = 1 - transmittance


@ti.kernel
def emission_absorption_adjoint(
    offsets: I32Array,  # (R + 1,) where each ray's samples begin
    densities: FloatArray,  # (M,)
    features: FloatArray2D,  # (M, C)
    grad_out: FloatArray2D,  # (R, C + 1)
    grad_densities: FloatArray,  # (M,)
    grad_features: FloatArray2D,  # (M, C)
):
    """Gradients in densities and features."""
    for ray in range(offsets.shape[0] - 1):
        n_channels = features.shape[1]
        begin, end = offsets[ray], offsets[ray + 1]
        if begin < end:
            behind = cast_like(0, densities[begin])
            for i in range(end - begin):
                m = end - 1 - i
                seen = grad_out[ray, n_channels]
                for c in range(n_channels):
                    seen += grad_out[ray, c] * features[m, c]
                grad_densities[m] = seen - behind
                behind += densities[m] * (seen - behind)
            transmittance = cast_like(1, densities[begin])
            for m in range(begin, end):
                grad_densities[m] = grad_densities[m] * transmittance
                for c in range(n_channels):
                    grad_features[m, c] = densities[m] * transmittance * grad_out[ray, c]
                transmittance *= 1 - densities[m]


@ti.kernel
def count_visible(
    min_transmittance: ti.f32,
    offsets: I32Array,  # (R + 1,) where each ray's samples begin
    densities: FloatArray,  # (M,)
    counts: I32Array,  # (R,)
):
    """How many samples of each ray are reached with at least a transmittance."""
    for ray in counts:
        begin, end = offsets[ray], offsets[ray + 1]
        count = 0
        if begin < end:
            transmittance = cast_like(1, densities[begin])
            while begin + count < end and transmittance >= min_transmittance:
                transmittance *= 1 - densities[begin + count]
                count += 1
        counts[ray] = count
