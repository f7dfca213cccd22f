"""The projection of points for the rasterizers, and the choice between a rasterizer's cameras and those of a call."""

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
    """Remove ``cameras`` from ``kwargs`` and return it, or the rasterizer's own cameras without it.

    Raises:
        ValueError: if there are no cameras, or neither one nor ``n_items``.
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
    """Project points (N, P, 3) in world space to (N, P, 4) rows (x_ndc * w, y_ndc * w, w, z_view).

    The projection is two products, with view space between them. Rounding is then that of PyTorch3D, and so are ties.
    """
    view = _transformed(points, cameras.get_world_to_view_transform(**kwargs))
    projection = try_get_projection_transform(cameras, kwargs)
    if projection is None:  # not a 4x4 matrix, as for fisheye cameras
        xy, w = cameras.transform_points_ndc(points, **kwargs)[..., :2], torch.ones_like(view[..., :1])
    else:
        ndc = _transformed(view[..., :3], projection.compose(cameras.get_ndc_camera_transform(**kwargs)))
        xy, w = ndc[..., :2], ndc[..., 3:]
    return torch.cat([xy, w, view[..., 2:3]], -1)


def to_ndc(clip: torch.Tensor) -> torch.Tensor:
    """Convert the rows of :func:`to_clip` to (..., 3) rows (x_ndc, y_ndc, z_view)."""
    return torch.cat([clip[..., :2] / away_from_zero(clip[..., 2:3], W_MIN), clip[..., 3:]], -1)


def from_ndc(ndc: torch.Tensor, is_perspective: bool) -> torch.Tensor:
    """Convert rows (x_ndc, y_ndc, z_view) back to those of :func:`to_clip`, (..., 4)."""
    z = ndc[..., 2:3]
    w = z if is_perspective else torch.ones_like(z)
    return torch.cat([ndc[..., :2] * w, w, z], -1)


def _transformed(points: torch.Tensor, transform: Transform3d) -> torch.Tensor:
    """The homogeneous coordinates (N, P, 4) of transformed points (N or 1, P, 3)."""
    homogeneous = torch.nn.functional.pad(points, (0, 1), value=1.0)
    return matmul(homogeneous, transform.get_matrix().to(points.dtype))
