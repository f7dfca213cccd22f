"""Rasterization of point clouds that are already projected."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tirender.checks import check_kind, check_tensor, fail
from tirender.engine.rasterize_points import PointRasterization
from tirender.renderer.utils import parse_image_size
from tirender.structures.fragments import PackedPointFragments, PointFragments
from tirender.structures.pointclouds import Pointclouds

Radius = float | Sequence[float] | Sequence[Sequence[float]] | torch.Tensor


def rasterize_points(
    pointclouds: Pointclouds,
    image_size: int | list[int] | tuple[int, int] = 256,
    radius: Radius = 0.01,
    points_per_pixel: int | None = 8,
    bin_size: int | None = None,
    max_points_per_bin: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The points nearest to the viewer at each pixel of each cloud's image.

    A point belongs to a pixel if its distance to the centre is below its radius, and its depth is >= 0; equal depths
    go to the lower index. A point with a coordinate that is not finite is not drawn.

    Args:
        pointclouds: N clouds of points (x_ndc, y_ndc, z_view), +X left and +Y up, [-1, 1] on the short side.
        image_size: side of a square image, or (H, W), in pixels.
        radius: of the points in NDC units: one above 0 for all, or one a point, (N, max P_i) ((P,) for one cloud); a
            point of radius 0 is then not drawn.
        points_per_pixel: K, how many to keep; None keeps all.
        bin_size, max_points_per_bin: accepted for compatibility; nothing here overflows or needs tuning.
    Returns:
        idx: (N, H, W, K) int32 packed point indices, nearest first.
        zbuf: (N, H, W, K) depth.
        dists: (N, H, W, K) squared NDC distance from the pixel centre to the point.
        All -1 where empty; the last two are differentiable in the points, the choice of points held fixed.
    Raises:
        ValueError: for sizes, radii or counts out of range.
    """
    check_kind("pointclouds", pointclouds, Pointclouds)
    rasterization = point_rasterization(
        pointclouds, pointclouds.points_packed(), image_size, packed_radius(radius, pointclouds), points_per_pixel
    )
    idx, zbuf, dists = PointFragments.from_packed(PackedPointFragments.of(rasterization), points_per_pixel)
    return idx, zbuf, dists


def point_rasterization(
    pointclouds: Pointclouds,
    points_ndc: torch.Tensor,
    image_size: int | list[int] | tuple[int, int],
    radius: torch.Tensor,
    points_per_pixel: int | None,
) -> PointRasterization:
    """The checked rasterization of clouds whose packed points lie at ``points_ndc``."""
    if points_per_pixel is not None and (int(points_per_pixel) != points_per_pixel or points_per_pixel < 1):
        fail("points_per_pixel", "an integer >= 1 or None", points_per_pixel)
    return PointRasterization(
        points_ndc,
        radius.expand(len(points_ndc)),
        pointclouds.packed_to_cloud_idx().int(),
        len(pointclouds),
        parse_image_size(image_size),
        None if points_per_pixel is None else int(points_per_pixel),
    )


def packed_radius(radius: Radius, pointclouds: Pointclouds) -> torch.Tensor:
    """The checked radius as a number () or one a packed point (P,), with its gradient.

    Raises:
        ValueError: for a shape that does not fit the clouds, or a radius out of range.
    """
    points = pointclouds.points_packed()
    try:
        value = torch.as_tensor(radius, device=points.device).to(points.dtype)
    except (TypeError, ValueError, RuntimeError):
        fail("radius", "a number, or one for each point", repr(radius))
    low, high = (float(v) for v in value.detach().aminmax()) if value.numel() else (1.0, 1.0)
    if value.dim() == 0:
        if not 0 < low < torch.inf:
            fail("radius", "a finite number above 0", low)
        return value
    if not (low >= 0 and high < torch.inf):
        fail("radius", "finite numbers >= 0", f"from {low} to {high}")
    n_clouds, largest = len(pointclouds), pointclouds.points_padded().shape[1]
    if n_clouds == 1 and value.dim() == 1:
        value = value[None]
    check_tensor("radius", value, (n_clouds, largest))
    if n_clouds * largest == len(points):
        return value.reshape(-1)
    return value.reshape(-1).index_select(0, pointclouds.padded_to_packed_idx())
