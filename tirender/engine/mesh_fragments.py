"""Depth, barycentric coordinates and distance of packed fragments, over ``kernels/mesh_fragments.py``."""

from __future__ import annotations

from typing import Any

import torch

from tirender.engine import runtime
from tirender.engine.first_order import FirstOrder
from tirender.engine.kernels import mesh_fragments as kernels
from tirender.engine.partial_sums import part_bounds, part_count
from tirender.engine.rasterize_meshes import RasterMode, Triangles


@runtime.not_compiled
def mesh_fragments(
    triangles: Triangles, mode: RasterMode, pixels: torch.Tensor, index: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Where pixel centres lie in the triangles selected for them.

    Args:
        pixels: (M,) int32, counted in row-major order through all images.
        index: (M,) int32 triangles.
    Returns:
        zbuf: (M,) depth in view space.
        bary: (M, 3) barycentric coordinates in the triangle.
        dists: (M,) squared NDC distance to the nearest edge, negative inside.
        All differentiable in ``triangles.verts_ndc``, the selection held fixed. The distance follows the nearest
        edge (the first of equals); a perspective denominator at its bound passes no gradient.
    """
    with torch.autocast(triangles.verts_ndc.device.type, enabled=False):
        return _MeshFragments.apply(triangles.verts_ndc, triangles.faces, pixels, index, mode)


class _MeshFragments(FirstOrder):
    @staticmethod
    def forward(ctx: Any, verts: torch.Tensor, faces: Any, pixels: Any, index: Any, mode: RasterMode) -> Any:
        verts = verts.detach().contiguous()
        n = len(index)
        zbuf, bary, dists = verts.new_empty(n), verts.new_empty(n, 3), verts.new_empty(n)
        ctx.save_for_backward(verts, faces, pixels, index)
        ctx.raster = mode.raster
        if n:
            runtime.launch(kernels.mesh_fragments_forward, ctx.raster, verts, faces, pixels, index, zbuf, bary, dists)
        return zbuf, bary, dists

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        fragments = ctx.saved_tensors
        verts, _, _, index = fragments
        n_parts = part_count(verts.numel(), len(index))
        grad_verts = verts.new_zeros(n_parts, *verts.shape)
        if len(index):
            grads = tuple(g.contiguous() for g in grads)
            bounds = part_bounds(len(index), n_parts, verts.device)
            atomic = runtime.is_parallel_device()
            runtime.launch(kernels.mesh_fragments_adjoint, ctx.raster, *fragments, *grads, bounds, atomic, grad_verts)
        return grad_verts.sum(0), None, None, None, None
