"""Projection, unprojection and the conversions between view space, NDC and screen."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from tirender.renderer import cameras as cameras_module
from tirender.renderer.cameras import (
    CamerasBase,
    FishEyeCameras,
    FoVOrthographicCameras,
    FoVPerspectiveCameras,
    OpenGLOrthographicCameras,
    OpenGLPerspectiveCameras,
    OrthographicCameras,
    PerspectiveCameras,
    SfMOrthographicCameras,
    SfMPerspectiveCameras,
    get_ndc_to_screen_transform,
    get_screen_to_ndc_transform,
    look_at_view_transform,
    try_get_projection_transform,
)
from tirender.transforms import so3_exp_map

REFERENCE = Path(__file__).parent / "data" / "reference" / "cameras"
CAMERAS = ["FoVPerspectiveCameras", "FoVOrthographicCameras", "PerspectiveCameras", "OrthographicCameras"]


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def make(name: str, n: int = 3, dtype: torch.dtype = torch.float64, **kwargs) -> CamerasBase:
    """``n`` cameras of random parameters, some 5 units from the origin."""
    R, T = look_at_view_transform(5.0, 30 * torch.randn(n, dtype=dtype), 180 * torch.rand(n, dtype=dtype))
    if name == "FoVPerspectiveCameras":
        own = {
            "fov": 40 + 20 * torch.rand(n, dtype=dtype),
            "aspect_ratio": 1 + torch.rand(n, dtype=dtype),
            "znear": 0.5,
        }
    elif name == "FoVOrthographicCameras":
        own = {"max_x": 1 + torch.rand(n, dtype=dtype), "min_y": -2.0, "scale_xyz": ((1.0, 2.0, 3.0),), "zfar": 20.0}
    else:
        own = {
            "focal_length": 1 + torch.rand(n, 2, dtype=dtype),
            "principal_point": 0.1 * torch.randn(n, 2, dtype=dtype),
        }
    return getattr(cameras_module, name)(R=R, T=T, **{**own, **kwargs})


def in_pixels(camera: CamerasBase, height: int, width: int) -> CamerasBase:
    """The same cameras with their intrinsics in pixels."""
    scale = min(height, width) / 2
    return type(camera)(
        R=camera.R,
        T=camera.T,
        focal_length=camera.focal_length * scale,
        principal_point=torch.tensor([[width, height]]) / 2 - camera.principal_point * scale,
        in_ndc=False,
        image_size=((height, width),),
    )


# --- PyTorch3D's results ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CAMERAS)
def test_values_and_gradients_match_pytorch3d(name):
    with np.load(REFERENCE / f"{name}.npz") as data:
        case = {key: torch.from_numpy(data[key]) for key in data.files if key != "meta"}
        kwargs = json.loads(str(data["meta"]))["kwargs"]
    inputs = {key: case[f"in_{key}"].requires_grad_() for key in ("points", "R", "T")}
    cameras = getattr(cameras_module, name)(R=inputs["R"], T=inputs["T"], **kwargs)
    outputs = {
        "ndc": cameras.transform_points(inputs["points"]),
        "view": cameras.get_world_to_view_transform().transform_points(inputs["points"]),
        "screen": cameras.transform_points_screen(inputs["points"], image_size=(48, 64)),
        "unprojected": cameras.unproject_points(case["out_xy_depth"]),
        "center": cameras.get_camera_center(),
    }
    for key, value in outputs.items():
        torch.testing.assert_close(value, case[f"out_{key}"], rtol=1e-5, atol=5e-6)
    grads = torch.autograd.grad(outputs.values(), inputs.values(), [case[f"up_{key}"] for key in outputs])
    for key, grad in zip(inputs, grads):
        expected = case[f"grad_{key}"]
        torch.testing.assert_close(grad, expected, rtol=1e-5, atol=1e-6 * expected.abs().max().item())


# --- projection -------------------------------------------------------------------------------------------------------


def test_a_point_to_the_left_above_and_ahead():
    point = torch.tensor([[0.5, 0.25, 2.0]])
    fov = FoVPerspectiveCameras(fov=90.0, znear=1.0, zfar=10.0)
    torch.testing.assert_close(fov.transform_points(point), torch.tensor([[0.25, 0.125, (10 * 2 - 10) / 9 / 2]]))
    pinhole = PerspectiveCameras(focal_length=2.0, principal_point=((0.1, 0.2),))
    torch.testing.assert_close(pinhole.transform_points(point), torch.tensor([[0.6, 0.45, 0.5]]))
    box = FoVOrthographicCameras(znear=1.0, zfar=10.0, max_x=2.0, min_x=-2.0)
    torch.testing.assert_close(box.transform_points(point), torch.tensor([[0.25, 0.25, 1 / 9]]))
    parallel = OrthographicCameras(focal_length=((2.0, 3.0),))
    torch.testing.assert_close(parallel.transform_points(point), torch.tensor([[1.0, 0.75, 2.0]]))
    # NDC spans [-1, 1] on the short side; the screen's x runs right, its y down
    torch.testing.assert_close(
        fov.transform_points_screen(point, image_size=(100, 200))[:, :2], torch.tensor([[100 - 12.5, 50 - 6.25]])
    )
    torch.testing.assert_close(
        fov.transform_points_screen(point, image_size=(200, 100), with_xyflip=False)[:, :2],
        torch.tensor([[12.5 - 50, 6.25 - 100]]),
    )


@pytest.mark.parametrize("name", CAMERAS)
@pytest.mark.parametrize("shape", [(4, 3), (1, 4, 3), (3, 4, 3), (0, 3), (3, 0, 3)])
@pytest.mark.parametrize("n", [1, 3])
def test_shapes_and_round_trip(name, shape, n):
    cameras = make(name, n)
    points = torch.randn(shape, dtype=torch.float64)
    batch = max(n, shape[0] if len(shape) == 3 else 1)
    expected = shape if len(shape) == 2 and n == 1 else (batch, *shape[-2:])
    image = cameras.transform_points(points)
    assert image.shape == expected
    depth = cameras.get_world_to_view_transform().transform_points(points)[..., 2:]
    xy_depth = torch.cat([image[..., :2], depth], -1)
    torch.testing.assert_close(cameras.unproject_points(xy_depth), points.expand(expected))
    view = cameras.unproject_points(xy_depth, world_coordinates=False)
    torch.testing.assert_close(view, cameras.get_world_to_view_transform().transform_points(points))


@pytest.mark.parametrize("name", CAMERAS[:2])
def test_unproject_scaled_depth(name):
    cameras, points = make(name), torch.randn(3, 4, 3, dtype=torch.float64)
    image = cameras.transform_points(points)
    torch.testing.assert_close(cameras.unproject_points(image, scaled_depth_input=True), points)


@pytest.mark.parametrize("name", ["FoVPerspectiveCameras", "PerspectiveCameras"])
def test_depth_zero_unprojects_to_the_camera_centre(name):
    cameras = make(name)
    xy_depth = torch.tensor([[0.3, 0.4, 0.0]], dtype=torch.float64, requires_grad=True)
    points = cameras.unproject_points(xy_depth)
    torch.testing.assert_close(points[:, 0], cameras.get_camera_center())
    points.sum().backward()
    assert xy_depth.grad.isfinite().all()


@pytest.mark.parametrize("name", CAMERAS[2:])
@pytest.mark.parametrize(("height", "width"), [(50, 50), (40, 60), (60, 40)])
def test_intrinsics_in_pixels_are_the_same_cameras(name, height, width):
    ndc = make(name)
    screen = in_pixels(ndc, height, width)
    points = torch.randn(3, 6, 3, dtype=torch.float64)
    assert ndc.in_ndc()
    assert not screen.in_ndc()
    torch.testing.assert_close(screen.transform_points_ndc(points), ndc.transform_points_ndc(points))
    torch.testing.assert_close(
        screen.transform_points_screen(points), ndc.transform_points_screen(points, image_size=(height, width))
    )
    depth = ndc.get_world_to_view_transform().transform_points(points)[..., 2:]
    from_screen = torch.cat([screen.transform_points(points)[..., :2], depth], -1)
    torch.testing.assert_close(screen.unproject_points(from_screen), points)
    from_ndc = torch.cat([screen.transform_points_ndc(points)[..., :2], depth], -1)
    torch.testing.assert_close(screen.unproject_points(from_ndc, from_ndc=True), points)
    torch.testing.assert_close(ndc.unproject_points(from_ndc, from_ndc=True), points)
    torch.testing.assert_close(
        screen.get_principal_point(), torch.tensor([[width, height]]) / 2 - ndc.principal_point * min(height, width) / 2
    )
    # a rasterizer's two steps: projection, then NDC
    steps = screen.get_projection_transform().compose(screen.get_ndc_camera_transform())
    view = screen.get_world_to_view_transform().transform_points(points)
    torch.testing.assert_close(steps.transform_points(view)[..., :2], ndc.transform_points_ndc(points)[..., :2])


def test_screen_and_ndc_are_inverses():
    cameras = FoVPerspectiveCameras()
    for flip in (False, True):
        there = get_ndc_to_screen_transform(cameras, with_xyflip=flip, image_size=(30, 70))
        back = get_screen_to_ndc_transform(cameras, with_xyflip=flip, image_size=(30, 70))
        torch.testing.assert_close(there.compose(back).get_matrix(), torch.eye(4)[None], atol=1e-6, rtol=0)
    sizes = torch.tensor([[30, 70], [40, 40]])
    assert len(get_ndc_to_screen_transform(cameras, image_size=sizes)) == 2
    corner = torch.tensor([[1.0, 1.0, 5.0]])
    square = get_ndc_to_screen_transform(cameras, with_xyflip=True, image_size=32)
    torch.testing.assert_close(square.transform_points(corner), torch.tensor([[0.0, 0.0, 5.0]]))


@pytest.mark.parametrize("name", CAMERAS)
def test_a_given_matrix_replaces_the_intrinsics(name):
    cameras = make(name)
    points = torch.randn(3, 4, 3, dtype=torch.float64)
    K = cameras.get_projection_transform().get_matrix().transpose(1, 2)
    by_matrix = getattr(cameras_module, name)(R=cameras.R, T=cameras.T, K=K)
    torch.testing.assert_close(by_matrix.transform_points(points), cameras.transform_points(points))
    override = getattr(cameras_module, name)(R=cameras.R, T=cameras.T)
    torch.testing.assert_close(override.transform_points(points, K=K), cameras.transform_points(points))


@pytest.mark.parametrize(
    ("name", "override"),
    [
        ("FoVPerspectiveCameras", {"fov": 30.0, "znear": 0.1, "zfar": torch.tensor([9.0]), "aspect_ratio": 2}),
        ("FoVPerspectiveCameras", {"fov": 0.7, "degrees": False}),
        ("FoVOrthographicCameras", {"max_x": 3.0, "min_x": -1.0, "max_y": 2, "scale_xyz": ((2.0, 2.0, 2.0),)}),
        ("PerspectiveCameras", {"focal_length": 3.0, "principal_point": ((0.3, 0.4),)}),
        ("OrthographicCameras", {"focal_length": torch.tensor([[2.0, 3.0]])}),
    ],
)
def test_keyword_arguments_override_intrinsics_for_one_call(name, override):
    cameras, points = make(name), torch.randn(3, 4, 3, dtype=torch.float64)
    before = cameras.transform_points(points)
    own = {field: getattr(cameras, field) for field in cameras._FIELDS if not field.startswith("_")}
    expected = getattr(cameras_module, name)(**{**own, **override}).transform_points(points)
    torch.testing.assert_close(cameras.transform_points(points, **override), expected)
    torch.testing.assert_close(cameras.transform_points(points), before)


@pytest.mark.parametrize("name", CAMERAS)
def test_extrinsics_given_to_a_call_are_kept(name):
    cameras, other = make(name), make(name)
    points = torch.randn(3, 4, 3, dtype=torch.float64)
    assert not torch.equal(cameras.R, other.R)
    cameras.transform_points(points, R=other.R, T=other.T)
    torch.testing.assert_close(cameras.get_camera_center(), other.get_camera_center())
    single = getattr(cameras_module, name)()  # one camera's intrinsics with three extrinsics
    assert single.transform_points(points, R=other.R, T=other.T).shape == (3, 4, 3)


def test_camera_centre():
    R, T = look_at_view_transform(3.0, 90 * torch.rand(4), 360 * torch.rand(4), at=((1.0, 2.0, 3.0),))
    centre = PerspectiveCameras(R=R, T=T).get_camera_center()
    torch.testing.assert_close((centre - torch.tensor([1.0, 2.0, 3.0])).norm(dim=1), torch.full((4,), 3.0))
    torch.testing.assert_close((centre[:, None] @ R)[:, 0] + T, torch.zeros(4, 3), atol=2e-6, rtol=0)


def test_what_cameras_tell_about_themselves():
    fov, box = FoVPerspectiveCameras(znear=0.3), FoVOrthographicCameras(znear=0.4)
    pinhole, parallel = PerspectiveCameras(image_size=(4, 5)), OrthographicCameras(image_size=7)
    assert [c.is_perspective() for c in (fov, box, pinhole, parallel)] == [True, False, True, False]
    assert all(c.in_ndc() for c in (fov, box, pinhole, parallel))
    assert fov.get_znear().item() == pytest.approx(0.3)
    assert box.get_znear().item() == pytest.approx(0.4)
    assert pinhole.get_znear() is None
    assert torch.equal(pinhole.get_image_size(), torch.tensor([[4.0, 5.0]]))
    assert torch.equal(parallel.get_image_size(), torch.tensor([[7.0, 7.0]]))
    assert fov.get_image_size() is None
    assert PerspectiveCameras().get_image_size() is None
    assert PerspectiveCameras(focal_length=torch.tensor([1.0, 2.0])).focal_length.tolist() == [[1, 1], [2, 2]]


# --- gradients --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "pixels"), [*((name, False) for name in CAMERAS), *((name, True) for name in CAMERAS[2:])]
)
def test_gradcheck_through_pose_and_intrinsics(name, pixels):
    cameras = make(name, 2)
    if pixels:
        cameras = in_pixels(cameras, 4, 6)
    fields = [
        f for f in cameras._FIELDS if isinstance(getattr(cameras, f), torch.Tensor) and f not in ("R", "image_size")
    ]
    leaves = [getattr(cameras, f).detach().clone().requires_grad_() for f in fields]
    log_R = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    points = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    fixed = {"in_ndc": False, "image_size": cameras.image_size} if pixels else {}

    def project(log_R, points, *values):
        moved = type(cameras)(R=so3_exp_map(log_R), **dict(zip(fields, values)), **fixed)
        image = moved.transform_points_screen(points, image_size=(4, 6))
        xy_depth = torch.cat([image[..., :2] * 0.1, points[..., 2:].abs() + 1], -1)
        return image, moved.unproject_points(xy_depth), moved.get_camera_center()

    assert torch.autograd.gradcheck(project, (log_R, points, *leaves))


@pytest.mark.parametrize("name", ["FoVPerspectiveCameras", "PerspectiveCameras"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_on_and_behind_the_camera_plane(name, dtype):
    cameras = getattr(cameras_module, name)()
    z = torch.tensor([0.0, -0.0, 1e-30, -1e-30, 1e-4, -1e-4, -2.0, 2.0], dtype=dtype)
    points = torch.stack([torch.full_like(z, 0.5), torch.full_like(z, -0.25), z], -1).requires_grad_()
    image = cameras.transform_points(points, eps=1e-2)
    image.sum().backward()
    assert image.isfinite().all()
    assert points.grad.isfinite().all()
    assert points.grad.abs().max() < 1e3
    exact = cameras.transform_points(points)  # without eps, only points on the plane are not finite
    torch.testing.assert_close(exact[-2:], image[-2:])
    assert not exact[0].isfinite().all()


def test_optimizing_a_pose_held_as_a_parameter():
    target = look_at_view_transform(3.0, 20.0, 30.0)[1]
    R, _ = look_at_view_transform(3.0, 20.0, 30.0)
    T = torch.nn.Parameter(target + 0.3)
    cameras = PerspectiveCameras(R=R, T=T)
    points = torch.randn(20, 3)
    expected = PerspectiveCameras(R=R, T=target).transform_points(points)
    optimizer = torch.optim.Adam([T], lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        loss = (cameras.transform_points(points) - expected).square().mean()
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(T.data, target, atol=2e-2, rtol=0)


# --- the objects ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*CAMERAS, "FishEyeCameras"])
@pytest.mark.parametrize(
    ("index", "rows"),
    [
        (1, [1]),
        (-1, [2]),
        (slice(1, None), [1, 2]),
        ([2, 0], [2, 0]),
        (torch.tensor([1, 1, 0]), [1, 1, 0]),
        (torch.tensor([True, False, True]), [0, 2]),
        ([], []),
    ],
)
def test_index(name, index, rows):
    if name == "FishEyeCameras":
        cameras = FishEyeCameras(T=torch.randn(3, 3, dtype=torch.float64), use_radial=False, world_coordinates=True)
    else:
        cameras = make(name)
    picked = cameras[index]
    assert type(picked) is type(cameras)
    assert len(picked) == len(rows)
    assert torch.equal(picked.T, cameras.T[rows])
    assert vars(picked).keys() == vars(cameras).keys()
    for field in cameras._SHARED_FIELDS:
        assert getattr(picked, field) == getattr(cameras, field)
    points = torch.randn(4, 3, dtype=torch.float64) + torch.tensor([0.0, 0.0, 9.0])
    if rows:
        all_images = cameras.transform_points(points)
        torch.testing.assert_close(picked.transform_points(points[None]), all_images[rows])


def test_bad_index():
    cameras = make("PerspectiveCameras")
    for index in (1.5, True, "a", [True, False, True], torch.ones(3)):
        with pytest.raises(IndexError, match="index: expected an integer"):
            cameras[index]
    for index in (3, -4, [0, 3], torch.tensor([3]), torch.tensor([True, False])):
        with pytest.raises(IndexError):
            cameras[index]


def test_the_tutorials_way_of_picking_cameras():
    R, T = look_at_view_transform(dist=2.7, elev=torch.linspace(0, 360, 5), azim=torch.linspace(-180, 180, 5))
    cameras = FoVPerspectiveCameras(R=R, T=T)
    picked = FoVPerspectiveCameras(
        R=cameras.R[[1, 3]],
        T=cameras.T[[1, 3]],
        znear=cameras.znear[[1, 3]],
        zfar=cameras.zfar[[1, 3]],
        aspect_ratio=cameras.aspect_ratio[[1, 3]],
        fov=cameras.fov[[1, 3]],
        device="cpu",
    )
    points = torch.randn(6, 3)
    torch.testing.assert_close(picked.transform_points(points), cameras[[1, 3]].transform_points(points))
    one = OpenGLPerspectiveCameras(device="cpu", R=R[None, 1, ...], T=T[None, 1, ...])
    torch.testing.assert_close(one.transform_points(points[None]), cameras[1].transform_points(points[None]))


@pytest.mark.parametrize("name", CAMERAS)
def test_clone_pickle_and_to(name):
    cameras, points = make(name), torch.randn(3, 4, 3, dtype=torch.float64)
    expected = cameras.transform_points(points)
    clone = cameras.clone()
    clone.R.zero_()
    assert type(clone) is type(cameras)
    for other in (pickle.loads(pickle.dumps(cameras)), cameras.clone(), cameras.to("cpu")):
        assert torch.equal(other.transform_points(points), expected)
        assert len(other) == 3
    assert cameras.to("meta").T.device.type == "meta"


@pytest.mark.parametrize("name", CAMERAS)
def test_numbers_do_not_cost_float64_its_digits(name):
    T = torch.tensor([[0.0, 0.0, 3.0]], dtype=torch.float64)
    extra = {"focal_length": 1.1} if name in CAMERAS[2:] else {"znear": 0.1}
    single, double = getattr(cameras_module, name)(**extra), getattr(cameras_module, name)(T=T, **extra)
    points = torch.randn(4, 3)
    assert single.transform_points(points).dtype == torch.float32
    assert double.transform_points(points).dtype == torch.float64
    assert double.get_projection_transform().dtype == torch.float64
    key, value = extra.popitem()
    assert (getattr(double, key) == value).all()


def test_older_names():
    points = torch.randn(5, 3)
    R, T = look_at_view_transform(3.0, 10.0, 20.0)
    pairs = [
        (
            OpenGLPerspectiveCameras(0.5, 10.0, 1.2, 50.0, True, R, T),
            FoVPerspectiveCameras(0.5, 10.0, 1.2, 50.0, R=R, T=T),
        ),
        (
            OpenGLOrthographicCameras(top=2.0, bottom=-3.0, left=-4.0, right=5.0, R=R, T=T),
            FoVOrthographicCameras(max_y=2.0, min_y=-3.0, min_x=-4.0, max_x=5.0, R=R, T=T),
        ),
        (SfMPerspectiveCameras(2.0, ((0.1, 0.2),), R, T), PerspectiveCameras(2.0, ((0.1, 0.2),), R, T)),
        (SfMOrthographicCameras(2.0, ((0.1, 0.2),), R, T), OrthographicCameras(2.0, ((0.1, 0.2),), R, T)),
    ]
    for old, new in pairs:
        assert type(old) is type(new)
        assert torch.equal(old.transform_points(points), new.transform_points(points))


class StereographicCameras(CamerasBase):
    """A user's camera without a projection matrix."""

    _FIELDS = ("R", "T", "zoom")

    def __init__(self, R=((((1.0, 0, 0), (0, 1, 0), (0, 0, 1)),)), T=((0.0, 0.0, 0.0),), zoom=1.0, device="cpu"):
        super().__init__(device=device, R=R, T=T, zoom=zoom)

    def transform_points(self, points, eps=None, **kwargs):
        view = self.get_world_to_view_transform(**kwargs).transform_points(points)
        ahead = view[..., 2:] + view.norm(dim=-1, keepdim=True)
        return torch.cat([view[..., :2] / ahead * self.zoom[:, None], view[..., 2:]], -1)

    def in_ndc(self):
        return True


