"""Volumes and functions rendered along rays: reference cases, one volume for many cameras, odd volumes, bad input."""

import pytest
import torch
from conftest import load_reference

from tirender.renderer.cameras import FoVPerspectiveCameras, look_at_view_transform
from tirender.renderer.implicit import (
    AbsorptionOnlyRaymarcher,
    EmissionAbsorptionRaymarcher,
    ImplicitRenderer,
    MonteCarloRaysampler,
    NDCMultinomialRaysampler,
    RayBundle,
    VolumeRenderer,
    VolumeSampler,
    ray_bundle_to_ray_points,
)
from tirender.structures import Volumes

RAYMARCHERS = {"emission_absorption": EmissionAbsorptionRaymarcher, "absorption_only": AbsorptionOnlyRaymarcher}
RAYS = NDCMultinomialRaysampler(image_width=6, image_height=5, n_pts_per_ray=12, min_depth=0.5, max_depth=4.5)


def cameras(n=2):
    R, T = look_at_view_transform(dist=2.5, elev=torch.arange(n) * 10.0, azim=torch.arange(n) * 50.0)
    return FoVPerspectiveCameras(R=R, T=T)


def bundle_at(points):
    """A bundle whose only samples are these points (N, M, 3)."""
    return RayBundle(points, torch.zeros_like(points), torch.zeros_like(points[..., :1]), points[..., :2])


def sample(volumes, points, **kwargs):
    densities, features = VolumeSampler(volumes, **kwargs)(bundle_at(points))
    return densities[..., 0, :], features[..., 0, :]


