"""Depth, barycentric coordinates and edge distance of selected (pixel, triangle) pairs, and the adjoint."""

import taichi as ti

from tirender.engine.kernels.partial_sums import accumulate
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.triangle import RasterStruct, centre_of, fragment, fragment_vjp
from tirender.engine.kernels.types import FloatArray, I32Array, IVec3Array, Vec3Array, Vec3Array2D


@ti.kernel
def mesh_fragments_forward(
    raster: RasterStruct,
    verts: Vec3Array,  # (V, 3) in NDC
    faces: IVec3Array,  # (T, 3)
    pixels: I32Array,  # (M,) the pixel of each fragment
    triangles: I32Array,  # (M,) its triangle
    zbuf: FloatArray,  # (M,)
    bary: Vec3Array,  # (M, 3)
    dists: FloatArray,  # (M,) squared distance to the nearest edge, negative inside
):
    for m in triangles:
        f = faces[triangles[m]]
        p = centre_of(pixels[m], raster, verts[f[0]].x)
        zbuf[m], bary[m], dists[m] = fragment(p, verts[f[0]], verts[f[1]], verts[f[2]], raster)


@ti.kernel
def mesh_fragments_adjoint(
    raster: RasterStruct,
    verts: Vec3Array,  # these four as for the forward kernel
    faces: IVec3Array,
    pixels: I32Array,
    triangles: I32Array,
    grad_zbuf: FloatArray,
    grad_bary: Vec3Array,
    grad_dists: FloatArray,
    bounds: I32Array,  # (parts + 1,) the fragments of each part
    atomic: ti.template(),
    grad_verts: Vec3Array2D,  # (part, V, 3), zero before
):
    ti.loop_config(block_dim=ti.static(task_block()))
    for part in range(bounds.shape[0] - 1):
        for m in range(bounds[part], bounds[part + 1]):
            f = faces[triangles[m]]
            v0, v1, v2 = verts[f[0]], verts[f[1]], verts[f[2]]
            p = centre_of(pixels[m], raster, v0.x)
            g0, g1, g2 = fragment_vjp(p, v0, v1, v2, raster, grad_zbuf[m], grad_bary[m], grad_dists[m])
            accumulate(grad_verts, part, f[0], g0, atomic)
            accumulate(grad_verts, part, f[1], g1, atomic)
            accumulate(grad_verts, part, f[2], g2, atomic)
