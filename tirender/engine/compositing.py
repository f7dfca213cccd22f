"""Compositing of packed points, over ``kernels/compositing.py``."""

from __future__ import annotations

from typing import Any

import torch

from tirender.engine import runtime
from tirender.engine.first_order import FirstOrder
from tirender.engine.kernels import compositing as kernels
from tirender.engine.partial_sums import part_bounds_by_work, part_count

MODES = {"alpha": kernels.ALPHA, "norm": kernels.NORM, "sum": kernels.SUM}


@runtime.not_compiled
def composite(
    offsets: torch.Tensor, index: torch.Tensor, alphas: torch.Tensor, features: torch.Tensor, mode: str
) -> torch.Tensor:
    """The colour of each pixel from the points that it sees.

    Args:
        offsets: (pixels + 1,) int32, where each pixel's points begin, and the total.
        index: (M,) int32 points, nearest first within a pixel.
        alphas: (M,) float32 or float64, the weight of each.
        features: (P, C) of the same dtype.
        mode: ``"alpha"`` composites front to back, ``"norm"`` takes the weighted mean (the weights' sum counts as at
            least 1e-4, and has no gradient below), ``"sum"`` the weighted sum.
    Returns:
        (pixels, C), 0 where there is no point; differentiable in ``alphas`` and ``features``.
    """
    with torch.autocast(features.device.type, enabled=False):
        return _Composite.apply(alphas, features, offsets, index, MODES[mode])


class _Composite(FirstOrder):
    @staticmethod
    def forward(ctx: Any, alphas: torch.Tensor, features: torch.Tensor, offsets: Any, index: Any, mode: int) -> Any:
        points = kernels.PackedPoints(offsets, index, alphas.detach().contiguous(), features.detach().contiguous())
        shape = (len(offsets) - 1, features.shape[1])
        ctx.save_for_backward(*points)
        ctx.mode = mode
        if not len(index) or not shape[1]:
            return points.features.new_zeros(shape)
        image = points.features.new_empty(shape)
        runtime.launch(kernels.composite_forward, kernels.CompositeSettings(mode=mode), *points, image)
        return image

    @staticmethod
    def backward(ctx: Any, grad_image: torch.Tensor) -> Any:
        offsets, index, alphas, features = ctx.saved_tensors
        wanted = ctx.needs_input_grad[1]
        n_parts = part_count(features.numel() if wanted else 0, len(index))
        grad_alphas = torch.zeros_like(alphas)
        grad_features = features.new_zeros((n_parts, *features.shape) if wanted else (1, 1, 1))
        if len(index) and features.shape[1]:
            runtime.launch(
                kernels.composite_adjoint,
                kernels.CompositeSettings(mode=ctx.mode, features_wanted=wanted),
                runtime.is_parallel_device(),
                offsets,
                index,
                alphas,
                features,
                grad_image.contiguous(),
                part_bounds_by_work(offsets, n_parts),
                grad_alphas,
                grad_features,
            )
        return grad_alphas, grad_features.sum(0) if wanted else None, None, None, None
