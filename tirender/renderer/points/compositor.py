"""Compositors: from the points of each pixel to its colour, on a background."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from tirender.checks import fail
from tirender.engine.compositing import composite
from tirender.renderer.compositing import composite_dense
from tirender.structures.fragments import PackedPointFragments

Color = float | Sequence[float] | torch.Tensor


class _Compositor(nn.Module):
    """The common part of both compositors."""

    mode: str

    def __init__(self, background_color: Color | None = None) -> None:
        super().__init__()
        self.background_color = background_color

    def forward(
        self, fragments: torch.Tensor, alphas: torch.Tensor, ptclds: torch.Tensor, **kwargs: Any
    ) -> torch.Tensor:
        """Composite dense fragments.

        Args:
            fragments: (N, K, H, W) integer point indices, nearest first, -1 where empty.
            alphas: (N, K, H, W) weights.
            ptclds: (C, P) features, float32 or float64.
            kwargs: ``background_color`` replaces the compositor's own; the rest is ignored.
        Returns:
            (N, C, H, W); differentiable in weights, features and background.
        Raises:
            ValueError: if shapes, dtypes or the background's channels do not fit.
        """
        images = composite_dense(fragments, alphas, ptclds, self.mode).permute(0, 2, 3, 1)
        return self._on_background(images, (fragments < 0).all(1), kwargs).permute(0, 3, 1, 2)

    def forward_packed(
        self, fragments: PackedPointFragments, alphas: torch.Tensor, features: torch.Tensor, **kwargs: Any
    ) -> torch.Tensor:
        """Composite packed fragments to images (N, H, W, C), given weights (M,) and features (P, C)."""
        offsets = fragments.offsets
        pixels = composite(offsets, fragments.idx, alphas, features, self.mode)
        pixels = self._on_background(pixels, offsets[1:] == offsets[:-1], kwargs)
        return pixels.view(fragments.n_images, *fragments.image_size, features.shape[1])

    def _on_background(self, images: torch.Tensor, empty: torch.Tensor, kwargs: dict[str, Any]) -> torch.Tensor:
        """Put the background colour into images (..., C) at the pixels that are ``empty`` (...)."""
        given = kwargs.get("background_color", self.background_color)
        if given is None:
            return images
        color = torch.as_tensor(given, dtype=images.dtype, device=images.device)
        n_channels = images.shape[-1]
        if color.dim() == 2 and len(color) == 1:
            color = color[0]
        if color.dim() == 1 and len(color) + 1 == n_channels:
            color = torch.cat([color, color.new_ones(1)])
        if color.dim() > 1 or (color.dim() == 1 and len(color) != n_channels):
            fail("background_color", f"a number, or one for each of {n_channels} channels", tuple(color.shape))
        return torch.where(empty[..., None], color, images)


class AlphaCompositor(_Compositor):
    """Composite the points of each pixel front to back; see :func:`tirender.renderer.compositing.alpha_composite`.

    Args:
        background_color: the colour of pixels without points: one number, or C numbers; C - 1 numbers mean an alpha of
            1. None for 0. May be passed to the call instead.
    """

    mode = "alpha"


class NormWeightedCompositor(_Compositor):
    """Take the weighted mean of the points of each pixel; see :func:`tirender.renderer.compositing.norm_weighted_sum`.

    Args:
        background_color: as for :class:`AlphaCompositor`.
    """

    mode = "norm"
