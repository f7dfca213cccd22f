"""The soft silhouette of packed fragments, over ``kernels/silhouette.py``."""

from __future__ import annotations

from typing import Any

import torch

from tirender.engine import runtime
from tirender.engine.first_order import FirstOrder
from tirender.engine.kernels import silhouette as kernels
from tirender.engine.partial_sums import part_bounds_by_work, part_count
from tirender.engine.rasterize_meshes import RasterMode, Triangles


@runtime.not_compiled
def soft_silhouette(
    triangles: Triangles, mode: RasterMode, offsets: torch.Tensor, index: torch.Tensor, sigma: float
) -> torch.Tensor:
    """Probability that each pixel is covered: ``1 - prod_k (1 - sigmoid(-d_k / sigma))``.

    Args:
        offsets, index: the triangles of each pixel, from :func:`select_triangles`; their order does not matter.
        sigma: softness of the outline in NDC units squared.
    Returns:
        (N, H, W) alpha in [0, 1]; differentiable in ``triangles.verts_ndc``, the selection held fixed.
    """
    with torch.autocast(triangles.verts_ndc.device.type, enabled=False):
        transmittance = _Silhouette.apply(triangles.verts_ndc, triangles.faces, offsets, index, mode, sigma)
    return (1 - transmittance).view(triangles.n_images, *mode.image_size)


class _Silhouette(FirstOrder):
    @staticmethod
    def forward(ctx: Any, verts: torch.Tensor, faces: Any, offsets: Any, index: Any, mode: Any, sigma: float) -> Any:
        verts = verts.detach().contiguous()
        transmittance, coverage = verts.new_empty(len(offsets) - 1), verts.new_empty(len(index))
        edges = torch.empty_like(index)
        ctx.numbers = (mode.raster, 1 / sigma)
        fragments = (offsets, index, faces, verts, transmittance, coverage, edges)
        if len(transmittance):
            runtime.launch(kernels.silhouette_forward, *ctx.numbers, *fragments)
        ctx.save_for_backward(*fragments)
        return transmittance

    @staticmethod
    def backward(ctx: Any, grad_transmittance: torch.Tensor) -> Any:
        fragments = ctx.saved_tensors
        offsets, index, _, verts, *_ = fragments
        n_parts = part_count(2 * len(verts), len(index))
        grad_xy = verts.new_zeros(n_parts, len(verts), 2)
        if len(index):
            grad_alpha, bounds = -grad_transmittance.contiguous(), part_bounds_by_work(offsets, n_parts)
            atomic = runtime.is_parallel_device()
            runtime.launch(kernels.silhouette_adjoint, *ctx.numbers, *fragments, grad_alpha, bounds, atomic, grad_xy)
        grad_verts = torch.nn.functional.pad(grad_xy.sum(0), (0, 1))  # depth does not matter
        return grad_verts, None, None, None, None, None
