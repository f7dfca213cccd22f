"""The slow rasterizer of points, which tirender has in one implementation, and the size of bins, which it lacks."""

from __future__ import annotations

import torch

from tirender.renderer.points.rasterize_points import rasterize_points
from tirender.structures import Pointclouds

kMaxPointsPerBin = 22


def rasterize_points_python(
    pointclouds: Pointclouds,
    image_size: int | tuple[int, int] = 256,
    radius: float | list | tuple | torch.Tensor = 0.01,
    points_per_pixel: int = 8,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """See :func:`tirender.renderer.points.rasterize_points.rasterize_points`."""
    return rasterize_points(pointclouds, image_size, radius, points_per_pixel)
