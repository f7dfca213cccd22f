"""Soft silhouette of packed mesh fragments: coverage from the edge distance alone (SoftRas, Liu et al. 2019).

alpha = 1 - prod_k (1 - p_k), p_k = sigmoid(-d_k / sigma). The forward pass keeps p and the nearest edge of each
fragment. The adjoint needs no more, and has no division: d alpha / d d_k = -prod (1 - p) * p_k / sigma.
"""

import taichi as ti

from tirender.engine.kernels.partial_sums import accumulate
from tirender.engine.kernels.scalars import cast_like, sigmoid
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.triangle import (
    RasterStruct,
    centre_of,
    contains,
    encode_edge,
    encoded_edge_vjp,
    nearest_edge,
)
from tirender.engine.kernels.types import FloatArray, I32Array, IVec3Array, Vec2Array2D, Vec3Array


@ti.kernel
def silhouette_forward(
    raster: RasterStruct,
    inv_sigma: ti.f32,
    offsets: I32Array,  # (pixels + 1,) where the fragments of each pixel begin
    triangles: I32Array,  # (M,)
    faces: IVec3Array,  # (T, 3)
    verts: Vec3Array,  # (V, 3) in NDC
    transmittance: FloatArray,  # (pixels,)
    coverage: FloatArray,  # (M,)
    edges: I32Array,  # (M,) see encode_edge
):
    for pixel in transmittance:
        out = cast_like(1, verts[0].x)
        begin, end = offsets[pixel], offsets[pixel + 1]
        if begin < end:
            p = centre_of(pixel, raster, out)
            for m in range(begin, end):
                f = faces[triangles[m]]
                v0, v1, v2 = verts[f[0]], verts[f[1]], verts[f[2]]
                corner, d = nearest_edge(p, v0, v1, v2)
                inside = contains(p, v0, v1, v2, raster)
                covered = sigmoid((d if inside else -d) * inv_sigma)
                out *= 1 - covered
                coverage[m] = covered
                edges[m] = encode_edge(corner, inside)
        transmittance[pixel] = out


@ti.kernel
def silhouette_adjoint(
    raster: RasterStruct,
    inv_sigma: ti.f32,
    offsets: I32Array,  # these seven as for the forward kernel
    triangles: I32Array,
    faces: IVec3Array,
    verts: Vec3Array,
    transmittance: FloatArray,
    coverage: FloatArray,
    edges: I32Array,
    grad_alpha: FloatArray,  # (pixels,)
    bounds: I32Array,  # (parts + 1,) the pixels of each part
    atomic: ti.template(),
    grad_xy: Vec2Array2D,  # (part, V, 2), zero before
):
    ti.loop_config(block_dim=ti.static(task_block()))
    for part in range(bounds.shape[0] - 1):
        for pixel in range(bounds[part], bounds[part + 1]):
            scale = grad_alpha[pixel] * transmittance[pixel] * inv_sigma
            begin, end = offsets[pixel], offsets[pixel + 1]
            if begin < end and not scale == 0:  # NaN passes
                p = centre_of(pixel, raster, scale)
                for m in range(begin, end):
                    i, j, gi, gj = encoded_edge_vjp(p, faces[triangles[m]], edges[m], verts, -scale * coverage[m])
                    accumulate(grad_xy, part, i, gi, atomic)
                    accumulate(grad_xy, part, j, gj, atomic)
