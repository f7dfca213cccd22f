"""Structural similarity."""

from __future__ import annotations

import torch

from tirender.checks import FLOATS, check_choice, check_tensor, fail
from tirender.engine.kernels.ssim import WINDOW
from tirender.engine.ssim import structural_similarity


def ssim(x: torch.Tensor, y: torch.Tensor, padding: str = "same", reduction: str | None = "mean") -> torch.Tensor:
    """The structural similarity of images (Wang et al. 2004): 1 for equal ones.

    The window is a Gaussian of 11 x 11 pixels with a standard deviation of 1.5, as in Gaussian splatting. Channels are
    compared each by itself.

    Args:
        x, y: (N, H, W, C), or (H, W, C), float32 or float64, colours in [0, 1].
        padding: ``"same"`` lets windows reach beyond the image, where it counts as 0; ``"valid"`` takes the windows
            within the image only.
        reduction: ``"mean"`` over the images; None for one value an image.
    Returns:
        (), or (N,); differentiable in both.
    Raises:
        ValueError: if the shapes differ, or with ``"valid"`` an image is smaller than the window.
    """
    check_tensor("x", x, ("...", "H", "W", "C"), FLOATS)
    check_tensor("y", y, tuple(x.shape), like=x)
    check_choice("padding", padding, ("same", "valid"))
    check_choice("reduction", reduction, ("mean", None))
    if x.dim() not in (3, 4):
        fail("x", "shape (N, H, W, C) or (H, W, C)", tuple(x.shape))
    least = WINDOW if padding == "valid" else 1
    if min(x.shape[-3:-1]) < least or x.shape[-1] == 0 or len(x) == 0:
        fail("x", f"images of {least} x {least} pixels or more", tuple(x.shape))
    batch = (x, y) if x.dim() == 4 else (x[None], y[None])
    values = structural_similarity(*batch, padding == "valid")
    return values.mean() if reduction == "mean" else values
