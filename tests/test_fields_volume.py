"""The tutorial's volume: as printed there, finer on demand, and saved and loaded at any resolution."""

import pytest
import torch

from tirender.fields import VolumeModel
from tirender.renderer import (
    EmissionAbsorptionRaymarcher,
    FoVPerspectiveCameras,
    NDCMultinomialRaysampler,
    VolumeRenderer,
    look_at_view_transform,
)
from tirender.structures import Volumes

SAMPLER = NDCMultinomialRaysampler(image_width=8, image_height=6, n_pts_per_ray=30, min_depth=1.0, max_depth=4.0)
RENDERER = VolumeRenderer(SAMPLER, EmissionAbsorptionRaymarcher())


def cameras(n: int = 2) -> FoVPerspectiveCameras:
    R, T = look_at_view_transform(2.7, 10, torch.arange(n) * 60.0)
    return FoVPerspectiveCameras(R=R, T=T)


def model(*size: int, voxel_size: float = 0.25) -> VolumeModel:
    volume = VolumeModel(RENDERER, size, voxel_size)
    with torch.no_grad():
        for parameter in volume.parameters():
            parameter.normal_()
    return volume


def test_at_first_it_is_a_faint_grey_fog():
    volume = VolumeModel(RENDERER)
    assert volume.log_densities.shape == (1, 64, 64, 64)
    assert volume.log_colors.shape == (3, 64, 64, 64)
    assert volume.voxel_size == pytest.approx(0.1)
    images = volume(cameras())
    assert images.shape == (2, 6, 8, 4)
    assert images[..., 3].min() > 0
    torch.testing.assert_close(images[..., :3], 0.5 * images[..., 3:].expand(-1, -1, -1, 3))


def test_renders_the_sigmoids_of_its_parameters():
    volume = model(4, 5, 6)
    volumes = Volumes(
        torch.sigmoid(volume.log_densities)[None].repeat(2, 1, 1, 1, 1),
        torch.sigmoid(volume.log_colors)[None].repeat(2, 1, 1, 1, 1),
        voxel_size=0.25,
    )
    torch.testing.assert_close(volume(cameras()), RENDERER(cameras(), volumes)[0], atol=1e-6, rtol=1e-5)
    assert volume.volumes(3).is_one_volume


def test_gradients_reach_the_voxels():
    volume = model(4, 4, 4)
    volume(cameras()).square().mean().backward()
    for parameter in volume.parameters():
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().sum() > 0


def test_finer_voxels_fill_the_same_space_with_the_same_values():
    volume = model(8, 8, 8)
    coarse = volume.volumes()
    parameters = dict(volume.named_parameters())
    volume.refine()
    assert volume.voxel_size == pytest.approx(0.125)
    assert all(parameters[name] is p and p.shape[1:] == (16, 16, 16) for name, p in volume.named_parameters())
    # a linear ramp stays one, between the outermost centres
    x = coarse.get_coord_grid()[0, ..., 0]
    with torch.no_grad():
        ramp = VolumeModel(RENDERER, (8, 8, 8), 0.25)
        ramp.log_densities.copy_(x[None])
        ramp.refine()
    inside = slice(1, -1)
    expected = ramp.volumes().get_coord_grid()[0, ..., 0]
    torch.testing.assert_close(ramp.log_densities[0, inside, inside, inside], expected[inside, inside, inside])


def test_an_optimizer_goes_on_after_refinement():
    volume = model(4, 4, 4)
    optimizer = torch.optim.Adam(volume.parameters(), lr=0.1)
    for step in range(3):
        if step == 1:
            volume.refine()
            optimizer.state.clear()
        optimizer.zero_grad()
        before = volume.log_colors.detach().clone()
        volume(cameras()).square().mean().backward()
        optimizer.step()
        assert (volume.log_colors != before).any()
    assert volume.log_colors.shape == (3, 8, 8, 8)


def test_a_state_of_another_resolution_is_loaded():
    fine, volume = model(8, 8, 8, voxel_size=0.125), model(4, 4, 4)
    volume.load_state_dict(fine.state_dict())
    assert volume.voxel_size == pytest.approx(0.125)
    torch.testing.assert_close(volume(cameras()), fine(cameras()))
    with pytest.raises(RuntimeError, match="size mismatch"):
        volume.load_state_dict({"log_densities": torch.zeros(3), "log_colors": torch.zeros(3, 4, 4, 4)})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((4, 4), 0.1), r"volume_size: expected three positive integers, got \(4, 4\)"),
        (((4, 0, 4), 0.1), r"volume_size: expected three positive integers, got \(4, 0, 4\)"),
        (((4, 4, 4), 0.0), "voxel_size: expected a positive number, got 0.0"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        VolumeModel(RENDERER, *arguments)
    with pytest.raises(ValueError, match="factor: expected a positive integer, got 0"):
        model(2, 2, 2).refine(0)
