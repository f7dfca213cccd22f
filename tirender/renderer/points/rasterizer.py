"""The point rasterizer: from point clouds in world space and cameras to fragments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tirender.checks import all_finite, check_kind
from tirender.engine.first_order import refuse_transforms
from tirender.renderer.points.rasterize_points import Radius, packed_radius, point_rasterization
from tirender.renderer.projection import pick_cameras, to_clip, to_ndc
from tirender.renderer.utils import parse_image_size
from tirender.structures.fragments import PackedPointFragments, PointFragments
from tirender.structures.pointclouds import Pointclouds

if TYPE_CHECKING:
    from tirender.renderer.cameras import CamerasBase

__all__ = ["PointFragments", "PointsRasterizationSettings", "PointsRasterizer"]


@dataclass
class PointsRasterizationSettings:
    """Settings of the point rasterizer. Fields may be assigned; they are checked when used.

    Args:
        image_size: side of a square image, or (H, W), in pixels.
        radius: the radius of the points in NDC units: a number, or one a point, (N, max P_i), or (P,) for one cloud. 0
            hides a point.
        points_per_pixel: the number of points that a pixel keeps, nearest first; None keeps all.
        bin_size, max_points_per_bin: ignored; nothing overflows here, and nothing needs tuning.
    """

    image_size: int | list[int] | tuple[int, int] = 256
    radius: Radius = 0.01
    points_per_pixel: int | None = 8
    bin_size: int | None = None
    max_points_per_bin: int | None = None


class PointsRasterizer(nn.Module):
    """Project point clouds with cameras and find the nearest points at each pixel.

    Args:
        cameras: one camera for all clouds, or one a cloud; may be passed to the call instead.
        raster_settings: the settings; may be passed to the call instead.
    """

    def __init__(
        self, cameras: CamerasBase | None = None, raster_settings: PointsRasterizationSettings | None = None
    ) -> None:
        super().__init__()
        self.cameras = cameras
        self.raster_settings = PointsRasterizationSettings() if raster_settings is None else raster_settings

    def to(self, device: Any) -> PointsRasterizer:  # type: ignore[override]
        """Move the cameras to a device; returns self."""
        if self.cameras is not None:
            self.cameras = self.cameras.to(device)  # type: ignore[assignment]
        return self

    def transform(self, point_clouds: Pointclouds, **kwargs: Any) -> Pointclouds:
        """Project clouds: their points become (x_ndc, y_ndc, z_view), the input of :func:`rasterize_points`.

        A point with a coordinate that is not finite becomes NaN, without a gradient.

        Raises:
            ValueError: if there are no cameras, or neither one nor one a cloud.
        """
        check_kind("point_clouds", point_clouds, Pointclouds)
        cameras = pick_cameras(self.cameras, kwargs, len(point_clouds), "clouds")
        return point_clouds.update_padded(_ndc_padded(point_clouds, cameras, kwargs))

    def forward(self, point_clouds: Pointclouds, **kwargs: Any) -> PointFragments:
        """Rasterize a batch of clouds.

        Args:
            point_clouds: N clouds in world space.
            kwargs: ``cameras`` and ``raster_settings`` replace the rasterizer's own; the rest is passed to the cameras
                (``R``, ``T``, ``fov``, ...).
        Returns:
            the fragments, with the tensors of :func:`rasterize_points`; differentiable in points and cameras.
        Raises:
            ValueError: if there are no cameras, or a setting is out of range.
        """
        refuse_transforms(type(self))
        check_kind("point_clouds", point_clouds, Pointclouds)
        settings = kwargs.pop("raster_settings", None) or self.raster_settings
        passed = dict(kwargs)
        cameras = pick_cameras(self.cameras, kwargs, len(point_clouds), "clouds")
        if cameras.get_image_size() is None and not cameras.in_ndc():
            kwargs.setdefault("image_size", (parse_image_size(settings.image_size),))
        if type(self).transform is not PointsRasterizer.transform:  # a subclass projects in its own way
            point_clouds = self.transform(point_clouds, **passed)
            points_ndc = point_clouds.points_packed()
        else:
            points_ndc = _ndc_padded(point_clouds, cameras, kwargs).reshape(-1, 3)
            if len(points_ndc) != len(point_clouds.points_packed()):
                points_ndc = points_ndc.index_select(0, point_clouds.padded_to_packed_idx())
        rasterization = point_rasterization(
            point_clouds,
            points_ndc,
            settings.image_size,
            packed_radius(settings.radius, point_clouds),
            settings.points_per_pixel,
        )
        return PointFragments.from_packed(PackedPointFragments.of(rasterization), settings.points_per_pixel)


def _ndc_padded(point_clouds: Pointclouds, cameras: CamerasBase, kwargs: dict[str, Any]) -> torch.Tensor:
    """Project padded points to (N, max P_i, 3) rows (x_ndc, y_ndc, z_view)."""
    points = point_clouds._rows.pad_view(point_clouds.points_packed())
    if all_finite(points):
        return to_ndc(to_clip(points, cameras, kwargs))
    # NaN * 0 is NaN: in the matrix products, one such point would make all gradients of the camera NaN
    finite = points.detach().isfinite().all(-1, keepdim=True)
    ndc = to_ndc(to_clip(torch.where(finite, points, 0), cameras, kwargs))
    return torch.where(finite, ndc, torch.nan)