def test_a_users_camera_without_a_matrix():
    cameras = StereographicCameras(T=torch.tensor([[0.0, 0.0, 2.0], [0.0, 0.0, 3.0]]), zoom=2.0)
    assert try_get_projection_transform(cameras, {}) is None
    assert try_get_projection_transform(FoVPerspectiveCameras(), {"fov": 30.0}) is not None
    points = torch.zeros(1, 1, 3)
    image = cameras[1].transform_points_screen(points, image_size=(20, 20))
    torch.testing.assert_close(image, torch.tensor([[[10.0, 10.0, 3.0]]]))


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FoVPerspectiveCameras(R=torch.eye(3)), r"R: expected shape \(N, 3, 3\), got \(3, 3\)"),
        (lambda: FoVPerspectiveCameras(T=torch.zeros(2, 4)), r"T: expected shape \(N, 3\), got \(2, 4\)"),
        (lambda: FoVPerspectiveCameras(T=torch.zeros(2, 3) > 0), "T: expected float32 or float64"),
        (lambda: FoVPerspectiveCameras(fov=[1.0, 2.0], znear=[1.0, 2.0, 3.0]), "batch: expected one size, or 1"),
        (
            lambda: FoVPerspectiveCameras(K=torch.eye(3)[None]).get_projection_transform(),
            r"K: expected shape \(N, 4, 4\)",
        ),
        (
            lambda: FoVOrthographicCameras(scale_xyz=((1.0, 2.0),)).get_projection_transform(),
            "scale_xyz: expected shape",
        ),
        (lambda: PerspectiveCameras(focal_length=torch.ones(1, 3)), "focal_length: expected shape"),
        (lambda: PerspectiveCameras(principal_point=torch.ones(1, 3)), "principal_point: expected shape"),
        (lambda: PerspectiveCameras(image_size=((0, 4),)), "image_size: expected positive numbers"),
        (lambda: PerspectiveCameras(image_size=(1, 2, 3)), "image_size: expected positive numbers"),
        (
            lambda: PerspectiveCameras().transform_points_screen(torch.zeros(1, 3)),
            r"image_size: expected \(height, width\)",
        ),
        (
            lambda: PerspectiveCameras(in_ndc=False).get_ndc_camera_transform(),
            r"image_size: expected \(height, width\)",
        ),
        (lambda: PerspectiveCameras().transform_points(torch.zeros(2, 2)), "points: expected shape"),
        (
            lambda: make("PerspectiveCameras", 2).transform_points(torch.zeros(3, 1, 3)),
            "points: expected a batch of 1 or 2",
        ),
        (
            lambda: PerspectiveCameras().transform_points(torch.zeros(1, 3), T=torch.zeros(3)),
            r"T: expected shape \(N, 3\)",
        ),
        (lambda: PerspectiveCameras().unproject_points(torch.zeros(1, 2)), "xy_depth: expected shape"),
        (lambda: PerspectiveCameras().unproject_points(torch.zeros(1, 1, 1, 3)), "xy_depth: expected shape"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


OPENCV = torch.tensor([[[500.0, 0, 320, 0], [0, 500, 240, 0], [0, 0, 1, 0], [0, 0, 0, 1]]])
OURS = OPENCV[:, [0, 1, 3, 2]]


@pytest.mark.parametrize(
    ("make", "K", "message"),
    [
        (
            PerspectiveCameras,
            OPENCV,
            r"K: expected .*\(fx, 0, px, 0\).*\(0, 0, 1, 0\), got the last row of an orthographic",
        ),
        (FoVPerspectiveCameras, OPENCV, "got the last row of an orthographic camera, or of OpenCV's layout"),
        (
            PerspectiveCameras,
            OPENCV[:, :3, :3],
            r"cameras_from_opencv_projection takes OpenCV's 3 x 3\), got \(1, 3, 3\)",
        ),
        (PerspectiveCameras, OPENCV[0, :3, :3], "takes OpenCV's 3 x 3"),
        (OrthographicCameras, OURS, "got the last row of a perspective camera"),
        (FoVOrthographicCameras, OURS, "got the last row of a perspective camera"),
    ],
)
def test_a_matrix_of_another_layout_is_refused_at_construction(make, K, message):
    with pytest.raises(ValueError, match=message):
        make(K=K)
    if K.shape[1:] == (4, 4):
        with pytest.raises(ValueError, match=message):
            make().get_projection_transform(K=K)


def test_one_matrix_is_a_batch_of_one():
    points = torch.tensor([[0.2, -0.1, 4.0]])
    cameras = [
        PerspectiveCameras(K=K, in_ndc=False, image_size=((480, 640),)) for K in (OURS, OURS[0], OURS[0].numpy())
    ]
    screen = [c.transform_points(points) for c in cameras]
    torch.testing.assert_close(screen[0][0, :2], torch.tensor([320 + 500 * 0.2 / 4, 240 - 500 * 0.1 / 4]))
    assert torch.equal(screen[0], screen[1])
    assert torch.equal(screen[0], screen[2])
