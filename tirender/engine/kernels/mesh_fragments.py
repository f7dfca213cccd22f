"""Depth, barycentric coordinates and outline distance of selected (pixel, triangle) pairs, and the adjoint."""

import taichi as ti

from tirender.engine.kernels.partial_sums import accumulate
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.triangle import fragment, fragment_vjp, pixel_ndc
from tirender.engine.kernels.types import FloatArray, I32Array, IVec3Array, Vec3Array, Vec3Array2D


@ti.kernel
def mesh_fragments_forward(
    verts: Vec3Array,
    faces: IVec3Array,
    pixels: I32Array,
    triangles: I32Array,
    perspective: ti.i32,
    clip: ti.i32,
    height: ti.i32,
    width: ti.i32,
    zbuf: FloatArray,
    bary: Vec3Array,
    dists: FloatArray,
):
    """dists: signed, negative inside."""
    for m in triangles:
        f = faces[triangles[m]]
        v0, v1, v2 = verts[f[0]], verts[f[1]], verts[f[2]]
        p = pixel_ndc(pixels[m] % width, pixels[m] // width % height, height, width, v0.x)
        zbuf[m], bary[m], dists[m] = fragment(p, v0, v1, v2, perspective, clip)


@ti.kernel
def mesh_fragments_adjoint(
    verts: Vec3Array,
    faces: IVec3Array,
    pixels: I32Array,
    triangles: I32Array,
    perspective: ti.i32,
    clip: ti.i32,
    height: ti.i32,
    width: ti.i32,
    grad_zbuf: FloatArray,
    grad_bary: Vec3Array,
    grad_dists: FloatArray,
    bounds: I32Array,
    atomic: ti.template(),
    grad_verts: Vec3Array2D,
):
    """bounds: the fragments of each part; grad_verts: (part, vertex), zero before."""
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
