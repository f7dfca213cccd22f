"""Where cameras stand and where they look."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from tirender.renderer.look_at import (
    camera_position_from_spherical_angles,
    get_world_to_view_transform,
    look_at_rotation,
    look_at_view_transform,
)

REFERENCE = Path(__file__).parent / "data" / "reference" / "cameras" / "look_at.npz"


def is_rotation(R: torch.Tensor) -> bool:
    identity = torch.eye(3, dtype=R.dtype).expand(len(R), 3, 3)
    return torch.allclose(R @ R.transpose(1, 2), identity, atol=1e-5) and bool((torch.linalg.det(R) > 0).all())


def test_matches_pytorch3d():
    with np.load(REFERENCE) as case:
        R, T = look_at_view_transform(case["in_dist"], case["in_elev"], case["in_azim"])
        torch.testing.assert_close(R, torch.from_numpy(case["out_R"]), rtol=1e-5, atol=2e-7)
        torch.testing.assert_close(T, torch.from_numpy(case["out_T"]), rtol=1e-5, atol=1e-6)


def test_position_from_spherical_angles():
    position = camera_position_from_spherical_angles(2.0, torch.tensor([0.0, 0.0, 90.0, 30.0]), [0.0, 90.0, 0.0, 0.0])
    expected = torch.tensor([[0.0, 0, 2], [2, 0, 0], [0, 2, 0], [0, 1, math.sqrt(3)]])
    torch.testing.assert_close(position, expected, atol=1e-6, rtol=0)
    radians = camera_position_from_spherical_angles(2.0, math.pi / 6, 0.0, degrees=False)
    torch.testing.assert_close(radians, expected[3:], atol=1e-6, rtol=0)


def test_the_target_lies_ahead_and_up_is_up():
    at, up = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.0, 0.0, 1.0]])
    R, T = look_at_view_transform(4.0, 25.0, torch.tensor([10.0, 100.0]), at=at, up=up)
    view = get_world_to_view_transform(R, T)
    torch.testing.assert_close(view.transform_points(at), torch.tensor([[[0.0, 0.0, 4.0]]] * 2), atol=2e-6, rtol=0)
    ahead_and_up = view.transform_points(at + up)[:, 0]
    torch.testing.assert_close(ahead_and_up[:, 0], torch.zeros(2), atol=2e-6, rtol=0)
    assert (ahead_and_up[:, 1] > 0).all()
    assert is_rotation(R)


def test_eye_replaces_the_angles():
    angles = look_at_view_transform(3.0, 20.0, 30.0)
    eye = camera_position_from_spherical_angles(3.0, 20.0, 30.0)
    for given, expected in zip(look_at_view_transform(eye=eye), angles):
        torch.testing.assert_close(given, expected)
    torch.testing.assert_close(look_at_rotation(eye), angles[0])
    torch.testing.assert_close(look_at_rotation(((0, 0, -3),)), look_at_view_transform(3.0, 0.0, 180.0)[0])
    assert is_rotation(
        look_at_rotation(torch.tensor([[0, 0, -3]]), at=torch.tensor([[0, 0, 1]]), up=torch.tensor([[0, 1, 0]]))
    )


@pytest.mark.parametrize("elev", [90.0, -90.0])
@pytest.mark.parametrize("azim", [0.0, 30.0, 200.0])
@pytest.mark.parametrize("at", [(0.0, 0.0, 0.0), (3.0, -2.0, 1.0)])
def test_the_poles_continue_the_elevations_beyond(elev, azim, at):
    R, T = look_at_view_transform(2.0, elev, azim, at=(at,))
    near_R, near_T = look_at_view_transform(2.0, elev * 1.0001, azim, at=(at,))
    assert is_rotation(R)
    torch.testing.assert_close(R, near_R, atol=2e-4, rtol=0)
    torch.testing.assert_close(T, near_T, atol=2e-3, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("elev", [90.0, -90.0])
def test_at_the_poles_the_view_is_that_of_pytorch3d(dtype, elev):
    """The camera at (0, +-2, 0) looks at the origin; a cosine below 0 puts it on the other side of the pole."""
    angle = torch.tensor([elev], dtype=dtype)
    for R, T in (
        look_at_view_transform(2, angle, 0),
        look_at_view_transform(2, angle * math.pi / 180, 0, degrees=False),
    ):
        sign = elev / 90
        expected = torch.tensor([[[1, 0, 0], [0, 0, -sign], [0, sign, 0]]], dtype=dtype)
        torch.testing.assert_close(R, expected, atol=1e-6, rtol=0)
        torch.testing.assert_close(T, torch.tensor([[0.0, 0.0, 2.0]], dtype=dtype), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "vector", [(1, 2, 3), [1, 2, 3], torch.tensor([1, 2, 3]), torch.tensor([1.0, 2.0, 3.0]), np.array([1, 2, 3])]
)
def test_one_vector_is_one_camera(vector):
    expected = look_at_rotation(((1.0, 2.0, 3.0),))
    assert torch.equal(look_at_rotation(vector), expected)
    assert torch.equal(look_at_rotation(vector, at=(0, 0, 0), up=(0, 1, 0)), expected)
    for given, wanted in zip(
        look_at_view_transform(eye=vector, at=(1, 0, 0)), look_at_view_transform(eye=((1.0, 2, 3),), at=((1, 0, 0),))
    ):
        assert torch.equal(given, wanted)
    several = look_at_rotation([(1, 2, 3), (3, 2, 1), (0, 0, 1)])
    assert several.shape == (3, 3, 3)
    assert torch.equal(several[:1], expected)


@pytest.mark.parametrize("direction", [(0, 1, 0), (0, -1, 0), (1, 0, 0), (0, 0, 1), (0, 0, -1), (1, 1, 1), (1, -1, 1)])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_looking_along_up_is_still_a_rotation(direction, sign):
    position = torch.tensor([direction], dtype=torch.float32, requires_grad=True)
    R = look_at_rotation(position * 2, up=sign * position.detach())
    assert is_rotation(R)
    torch.testing.assert_close(R[0, :, 2], -position[0].detach() / position.detach().norm())
    R.sum().backward()
    assert position.grad.isfinite().all()


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e-3, 1e6])
def test_gradients_are_finite_however_near_the_target(scale):
    position = (scale * torch.tensor([[1.0, 2.0, 2.0], [0.0, 1.0, 1e-8]])).requires_grad_()
    R = look_at_rotation(position)
    R.square().sum().backward()
    assert R.isfinite().all()
    assert position.grad.isfinite().all()
    if scale == 0:
        assert is_rotation(R)
        torch.testing.assert_close(R[:, :, 2], torch.tensor([[0.0, 0.0, 1.0]] * 2))


@pytest.mark.parametrize("elev", [-90.0, 0.0, 90.0, 35.0])
def test_gradients_of_the_angles(elev):
    values = [torch.tensor([v], requires_grad=True) for v in (2.0, elev, 40.0)]
    R, T = look_at_view_transform(*values)
    (R.sum() + T.sum()).backward()
    assert all(v.grad.isfinite().all() for v in values)
    assert all(v.grad.abs().max() < 10 for v in values)


def test_gradcheck():
    values = [
        torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in ([2.0, 3.0], [20.0, -70.0], [40.0, 170.0])
    ]
    at = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    up = torch.randn(1, 3, dtype=torch.float64, requires_grad=True)
    function = lambda *args: look_at_view_transform(*args[:3], at=args[3], up=args[4])  # noqa: E731
    assert torch.autograd.gradcheck(function, (*values, at, up))


def test_sizes_broadcast():
    R, T = look_at_view_transform(dist=2.7, elev=torch.linspace(0, 360, 20), azim=torch.linspace(-180, 180, 20))
    assert R.shape == (20, 3, 3)
    assert T.shape == (20, 3)
    assert is_rotation(R)
    assert look_at_view_transform(torch.zeros(0))[0].shape == (0, 3, 3)
    assert look_at_view_transform(torch.ones(2, dtype=torch.float64))[1].dtype == torch.float64


def test_world_to_view_transform():
    R, T = look_at_view_transform(2.0, torch.tensor([0.0, 45.0]), 10.0)
    points = torch.randn(2, 5, 3)
    torch.testing.assert_close(get_world_to_view_transform(R, T).transform_points(points), points @ R + T[:, None])
    assert torch.equal(get_world_to_view_transform().get_matrix(), torch.eye(4)[None])
    assert len(get_world_to_view_transform(R)) == len(get_world_to_view_transform(T=T)) == 2
    assert get_world_to_view_transform(T=T.double()).dtype == torch.float64


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: look_at_view_transform(torch.ones(2), torch.ones(3)), "batch: expected one size, or 1"),
        (lambda: look_at_rotation(torch.ones(2)), r"camera_position: expected shape \(N, 3\), got \(2,\)"),
        (lambda: look_at_rotation(torch.ones(1, 3), at=torch.ones(1, 2)), r"at: expected shape \(N, 3\), got \(1, 2\)"),
        (lambda: get_world_to_view_transform(torch.eye(3)), r"R: expected shape \(N, 3, 3\)"),
        (lambda: get_world_to_view_transform(T=torch.ones(1, 4)), r"T: expected shape \(N, 3\)"),
        (
            lambda: get_world_to_view_transform(torch.eye(3).expand(2, 3, 3), torch.ones(3, 3)),
            "R, T: expected batches of one size or of 1, got 2 and 3",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
