"""Rasterization of point clouds in NDC."""

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
    """Find the points nearest to the viewer at each pixel of each cloud's image.

    A point covers a pixel if its distance to the pixel's centre is below its radius, and its depth is >= 0. Ties in
    depth go to the lower index. Points with a coordinate that is not finite are not drawn.

    Args:
        pointclouds: N clouds of points (x_ndc, y_ndc, z_view), +X left and +Y up, [-1, 1] on the short side.
        image_size: side of a square image, or (H, W), in pixels.
        radius: the radius of the points in NDC units: a number, or one a point, (N, max P_i), or (P,) for one cloud. 0
            hides a point.
        points_per_pixel: K, the number of points to keep at a pixel; None keeps all.
        bin_size, max_points_per_bin: ignored; nothing overflows here, and nothing needs tuning.
    Returns:
        idx: (N, H, W, K) int32 packed point indices, nearest first.
        zbuf: (N, H, W, K) depth in view space.
        dists: (N, H, W, K) squared distance from the pixel's centre to the point, in NDC units squared.
        All are -1 where empty. The last two are differentiable in the points; the choice of points is held fixed.
    Raises:
        ValueError: if a size, radius or count is out of range.
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
    """Check the settings, and make the rasterization of clouds with packed points ``points_ndc`` (P, 3)."""
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
    """Check the radius; return it as a tensor () or (P,), one a packed point. Differentiable.

    Raises:
        ValueError: if the shape does not fit the clouds, or a radius is out of range.
    """
    points = pointclouds.points_packed()
    try:
        value = torch.as_tensor(radius, device=points.device).to(points.dtype)
    except (TypeError, ValueError, RuntimeError):
        fail("radius", "a number, or one for each point", repr(radius))
    low, high = (float(v) for v in value.detach().aminmax()) if value.numel() else (1.0, 1.0)
    if not (low >= 0 and high < torch.inf):
        fail("radius", "finite numbers >= 0", low if low == high else f"from {low} to {high}")
    if value.dim() == 0:
        return value
    n_clouds, largest = len(pointclouds), pointclouds._rows.largest
    if n_clouds == 1 and value.dim() == 1:
        value = value[None]
    check_tensor("radius", value, (n_clouds, largest))
    if n_clouds * largest == len(points):
        return value.reshape(-1)
    return value.reshape(-1).index_select(0, pointclouds.padded_to_packed_idx())
