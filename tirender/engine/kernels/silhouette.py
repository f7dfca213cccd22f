"""Soft silhouette of packed mesh fragments: coverage from the outline distance alone (SoftRas, Liu et al. 2019).

alpha = 1 - prod_k (1 - p_k), p_k = sigmoid(-d_k / sigma). Of a fragment are kept its p and the segment of the outline
it is nearest to: all that the adjoint needs, which has no division: d alpha / d d_k = -prod (1 - p) * p_k / sigma.
"""

import taichi as ti

from tirender.engine.kernels.partial_sums import accumulate
from tirender.engine.kernels.scalars import cast_like, sigmoid
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.triangle import (
    contains,
    nearest_segment,
    pixel_ndc,
    segment_distance_vjp,
    segment_opposite,
)
from tirender.engine.kernels.types import FloatArray, I32Array, IVec3Array, Vec2Array2D, Vec3Array


@ti.kernel
def silhouette_forward(
    offsets: I32Array,
    triangles: I32Array,
    faces: IVec3Array,
    verts: Vec3Array,
    perspective: ti.i32,
    height: ti.i32,
    width: ti.i32,
    inv_sigma: ti.f32,
    transmittance: FloatArray,
    coverage: FloatArray,
    segments: I32Array,
):
    """segments: of each fragment 6 * triangle + the corner opposite the nearest segment, plus 3 inside."""
    for pixel in transmittance:
        out = cast_like(1, verts[0].x)
        begin, end = offsets[pixel], offsets[pixel + 1]
        if begin < end:
            p = pixel_ndc(pixel % width, pixel // width % height, height, width, out)
            for m in range(begin, end):
                t = triangles[m]
                f = faces[t]
                v0, v1, v2 = verts[f[0]], verts[f[1]], verts[f[2]]
                corner, d = nearest_segment(p, v0, v1, v2)
                inside = contains(p, v0, v1, v2, perspective)
                covered = sigmoid((d if inside else -d) * inv_sigma)
                out *= 1 - covered
                coverage[m] = covered
                segments[m] = 6 * t + corner + (3 if inside else 0)
        transmittance[pixel] = out


@ti.kernel
def silhouette_adjoint(
    offsets: I32Array,
    segments: I32Array,
    coverage: FloatArray,
    faces: IVec3Array,
    verts: Vec3Array,
    height: ti.i32,
    width: ti.i32,
    inv_sigma: ti.f32,
    transmittance: FloatArray,
    grad_alpha: FloatArray,
    bounds: I32Array,
    atomic: ti.template(),
    grad_xy: Vec2Array2D,
):
    """bounds: the pixels of each part; grad_xy: (part, vertex), zero before."""
    ti.loop_config(block_dim=ti.static(task_block()))
    for s in range(bounds.shape[0] - 1):
        for pixel in range(bounds[s], bounds[s + 1]):
            scale = grad_alpha[pixel] * transmittance[pixel] * inv_sigma
            begin, end = offsets[pixel], offsets[pixel + 1]
            if begin < end and not scale == 0:  # NaN passes
                p = pixel_ndc(pixel % width, pixel // width % height, height, width, scale)
                for m in range(begin, end):
                    a, b = segment_opposite(faces[segments[m] // 6], segments[m] % 3)
                    g = scale * coverage[m]  # inside the signed distance is negative
                    ga, gb = segment_distance_vjp(p, verts[a], verts[b], g if segments[m] % 6 >= 3 else -g)
                    accumulate(grad_xy, s, a, ga, atomic)
                    accumulate(grad_xy, s, b, gb, atomic)
