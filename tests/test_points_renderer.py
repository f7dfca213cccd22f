"""From clouds to images: PyTorch3D's renders and gradients, the fused and the dense path, backgrounds, bad input."""

from __future__ import annotations

import pytest
import torch
from conftest import load_reference, rounding
from torch import nn

import tirender.renderer as r
from tirender.renderer.points.rasterizer import PointFragments
from tirender.structures import Pointclouds

COMPOSITORS = {"alpha": r.AlphaCompositor, "norm": r.NormWeightedCompositor}


class ByHand(nn.Module):
    """Hands on to a compositor what PyTorch3D's renderer would, by being one that the renderer does not know."""

    def __init__(self, compositor: nn.Module) -> None:
        super().__init__()
        self.compositor = compositor

    def forward(self, *args: torch.Tensor, **kwargs: object) -> torch.Tensor:
        return self.compositor(*args, **kwargs)


def orthographic(n: int = 1, **kwargs: object) -> r.FoVOrthographicCameras:
    R, T = r.look_at_view_transform(3, 20, torch.arange(n) * 30.0 + 10)
    return r.FoVOrthographicCameras(R=R, T=T, znear=0.01, **kwargs)


def renderer_of(compositor: nn.Module | None = None, cameras: object = None, **settings: object) -> r.PointsRenderer:
    settings = {"image_size": (12, 15), "radius": 0.2, "points_per_pixel": 5} | settings
    rasterizer = r.PointsRasterizer(cameras or orthographic(), r.PointsRasterizationSettings(**settings))
    return r.PointsRenderer(rasterizer, compositor or r.AlphaCompositor())


def leaves(*counts: int, n_channels: int = 3, dtype: torch.dtype = torch.float32) -> tuple[list, list]:
    points = [(torch.rand(n, 3, dtype=dtype) * 1.6 - 0.8).requires_grad_() for n in counts]
    return points, [torch.rand(n, n_channels, dtype=dtype).requires_grad_() for n in counts]


@pytest.mark.parametrize("compositor", [r.AlphaCompositor(), ByHand(r.AlphaCompositor())])
def test_a_point_of_radius_0_harms_no_gradient(compositor):
    radius = torch.tensor([0, 0.3, 0.2], requires_grad=True)
    image = renderer_of(compositor, radius=radius)(Pointclouds(*leaves(3)[:1], features=[torch.rand(3, 3)]))
    (grad,) = torch.autograd.grad(image.sum(), radius)
    assert grad[0] == 0
    assert (grad[1:] > 0).all()


@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize("name", COMPOSITORS)
def test_matches_pytorch3d(name, by_hand):
    data, meta = load_reference(f"point_render/{name}")
    points, features = ([data[f"in_{k}{i}"].requires_grad_() for i in (0, 1)] for k in ("points", "features"))
    compositor = COMPOSITORS[name](background_color=meta["background"])
    cameras = r.FoVOrthographicCameras(R=data["in_R"], T=data["in_T"], znear=0.01)
    renderer = renderer_of(ByHand(compositor) if by_hand else compositor, cameras, **meta["raster"])
    image = renderer(Pointclouds(points, features=features))
    torch.testing.assert_close(image, data["out_image"], rtol=1e-5 * rounding(), atol=5e-6 * rounding())
    grads = torch.autograd.grad(image, points + features, data["up_image"])
    names = [f"grad_{k}{i}" for k in ("points", "features") for i in (0, 1)]
    for grad, expected in zip(grads, (data[k] for k in names)):
        scale = float(expected.abs().max())
        torch.testing.assert_close(grad, expected, rtol=1e-4 * rounding(), atol=2e-5 * scale * rounding())


@pytest.mark.parametrize("name", COMPOSITORS)
@pytest.mark.parametrize("n_channels", [1, 4, 20])
def test_fused_equals_dense_with_a_radius_a_point(name, n_channels):
    points, features = leaves(80, 50, n_channels=n_channels)
    radius = (torch.rand(2, 80) * 0.3).requires_grad_()
    clouds = Pointclouds(points, features=features)
    results = []
    for wrap in (lambda c: c, ByHand):
        compositor = wrap(COMPOSITORS[name](background_color=0.5))
        image = renderer_of(compositor, orthographic(2), radius=radius)(clouds)
        up = torch.linspace(-1, 1, image.numel()).view(image.shape)
        results.append((image, *torch.autograd.grad(image, (*points, *features, radius), up)))
    assert results[0][0].shape == (2, 12, 15, n_channels)
    for a, b in zip(*results):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=2e-5 * float(b.detach().abs().max()))
    assert results[0][-1][0].any()
    assert not results[0][-1][1, 50:].any()  # padding


