"""EPnP: it finds the pose that made the picture."""

import pytest
import torch

from tirender.ops.perspective_n_points import efficient_pnp
from tirender.transforms import random_rotations, so3_relative_angle


def scene(n_points, n_batch=16, dtype=torch.float64, planar=False):
    """Points, where they are seen, and the pose."""
    view = torch.randn(n_batch, n_points, 3, dtype=dtype) / 2
    if planar:
        view[..., 2] = 0.4 * view[..., 0] - 0.2 * view[..., 1]
    view[..., 2] += 4
    rotation, translation = random_rotations(n_batch, dtype=dtype), torch.randn(n_batch, 1, 3, dtype=dtype)
    world = (view - translation) @ rotation.transpose(1, 2)
    return world, view[..., :2] / view[..., 2:], rotation, translation[:, 0], view


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n_points", "skip"), [(5, False), (6, False), (6, True), (300, False), (300, True)])
def test_finds_the_pose(n_points, skip, dtype):
    world, seen, rotation, translation, view = scene(n_points, dtype=dtype)
    pose = efficient_pnp(world, seen, skip_quadratic_eq=skip)
    assert pose.R.dtype == dtype
    tolerance = 1e-7 if dtype == torch.float64 else 1e-3 if n_points < 10 else 1e-4
    assert so3_relative_angle(pose.R, rotation, eps=1e-2).max() < 1e-2
    torch.testing.assert_close(pose.R, rotation, atol=tolerance, rtol=0)
    torch.testing.assert_close(pose.T, translation, atol=5 * tolerance, rtol=0)
    torch.testing.assert_close(pose.x_cam, view, atol=5 * tolerance, rtol=0)
    assert pose.err_2d.max() < tolerance
    assert pose.err_3d.max() < tolerance


def test_four_points_and_planes_fit_the_picture():
    """Four points may have several poses, and so may planes; the one found explains what is seen."""
    for n_points, planar in ((4, False), (20, True)):
        world, seen, *_ = scene(n_points, n_batch=30, planar=planar)
        pose = efficient_pnp(world, seen)
        assert (pose.err_2d < 1e-5).float().mean() > 0.8
        assert (torch.linalg.det(pose.R) > 0.99).all()


def test_errors_are_those_of_the_pose():
    world, seen, *_ = scene(12)
    seen = seen + 0.02 * torch.randn_like(seen)
    pose = efficient_pnp(world, seen)
    moved = world @ pose.R + pose.T[:, None]
    torch.testing.assert_close(pose.err_2d, (moved[..., :2] / moved[..., 2:] - seen).norm(dim=2).mean(1))
    torch.testing.assert_close(pose.err_3d, (moved - pose.x_cam).square().sum(2).mean(1))
    assert pose.err_2d.max() < 0.05
    assert (moved[..., 2] > 0).all()


def test_weights():
    """Points without weight do not count."""
    world, seen, rotation, _, _ = scene(20)
    seen[:, :5] += 1
    weights = torch.ones(16, 20, dtype=torch.float64)
    weights[:, :5] = 0
    pose = efficient_pnp(world, seen, weights)
    torch.testing.assert_close(pose.R, rotation, atol=1e-7, rtol=0)
    torch.testing.assert_close(efficient_pnp(world[:, 5:], seen[:, 5:]).R, pose.R, atol=1e-7, rtol=0)


def test_degenerate_points_give_finite_poses():
    for world in (torch.zeros(1, 6, 3), torch.arange(6.0)[None, :, None].expand(1, 6, 3)):
        pose = efficient_pnp(world, torch.rand(1, 6, 2))
        assert all(field.isfinite().all() for field in pose)
    assert efficient_pnp(torch.rand(0, 6, 3), torch.rand(0, 6, 2)).R.shape == (0, 3, 3)


def test_refuses():
    with pytest.raises(ValueError, match="x: expected 4 points or more, got 3"):
        efficient_pnp(torch.rand(1, 3, 3), torch.rand(1, 3, 2))
    with pytest.raises(ValueError, match=r"y: expected shape \(1, 5, 2\), got \(1, 4, 2\)"):
        efficient_pnp(torch.rand(1, 5, 3), torch.rand(1, 4, 2))
    with pytest.raises(ValueError, match=r"weights: expected shape \(1, 5\), got \(5,\)"):
        efficient_pnp(torch.rand(1, 5, 3), torch.rand(1, 5, 2), torch.rand(5))
