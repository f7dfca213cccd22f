"""The Gaussians that a fit starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from tirender.captures import Capture
from tirender.captures.capture import nearest_to_lines
from tirender.checks import check_kind, fail
from tirender.fit.views import Views
from tirender.ops import knn_points, sample_points_from_meshes
from tirender.renderer import CamerasBase
from tirender.structures import Gaussians, Meshes, Pointclouds

if TYPE_CHECKING:
    from tirender.fit.splats import SplatConfig


def first_gaussians(photos: Capture | Views, start: Any, config: SplatConfig) -> Gaussians:
    """The Gaussians that a fit starts from, see :func:`fit_splats`."""
    if isinstance(start, Gaussians):
        return start.to(photos.cameras.device)
    if start is None and isinstance(photos, Capture):
        start = photos.points
    if start is None:
        start = _random_points(photos.cameras, config.n_random)
    if isinstance(start, Meshes):
        start = Pointclouds(sample_points_from_meshes(start, config.n_random))
    check_kind("start", start, Gaussians, Pointclouds, Meshes)
    points, colors = start.points_packed().detach(), start.features_packed()
    if len(points) < 4:
        fail("start", "at least 4 points", len(points))
    colors = torch.full_like(points, 0.5) if colors is None else colors.detach()[:, :3].clamp(0, 1)
    squares = knn_points(points[None], points[None], K=4).dists[0, :, 1:].mean(1)
    sizes = squares.sqrt().clamp(min=1e-7) * config.first_size
    quats = points.new_tensor([1.0, 0, 0, 0]).expand(len(points), 4)
    opacities = torch.full_like(sizes, config.opacity)
    return Gaussians.from_colors(points, quats, sizes[:, None].expand(-1, 3), opacities, colors, config.degree)


def scene_extent(cameras: CamerasBase) -> float:
    """The size of a scene: 1.1 times the greatest distance of a camera from the middle of all, as the original."""
    centres = cameras.get_camera_center().detach()
    distance = float((centres - centres.mean(0)).norm(dim=1).max())
    return 1.1 * distance if distance > 0 else 1.0


def _random_points(cameras: CamerasBase, n: int) -> Pointclouds:
    """Points in a cube around the place that cameras look at, from edge to edge of which they are apart."""
    centres = cameras.get_camera_center().detach()
    middle = nearest_to_lines(centres, cameras.R.detach()[:, :, 2])  # the axes of the cameras
    half = float((centres - middle).norm(dim=1).mean()) / 2
    points = middle + half * (2 * torch.rand(n, 3).to(middle) - 1)
    return Pointclouds([points], features=[torch.rand(n, 3).to(middle)])
