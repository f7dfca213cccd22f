"""Fits of volumes: they converge, coarse to fine and resumed too; what is made of them; measures of images."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tirender.fit import (
    Checkpoint,
    Views,
    VolumeConfig,
    cameras_around,
    extract_mesh,
    fit_volume,
    normalized,
    render_views,
)
from tirender.fit.quality import psnr, ssim, view_quality
from tirender.renderer import TexturesVertex, VolumeSampler
from tirender.structures import Volumes
from tirender.utils import ico_sphere, torus

SMALL = VolumeConfig(steps=40, volume_size=16, n_pts_per_ray=32, views_per_step=4, progress=False)


@pytest.fixture(scope="module")
def views() -> Views:
    """Of a ring, whose colour is its place."""
    ring = normalized(torus(0.4, 1.0, 12, 24))[0]
    ring.textures = TexturesVertex(ring.verts_padded() / 2 + 0.5)
    return render_views(ring, 12, 20)


def test_it_looks_like_the_ring(views: Views) -> None:
    run = fit_volume(views, SMALL)
    total = run.history["total"]
    assert list(run.history) == ["color", "silhouette", "total"]
    assert total[-1] < 0.25 * total[0]
    quality = view_quality(run.module, views)
    assert quality["psnr"] > 18
    assert quality["ssim"] > 0.75
    with torch.no_grad():
        image = run.module(views.cameras[0])
    assert image.shape == (1, 20, 20, 4)


def test_coarse_to_fine_is_as_good(views: Views) -> None:
    run = fit_volume(views, replace(SMALL, double_at=(10, 20)))
    assert run.module.log_colors.shape == (3, 16, 16, 16)
    assert run.module.voxel_size == pytest.approx(3 / 16)
    assert run.history["total"][-1] < 0.4 * run.history["total"][0]


@pytest.mark.parametrize("stop", [3, 4, 6])
def test_resumed_it_ends_with_the_same_bits(views: Views, tmp_path: Path, stop: int) -> None:
    config = replace(SMALL, steps=8, volume_size=16, double_at=(2, 4))
    whole = fit_volume(views, config).module.state_dict()
    checkpoint = [Checkpoint(tmp_path / "checkpoint.pt", 1)]
    # a fit killed after `stop` steps: its learning rate falls when that of the whole does
    with pytest.raises(KeyboardInterrupt):
        fit_volume(views, config, [*checkpoint, Kill(stop)])
    resumed = fit_volume(views, config, checkpoint).module.state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


class Kill(Checkpoint):
    """Interrupts a fit."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_start(self, run: object) -> None:
        pass

    def on_step(self, run) -> None:
        if run.step == self.step:
            raise KeyboardInterrupt


def test_the_rate_falls_to_a_tenth_in_the_last_quarter(views: Views) -> None:
    rates = []

    class Watch(Kill):
        def on_losses(self, run) -> None:
            rates.append(run.optimizer.param_groups[0]["lr"])

    fit_volume(views, replace(SMALL, steps=8), [Watch(-1)])
    assert rates == pytest.approx([0.1] * 6 + [0.01] * 2)


def test_depths_follow_the_cameras(views: Views) -> None:
    assert SMALL.depths(views.cameras) == pytest.approx((1.2, 4.2))
    assert replace(SMALL, min_depth=0.5).depths(views.cameras) == pytest.approx((0.5, 4.2))
    near = views.cameras.clone()
    near.T = near.T * 0.1
    assert SMALL.depths(near)[0] == 0.1
    with pytest.raises(ValueError, match=r"min_depth, max_depth: expected min_depth < max_depth, got \(5, "):
        replace(SMALL, min_depth=5).depths(views.cameras)


