"""Aligning cameras that differ by a similarity of their world."""

import pytest
import torch

from tirender.ops.cameras_alignment import corresponding_cameras_alignment
from tirender.renderer.cameras import FoVPerspectiveCameras, PerspectiveCameras
from tirender.transforms import random_rotations, so3_exp_map


def similar(cameras, scale, noise=0.0):
    """The same cameras in a world that was turned, moved and scaled."""
    rotation, shift = random_rotations(1)[0], torch.randn(3)
    moved = cameras.clone()
    moved.R = rotation @ cameras.R @ so3_exp_map(noise * torch.randn_like(cameras.T))
    moved.T = scale * (shift @ cameras.R + cameras.T) + noise * torch.randn_like(cameras.T)
    return moved


@pytest.mark.filterwarnings("ignore:corresponding_points_alignment")  # few centres leave the rotation open
@pytest.mark.parametrize("kind", [FoVPerspectiveCameras, PerspectiveCameras])
@pytest.mark.parametrize("mode", ["extrinsics", "centers"])
@pytest.mark.parametrize("scale", [1.0, 2.5])
@pytest.mark.parametrize("n", [1, 3, 10])
def test_undoes_a_similarity(kind, mode, scale, n):
    cameras = kind(R=random_rotations(n), T=torch.randn(n, 3))
    target = similar(cameras, scale)
    aligned = corresponding_cameras_alignment(cameras, target, estimate_scale=scale != 1, mode=mode)
    assert type(aligned) is kind
    torch.testing.assert_close(aligned.get_camera_center(), target.get_camera_center(), atol=2e-4, rtol=1e-4)
    if n > 2 or mode == "extrinsics":
        torch.testing.assert_close(aligned.R, target.R, atol=2e-4, rtol=0)
        torch.testing.assert_close(aligned.T, target.T, atol=5e-4, rtol=1e-4)


@pytest.mark.parametrize("mode", ["extrinsics", "centers"])
def test_noise(mode):
    cameras = FoVPerspectiveCameras(R=random_rotations(20), T=torch.randn(20, 3))
    target = similar(cameras, 1.5, noise=0.01)
    aligned = corresponding_cameras_alignment(cameras, target, mode=mode)
    assert (aligned.get_camera_center() - target.get_camera_center()).norm(dim=1).mean() < 0.1
    assert (aligned.R - target.R).abs().mean() < 0.05
    assert (torch.linalg.det(aligned.R) > 0.99).all()


def test_one_place_keeps_its_scale():
    """The scale of cameras that all stand at the origin cannot be known."""
    cameras = FoVPerspectiveCameras(R=random_rotations(4), T=torch.zeros(4, 3))
    aligned = corresponding_cameras_alignment(cameras, similar(cameras, 1.0))
    assert aligned.T.isfinite().all()
    assert torch.equal(corresponding_cameras_alignment(cameras, cameras).T.abs() < 1e-5, torch.ones(4, 3).bool())


def test_gradients_and_source_is_untouched():
    rotation, translation = random_rotations(5, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    target = FoVPerspectiveCameras(R=random_rotations(5).double(), T=torch.randn(5, 3).double())

    def align(t):
        cameras = FoVPerspectiveCameras(R=rotation, T=t)
        aligned = corresponding_cameras_alignment(cameras, target)
        assert torch.equal(cameras.R, rotation)
        return aligned.R, aligned.T

    assert torch.autograd.gradcheck(align, translation.requires_grad_())


def test_refuses():
    cameras = [FoVPerspectiveCameras(R=random_rotations(n), T=torch.zeros(n, 3)) for n in (2, 3)]
    with pytest.raises(ValueError, match="mode: expected 'extrinsics' or 'centers', got 'centres'"):
        corresponding_cameras_alignment(*cameras, mode="centres")
    with pytest.raises(ValueError, match="cameras_tgt: expected 2 cameras as in cameras_src, and at least one, got 3"):
        corresponding_cameras_alignment(*cameras)