@pytest.mark.parametrize("sample_mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("raymarcher", list(RAYMARCHERS))
def test_reference(raymarcher, sample_mode):
    reference, _ = load_reference(f"volume_render/{raymarcher}_{sample_mode}")
    inputs = [reference["in_densities"].requires_grad_(), reference["in_features"].requires_grad_()]
    volumes = Volumes(*inputs, voxel_size=(0.2, 0.18, 0.15), volume_translation=(0.1, -0.05, 0.2))
    sampler = NDCMultinomialRaysampler(image_width=20, image_height=16, n_pts_per_ray=24, min_depth=0.5, max_depth=4.5)
    renderer = VolumeRenderer(sampler, RAYMARCHERS[raymarcher](), sample_mode)
    views = FoVPerspectiveCameras(R=reference["in_R"], T=reference["in_T"])
    image, bundle = renderer(cameras=views, volumes=volumes)
    torch.testing.assert_close(image, reference["out_image"], rtol=1e-5, atol=5e-6)
    for name in ("origins", "directions", "lengths", "xys"):
        torch.testing.assert_close(getattr(bundle, name), reference[f"out_{name}"], rtol=1e-5, atol=1e-6)
    names = [name for name in ("densities", "features") if f"grad_{name}" in reference]
    grads = torch.autograd.grad(image, inputs[: len(names)], reference["up_image"])
    for name, grad in zip(names, grads):
        torch.testing.assert_close(grad, reference[f"grad_{name}"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sample_mode", ["bilinear", "nearest"])
def test_one_volume_for_many_cameras(sample_mode):
    densities = torch.rand(1, 1, 4, 5, 6, requires_grad=True)
    features = torch.rand(1, 2, 4, 5, 6, requires_grad=True)
    renderer = VolumeRenderer(RAYS, EmissionAbsorptionRaymarcher(), sample_mode)
    up = torch.randn(3, 5, 6, 3)

    def render(expand):
        volumes = Volumes(expand(densities), expand(features), voxel_size=0.4)
        image, _ = renderer(cameras(3), volumes)
        return image, *torch.autograd.grad(image, (densities, features), up)

    copied = render(lambda x: x.repeat(3, 1, 1, 1, 1))
    for expand in (lambda x: x.expand(3, *x.shape[1:]), lambda x: x):
        torch.testing.assert_close(render(expand), copied, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("align_corners", [True, False])
def test_voxel_centres_give_the_voxels(align_corners):
    volumes = Volumes(
        torch.rand(2, 1, 4, 5, 6),
        torch.rand(2, 3, 4, 5, 6),
        voxel_size=torch.rand(2, 3) + 0.1,
        volume_translation=(1.0, 2.0, 3.0),
        align_corners=align_corners,
    )
    densities, features = sample(volumes, volumes.get_coord_grid().reshape(2, -1, 3))
    torch.testing.assert_close(densities, volumes.densities().flatten(2).transpose(1, 2), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(features, volumes.features().flatten(2).transpose(1, 2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("mode", [{"sample_mode": "nearest"}, {}, {"padding_mode": "border"}])
def test_volumes_of_different_sizes_are_as_each_alone(mode, align_corners):
    shapes = [(2, 5, 3), (4, 1, 6), (1, 1, 1), (4, 5, 6)]
    where = {
        "voxel_size": torch.rand(4, 3) + 0.2,
        "volume_translation": torch.rand(4, 3),
        "align_corners": align_corners,
    }
    volumes = Volumes([torch.rand(1, *s) for s in shapes], [torch.rand(2, *s) for s in shapes], **where)
    points = torch.randn(4, 200, 3)
    together = sample(volumes, points, **mode)
    for i in range(4):
        own = {name: value[i : i + 1] if isinstance(value, torch.Tensor) else value for name, value in where.items()}
        single = Volumes([volumes.densities_list()[i]], [volumes.features_list()[i]], **own)
        alone = sample(single, points[i : i + 1], **mode)
        torch.testing.assert_close(together[0][i], alone[0][0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(together[1][i], alone[1][0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("align_corners", [True, False])
def test_one_voxel_is_a_tent(align_corners):
    volume = Volumes(torch.full((1, 1, 1, 1, 1), 0.8), voxel_size=0.5, align_corners=align_corners)
    points = torch.tensor([[[0.0, 0, 0], [0.25, 0, 0], [0.25, -0.25, 0], [0.5, 0, 0], [9, 0, 0]]])
    densities, features = sample(volume, points)
    torch.testing.assert_close(densities.flatten(), torch.tensor([0.8, 0.4, 0.2, 0, 0]))
    assert features.shape == (*densities.shape[:-1], 0)


@pytest.mark.parametrize("align_corners", [True, False])
def test_support_ends_one_voxel_past_the_centres(align_corners):
    volume = Volumes(torch.ones(1, 1, 3, 3, 3), voxel_size=1.0, align_corners=align_corners)
    # without align_corners, three voxels of size 1 lie 2/3 apart, as in PyTorch3D
    x = torch.tensor([-2.5, -2.0, -1.5, -1.0, 0.3, 1.0, 1.75, 2.0]) * (1 if align_corners else 2 / 3)
    densities, _ = sample(volume, torch.stack([x, 0 * x, 0 * x], -1)[None])
    torch.testing.assert_close(densities.flatten(), torch.tensor([0, 0, 0.5, 1, 1, 1, 0.25, 0]))


def test_rays_that_miss():
    densities = torch.rand(1, 1, 3, 3, 3, requires_grad=True)
    volumes = Volumes(densities, torch.rand(1, 3, 3, 3, 3), voxel_size=0.01, volume_translation=(50.0, 0, 0))
    image, _ = VolumeRenderer(RAYS, EmissionAbsorptionRaymarcher())(cameras(), volumes)
    assert not image.any()
    assert not torch.autograd.grad(image.sum(), densities)[0].any()


def test_opaque_volume_has_finite_gradients():
    densities = torch.ones(1, 1, 4, 4, 4, requires_grad=True)
    features = torch.rand(1, 3, 4, 4, 4, requires_grad=True)
    image, _ = VolumeRenderer(RAYS, EmissionAbsorptionRaymarcher())(
        cameras(), Volumes(densities, features, voxel_size=0.5)
    )
    assert image[..., 3].max() > 0.99
    assert all(grad.isfinite().all() for grad in torch.autograd.grad(image.sum(), (densities, features)))


def test_gradcheck():
    def render(densities, features, size, T):
        volumes = Volumes(densities, features, voxel_size=size)
        views = FoVPerspectiveCameras(R=R.double(), T=T)
        return VolumeRenderer(sampler, EmissionAbsorptionRaymarcher())(views, volumes)[0]

    # a view from which no sample lies on a voxel's boundary, where the gradient jumps
    R, T = look_at_view_transform(dist=2.5, elev=torch.tensor([13.0, -31.0]), azim=torch.tensor([27.0, 141.0]))
    sampler = NDCMultinomialRaysampler(image_width=2, image_height=2, n_pts_per_ray=5, min_depth=1.5, max_depth=3.5)
    inputs = [torch.rand(2, n, 2, 3, 2, dtype=torch.float64) * 0.8 for n in (1, 2)]
    inputs += [torch.tensor([0.7, 0.8, 0.9], dtype=torch.float64), T.double()]
    assert torch.autograd.gradcheck(render, [x.requires_grad_() for x in inputs])


def test_rays_of_drawn_cameras_see_one_volume():
    sampler = MonteCarloRaysampler(-1.0, 1.0, -1.0, 1.0, None, 6, 0.5, 4.0, n_rays_total=20)
    volumes = Volumes(torch.rand(1, 1, 3, 3, 3), torch.rand(1, 3, 3, 3, 3))
    image, bundle = VolumeRenderer(sampler, EmissionAbsorptionRaymarcher())(cameras(4), volumes)
    assert image.shape == (20, 1, 4)
    assert bundle.camera_counts.sum() == 20


# --- functions ---


def test_implicit_function_is_given_the_rays_and_arguments():
    def ball(ray_bundle, cameras, radius, **kwargs):
        assert len(cameras) == 2
        points = ray_bundle_to_ray_points(ray_bundle)
        return (points.norm(dim=-1, keepdim=True) < radius).float(), points

    def march(rays_densities, rays_features, ray_bundle, **kwargs):
        assert kwargs == {"radius": 0.5}
        return (rays_densities * rays_features).sum(-2), ray_bundle.lengths

    renderer = ImplicitRenderer(raysampler=RAYS, raymarcher=march)
    (image, lengths), bundle = renderer(cameras=cameras(), volumetric_function=ball, radius=0.5)
    assert image.shape == (2, 5, 6, 3)
    assert lengths is bundle.lengths
    standard = ImplicitRenderer(raysampler=RAYS, raymarcher=EmissionAbsorptionRaymarcher())
    image, _ = standard(cameras(), ball, radius=0.5)
    assert image[:, 2, 2:4, 3].min() == 1
    assert not image[:, 0].any()


def test_mask_and_counts_reach_the_sampler():
    volumes = Volumes(torch.rand(1, 1, 3, 3, 3), torch.rand(1, 3, 3, 3, 3))
    renderer = VolumeRenderer(RAYS, EmissionAbsorptionRaymarcher())
    image, bundle = renderer(cameras(), volumes, mask=torch.ones(2, 5, 6), n_rays_per_image=7)
    assert image.shape == (2, 7, 1, 4)
    assert bundle.xys.shape == (2, 7, 1, 2)


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda v: ImplicitRenderer(None, None), "raysampler: expected a callable, got NoneType"),
        (lambda v: ImplicitRenderer(RAYS, 3), "raymarcher: expected a callable, got int"),
        (
            lambda v: ImplicitRenderer(RAYS, print)(cameras(), None),
            "volumetric_function: expected a callable, got NoneType",
        ),
        (lambda v: VolumeRenderer(RAYS, print, "cubic"), "sample_mode: expected 'bilinear' or 'nearest', got 'cubic'"),
        (lambda v: VolumeSampler(v.densities()), "volumes: expected Volumes, got Tensor"),
        (lambda v: VolumeSampler(v, padding_mode="ones"), "padding_mode: expected 'zeros' or 'border' or 'reflection'"),
        (
            lambda v: VolumeSampler(Volumes([torch.rand(1, 2, 2, 2), torch.rand(1, 2, 2, 3)]), "nearest", "reflection"),
            "padding_mode: expected 'zeros' or 'border' for volumes of different sizes",
        ),
        (
            lambda v: sample(v, torch.rand(3, 5, 3)),
            "ray_bundle: expected rays of as many cameras as volumes, 2, got 3",
        ),
        (lambda v: sample(v, torch.rand(2, 5, 3).double()), "rays: expected torch.float32 on cpu, got torch.float64"),
        (
            lambda v: VolumeRenderer(RAYS, EmissionAbsorptionRaymarcher())(
                cameras(), Volumes(torch.rand(2, 2, 3, 3, 3))
            ),
            r"rays_densities: expected shape \(..., P, 1\)",
        ),
    ],
)
def test_bad_input(make_it, message):
    with pytest.raises(ValueError, match=message):
        make_it(Volumes(torch.rand(2, 1, 3, 3, 3), torch.rand(2, 3, 3, 3, 3)))


def test_volumes_without_features_give_the_opacity():
    volumes = Volumes(torch.rand(1, 1, 4, 4, 4), voxel_size=0.5)
    R, T = look_at_view_transform(3.0)
    cameras = FoVPerspectiveCameras(R=R, T=T)
    raysampler = NDCMultinomialRaysampler(image_width=5, image_height=4, n_pts_per_ray=6, min_depth=1.0, max_depth=5.0)
    image, _ = VolumeRenderer(raysampler, EmissionAbsorptionRaymarcher())(cameras, volumes)
    opacity, _ = VolumeRenderer(raysampler, AbsorptionOnlyRaymarcher())(cameras, volumes)
    assert image.shape == (1, 4, 5, 1)
    torch.testing.assert_close(image, opacity)