@pytest.mark.usefixtures("needs_f64")
@pytest.mark.parametrize("name", COMPOSITORS)
def test_gradcheck_of_positions_features_and_radius(name):
    points, features = leaves(8, dtype=torch.float64)
    radius = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    R, T = r.look_at_view_transform(3, 20, 10)
    cameras = r.PerspectiveCameras(R=R.double(), T=T.double(), focal_length=2.0)

    def image(p, f, radius):
        renderer = renderer_of(COMPOSITORS[name](), cameras, image_size=(4, 5), radius=radius)
        return renderer(Pointclouds([p], features=[f]))

    assert image(points[0], features[0], radius).any()
    assert torch.autograd.gradcheck(image, (points[0], features[0], radius), eps=1e-7, atol=1e-4)


def test_gradients_to_the_camera():
    points, features = leaves(40)
    T = torch.tensor([[0.0, 0.0, 3.0]], requires_grad=True)
    image = renderer_of(cameras=r.PerspectiveCameras(T=T))(Pointclouds(points, features=features))
    (grad,) = torch.autograd.grad(image.square().sum(), T)
    assert grad.isfinite().all()
    assert grad.any()


def test_transform_is_what_rasterize_points_takes():
    clouds = Pointclouds(leaves(40, 25)[0])
    renderer = renderer_of(cameras=orthographic(2))
    settings = renderer.rasterizer.raster_settings
    expected = r.rasterize_points(renderer.rasterizer.transform(clouds), settings.image_size, 0.2, 5)
    fragments = renderer.rasterizer(clouds)
    for ours, theirs in zip(fragments, expected):
        torch.testing.assert_close(ours, theirs)
    assert isinstance(fragments, PointFragments)
    assert all(not v.requires_grad for v in fragments.detach())


def test_a_batch_is_its_clouds():
    points, features = leaves(40, 1, 25)
    cameras = orthographic(3)
    batch = renderer_of(cameras=cameras)(Pointclouds(points, features=features))
    for i in range(3):
        one = renderer_of(cameras=cameras[i])(Pointclouds(points[i : i + 1], features=features[i : i + 1]))
        torch.testing.assert_close(batch[i], one[0])


def test_the_nearer_point_is_in_front():
    clouds = Pointclouds([torch.tensor([[0.0, 0.0, 2.0], [0.0, 0.0, 1.0]])], features=[torch.eye(2)])
    renderer = renderer_of(cameras=r.FoVOrthographicCameras(), image_size=1, radius=0.5)
    assert renderer(clouds).flatten().tolist() == [0, 1]
    mean = renderer_of(r.NormWeightedCompositor(), r.FoVOrthographicCameras(), image_size=1, radius=0.5)
    assert mean(clouds).flatten().tolist() == [0.5, 0.5]


@pytest.mark.parametrize("name", COMPOSITORS)
@pytest.mark.parametrize(
    ("color", "n_channels", "seen"),
    [
        (None, 4, [0, 0, 0, 0]),
        ((0, 0, 1), 3, [0, 0, 1]),
        ((0, 0, 1), 4, [0, 0, 1, 1]),
        ([0.1, 0.2, 0.3, 0.4], 4, [0.1, 0.2, 0.3, 0.4]),
        (0.5, 2, [0.5, 0.5]),
    ],
)
def test_background(name, color, n_channels, seen):
    clouds = Pointclouds([torch.tensor([[0.0, 0.0, 1.0]])], features=[torch.full((1, n_channels), 0.7)])
    cameras = r.FoVOrthographicCameras()
    images = [
        renderer_of(COMPOSITORS[name](background_color=color), cameras, image_size=3)(clouds),
        renderer_of(COMPOSITORS[name](), cameras, image_size=3)(clouds, background_color=color),
        renderer_of(ByHand(COMPOSITORS[name](color)), cameras, image_size=3)(clouds),
    ]
    expected = torch.tensor(seen).float().expand(3, 3, n_channels).clone()
    expected[1, 1] = 0.7
    for image in images:
        torch.testing.assert_close(image[0], expected)


def test_the_background_has_a_gradient():
    color = torch.rand(3, requires_grad=True)
    clouds = Pointclouds([torch.tensor([[0.0, 0.0, 1.0]])], features=[torch.ones(1, 3)])
    image = renderer_of(r.AlphaCompositor(color), r.FoVOrthographicCameras(), image_size=3)(clouds)
    assert torch.autograd.grad(image.sum(), color)[0].tolist() == [8, 8, 8]


def test_memory_does_not_follow_points_per_pixel():
    """Dense fragments would take petabytes."""
    points, features = leaves(30)
    image = renderer_of(points_per_pixel=10**9, image_size=128)(Pointclouds(points, features=features))
    assert torch.autograd.grad(image.sum(), points[0])[0].any()


