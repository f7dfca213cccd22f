"""Depth, barycentric coordinates and outline distance of selected (pixel, triangle) pairs, and the adjoint."""

import taichi as ti

from tirender.kernels.slabs import PointSlabs, accumulate
from tirender.kernels.tasks import task_block
from tirender.kernels.triangle import Index, Points, Triples, fragment, fragment_vjp, pixel_ndc

Reals = ti.types.ndarray(ndim=1)


@ti.kernel
def mesh_fragments_forward(
    verts: Points,
    faces: Triples,
    pixels: Index,
    triangles: Index,
    perspective: ti.i32,
    clip: ti.i32,
    height: ti.i32,
    width: ti.i32,
    zbuf: Reals,
    bary: Points,
    dists: Reals,
):
    """dists: signed, negative inside."""
    for m in triangles:
        f = faces[triangles[m]]
        v0, v1, v2 = verts[f[0]], verts[f[1]], verts[f[2]]
        p = pixel_ndc(pixels[m] % width, pixels[m] // width % height, height, width, v0.x)
        zbuf[m], bary[m], dists[m] = fragment(p, v0, v1, v2, perspective, clip)


@ti.kernel
def mesh_fragments_adjoint(
    verts: Points,
    faces: Triples,
    pixels: Index,
    triangles: Index,
    perspective: ti.i32,
    clip: ti.i32,
    height: ti.i32,
    width: ti.i32,
    grad_zbuf: Reals,
    grad_bary: Points,
    grad_dists: Reals,
    bounds: Index,
    atomic: ti.template(),
    grad_verts: PointSlabs,
):
    """bounds: the fragments of each slab; grad_verts: (slab, vertex), zero before."""
    ti.loop_config(block_dim=ti.static(task_block()))
    for s in range(bounds.shape[0] - 1):
        for m in range(bounds[s], bounds[s + 1]):
            f = faces[triangles[m]]
            v0, v1, v2 = verts[f[0]], verts[f[1]], verts[f[2]]
            p = pixel_ndc(pixels[m] % width, pixels[m] // width % height, height, width, v0.x)
            g0, g1, g2 = fragment_vjp(p, v0, v1, v2, perspective, clip, grad_zbuf[m], grad_bary[m], grad_dists[m])
            accumulate(grad_verts, s, f[0], g0, atomic)
            accumulate(grad_verts, s, f[1], g1, atomic)
            accumulate(grad_verts, s, f[2], g2, atomic)