def test_targets_are_on_black(views: Views) -> None:
    outside = views.silhouettes == 0
    assert (views.on_black[outside] == 0).all()
    assert torch.equal(views.on_black[~outside], views.images[~outside])
    with pytest.raises(ValueError, match="views: expected images, got silhouettes only"):
        fit_volume(replace(views, images=None), SMALL)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"views_per_step": 0}, "views_per_step: expected at least 1, got 0"),
        ({"n_pts_per_ray": 0}, "n_pts_per_ray: expected 1 to 32768, got 0"),
        ({"extent": 0.0}, "extent: expected a number above 0, got 0.0"),
        ({"lr": -1.0}, "lr: expected a number above 0, got -1.0"),
        ({"volume_size": 30, "double_at": (1, 2)}, "volume_size: expected a positive multiple of 4, .* got 30"),
        ({"double_at": (0,)}, r"double_at: expected different steps of at least 1, got \(0,\)"),
        ({"double_at": (3, 3)}, r"double_at: expected different steps of at least 1, got \(3, 3\)"),
    ],
)
def test_settings_that_do_not_fit(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VolumeConfig(**settings)


def ball(size: int = 32, radius: float = 1.0) -> VolumeSampler:
    """Dense within a radius; red rises along x, green along y, blue along z."""
    volumes = Volumes(torch.zeros(1, 1, size, size, size), voxel_size=3 / size)
    grid = volumes.get_coord_grid()
    density = torch.sigmoid(20 * (radius - grid.norm(dim=-1)))[:, None]
    return VolumeSampler(volumes.update_padded(density, (grid / 3 + 0.5).movedim(-1, 1)))


def test_the_mesh_of_a_ball() -> None:
    mesh = extract_mesh(ball(), size=48)
    verts = mesh.verts_packed()
    torch.testing.assert_close(verts.norm(dim=1), torch.ones(len(verts)), atol=0.02, rtol=0)
    assert (mesh.verts_normals_packed() * verts).sum(1).min() > 0.9  # outwards
    colors = mesh.textures.verts_features_packed()
    torch.testing.assert_close(colors, verts / 3 + 0.5, atol=0.02, rtol=0)
    assert len(mesh.edges_packed()) * 2 == len(mesh.faces_packed()) * 3  # closed


def test_the_mesh_is_closed_where_the_cube_ends() -> None:
    mesh = extract_mesh(ball(radius=3.0), extent=1.0, size=8)
    assert len(mesh.edges_packed()) * 2 == len(mesh.faces_packed()) * 3
    assert mesh.verts_packed().abs().max() < 0.6


def test_no_surface_gives_no_faces() -> None:
    assert extract_mesh(ball(radius=0.0), size=8, isolevel=0.9).isempty()
    with pytest.raises(ValueError, match="size: expected at least 2, got 1"):
        extract_mesh(ball(), size=1)


def test_a_turntable_keeps_distance_height_and_upright(views: Views) -> None:
    ring = render_views(ico_with_colors(), 5, 16, elev=torch.full((5,), 30.0), azim=torch.arange(5) * 40.0, dist=3.0)
    turned = cameras_around(ring.cameras, 6)
    centers = torch.cat([camera.get_camera_center() for camera in turned])
    torch.testing.assert_close(centers.norm(dim=1), torch.full((6,), 3.0))
    torch.testing.assert_close(centers[:, 1], torch.full((6,), 1.5))
    assert torch.pdist(centers).min() > 2.5
    for camera in turned:
        assert camera.R[0, 1, 1] == pytest.approx(math.cos(math.radians(30)), abs=1e-5)
        torch.testing.assert_close(camera.T, torch.tensor([[0, 0, 3.0]]), atol=1e-5, rtol=0)
    # cameras on all sides, some on their heads, or a single one
    for cameras in (views.cameras, ring.cameras[2]):
        for camera in cameras_around(cameras, 3):
            assert camera.R[0, 1, 1] > 0.7


def ico_with_colors():
    mesh = ico_sphere(1)
    mesh.textures = TexturesVertex(torch.ones_like(mesh.verts_padded()))
    return mesh


def pattern() -> tuple[torch.Tensor, torch.Tensor]:
    y, x = np.mgrid[0:24, 0:31]
    a = np.stack([0.5 + 0.4 * np.sin(0.3 * x + 0.2 * y), 0.5 + 0.4 * np.cos(0.5 * y), (x + y) / 60], -1)
    b = np.clip(a + 0.1 * np.sin(1.7 * x * y)[..., None] * np.array([1, 0.5, 0.2]), 0, 1)
    return torch.from_numpy(a), torch.from_numpy(b)


def test_measures_are_those_of_scikit_image() -> None:
    """structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False), version 0.25."""
    a, b = pattern()
    assert ssim(b, a) == pytest.approx(0.9277084947658074, abs=1e-6)
    assert psnr(b, a) == pytest.approx(26.938430936715577, abs=1e-6)
    assert ssim(a, a) == pytest.approx(1)
    assert ssim(torch.stack([a, b]).float(), torch.stack([a, a]).float()) == pytest.approx(
        (1 + 0.9277085) / 2, abs=1e-5
    )


def test_measures_of_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="image: expected at least 11 x 11 pixels, got 10 x 20"):
        ssim(torch.rand(10, 20, 3), torch.rand(10, 20, 3))
    with pytest.raises(ValueError, match=r"image: expected shape \(12, 12, 3\), got \(12, 12, 1\)"):
        ssim(torch.rand(12, 12, 1), torch.rand(12, 12, 3))
    with pytest.raises(ValueError, match="image: expected shape"):
        psnr(torch.rand(3), torch.rand(4))
