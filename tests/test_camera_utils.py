"""Batches of cameras, and cameras moved about."""

from __future__ import annotations

import math

import pytest
import torch

from tirender.renderer.camera_utils import camera_to_eye_at_up, join_cameras_as_batch, rotate_on_spot
from tirender.renderer.cameras import (
    FishEyeCameras,
    FoVOrthographicCameras,
    FoVPerspectiveCameras,
    OrthographicCameras,
    PerspectiveCameras,
    get_world_to_view_transform,
    look_at_view_transform,
)
from tirender.transforms import axis_angle_to_matrix


def pose(n: int) -> dict[str, torch.Tensor]:
    R, T = look_at_view_transform(3.0, 40 * torch.rand(n), 360 * torch.rand(n))
    return {"R": R, "T": T}


@pytest.mark.parametrize(
    "make",
    [
        lambda n: FoVPerspectiveCameras(fov=30.0, degrees=False, **pose(n)),
        lambda n: FoVOrthographicCameras(max_x=3.0, **pose(n)),
        lambda n: PerspectiveCameras(focal_length=50.0, in_ndc=False, image_size=(40, 60), **pose(n)),
        lambda n: OrthographicCameras(focal_length=0.5, **pose(n)),
        lambda n: FishEyeCameras(use_tangential=False, world_coordinates=True, **pose(n)),
        lambda n: PerspectiveCameras(K=torch.rand(n, 4, 4), **pose(n)),
    ],
)
def test_join_is_the_inverse_of_index(make):
    a, b = make(1), make(2)
    joined = join_cameras_as_batch([a, b])
    assert type(joined) is type(a)
    assert len(joined) == 3
    points = torch.randn(4, 3)
    parts = [c.transform_points(points[None]) for c in (a, b)]
    torch.testing.assert_close(joined.transform_points(points), torch.cat(parts))
    torch.testing.assert_close(joined[1:].transform_points(points), parts[1])
    for field in a._SHARED_FIELDS:
        assert getattr(joined, field) == getattr(a, field)


def test_gradients_pass_through_join():
    T = torch.zeros(1, 3, requires_grad=True)
    joined = join_cameras_as_batch([PerspectiveCameras(T=T), PerspectiveCameras(T=T)])
    joined.get_camera_center().sum().backward()
    assert torch.equal(T.grad, torch.full((1, 3), -2.0))


@pytest.mark.parametrize(
    ("cameras", "message"),
    [
        ([], "cameras_list: expected cameras, at least one"),
        ([1], "cameras_list: expected cameras, at least one, got \\['int'\\]"),
        ([PerspectiveCameras(), OrthographicCameras()], "cameras_list: expected cameras of one type"),
        ([PerspectiveCameras(), PerspectiveCameras().to("meta")], "cameras_list: expected cameras on one device"),
        ([FoVPerspectiveCameras(), FoVPerspectiveCameras(degrees=False)], "cameras_list degrees: expected one value"),
        ([PerspectiveCameras(), PerspectiveCameras(in_ndc=False)], "cameras_list in_ndc: expected one value"),
        (
            [PerspectiveCameras(), PerspectiveCameras(image_size=4)],
            "cameras_list image_size: expected a value in all cameras or in none",
        ),
        (
            [PerspectiveCameras(), PerspectiveCameras(K=torch.eye(4)[None, [0, 1, 3, 2]])],
            "cameras_list K: expected a value in all cameras or in none",
        ),
    ],
)
def test_cameras_that_do_not_join(cameras, message):
    with pytest.raises(ValueError, match=message):
        join_cameras_as_batch(cameras)


def test_rotate_on_spot_keeps_the_centre_and_turns_the_way_it_says():
    R, T = look_at_view_transform(3.0, 20.0, 50.0)
    target = get_world_to_view_transform(R, T).transform_points(torch.zeros(1, 3))
    angle = math.radians(10)
    for axis, coordinate, sign in ((1, 0, 1), (0, 1, -1)):  # to the right: the target goes left, +x; up: it goes down
        turn = torch.zeros(3)
        turn[axis] = angle
        new_R, new_T = rotate_on_spot(R, T, axis_angle_to_matrix(turn))
        torch.testing.assert_close(
            PerspectiveCameras(R=new_R, T=new_T).get_camera_center(), PerspectiveCameras(R=R, T=T).get_camera_center()
        )
        moved = get_world_to_view_transform(new_R, new_T).transform_points(torch.zeros(1, 3))
        assert math.copysign(1, moved[0, coordinate].item()) == sign
        assert moved[0, coordinate].abs().item() == pytest.approx(3 * math.sin(angle), rel=1e-4)
        assert target[0, 2].item() == pytest.approx(3.0)


def test_rotate_on_spot_broadcasts():
    R, T = look_at_view_transform(3.0, torch.tensor([10.0, 20.0, 30.0]), 50.0)
    turns = axis_angle_to_matrix(torch.randn(3, 3))
    batched = rotate_on_spot(R, T, turns)
    for i in range(3):
        new_R, new_T = rotate_on_spot(R[i], T[i], turns[i])
        torch.testing.assert_close(new_R, batched[0][i : i + 1])
        torch.testing.assert_close(new_T, batched[1][i : i + 1])
    new_R, new_T = rotate_on_spot(R[0], T, turns[:1])
    assert new_R.shape == (3, 3, 3)
    assert new_T.shape == (3, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.eye(4), torch.zeros(3), torch.eye(3)), r"R: expected shape \(N, 3, 3\)"),
        ((torch.eye(3), torch.zeros(4), torch.eye(3)), r"T: expected shape \(N, 3\)"),
        ((torch.eye(3), torch.zeros(3), torch.zeros(3)), r"rotation: expected shape \(N, 3, 3\)"),
    ],
)
def test_rotate_on_spot_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        rotate_on_spot(*arguments)


def test_eye_at_up_give_the_cameras_back():
    R, T = look_at_view_transform(3.0, torch.tensor([10.0, -50.0]), torch.tensor([20.0, 200.0]), at=((1.0, 2.0, 3.0),))
    eye, at, up = camera_to_eye_at_up(get_world_to_view_transform(R, T))
    torch.testing.assert_close((at - eye).norm(dim=1), torch.ones(2))
    torch.testing.assert_close(up.norm(dim=1), torch.ones(2))
    new_R, new_T = look_at_view_transform(eye=eye, at=at, up=up)
    torch.testing.assert_close(new_R, R, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(new_T, T, atol=2e-6, rtol=1e-5)
