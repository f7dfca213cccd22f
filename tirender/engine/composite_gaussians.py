"""Images of Gaussians, over ``kernels/composite_gaussians.py`` and ``kernels/composite_lanes.py``."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from tirender.checks import fail
from tirender.engine import runtime
from tirender.engine.gaussian_tiles import Gaussians2D, TileLists, list_tiles
from tirender.engine.kernels import composite_gaussians as kernels
from tirender.engine.kernels.composite_gaussians import MOMENTS, ROWS, Variant
from tirender.engine.kernels.composite_lanes import composite_lanes_adjoint, composite_lanes_forward, scratch_size
from tirender.engine.kernels.lanes import LANES
from tirender.engine.tiles import check_loops

MAX_CHANNELS = 16  # drawn at once: kernels are compiled for each number
TASKS = 64  # on a CPU
ALPHA_MIN, TRANSMITTANCE_MIN = 1 / 255, 1e-4


@dataclass(frozen=True)
class Canvas:
    """What Gaussians are drawn on.

    Args:
        height, width: of the images, in pixels.
        n_images: I.
        alpha_max: the greatest alpha that a Gaussian has at a pixel.
    """

    height: int
    width: int
    n_images: int
    alpha_max: float = 0.999


@runtime.not_compiled
def composite_gaussians(
    gaussians: Gaussians2D,
    backgrounds: torch.Tensor | None,
    canvas: Canvas,
    absgrad_of: torch.Tensor | None = None,
    tiles: TileLists | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw Gaussians, nearest first.

    Args:
        gaussians: of float32 or float64.
        backgrounds: (I, C), or None for 0.
        canvas: the images.
        absgrad_of: the means, in any shape, that the backward pass gives an attribute ``absgrad``: the sums over
            pixels of the absolute values of their gradient.
        tiles: which Gaussians each tile shows; None to find them.
    Returns:
        colors: (I, H, W, C).
        alphas: (I, H, W, 1).
        Both differentiable in means2d, conics, colors, opacities and backgrounds. Which Gaussians a pixel sees is held
        fixed.
    Raises:
        ValueError: for ``absgrad_of`` with more than ``MAX_CHANNELS`` channels, or where a driver ended loops early.
    """
    g, n_channels = gaussians, gaussians.colors.shape[1]
    if absgrad_of is not None and n_channels > MAX_CHANNELS:
        fail("absgrad", f"at most {MAX_CHANNELS} channels with it", n_channels)
    with torch.autocast(g.means2d.device.type, enabled=False):
        if backgrounds is None:
            backgrounds = g.colors.new_zeros(canvas.n_images, n_channels)
        if tiles is None:
            tiles = list_tiles(g, canvas.height, canvas.width, canvas.n_images, limits_of(canvas, g.colors))
        parts = []
        for c in range(0, max(n_channels, 1), MAX_CHANNELS):
            part = slice(c, c + MAX_CHANNELS)
            leaves = (g.means2d, g.conics, g.colors[:, part], g.opacities, backgrounds[:, part])
            keep = torch.is_grad_enabled() and any(leaf.requires_grad for leaf in leaves)
            parts.append(_CompositeGaussians.apply(*leaves, tiles.with_channels(part), canvas, absgrad_of, keep))
    return parts[0][0] if len(parts) == 1 else torch.cat([colors for colors, _ in parts], -1), parts[0][1]


