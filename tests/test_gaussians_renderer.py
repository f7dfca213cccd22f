"""The renderer of Gaussians, with all cameras."""

from __future__ import annotations

import pytest
import torch
from splat_cases import world

import tirender.renderer as r
from tirender.renderer.gaussians.cameras import pixel_cameras
from tirender.structures import Gaussians

SIZE = (40, 56)


def scene(n: int = 60) -> Gaussians:
    given = world(n)
    given["means"] = given["means"] - torch.tensor([0.0, 0.0, 4.0])
    harmonics = torch.randn(n, 9, 3) * 0.3
    return Gaussians(*(given[k] for k in ("means", "quats", "scales", "opacities")), harmonics)


def views() -> dict[str, torch.Tensor]:
    R, T = r.look_at_view_transform(dist=4.0, elev=[10.0, 40.0], azim=[20.0, 200.0])
    return {"R": R, "T": T}


CAMERAS = {
    "perspective": lambda: r.PerspectiveCameras(focal_length=1.7, principal_point=((0.1, -0.2),), **views()),
    "in pixels": lambda: r.PerspectiveCameras(
        focal_length=((40.0, 44.0),), principal_point=((30.0, 18.0),), in_ndc=False, image_size=(SIZE,), **views()
    ),
    "fov": lambda: r.FoVPerspectiveCameras(fov=50, aspect_ratio=1.2, **views()),
    "orthographic": lambda: r.OrthographicCameras(focal_length=0.5, principal_point=((0.1, -0.2),), **views()),
    "fov orthographic": lambda: r.FoVOrthographicCameras(
        min_x=-2.0, max_x=1.5, min_y=-1.2, max_y=1.4, scale_xyz=((0.8, 1, 1),), **views()
    ),
    "fisheye": lambda: r.FishEyeCameras(
        focal_length=((1.1, 1.2),), principal_point=((0.1, 0.05),), world_coordinates=True, **views()
    ),
    "fisheye pinhole": lambda: r.FishEyeCameras(
        focal_length=((1.1,),), world_coordinates=True, use_radial=False, **views()
    ),
}


@pytest.fixture(params=CAMERAS)
def cameras(request):
    return CAMERAS[request.param]()


def test_means_are_where_the_cameras_see_them(cameras):
    g = scene()
    rendered = r.GaussiansRenderer(cameras, r.GaussiansRasterizationSettings(SIZE)).render(g)
    screen = cameras.transform_points_screen(g.means, image_size=(SIZE,))[..., :2]
    drawn = rendered.radii[..., 0] > 0
    assert drawn.sum() > 60
    torch.testing.assert_close(rendered.means2d[drawn], screen[drawn], rtol=1e-5, atol=2e-4)
    assert rendered.colors.shape == (2, *SIZE, 3)
    assert rendered.alphas.shape == rendered.depths.shape == (2, *SIZE, 1)
    assert rendered.alphas.max() > 0.5
    full = rendered.alphas > 0.5
    depths = cameras.get_world_to_view_transform().transform_points(g.means)[..., 2]
    assert (rendered.depths[full] > depths.min()).all()
    assert (rendered.depths[full] < depths.max()).all()


def test_a_small_gaussian_is_drawn_where_a_point_is(cameras):
    """The image of one Gaussian has its centre of mass at the projected mean."""
    g = scene(1)
    g = Gaussians(torch.tensor([[0.3, 0.2, -0.1]]), g.quats, g.scales * 0 + 0.02, g.opacities * 0 + 0.9, g.harmonics)
    rendered = r.GaussiansRenderer(cameras, r.GaussiansRasterizationSettings(SIZE)).render(g)
    y, x = torch.meshgrid(torch.arange(SIZE[0]) + 0.5, torch.arange(SIZE[1]) + 0.5, indexing="ij")
    weight = rendered.alphas[..., 0]
    centre = torch.stack([(weight * v).sum((1, 2)) / weight.sum((1, 2)) for v in (x, y)], -1)
    screen = cameras.transform_points_screen(g.means, image_size=(SIZE,))[:, 0, :2]
    assert (centre - screen).abs().max() < 0.1


def test_scale_in_the_image(cameras):
    """Two Gaussians a little apart are drawn so far apart as the camera says: width and height fit the positions."""
    big = 0.3
    g = Gaussians(torch.zeros(1, 3), torch.tensor([[1.0, 0, 0, 0]]), torch.full((1, 3), big), torch.ones(1) * 0.9,
                  torch.zeros(1, 1, 3))  # fmt: skip
    rendered = r.GaussiansRenderer(cameras, r.GaussiansRasterizationSettings(SIZE)).render(g)
    view_axes = cameras.R.transpose(1, 2)[:, :2] * 1e-3  # x and y of view space, in the world
    ends = cameras.transform_points_screen(torch.cat([view_axes, -view_axes], 1), image_size=(SIZE,))[..., :2]
    size = torch.stack([(ends[:, 0] - ends[:, 2])[:, 0], (ends[:, 1] - ends[:, 3])[:, 1]], 1).abs() * (big / 2e-3)
    expected = 3.315 * (size**2 + 0.3).sqrt()  # alpha 0.9 falls to 1/255 there; perspective adds a little
    assert ((rendered.radii[:, 0] - expected) / expected).abs().max() < 0.2


