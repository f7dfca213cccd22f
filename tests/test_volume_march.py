"""The fused march of volumes: what it gives is what sampling and compositing give, in values and gradients."""

from types import SimpleNamespace

import pytest
import torch

from tirender.engine import volume_march
from tirender.renderer.implicit import (
    AbsorptionOnlyRaymarcher,
    EmissionAbsorptionRaymarcher,
    RayBundle,
    VolumeRenderer,
    VolumeSampler,
)
from tirender.renderer.implicit.marching import can_march
from tirender.structures import Volumes


class General(EmissionAbsorptionRaymarcher):
    """A raymarcher of the user's own, so that samples are stored."""


class GeneralAbsorption(AbsorptionOnlyRaymarcher):
    """Likewise."""


def bundle(n=2, shape=(4, 5), n_points=20, dtype=torch.float32, sorted_lengths=True):
    origins = torch.randn(n, *shape, 3, dtype=dtype)
    directions = -origins + 0.4 * torch.randn_like(origins)
    lengths = torch.rand(n, *shape, n_points, dtype=dtype) * 2
    if sorted_lengths:
        lengths = lengths.sort(-1).values
    return RayBundle(origins.requires_grad_(), directions.requires_grad_(), lengths, origins[..., :2].detach())


def volume_leaves(n=2, channels=3, dtype=torch.float32, size=(5, 6, 7)):
    densities = torch.rand(n, 1, *size, dtype=dtype) * 0.7
    densities[densities > 0.6] = 1  # opaque voxels
    return densities.requires_grad_(), torch.rand(n, channels, *size, dtype=dtype, requires_grad=True)


def render(raymarcher, rays, densities, features, **kwargs):
    eps = {"eps": kwargs.pop("eps")} if "eps" in kwargs else {}
    volumes = Volumes(densities, features, voxel_size=(0.25, 0.3, 0.2), volume_translation=(0.1, 0, -0.2), **kwargs)
    renderer = VolumeRenderer(lambda **_: rays, raymarcher)
    image, _ = renderer(None, volumes, **eps)
    leaves = [x for x in (rays.origins, rays.directions, densities, features) if x is not None]
    torch.manual_seed(1)
    return image, *torch.autograd.grad(image, leaves, torch.randn_like(image), allow_unused=True)


@pytest.mark.parametrize(("channels", "thickness"), [(3, 1), (1, 3), (6, 1), (3, 30)])
def test_equals_sampling_and_compositing(channels, thickness):
    rays, leaves = bundle(dtype=torch.float64), volume_leaves(channels=channels, dtype=torch.float64)
    ours = render(EmissionAbsorptionRaymarcher(thickness), rays, *leaves)
    theirs = render(General(thickness), rays, *leaves)
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(
    "options",
    [{"align_corners": False}, {"eps": 0.01}, {"one": True}, {"size": (1, 1, 1)}, {"size": (1, 4, 1)}, {"mixed": True}],
    ids=str,
)
def test_equals_it_in_odd_cases(options):
    one, size, mixed = options.pop("one", False), options.pop("size", (5, 6, 7)), options.pop("mixed", False)
    rays = bundle(n=3, dtype=torch.float64, sorted_lengths=not mixed)
    leaves = volume_leaves(1 if one else 3, dtype=torch.float64, size=size)
    ours = render(EmissionAbsorptionRaymarcher(), rays, *leaves, **options)
    theirs = render(General(), rays, *leaves, **options)
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-8)


def test_absorption_alone():
    rays, (densities, _) = bundle(), volume_leaves()
    ours = render(AbsorptionOnlyRaymarcher(), rays, densities, None)
    theirs = render(GeneralAbsorption(), rays, densities, None)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_volumes_of_different_sizes():
    rays = bundle()
    leaves = [torch.rand(2, 5 - i, 4, 3 + i, requires_grad=True) for i in (0, 1)]  # a density and a feature each
    volumes = Volumes([x[:1] for x in leaves], [x[1:] for x in leaves], voxel_size=0.3)
    images = []
    for raymarcher in (EmissionAbsorptionRaymarcher(), General()):
        image, _ = VolumeRenderer(lambda **_: rays, raymarcher)(None, volumes)
        images.append((image, *torch.autograd.grad(image.square().sum(), leaves, allow_unused=True)))
    torch.testing.assert_close(*images, rtol=1e-4, atol=1e-5)


def test_a_row_of_lengths_for_all_rays_is_not_copied(monkeypatch):
    seen = []
    launch = volume_march.runtime.launch
    monkeypatch.setattr(volume_march.runtime, "launch", lambda k, *a: (seen.append(len(a[5])), launch(k, *a)))
    rays = bundle()
    row = rays.lengths[0, 0, 0]
    leaves = volume_leaves()
    expanded = render(EmissionAbsorptionRaymarcher(), rays._replace(lengths=row.expand(2, 4, 5, -1)), *leaves)
    assert set(seen) == {1}
    copied = render(EmissionAbsorptionRaymarcher(), rays._replace(lengths=row.repeat(2, 4, 5, 1)), *leaves)
    torch.testing.assert_close(expanded, copied, rtol=0, atol=0)


