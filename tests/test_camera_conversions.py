"""Cameras from and to OpenCV's conventions."""

from __future__ import annotations

import pytest
import torch

from tirender.renderer.cameras import (
    FoVPerspectiveCameras,
    OrthographicCameras,
    PerspectiveCameras,
    look_at_view_transform,
)
from tirender.transforms import random_rotations
from tirender.utils.camera_conversions import cameras_from_opencv_projection, opencv_from_cameras_projection

SIZES = [(480, 640), (640, 480), (500, 500), (333, 1001)]


def opencv_cameras(n: int, size: tuple[int, int], dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    height, width = size
    R = random_rotations(n, dtype=dtype)
    tvec = torch.randn(n, 3, dtype=dtype) * 0.3 + torch.tensor([0.0, 0.0, 4.0], dtype=dtype)
    K = torch.eye(3, dtype=dtype).repeat(n, 1, 1)
    K[:, 0, 0], K[:, 1, 1] = 500 + 300 * torch.rand(2, n, dtype=dtype)
    K[:, 0, 2] = width / 2 + 20 * torch.randn(n, dtype=dtype)
    K[:, 1, 2] = height / 2 + 20 * torch.randn(n, dtype=dtype)
    return R, tvec, K, torch.tensor([size] * n)


def opencv_pixels(points: torch.Tensor, R: torch.Tensor, tvec: torch.Tensor, K: torch.Tensor) -> torch.Tensor:
    image = K @ (R @ points.transpose(1, 2) + tvec[..., None])
    return (image[:, :2] / image[:, 2:]).transpose(1, 2)


# float32 pixels of about 1000 are 6e-5 apart, and a projection rounds several times
@pytest.mark.parametrize(("dtype", "pixels"), [(torch.float64, 1e-5), (torch.float32, 1e-3)])
@pytest.mark.parametrize("size", SIZES)
def test_pixels_and_round_trip(size, dtype, pixels):
    torch.manual_seed(0)
    R, tvec, K, image_size = opencv_cameras(3, size, dtype)
    points = torch.randn(3, 50, 3, dtype=dtype)
    expected = opencv_pixels(points, R, tvec, K)
    cameras = cameras_from_opencv_projection(R, tvec, K, image_size)
    assert isinstance(cameras, PerspectiveCameras)
    assert cameras.in_ndc()
    torch.testing.assert_close(cameras.transform_points_screen(points)[..., :2], expected, atol=pixels, rtol=0)

    back = opencv_from_cameras_projection(cameras, image_size)
    torch.testing.assert_close(opencv_pixels(points, *back), expected, atol=pixels, rtol=0)
    assert torch.equal(back[0], R)
    assert torch.equal(back[1], tvec)
    torch.testing.assert_close(back[2], K, atol=pixels / 10, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_every_perspective_camera_has_an_opencv_twin(size):
    torch.manual_seed(0)
    R, T = look_at_view_transform(4.0, torch.tensor([10.0, -40.0], dtype=torch.float64), 70.0)
    points = torch.randn(2, 20, 3, dtype=torch.float64)
    image_size = torch.tensor([size] * 2)
    for cameras in (
        FoVPerspectiveCameras(R=R, T=T, fov=45.0, aspect_ratio=1.2),
        PerspectiveCameras(R=R, T=T, focal_length=1.7, principal_point=((0.1, -0.2),)),
        PerspectiveCameras(
            R=R, T=T, focal_length=600.0, principal_point=((300.0, 200.0),), in_ndc=False, image_size=image_size
        ),
    ):
        pixels = cameras.transform_points_screen(points, image_size=image_size)[..., :2]
        projected = opencv_pixels(points, *opencv_from_cameras_projection(cameras, image_size))
        torch.testing.assert_close(projected, pixels, atol=1e-5, rtol=0)


def test_gradcheck():
    torch.manual_seed(0)
    R, tvec, K, image_size = opencv_cameras(1, (40, 60), torch.float64)
    leaves = tuple(t.clone().requires_grad_() for t in (R, tvec, K))

    def both_ways(R, tvec, K):
        return opencv_from_cameras_projection(cameras_from_opencv_projection(R, tvec, K, image_size), image_size)

    assert torch.autograd.gradcheck(both_ways, leaves)


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, torch.eye(3), r"R: expected shape \(N, 3, 3\)"),
        (1, torch.zeros(3), r"tvec: expected shape \(N, 3\)"),
        (2, torch.eye(4)[None], r"camera_matrix: expected shape \(N, 3, 3\)"),
        (3, torch.tensor([4, 5]), r"image_size: expected shape \(N, 2\)"),
    ],
)
def test_bad_opencv_cameras(position, value, message):
    arguments = [torch.eye(3)[None], torch.zeros(1, 3), torch.eye(3)[None], torch.tensor([[4, 5]])]
    arguments[position] = value
    with pytest.raises(ValueError, match=message):
        cameras_from_opencv_projection(*arguments)


def test_orthographic_cameras_have_no_opencv_twin():
    with pytest.raises(ValueError, match="cameras: expected perspective cameras, got OrthographicCameras"):
        opencv_from_cameras_projection(OrthographicCameras(), torch.tensor([[4, 5]]))
    with pytest.raises(ValueError, match="cameras: expected perspective cameras, got str"):
        opencv_from_cameras_projection("cameras", torch.tensor([[4, 5]]))
