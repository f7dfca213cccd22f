"""From world space to what the rasterizers take, with the cameras of a rasterizer or of its call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from tirender.checks import check_kind, fail
from tirender.engine.mesh_rasterization import W_MIN
from tirender.renderer.cameras import CamerasBase, try_get_projection_transform
from tirender.transforms.math import away_from_zero, matmul

if TYPE_CHECKING:
    from tirender.transforms import Transform3d


def pick_cameras(own: CamerasBase | None, kwargs: dict[str, Any], n_items: int, items: str) -> CamerasBase:
    """Takes ``cameras`` out of ``kwargs``, else the rasterizer's own.

    Raises:
        ValueError: if there are none, or neither one nor as many as items.
    """
    given = kwargs.pop("cameras", None)
    cameras = own if given is None else given
    if cameras is None:
        fail("cameras", "a camera, given to the rasterizer or to its call", None)
    check_kind("cameras", cameras, CamerasBase)
    if len(cameras) not in (1, n_items):
        fail("cameras", f"1 camera or one for each of the {n_items} {items}", f"{len(cameras)}")
    return cameras


def to_clip(points: torch.Tensor, cameras: CamerasBase, kwargs: dict[str, Any]) -> torch.Tensor:
    """(N, P, 4) rows (x_ndc * w, y_ndc * w, w, z_view) of (N, P, 3) points in world space.

    Through view space in two products, with PyTorch3D's roundings: ties then fall the same way.
    """
    view = _transformed(points, cameras.get_world_to_view_transform(**kwargs))
    projection = try_get_projection_transform(cameras, kwargs)
    if projection is None:  # no 4x4 matrix does it: a fisheye
        xy, w = cameras.transform_points_ndc(points, **kwargs)[..., :2], torch.ones_like(view[..., :1])
    else:
        ndc = _transformed(view[..., :3], projection.compose(cameras.get_ndc_camera_transform(**kwargs)))
        xy, w = ndc[..., :2], ndc[..., 3:]
    return torch.cat([xy, w, view[..., 2:3]], -1)


def to_ndc(clip: torch.Tensor) -> torch.Tensor:
    """(..., 3) rows (x_ndc, y_ndc, z_view) of those that :func:`to_clip` returns."""
    return torch.cat([clip[..., :2] / away_from_zero(clip[..., 2:3], W_MIN), clip[..., 3:]], -1)


def _transformed(points: torch.Tensor, transform: Transform3d) -> torch.Tensor:
    """(N, P, 4) homogeneous coordinates of (N or 1, P, 3) points."""
    homogeneous = torch.nn.functional.pad(points, (0, 1), value=1.0)
    return matmul(homogeneous, transform.get_matrix().to(points.dtype))
