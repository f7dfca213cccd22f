"""The background of composited points."""

from __future__ import annotations

import torch

from tirender.renderer.points.compositor import AlphaCompositor, Color


def _add_background_color_to_images(
    pix_idxs: torch.Tensor, images: torch.Tensor, background_color: Color
) -> torch.Tensor:
    """Put a colour into the pixels without points.

    Args:
        pix_idxs: (N, K, H, W) indices of points, -1 where empty.
        images: (N, C, H, W); differentiable.
        background_color: C numbers, or three for four channels, which means an alpha of 1.
    Returns:
        (N, C, H, W).
    """
    pixels = images.permute(0, 2, 3, 1)
    filled = AlphaCompositor(background_color)._on_background(pixels, (pix_idxs < 0).all(1), {})
    return filled.permute(0, 3, 1, 2)