def test_an_opaque_sample_hides_and_still_has_a_gradient():
    rays = RayBundle(*(torch.tensor([[[0.0, 0, z]]]) for z in (-2.0, 1.0)), torch.tensor([[[1.0, 2.0, 3.0]]]), None)
    densities = torch.ones(1, 1, 3, 1, 1, requires_grad=True)
    features = torch.tensor([1.0, 2.0, 5.0]).view(1, 1, 3, 1, 1)
    image, _ = VolumeRenderer(lambda **_: rays, EmissionAbsorptionRaymarcher())(None, Volumes(densities, features))
    assert image.flatten().tolist() == [1, 1]
    (grad,) = torch.autograd.grad(image[..., 0].sum(), densities)
    assert grad.flatten().tolist() == [1 - 2, 0, 0]  # less of the first shows the second, fully


def test_rays_that_are_no_numbers_see_nothing():
    rays = bundle()
    with torch.no_grad():
        rays.origins[0, 0] = float("nan")
        rays.directions[0, 1] = float("inf")
        rays.directions[0, 2] = 0
    image, *grads = render(EmissionAbsorptionRaymarcher(), rays, *volume_leaves())
    assert not image[0, :2].any()
    assert all(x.isfinite().all() for x in (image, *grads))


def test_early_stop_leaves_out_nothing_that_can_be_seen():
    rays = bundle(n_points=200)
    densities, features = volume_leaves()
    dense = (densities.detach() * 0 + 0.5).requires_grad_()
    ours = render(EmissionAbsorptionRaymarcher(), rays, dense, features)
    theirs = render(General(), rays, dense, features)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_densities_outside_are_told():
    densities, features = volume_leaves()
    with pytest.warns(UserWarning, match=r"rays_densities: expected values in \[0, 1\]"):
        render(EmissionAbsorptionRaymarcher(), bundle(), densities * 3, features)


def test_what_is_not_standard_is_not_marched():
    rays, (densities, features) = bundle(), volume_leaves()
    volumes = Volumes(densities, features)
    assert can_march(volumes, EmissionAbsorptionRaymarcher(), rays)
    assert not can_march(volumes, General(), rays)
    assert not can_march(volumes, EmissionAbsorptionRaymarcher(9), rays)
    hooked = EmissionAbsorptionRaymarcher()
    hooked.register_forward_hook(lambda *_: None)
    assert not can_march(volumes, hooked, rays)
    assert not can_march(volumes, EmissionAbsorptionRaymarcher(), rays._replace(lengths=rays.lengths.requires_grad_()))
    assert not can_march(volumes, EmissionAbsorptionRaymarcher(), RayBundle(*(x.double() for x in rays)))
    assert not can_march(Volumes(densities), EmissionAbsorptionRaymarcher(), rays)
    assert not can_march(Volumes(features, features), AbsorptionOnlyRaymarcher(), rays)
    many = torch.rand(2, 40, 5, 6, 7)
    assert not can_march(Volumes(densities, many), EmissionAbsorptionRaymarcher(), rays)
    for size, fits in ((640, True), (650, False)):  # 2^31 numbers lie between
        large = Volumes(torch.zeros(1).expand(2, 1, size, size, size))
        assert can_march(large, AbsorptionOnlyRaymarcher(), bundle()) is fits


def test_a_bundle_need_not_be_a_tuple():
    rays, leaves = bundle(), volume_leaves()
    by_name = SimpleNamespace(**rays._asdict())
    march = EmissionAbsorptionRaymarcher()
    expected, _ = VolumeRenderer(lambda **_: rays, march)(None, Volumes(*leaves))
    assert torch.equal(VolumeRenderer(lambda **_: by_name, march)(None, Volumes(*leaves))[0], expected)


def test_a_volume_far_from_the_origin():
    """A ramp, looked at along it from the origin: the colour tells which place a ray meets."""
    far, spacing, ramp = 1000.0, 0.13, torch.arange(9.0).expand(1, 1, 9, 9, 9)
    volumes = Volumes(torch.ones_like(ramp), ramp, voxel_size=spacing, volume_translation=(-far, 0, 0))
    places = torch.linspace(-3.5, 3.5, 20)
    origins, directions = torch.zeros(1, 20, 3), torch.tensor([1.0, 0, 0]).expand(1, 20, 3)
    rays = RayBundle(origins, directions, (far + spacing * places)[None, :, None], origins[..., :2])
    image, _ = VolumeRenderer(lambda **_: rays, EmissionAbsorptionRaymarcher())(None, volumes)
    torch.testing.assert_close(image[0, :, 0], 4 + places, atol=4e-3, rtol=0)


def test_another_raymarcher_gets_the_samples():
    rays, leaves = bundle(), volume_leaves()
    volumes = Volumes(*leaves)

    def brightest(rays_densities, rays_features, **kwargs):
        return (rays_densities * rays_features).amax(-2)

    image, _ = VolumeRenderer(lambda **_: rays, brightest)(None, volumes)
    densities, features = VolumeSampler(volumes)(rays)
    torch.testing.assert_close(image, (densities * features).amax(-2))
