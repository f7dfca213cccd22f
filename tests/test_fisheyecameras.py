"""Fisheye cameras: projection, its inverse, and their gradients."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from tirender.renderer.cameras import (
    FishEyeCameras,
    PerspectiveCameras,
    look_at_view_transform,
    try_get_projection_transform,
)

# A Project Aria lens, and what PyTorch3D's tests expect of it
ARIA = {
    "focal_length": torch.tensor([[608.9255557152]]),
    "principal_point": torch.tensor([[712.0114821205, 706.8666571177]]),
    "radial_params": torch.tensor(
        [[0.3877090026, -0.315613384, -0.3434984955, 1.8565874201, -2.1799372221, 0.7713834763]]
    ),
    "tangential_params": torch.tensor([[-0.0002747019, 0.0005228974]]),
    "thin_prism_params": torch.tensor([[0.000134884, -0.000084822, -0.0009420014, -0.0001276838]]),
}
POINTS = torch.tensor([[2.0, 3.0, 1.0], [3.0, 2.0, 1.0]])
PROJECTED = {  # use_radial, use_tangential, use_thin_prism
    (0, 0, 0): [[1929.862549, 2533.643311], [2538.788086, 1924.717773]],
    (0, 0, 1): [[1927.272095, 2524.220459], [2536.197754, 1915.295166]],
    (0, 1, 0): [[1930.050293, 2538.434814], [2537.956543, 1927.569092]],
    (0, 1, 1): [[1927.459839, 2529.011963], [2535.366211, 1918.146484]],
    (1, 0, 0): [[1662.673950, 2132.860352], [2138.005127, 1657.529053]],
    (1, 0, 1): [[1660.083496, 2123.437744], [2135.414795, 1648.106445]],
    (1, 1, 0): [[1662.861816, 2137.651855], [2137.173828, 1660.380371]],
    (1, 1, 1): [[1660.271240, 2128.229248], [2134.583496, 1650.957764]],
}
SWITCHES = list(itertools.product((False, True), repeat=3))


def aria(dtype: torch.dtype = torch.float32, switches: tuple[bool, bool, bool] = (True, True, True), **kwargs):
    radial, tangential, prism = switches
    given = {name: value.to(dtype) for name, value in ARIA.items()}
    return FishEyeCameras(**given, use_radial=radial, use_tangential=tangential, use_thin_prism=prism, **kwargs)


@pytest.mark.parametrize("switches", SWITCHES)
def test_projection_matches_pytorch3d(switches):
    expected = torch.tensor([[*xy, 1.0] for xy in PROJECTED[switches]])
    torch.testing.assert_close(aria(switches=switches).transform_points(POINTS), expected, rtol=1e-6, atol=1e-3)


def test_equidistant_projection():
    cameras = FishEyeCameras(focal_length=torch.tensor([[240.0]]), principal_point=torch.tensor([[320.0, 240.0]]))
    expected = torch.tensor([[493.0993, 499.6489, 1.0], [579.6489, 413.0993, 1.0]])
    torch.testing.assert_close(cameras.transform_points(POINTS), expected, rtol=1e-6, atol=1e-4)


def test_unprojection_matches_pytorch3d():
    xy_depth = torch.tensor([[2134.5814033, 1650.95653328, 1.0], [1074.25442904, 1159.52461285, 1.0]])
    expected = {
        (False, False): [[2.999442, 1.990583, 1.0], [0.666728, 0.833142, 1.0]],
        (False, True): [[2.997338, 2.005411, 1.0], [0.666859, 0.834456, 1.0]],
        (True, False): [[3.002090, 1.985229, 1.0], [0.666537, 0.832025, 1.0]],
        (True, True): [[2.999999, 2.000000, 1.0], [0.666667, 0.833333, 1.0]],
    }
    for switches, points in expected.items():
        result = aria(switches=(True, *switches)).unproject_points(xy_depth)
        torch.testing.assert_close(result, torch.tensor(points), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("switches", SWITCHES)
@pytest.mark.parametrize("world", [False, True])
def test_unprojection_inverts_every_combination_at_any_depth(switches, world):
    torch.manual_seed(0)
    R, T = look_at_view_transform(0.1, torch.tensor([10.0, 40.0], dtype=torch.float64), 30.0)
    cameras = aria(torch.float64, switches, R=R, T=T, world_coordinates=world)
    view = torch.randn(2, 20, 3, dtype=torch.float64)
    view[..., 2] = view[..., 2].abs() + 1.5  # this lens folds over beyond about 70 degrees
    view[0, 0, :2] = 0  # on the axis
    points = cameras.get_world_to_view_transform().inverse().transform_points(view) if world else view
    image = cameras.transform_points(points)
    xy_depth = torch.cat([image[..., :2], view[..., 2:]], -1)
    torch.testing.assert_close(cameras.unproject_points(xy_depth), points, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(cameras.unproject_points(xy_depth, world_coordinates=False), view, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("focal_length", [((2.0,),), ((2.0, 3.0),)])
def test_without_distortion_it_is_a_pinhole(focal_length):
    R, T = look_at_view_transform(5.0, 20.0, 30.0)
    shared = {"R": R, "T": T, "focal_length": focal_length, "principal_point": ((0.1, -0.2),)}
    fisheye = FishEyeCameras(
        **shared,
        world_coordinates=True,
        use_radial=False,
        use_tangential=False,
        use_thin_prism=False,
        image_size=(30, 40),
    )
    pinhole = PerspectiveCameras(**shared, image_size=(30, 40))
    points = torch.randn(6, 3)
    torch.testing.assert_close(fisheye.transform_points(points)[:, :2], pinhole.transform_points(points)[:, :2])
    torch.testing.assert_close(
        fisheye.transform_points_screen(points)[:, :2], pinhole.transform_points_screen(points)[:, :2]
    )
    assert not fisheye.is_perspective()
    assert fisheye.in_ndc()
    assert try_get_projection_transform(fisheye, {}) is None
    with pytest.raises(NotImplementedError, match="its projection is not a 4x4 matrix"):
        fisheye.get_projection_transform()


@pytest.mark.parametrize(
    ("n", "shape", "expected"),
    [
        (1, (5, 3), (5, 3)),
        (1, (1, 5, 3), (1, 5, 3)),
        (1, (4, 5, 3), (4, 5, 3)),
        (4, (5, 3), (4, 5, 3)),
        (4, (1, 5, 3), (4, 5, 3)),
        (4, (4, 5, 3), (4, 5, 3)),
        (4, (1, 3), (4, 1, 3)),
        (1, (0, 3), (0, 3)),
    ],
)
def test_shapes(n, shape, expected):
    cameras = FishEyeCameras(T=torch.zeros(n, 3), radial_params=torch.zeros(1, 2))
    points = torch.rand(shape) + 1
    image = cameras.transform_points(points)
    assert image.shape == expected
    assert cameras.unproject_points(image).shape == expected
    torch.testing.assert_close(  # a fisheye image is 1 deep: the ray of each point
        cameras.unproject_points(image), (points / points[..., 2:]).expand(expected), rtol=1e-5, atol=1e-5
    )


def test_the_axis_and_the_plane_have_finite_gradients():
    points = torch.tensor(
        [[0.0, 0, 1], [1e-30, 0, 1], [1e-3, 0, 1], [0.009, 0.005, 1], [1, 1, 0], [1, 1, -1e-9], [0, 0, 0], [1, 1, -1]],
        requires_grad=True,
    )
    cameras = aria()
    image = cameras.transform_points(points, eps=1e-3)
    image.sum().backward()
    assert image.isfinite().all()
    assert points.grad.isfinite().all()
    torch.testing.assert_close(points.grad[0, :2], torch.full((2,), 608.9255557152))
    centre = torch.tensor([[712.0114821205, 706.8666571177, 1.0]], requires_grad=True)
    cameras.unproject_points(centre).sum().backward()
    assert centre.grad.isfinite().all()


def test_image_points_beyond_the_lens_unproject_to_its_rim():
    cameras = FishEyeCameras()  # equidistant: the radius is the angle, up to pi / 2
    rays = cameras.unproject_points(torch.tensor([[3.0, 0.0, 1.0], [0.0, 1.5, 1.0]]))
    assert rays.isfinite().all()
    assert rays[0, 0].item() == pytest.approx(math.tan(0.999 * math.pi / 2), rel=1e-3)
    assert rays[1, 1].item() == pytest.approx(math.tan(1.5), rel=1e-4)


@pytest.mark.parametrize("switches", [(True, True, True), (False, True, True), (True, False, False)])
def test_gradcheck(switches):
    torch.manual_seed(0)
    parameters = [(ARIA[name].double() / (600 if name[0] in "fp" else 1)).requires_grad_() for name in ARIA]
    points = torch.randn(1, 4, 3, dtype=torch.float64)
    points[..., 2] = points[..., 2].abs() + 1.5
    points.requires_grad_()

    def cameras(values):
        radial, tangential, prism = switches
        return FishEyeCameras(
            **dict(zip(ARIA, values)), use_radial=radial, use_tangential=tangential, use_thin_prism=prism
        )

    xy_depth = torch.cat([cameras(parameters).transform_points(points)[..., :2], points[..., 2:]], -1).detach()
    xy_depth.requires_grad_()

    def project(p, *values):
        return cameras(values).transform_points(p) + 0 * sum(v.sum() for v in values)  # some may not be used

    def unproject(p, *values):
        return cameras(values).unproject_points(p) + 0 * sum(v.sum() for v in values)

    assert torch.autograd.gradcheck(project, (points, *parameters))
    assert torch.autograd.gradcheck(unproject, (xy_depth, *parameters))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FishEyeCameras(focal_length=torch.ones(1, 3)), "focal_length: expected shape"),
        (lambda: FishEyeCameras(principal_point=torch.ones(1, 3)), "principal_point: expected shape"),
        (lambda: FishEyeCameras(radial_params=torch.ones(6)), "radial_params: expected shape"),
        (lambda: FishEyeCameras(tangential_params=torch.ones(1, 3)), "tangential_params: expected shape"),
        (lambda: FishEyeCameras(thin_prism_params=torch.ones(1, 3)), "thin_prism_params: expected shape"),
        (lambda: FishEyeCameras().transform_points(torch.rand(3, 3, 1)), "points: expected shape"),
        (lambda: FishEyeCameras(T=torch.zeros(2, 3)).transform_points(torch.rand(3, 3, 3)), "with N of 1 or 2"),
        (lambda: FishEyeCameras().unproject_points(torch.rand(3, 2)), "xy_depth: expected shape"),
        (lambda: FishEyeCameras(image_size=(0, 3)), "image_size: expected positive numbers"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
