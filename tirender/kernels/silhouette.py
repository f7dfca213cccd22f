"""Soft silhouette of packed mesh fragments: coverage from the outline distance alone (SoftRas, Liu et al. 2019).

alpha = 1 - prod_k (1 - sigmoid(-d_k / sigma)). Nothing but the triangles is stored for a fragment, and the adjoint
needs no division: d alpha / d d_k = -prod (1 - p) * p_k / sigma.
"""

import taichi as ti

from tirender.kernels.mesh_shading import sigmoid
from tirender.kernels.slabs import PairSlabs, accumulate
from tirender.kernels.tasks import task_block
from tirender.kernels.triangle import (
    Index,
    Points,
    Triples,
    is_inside,
    number,
    outline_distance,
    outline_distance_vjp,
    pixel_ndc,
    surface_coords,
)

Reals = ti.types.ndarray(ndim=1)


@ti.kernel
def silhouette_forward(
    offsets: Index,
    triangles: Index,
    faces: Triples,
    verts: Points,
    perspective: ti.i32,
    height: ti.i32,
    width: ti.i32,
    inv_sigma: ti.f32,
    transmittance: Reals,
):
    for pixel in transmittance:
        out = number(1, verts[0].x)
        begin, end = offsets[pixel], offsets[pixel + 1]
        if begin < end:
            p = pixel_ndc(pixel % width, pixel // width % height, height, width, out)
            for m in range(begin, end):
                f = faces[triangles[m]]
                v0, v1, v2 = verts[f[0]], verts[f[1]], verts[f[2]]
                out *= 1 - coverage(p, v0, v1, v2, perspective, inv_sigma)
        transmittance[pixel] = out


@ti.kernel
def silhouette_adjoint(
    offsets: Index,
    triangles: Index,
    faces: Triples,
    verts: Points,
    perspective: ti.i32,
    height: ti.i32,
    width: ti.i32,
    inv_sigma: ti.f32,
    transmittance: Reals,
    grad_alpha: Reals,
    bounds: Index,
    atomic: ti.template(),
    grad_xy: PairSlabs,
):
    """bounds: the pixels of each slab; grad_xy: (slab, vertex), zero before."""
    ti.loop_config(block_dim=ti.static(task_block()))
    for s in range(bounds.shape[0] - 1):
        for pixel in range(bounds[s], bounds[s + 1]):
            scale = grad_alpha[pixel] * transmittance[pixel] * inv_sigma
            begin, end = offsets[pixel], offsets[pixel + 1]
            if begin < end and scale != 0:
                p = pixel_ndc(pixel % width, pixel // width % height, height, width, scale)
                for m in range(begin, end):
                    f = faces[triangles[m]]
                    v0, v1, v2 = verts[f[0]], verts[f[1]], verts[f[2]]
                    inside, d = signed_distance(p, v0, v1, v2, perspective)
                    g = -scale * sigmoid(-d * inv_sigma)
                    h0, h1, h2 = outline_distance_vjp(p, v0, v1, v2, -g if inside else g)
                    accumulate(grad_xy, s, f[0], h0, atomic)
                    accumulate(grad_xy, s, f[1], h1, atomic)
                    accumulate(grad_xy, s, f[2], h2, atomic)


@ti.func
def signed_distance(p, v0, v1, v2, perspective: ti.i32):
    b, _c = surface_coords(p, v0, v1, v2, perspective, 0)
    d = outline_distance(p, v0, v1, v2)
    inside = is_inside(b)
    return inside, -d if inside else d


@ti.func
def coverage(p, v0, v1, v2, perspective: ti.i32, inv_sigma):
    _inside, d = signed_distance(p, v0, v1, v2, perspective)
    return sigmoid(-d * inv_sigma)
