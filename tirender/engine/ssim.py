"""Structural similarity of images, over ``kernels/ssim.py`` and ``kernels/ssim_lanes.py``."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from tirender.engine import runtime
from tirender.engine.kernels import ssim as kernels
from tirender.engine.kernels.lanes import LANES
from tirender.engine.kernels.ssim import RADIUS
from tirender.engine.kernels.ssim_lanes import ssim_lanes_adjoint, ssim_lanes_forward

SIGMA, C1, C2 = 1.5, 0.01**2, 0.03**2
TASKS = 64  # on a CPU


@runtime.not_compiled
def structural_similarity(x: torch.Tensor, y: torch.Tensor, valid: bool) -> torch.Tensor:
    """The mean similarity of each image.

    Args:
        x, y: (N, H, W, C) float32 or float64, colours in [0, 1].
        valid: whether only windows within the image count; else the image has a border of 0.
    Returns:
        (N,); differentiable in both.
    """
    with torch.autocast(x.device.type, enabled=False):
        return _StructuralSimilarity.apply(x, y, RADIUS if valid else 0)


class _StructuralSimilarity(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, y: torch.Tensor, margin: int) -> torch.Tensor:
        n, height, width, channels = x.shape
        ctx.shape, ctx.sizes = x.shape, kernels.Sizes(n * channels, height, width, margin)
        ctx.count = channels * (height - 2 * margin) * (width - 2 * margin)
        x, y = _planes(x), _planes(y)
        slopes, sums = _forward(ctx.sizes, x, y)
        ctx.save_for_backward(x, y, slopes)
        return sums.view(n, -1).sum(1) / ctx.count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> Any:
        x, y, slopes = ctx.saved_tensors
        scale = (grad / ctx.count).repeat_interleave(ctx.shape[3]).contiguous()
        grad_x = grad_y = None
        if ctx.needs_input_grad[0]:
            grad_x = _adjoint(ctx.sizes, ctx.shape, x, y, slopes, scale)
        if ctx.needs_input_grad[1]:
            grad_y = _adjoint(ctx.sizes, ctx.shape, y, x, _forward(ctx.sizes, y, x)[0], scale)
        return grad_x, grad_y, None


def _forward(sizes: kernels.Sizes, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The derivatives, and sums of the similarities of each plane."""
    weights = _weights(x.dtype, x.device)
    if runtime.is_parallel_device():
        moments, slopes, values = x.new_empty(len(x), 5), x.new_empty(len(x), 3), torch.empty_like(x)
        runtime.launch(kernels.ssim_columns, sizes, weights, x, y, moments)
        runtime.launch(kernels.ssim_forward, sizes, weights, moments, slopes, values)
        return slopes, values
    slopes, sums = x.new_zeros(3 * len(x), LANES), x.new_empty(sizes.planes, sizes.height)
    scratch = x.new_empty(TASKS * 5 * (_vectors(sizes.width) + 2), LANES)
    runtime.launch(ssim_lanes_forward, sizes, weights, _columns(x.dtype), x, y, scratch, slopes, sums)
    return slopes, sums


def _adjoint(
    sizes: kernels.Sizes,
    shape: torch.Size,
    x: torch.Tensor,
    y: torch.Tensor,
    slopes: torch.Tensor,
    scale: torch.Tensor,
) -> torch.Tensor:
    """The gradient in the image x, (N, H, W, C)."""
    n, height, width, channels = shape
    weights = _weights(x.dtype, x.device)
    if runtime.is_parallel_device():
        sums, grad = torch.empty_like(slopes), torch.empty_like(x)
        runtime.launch(kernels.ssim_slope_columns, sizes, weights, slopes, sums)
        runtime.launch(kernels.ssim_adjoint, sizes, weights, x, y, sums, scale, grad)
    else:
        vectors = _vectors(width)
        grad = x.new_empty(sizes.planes * height * vectors, LANES)
        scratch = x.new_empty(TASKS * 3 * (vectors + 2), LANES)
        runtime.launch(ssim_lanes_adjoint, sizes, weights, _columns(x.dtype), x, y, slopes, scale, scratch, grad)
    return grad.view(n, channels, height, -1)[..., :width].permute(0, 2, 3, 1)


def _planes(images: torch.Tensor) -> torch.Tensor:
    """The channels of images one after the other; on a CPU as rows of lanes, with ``RADIUS`` rows of 0 around each."""
    images = images.detach().permute(0, 3, 1, 2)
    if runtime.is_parallel_device():
        return images.reshape(-1)
    n, channels, height, width = images.shape
    vectors = _vectors(width)
    planes = images.new_zeros(n, channels, height + 2 * RADIUS, vectors * LANES)
    planes[:, :, RADIUS : RADIUS + height, :width] = images
    return planes.view(-1, LANES)


def _vectors(width: int) -> int:
    return math.ceil(width / LANES)


@functools.cache
def _weights(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """(RADIUS + 3,) the window from its middle, and the two constants."""
    window = [math.exp(-k * k / (2 * SIGMA**2)) for k in range(RADIUS + 1)]
    total = window[0] + 2 * sum(window[1:])
    return torch.tensor([*(w / total for w in window), C1, C2], dtype=dtype, device=device)


@functools.cache
def _columns(dtype: torch.dtype) -> torch.Tensor:
    return torch.arange(LANES, dtype=dtype)[None]
