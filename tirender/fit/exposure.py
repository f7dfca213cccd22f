"""Exposure of photos: how bright, and in which tint, each of them shows the scene."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from tirender.checks import check_choice

EXPOSURES = ("none", "gain", "affine")


class Exposure(nn.Module):
    """A map of the colours of each photo, the identity at first; on the mean over all photos it stays the identity.

    Args:
        n: photos.
        kind: "gain" for one factor and one offset a photo, "affine" for a matrix and an offset of all channels.
    Attributes:
        changes: (n, 2) or (n, 12), what is added to the identity.
    """

    def __init__(self, n: int, kind: str) -> None:
        super().__init__()
        self.kind = check_choice("exposure", kind, EXPOSURES[1:])
        self.changes = nn.Parameter(torch.zeros(n, 2 if kind == "gain" else 12))

    def forward(
        self, colors: torch.Tensor, opacity: torch.Tensor | float, photo: Sequence[int] | torch.Tensor
    ) -> torch.Tensor:
        """The colours that photos show.

        Args:
            colors: (B, ..., 3), multiplied by opacity.
            opacity: (B, ..., 1).
            photo: (B,) of each.
        """
        rows = torch.as_tensor(photo).to(self.changes.device)
        changes = (self.changes - self.changes.mean(0)).index_select(0, rows)
        changes = changes.view(len(rows), *[1] * (colors.dim() - 2), -1)
        if self.kind == "gain":
            return colors * (1 + changes[..., :1]) + changes[..., 1:] * opacity
        turned = (colors[..., None, :] * changes[..., :9].unflatten(-1, (3, 3))).sum(-1)
        return colors + turned + changes[..., 9:] * opacity


def matched(image: torch.Tensor, truth: torch.Tensor, kind: str) -> torch.Tensor:
    """An image with the exposure of a photo, the best in the least squares sense.

    Args:
        image, truth: (H, W, 3).
        kind: "none" for the image itself, or as of :class:`Exposure`.
    """
    if check_choice("exposure", kind, EXPOSURES) == "none":
        return image
    x, y = (v.reshape(-1, 3).double() for v in (image, truth))
    if kind == "gain":
        mean_x, mean_y = x.mean(), y.mean()
        variance = (x - mean_x).square().mean()
        gain = ((x - mean_x) * (y - mean_y)).mean() / variance if variance > 0 else torch.zeros_like(variance)
        return (mean_y + gain * (x - mean_x)).view_as(image).to(image)
    with_one = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
    gram = with_one.T @ with_one
    weights = torch.linalg.pinv(gram, hermitian=True) @ (with_one.T @ y)
    return (with_one @ weights).view_as(image).to(image)