class _CompositeGaussians(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        means2d: torch.Tensor,
        conics: torch.Tensor,
        colors: torch.Tensor,
        opacities: torch.Tensor,
        backgrounds: torch.Tensor,
        tiles: TileLists,
        canvas: Canvas,
        absgrad_of: torch.Tensor | None,
        keep: bool,
    ) -> Any:
        n_channels, is_parallel = colors.shape[1], runtime.is_parallel_device()
        ctx.tiles, ctx.absgrad_of = tiles, absgrad_of
        ctx.variant = Variant(n_channels, exact=colors.dtype == torch.float64, kept=keep or is_parallel)
        n_rows = (len(tiles.lists.offsets) - 1) * ROWS
        stops = tiles.order.new_empty(n_rows if ctx.variant.kept else 0, LANES)
        pixels = kernels.Pixels(colors.new_empty(n_rows, LANES), stops)
        size = (canvas.n_images, canvas.height, canvas.width)
        image, alphas = colors.new_empty(*size, n_channels), colors.new_empty(*size, 1)
        given = (limits_of(canvas, colors), *tiles.lists, backgrounds.detach().contiguous())
        ctx.save_for_backward(conics, opacities, *given, *pixels)
        if alphas.numel():
            drawn = (image.view(-1, n_channels), alphas.view(-1))
            if is_parallel:
                state = (x.view(-1) for x in pixels)
                runtime.launch(kernels.composite_pixels_forward, tiles.sizes, ctx.variant, *given, *state, *drawn)
                check_loops(pixels.stops)
            else:
                scratch = (_columns(colors.dtype), colors.new_empty(TASKS * scratch_size(n_channels), LANES))
                runtime.launch(composite_lanes_forward, tiles.sizes, ctx.variant, *given, *scratch, *pixels, *drawn)
        return image, alphas

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_image: torch.Tensor, grad_alphas: torch.Tensor) -> Any:
        conics, opacities, *given, transmittances, stops = ctx.saved_tensors
        tiles, n_channels = ctx.tiles, ctx.variant.n_channels
        variant = ctx.variant._replace(absolute=ctx.absgrad_of is not None)
        n_images, n_tiles = len(given[-1]), len(tiles.lists.offsets) - 1
        grads = (grad_image.contiguous().view(-1, n_channels), grad_alphas.contiguous().view(-1))
        width = MOMENTS + n_channels + 2 * variant.absolute
        grad_backgrounds = conics.new_zeros(n_tiles, n_channels)
        if runtime.is_parallel_device():
            places = torch.arange(len(tiles.order) + 1, dtype=torch.int32, device=conics.device)
            moments = conics.new_zeros(len(tiles.order), width)
            kernel: Any = kernels.composite_pixels_adjoint
            scratch: tuple[torch.Tensor, ...] = ()
            pixels = (transmittances.view(-1), stops.view(-1))
        else:
            places = tiles.places
            moments = conics.new_empty(len(tiles.lists.entries), width)
            kernel = composite_lanes_adjoint
            scratch = (_columns(conics.dtype), conics.new_empty(TASKS * scratch_size(n_channels + 2), LANES))
            scratch = (*scratch, tiles.order.new_empty(TASKS, ROWS))
            pixels = (transmittances, stops)
        if grads[1].numel():
            runtime.launch(kernel, tiles.sizes, variant, *given, *scratch, *pixels, *grads, moments, grad_backgrounds)
        n = len(conics)
        sums = tuple(conics.new_zeros(n, *shape) for shape in ((2,), (3,), (), (n_channels,)))
        absolute = conics.new_zeros(n if variant.absolute else 1, 2)
        if len(tiles.order):
            gathered = (tiles.order, tiles.lists.records, places, moments, conics.contiguous(), opacities.contiguous())
            runtime.launch(kernels.gather_moments, variant, *gathered, *sums, absolute)
        if ctx.absgrad_of is not None:
            ctx.absgrad_of.absgrad = absolute.view(ctx.absgrad_of.shape)
        grad_means2d, grad_conics, grad_opacities, grad_colors = sums
        grad_background = grad_backgrounds.view(n_images, -1, n_channels).sum(1)
        return grad_means2d, grad_conics, grad_colors, grad_opacities, grad_background, None, None, None, None


def limits_of(canvas: Canvas, like: torch.Tensor) -> torch.Tensor:
    """(3,) greatest and least alpha, least transmittance."""
    return like.new_tensor([canvas.alpha_max, ALPHA_MIN, TRANSMITTANCE_MIN])


@functools.cache
def _columns(dtype: torch.dtype) -> torch.Tensor:
    """(1, LANES) the pixel centres of a row of a tile, from its edge."""
    return (torch.arange(LANES, dtype=dtype) + 0.5)[None]
