"""Analytic anti-aliasing of outlines, over ``kernels/antialias.py``."""

from __future__ import annotations

from typing import Any

import torch

from tirender.engine import runtime
from tirender.engine.first_order import FirstOrder
from tirender.engine.kernels import antialias as kernels
from tirender.engine.kernels.types import ImageSize
from tirender.engine.partial_sums import part_bounds, part_count


@runtime.not_compiled
def blend_outlines(colors: torch.Tensor, picture: kernels.Picture, image_size: tuple[int, int]) -> torch.Tensor:
    """Blend the pixels beside outlines by where these cross between the pixels' centres.

    Args:
        colors: (N * H * W, C) float32 or float64.
        picture: what each pixel shows; ``verts`` (V, 3) in NDC carries the gradient.
        image_size: (H, W).
    Returns:
        (N * H * W, C), differentiable in the colours and in x and y of the vertices; which triangle a pixel shows, and
        which edges are outlines, is held fixed.
    """
    with torch.autocast(colors.device.type, enabled=False):
        verts = picture.verts.to(colors.dtype)
        return _BlendOutlines.apply(colors, verts, picture, ImageSize(*image_size))


class _BlendOutlines(FirstOrder):
    @staticmethod
    def forward(ctx: Any, colors: torch.Tensor, verts: torch.Tensor, picture: Any, size: Any) -> torch.Tensor:
        colors = colors.detach().contiguous()
        verts = verts.detach().contiguous()
        picture = picture._replace(verts=verts, depths=picture.depths.to(verts.dtype))
        picture = kernels.Picture(*(t.contiguous() for t in picture))
        image = colors.clone()
        if colors.numel():
            runtime.launch(kernels.antialias_forward, size, *picture, colors, image)
        ctx.size = size
        ctx.save_for_backward(*picture, colors)
        return image

    @staticmethod
    def backward(ctx: Any, grad_image: torch.Tensor) -> Any:
        *picture, colors = ctx.saved_tensors
        verts = kernels.Picture(*picture).verts
        n_pixels, wanted = len(colors), ctx.needs_input_grad[1]
        n_parts = part_count(2 * len(verts) if wanted else 0, n_pixels)
        grad_colors = grad_image.clone(memory_format=torch.contiguous_format)
        grad_xy = verts.new_zeros(n_parts, len(verts) if wanted else 0, 2)
        if colors.numel():
            bounds, atomic = part_bounds(n_pixels, n_parts, colors.device), runtime.is_parallel_device()
            arrays = (*picture, colors, grad_image.contiguous(), bounds)
            runtime.launch(kernels.antialias_adjoint, ctx.size, *arrays, atomic, grad_colors, grad_xy)
        grad_verts = torch.nn.functional.pad(grad_xy.sum(0), (0, 1)) if wanted else None  # depth does not matter
        return grad_colors, grad_verts, None, None