def test_gradients_reach_everything():
    g = scene()
    R, T = views().values()
    leaves = [v.requires_grad_() for v in (g.means, g.quats, g.scales, g.opacities, g.harmonics, R, T)]
    background = torch.rand(3, requires_grad=True)
    renderer = r.GaussiansRenderer(raster_settings=r.GaussiansRasterizationSettings(SIZE))
    images = renderer(Gaussians(*leaves[:5]), cameras=r.FoVPerspectiveCameras(R=R, T=T), background_color=background)
    assert images.shape == (2, *SIZE, 4)
    grads = torch.autograd.grad(images.square().sum(), [*leaves, background])
    assert all(grad.isfinite().all() and grad.any() for grad in grads)


def test_the_pose_can_be_found():
    g = scene(200)
    R, T = r.look_at_view_transform(dist=4.0, elev=10.0, azim=20.0)
    renderer = r.GaussiansRenderer(raster_settings=r.GaussiansRasterizationSettings(SIZE))
    target = renderer(g, cameras=r.FoVPerspectiveCameras(R=R, T=T)).detach()
    found = (T + torch.tensor([[0.1, -0.08, 0.1]])).requires_grad_()
    optimizer = torch.optim.Adam([found], lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        (renderer(g, cameras=r.FoVPerspectiveCameras(R=R, T=found)) - target).square().sum().backward()
        optimizer.step()
    assert (found - T).norm() < 0.01


def test_settings():
    g, cameras = scene(), CAMERAS["fov"]()
    renderer = r.GaussiansRenderer(cameras, r.GaussiansRasterizationSettings(SIZE), background_color=(0.2, 0.4, 0.6))
    images = renderer(g)
    corner = images[0, 0, 0]
    torch.testing.assert_close(corner, torch.tensor([0.2, 0.4, 0.6, 0.0]), atol=0.05, rtol=0)
    change = {"degree": 0, "antialiased": True, "blur": 1.0, "znear": 4.0, "zfar": 4.0, "max_alpha": 0.3}
    for name, value in change.items():
        other = renderer(g, raster_settings=r.GaussiansRasterizationSettings(SIZE, **{name: value}))
        assert not torch.allclose(other, images), name
    small = Gaussians(g.means, g.quats, g.scales * 0.01, g.opacities, g.harmonics)
    sums = [
        renderer(small, raster_settings=r.GaussiansRasterizationSettings(SIZE, antialiased=a))[..., 3].sum()
        for a in (False, True)
    ]
    assert sums[1] < 0.2 * sums[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [("image_size", 0), ("blur", -1), ("degree", 3), ("degree", -1), ("max_alpha", 1.0), ("znear", "near")],
)
def test_bad_settings(name, value):
    renderer = r.GaussiansRenderer(CAMERAS["fov"](), r.GaussiansRasterizationSettings(**{name: value}))
    with pytest.raises(ValueError, match=f"^{name}"):
        renderer(scene())


def test_bad_cameras():
    renderer = r.GaussiansRenderer(raster_settings=r.GaussiansRasterizationSettings(SIZE))
    with pytest.raises(ValueError, match="cameras"):
        renderer(scene())
    with pytest.raises(ValueError, match="without distortion"):
        renderer(scene(), cameras=r.FishEyeCameras(radial_params=((0.1, 0, 0, 0, 0, 0),)))
    K = torch.tensor([[1.0, 0.1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]])[None]
    with pytest.raises(ValueError, match="without skew"):
        renderer(scene(), cameras=r.PerspectiveCameras(K=K))
    with pytest.raises(ValueError, match="background_color"):
        renderer(scene(), cameras=CAMERAS["fov"](), background_color=(1.0, 2.0))
    with pytest.raises(ValueError, match="gaussians"):
        renderer(torch.zeros(3, 3), cameras=CAMERAS["fov"]())


def test_intrinsics_are_differentiable_as_a_conversion():
    focal = torch.tensor([[1.5, 1.6]], requires_grad=True)
    cameras = r.PerspectiveCameras(focal_length=focal, **{k: v[:1] for k, v in views().items()})
    _, intrinsics, model = pixel_cameras(cameras, SIZE)
    assert model == "pinhole"
    torch.testing.assert_close(torch.autograd.grad(intrinsics[0, 0, 0], focal)[0], torch.tensor([[20.0, 0.0]]))
