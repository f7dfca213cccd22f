"""The point renderer: a rasterizer followed by a compositor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tirender.checks import check_kind, check_tensor, fail
from tirender.renderer.points.compositor import AlphaCompositor, NormWeightedCompositor
from tirender.renderer.points.rasterize_points import packed_radius
from tirender.structures.pointclouds import Pointclouds

if TYPE_CHECKING:
    from tirender.renderer.points.rasterizer import PointsRasterizer


class PointsRenderer(nn.Module):
    """Render point clouds: ``images = renderer(point_clouds, cameras=…)``.

    A point's weight at a pixel is ``1 - dist^2 / radius^2``: 1 at the point, 0 at distance ``radius``.

    Args:
        rasterizer: maps clouds to fragments.
        compositor: maps fragments, weights and features to images; any module with ``forward(idx (N, K, H, W), weights
            (N, K, H, W), features (C, P), **kwargs) -> (N, C, H, W)``.
    """

    def __init__(self, rasterizer: PointsRasterizer, compositor: nn.Module) -> None:
        super().__init__()
        self.rasterizer = rasterizer
        self.compositor = compositor

    def to(self, device: Any) -> PointsRenderer:  # type: ignore[override]
        """Move the rasterizer and the compositor to a device; returns self."""
        self.rasterizer = self.rasterizer.to(device)
        self.compositor = self.compositor.to(device)
        return self

    def forward(self, point_clouds: Pointclouds, **kwargs: Any) -> torch.Tensor:
        """Render a batch of clouds.

        With tirender's own compositors, no tensor has the size of pixels times ``points_per_pixel``.

        Args:
            point_clouds: N clouds in world space, with features of C channels.
            kwargs: passed to rasterizer and compositor: ``cameras``, ``raster_settings``, ``background_color``, ...
        Returns:
            (N, H, W, C) images; differentiable in points, features, radius, cameras and background. Which points a
            pixel sees is held fixed.
        Raises:
            ValueError: if the clouds have no features, or the features have another dtype than the points.
        """
        check_kind("point_clouds", point_clouds, Pointclouds)
        features = point_clouds.features_packed()
        if features is None and len(point_clouds):
            fail("point_clouds", "clouds with features", "none")
        elif features is None:
            features = point_clouds.points_packed()
        check_tensor("features", features, ("P", "C"), like=point_clouds.points_packed())
        fragments = self.rasterizer(point_clouds, **kwargs)
        settings = kwargs.get("raster_settings") or self.rasterizer.raster_settings
        radius = packed_radius(settings.radius, point_clouds)
        radius = torch.where(radius > 0, radius, 1)  # points of radius 0 are not drawn, but empty slots read point 0
        packed = getattr(fragments, "packed", None)
        if packed is not None and type(self.compositor) in (AlphaCompositor, NormWeightedCompositor):
            weights = _weights(packed.idx, packed.dists, radius)
            return self.compositor.forward_packed(packed, weights, features, **kwargs)  # type: ignore[operator]
        dists = check_tensor("fragments.dists", fragments.dists, tuple(fragments.idx.shape))
        weights = _weights(fragments.idx.clamp(min=0), dists, radius)
        idx, weights = (v.permute(0, 3, 1, 2) for v in (fragments.idx.long(), weights))
        return self.compositor(idx, weights, features.t(), **kwargs).permute(0, 2, 3, 1)


def _weights(idx: torch.Tensor, dists: torch.Tensor, radius: torch.Tensor) -> torch.Tensor:
    """``1 - dists / radius^2``, with a radius () for all points or (P,), one a point."""
    if radius.dim():
        radius = radius.index_select(0, idx.reshape(-1)).view(idx.shape)
    return 1 - dists / (radius * radius)