def test_settings_of_the_call_and_assigned_ones():
    points, features = leaves(40)
    clouds = Pointclouds(points, features=features)
    renderer = renderer_of()
    small, other = r.PointsRasterizationSettings(image_size=6, radius=0.3), orthographic(2)[1]
    called = renderer(clouds, raster_settings=small, cameras=other)
    renderer.rasterizer.raster_settings = small
    renderer.rasterizer.cameras = other
    assert called.shape == (1, 6, 6, 3)
    assert torch.equal(called, renderer(clouds))
    assert torch.equal(called, renderer.to("cpu")(clouds))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_points_that_are_nowhere_leave_the_others_their_gradients(value):
    points, features = leaves(20)
    broken = points[0].detach().clone()
    broken[3, 1] = value
    T = torch.tensor([[0.0, 0.0, 3.0]])
    results = []
    for cloud, rows in ((broken, features[0]), (points[0], features[0])):
        keep = torch.arange(20) != 3 if cloud is not broken else slice(None)
        leaf, t = cloud[keep].detach().requires_grad_(), T.clone().requires_grad_()
        image = renderer_of(cameras=r.PerspectiveCameras(T=t))(Pointclouds([leaf], features=[rows[keep]]))
        results.append((image, *torch.autograd.grad(image.sum(), (leaf, t))))
    (image, grad, grad_t), (image_without, grad_without, grad_t_without) = results
    assert torch.equal(image, image_without)
    assert not grad[3].any()
    torch.testing.assert_close(grad[torch.arange(20) != 3], grad_without)
    torch.testing.assert_close(grad_t, grad_t_without)


def test_points_in_the_plane_of_the_eye():
    """They divide by 0 in a perspective projection."""
    cloud = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 0.0, 1.0]], requires_grad=True)
    clouds = Pointclouds([cloud], features=[torch.rand(4, 3)])
    image = renderer_of(cameras=r.PerspectiveCameras())(clouds)
    assert image.isfinite().all()
    assert torch.autograd.grad(image.sum(), cloud)[0].isfinite().all()


@pytest.mark.parametrize("counts", [(), (0,), (0, 3)])
def test_empty_clouds_show_the_background(counts):
    points, features = leaves(*counts)
    image = renderer_of(r.AlphaCompositor((0, 0, 1)))(Pointclouds(points, features=features))
    assert image.shape == (len(counts), 12, 15, 3)
    for i, n in enumerate(counts):
        assert bool((image[i] == torch.tensor([0.0, 0, 1])).all()) == (n == 0)


def test_float64():
    points, features = leaves(40, dtype=torch.float64)
    R, T = r.look_at_view_transform(3, 20, 10)
    cameras = r.FoVOrthographicCameras(R=R.double(), T=T.double())
    clouds = Pointclouds(points, features=features)
    image = renderer_of(cameras=cameras)(clouds)
    assert image.dtype == torch.float64
    single = Pointclouds([points[0].float()], features=[features[0].float()])
    torch.testing.assert_close(image.float(), renderer_of()(single), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": None}, "point_clouds: expected clouds with features, got none"),
        ({"features": [torch.zeros(5, 3).byte()]}, "features: expected torch.float32 on cpu, got torch.uint8"),
        ({"features": [torch.rand(5, 3).double()]}, "features: expected torch.float32 on cpu, got torch.float64"),
        ({"color": (0, 0, 1, 1)}, r"background_color: expected a number, or one for each of 3 channels, got \(4,\)"),
        ({"color": (0,)}, "background_color: expected a number, or one for each of 3 channels"),
        ({"color": torch.zeros(2, 3)}, "background_color: expected a number, or one for each of 3 channels"),
        ({"cameras": orthographic(3)}, "cameras: expected 1 camera or one for each of the 1 clouds, got 3"),
        ({"radius": -1.0}, "radius: expected finite numbers >= 0, got -1.0"),
        ({"points_per_pixel": 0}, "points_per_pixel: expected an integer >= 1"),
    ],
)
def test_bad_input(change, message):
    change = {"features": [torch.rand(5, 3)], "color": None} | change
    clouds = Pointclouds([torch.rand(5, 3)], features=change.pop("features"))
    compositor = r.AlphaCompositor(change.pop("color"))
    with pytest.raises(ValueError, match=message):
        renderer_of(compositor, **change)(clouds)


def test_without_cameras():
    renderer = r.PointsRenderer(r.PointsRasterizer(), r.AlphaCompositor())
    with pytest.raises(ValueError, match="cameras: expected a camera, given to the rasterizer or to its call"):
        renderer(Pointclouds([torch.rand(5, 3)], features=[torch.rand(5, 3)]))


def test_fragments_made_by_hand_are_checked():
    class Rasterizer(r.PointsRasterizer):
        def forward(self, point_clouds, **kwargs):
            idx = torch.zeros(1, 2, 2, 3, dtype=torch.int32)
            return PointFragments(idx=idx, zbuf=None, dists=torch.zeros(1, 2, 2))

    clouds = Pointclouds([torch.rand(5, 3)], features=[torch.rand(5, 3)])
    with pytest.raises(ValueError, match=r"fragments.dists: expected shape \(1, 2, 2, 3\), got \(1, 2, 2\)"):
        r.PointsRenderer(Rasterizer(), r.AlphaCompositor())(clouds)
