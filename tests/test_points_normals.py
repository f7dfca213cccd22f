"""Normals and local frames of point clouds."""

from __future__ import annotations

import pytest
import torch

from tirender.ops.points_normals import estimate_pointcloud_local_coord_frames, estimate_pointcloud_normals
from tirender.structures import Pointclouds


def on_sphere(n, dtype=torch.float32):
    return torch.nn.functional.normalize(torch.randn(n, 3, dtype=dtype), dim=1)


def test_normals_of_a_sphere_point_inwards():
    parts = [on_sphere(800), 3 * on_sphere(500) + 100]
    normals = estimate_pointcloud_normals(Pointclouds(parts), neighborhood_size=20)
    assert normals.shape == (2, 800, 3)
    assert ((normals[0] * parts[0]).sum(1) < -0.98).all()
    assert ((normals[1, :500] * (parts[1] - 100) / 3).sum(1) < -0.97).all()
    assert not normals[1, 500:].any()
    assert torch.equal(Pointclouds(parts).estimate_normals(20), normals)


def test_frames_are_right_handed_and_diagonalise():
    points = torch.randn(2, 60, 3, dtype=torch.float64)
    curvatures, frames = estimate_pointcloud_local_coord_frames(points, 12)
    identity = torch.eye(3, dtype=torch.float64).expand(2, 60, 3, 3)
    torch.testing.assert_close(frames.mT @ frames, identity)
    assert (curvatures.diff(dim=2) >= 0).all()
    neighbours = points[0][(points[0] - points[0, 0]).square().sum(1).argsort()[:12]]
    covariance = torch.cov(neighbours.t(), correction=0)
    torch.testing.assert_close(frames[0, 0].t() @ covariance @ frames[0, 0], torch.diag(curvatures[0, 0]))
    raw = estimate_pointcloud_local_coord_frames(points, 12, disambiguate_directions=False)[1]
    torch.testing.assert_close((raw * frames).sum(2).abs(), torch.ones(2, 60, 3, dtype=torch.float64))


def test_gradcheck():
    points = torch.randn(1, 6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: estimate_pointcloud_local_coord_frames(p, 5), (points,), atol=1e-4)


@pytest.mark.parametrize("points", [torch.ones(1, 8, 3), torch.eye(3).repeat(3, 1)[None], torch.zeros(1, 8, 3)])
def test_gradients_are_finite_where_axes_are_arbitrary(points):
    points = points.clone().requires_grad_()
    curvatures, frames = estimate_pointcloud_local_coord_frames(points, 6)
    grad = torch.autograd.grad((frames * torch.randn_like(frames)).sum() + curvatures.sum(), points)[0]
    assert grad.isfinite().all()


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (torch.zeros(1, 9, 2), "pointclouds: expected points with 3 coordinates"),
        (torch.zeros(1, 4, 3), r"neighborhood_size: expected less than the points of each cloud \(4\), got 4"),
        (torch.full((1, 9, 3), torch.nan), "pointclouds: expected finite points"),
        (1e25 * torch.eye(9)[None, :, :3], "pointclouds: expected points whose squares are finite, got inf"),
    ],
)
def test_bad_input(points, message):
    with pytest.raises(ValueError, match=message):
        estimate_pointcloud_normals(points, 4)
