"""The radiance field on a hash grid, rendered packed and by ``ImplicitRenderer``, and its occupancy grid."""

from __future__ import annotations

import pytest
import torch

from tirender.engine.hash_grid import HashGridLayout
from tirender.fields import HashGridConfig, HashGridField, OccupancyGrid
from tirender.fields.hash_grid import spherical_harmonics
from tirender.fit.nerf import share_of_levels
from tirender.renderer import (
    EmissionAbsorptionRaymarcher,
    FoVPerspectiveCameras,
    ImplicitRenderer,
    NDCMultinomialRaysampler,
    RayBundle,
    look_at_view_transform,
)

STEPS = 40
CONFIG = HashGridConfig(
    extent=2.0,
    layout=HashGridLayout(4, 2, 10, 4, 32),
    hidden=16,
    steps_per_extent=STEPS,
    min_depth=0.0,
    min_transmittance=0.0,
    grid_resolution=8,
)


def make_field(**settings):
    """A field with structure at all levels."""
    field = HashGridField(HashGridConfig(**({name: getattr(CONFIG, name) for name in vars(CONFIG)} | settings)))
    torch.nn.init.normal_(field.table, std=2.0)
    return field


def rays_through(n=30):
    """Rays from outside through the cube, whose first sample lies half a step within."""
    origins = torch.nn.functional.normalize(torch.randn(n, 3), dim=1) * 3
    directions = torch.nn.functional.normalize(torch.rand(n, 3) - 0.5 - origins, dim=1)
    a, b = (-1 - origins) / directions, (1 - origins) / directions
    enter, leave = torch.minimum(a, b).amax(1), torch.maximum(a, b).amin(1)
    lengths = enter[:, None] + (torch.arange(2 * STEPS) + 0.5) * CONFIG.extent / STEPS
    # none within rounding of the cube's surface
    sure = ((lengths - leave[:, None]).abs() > 1e-4).all(1)
    return RayBundle(*(x[sure] for x in (origins, directions, lengths, origins[:, :2])))


def test_packed_rendering_equals_the_dense_one():
    field, bundle = make_field(), rays_through()
    field.occupancy.threshold = 100.0  # so that the mean counts
    for _ in range(3):
        field.update_occupancy()
    assert 0.05 < field.occupancy.fraction() < 0.95
    packed = field.render_rays(bundle.origins, 2 * bundle.directions)
    dense = EmissionAbsorptionRaymarcher()(*field(bundle))
    assert packed[:, 3].std() > 0.05
    torch.testing.assert_close(packed, dense, rtol=1e-4, atol=1e-5)
    up = torch.randn_like(packed)
    for a, b in zip(*(torch.autograd.grad(out, field.parameters(), up) for out in (packed, dense))):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * float(b.abs().max()))


def test_samples_that_no_light_reaches_change_nothing():
    field, bundle = make_field(), rays_through()
    pruned = make_field(min_transmittance=1e-4)
    pruned.load_state_dict(field.state_dict())
    rays = bundle.origins, bundle.directions
    torch.testing.assert_close(pruned.render_rays(*rays), field.render_rays(*rays), rtol=0, atol=2e-4)


def test_max_samples_renders_the_first_rays():
    field, bundle = make_field(), rays_through()
    whole = field.render_rays(bundle.origins, bundle.directions)
    part = field.render_rays(bundle.origins, bundle.directions, max_samples=400)
    assert 3 < len(part) < len(whole)
    torch.testing.assert_close(part, whole[: len(part)])


def test_stratified_samples_are_drawn_from_torchs_generator():
    field, bundle = make_field(), rays_through()
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        runs.append(field.render_rays(bundle.origins, bundle.directions, stratified=True))
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_the_implicit_renderer_takes_it():
    sampler = NDCMultinomialRaysampler(image_width=6, image_height=5, n_pts_per_ray=20, min_depth=1.0, max_depth=5.0)
    R, T = look_at_view_transform(3, 10, [0, 120])
    cameras = FoVPerspectiveCameras(R=R, T=T)
    images, _ = ImplicitRenderer(sampler, EmissionAbsorptionRaymarcher())(cameras, make_field())
    assert images.shape == (2, 5, 6, 4)
    assert images[..., 3].std() > 0.05
    images.sum().backward()


def test_opacity_is_of_the_interval_to_the_next_sample():
    """Twice the gap has the opacity of two samples, whatever the length of the direction."""
    field = make_field()
    at, ahead = torch.tensor([[0.1, 0.2, 0.3]]), torch.tensor([[0.0, 0.0, 1.0]])
    with torch.no_grad():
        once, twice, stretched = (
            field(RayBundle(at, ahead * scale, torch.tensor([[0.0, gap]]) / scale, at[:, :2]))[0][0, 0, 0]
            for gap, scale in ((0.01, 1), (0.02, 1), (0.02, 5))
        )
    assert 0.001 < float(once) < 0.999
    torch.testing.assert_close(twice, 1 - (1 - once) ** 2)
    torch.testing.assert_close(stretched, twice)


def test_gradients_reach_the_rays():
    field, bundle = make_field(), rays_through(4)
    origins, directions = (x.clone().requires_grad_() for x in bundle[:2])
    grads = torch.autograd.grad(field.render_rays(origins, directions).sum(), (origins, directions))
    assert all(g.isfinite().all() and g.any() for g in grads)


@pytest.mark.parametrize("n", [0, 1])
def test_few_rays_or_samples(n):
    field = make_field()
    assert field.render_rays(torch.zeros(n, 3), torch.ones(n, 3)).shape == (n, 4)
    densities, colors = field(RayBundle(torch.zeros(2, 3), torch.ones(2, 3), torch.zeros(2, n), torch.zeros(2, 2)))
    assert densities.shape == (2, n, 1)
    assert colors.shape == (2, n, 3)


def test_it_is_empty_outside_its_cube_and_where_points_are_no_numbers():
    field = make_field()
    bundle = RayBundle(torch.tensor([[5.0, 0, 0], [float("nan"), 0, 0]]), torch.ones(2, 3), torch.zeros(2, 2), None)
    assert not any(values.any() for values in field(bundle))
    missing = field.render_rays(torch.tensor([[5.0, 0, 0], [0, 0, 0]]), torch.tensor([[1.0, 0, 0], [0, 0, 0]]))
    assert not missing.any()


def test_no_sample_with_density_is_skipped():
    """A hard ball, after updates that each saw one random place of a cell."""

    def ball(points):
        return 50.0 * ((points - 0.5).norm(dim=1) < 0.3)

    grid = OccupancyGrid(16, threshold=1.0)
    assert grid.fraction() == 1  # before it has seen anything
    for _ in range(40):
        grid.update(ball)
    z, y, x = torch.meshgrid(*[(torch.arange(96) + 0.5) / 96] * 3, indexing="ij")
    points = torch.stack([x, y, z], dim=-1).reshape(-1, 3)  # six an axis in each cell
    is_dense = ball(points).view(96, 96, 96) > 0
    share = torch.nn.functional.avg_pool3d(is_dense[None].float(), 6).repeat_interleave(6, 1)
    share = share.repeat_interleave(6, 2).repeat_interleave(6, 3)[0]
    contained = grid.contains(points).view(96, 96, 96)
    assert contained[is_dense & (share > 0.2)].all()
    assert contained[is_dense].double().mean() > 0.998
    assert contained[share == 0].double().mean() < 0.02  # cells that it touches between these points


def test_density_that_appears_again_is_seen():
    grid = OccupancyGrid(4, threshold=1.0, decay=0.5)
    for _ in range(3):
        grid.update(lambda points: torch.zeros(len(points)))
    assert grid.fraction() == 0
    grid.update(lambda points: 4.0 * (points[:, 0] < 0.5))
    assert grid.fraction() == 0.5
    points = torch.tensor([[0.1, 0.5, 0.5], [0.9, 0.5, 0.5], [-0.1, 0.5, 0.5]])
    assert grid.contains(points).tolist() == [True, False, False]
    grid.update(lambda points: torch.zeros(len(points)))
    assert grid.fraction() == 0.5  # 2, which is above the mean


def test_the_grid_is_saved_with_the_field():
    field, other = make_field(), make_field()
    field.update_occupancy()
    other.load_state_dict(field.state_dict())
    bundle = rays_through()
    assert torch.equal(*(f.render_rays(bundle.origins, bundle.directions) for f in (field, other)))


def test_spherical_harmonics_are_orthonormal():
    z, phi = torch.meshgrid(torch.linspace(-1, 1, 401).double(), torch.arange(64).double() / 64, indexing="ij")
    phi = phi * 2 * torch.pi
    ring = (1 - z * z).sqrt()
    values = spherical_harmonics(torch.stack([ring * phi.cos(), ring * phi.sin(), z], dim=-1))
    weights = torch.ones(401).double()
    weights[[0, -1]] = 0.5
    weights *= 4 * torch.pi / (400 * 64)
    products = torch.einsum("zpi,zpj,z->ij", values, values, weights)
    torch.testing.assert_close(products, torch.eye(16).double(), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"extent": 0.0}, "extent: expected a number above 0, got 0.0"),
        ({"extent": float("nan")}, "extent: expected a number above 0, got nan"),
        ({"hidden": 0}, "hidden: expected a number above 0, got 0"),
        ({"steps_per_extent": -1}, "steps_per_extent: expected a number above 0, got -1"),
        ({"min_depth": -1.0}, "min_depth: expected a number of 0 or more, got -1.0"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        HashGridConfig(**settings)


def test_bad_input():
    with pytest.raises(ValueError, match="resolution: expected a multiple of 4 from 4 to 1024, got 10"):
        OccupancyGrid(10)
    with pytest.raises(ValueError, match="threshold: expected a number above 0, got 0"):
        OccupancyGrid(threshold=0)
    with pytest.raises(ValueError, match="decay: expected a number in .0, 1., got 2"):
        OccupancyGrid(decay=2)
    field = make_field()
    with pytest.raises(ValueError, match=r"origins: expected shape \(R, 3\), got \(3,\)"):
        field.render_rays(torch.zeros(3), torch.zeros(3))
    with pytest.raises(ValueError, match=r"directions: expected shape \(2, 3\), got \(1, 3\)"):
        field.render_rays(torch.zeros(2, 3), torch.zeros(1, 3))


@pytest.mark.long
@pytest.mark.usefixtures("tutorial_data")
def test_views_of_the_cow_that_it_has_not_seen():
    """Issue 4's 28 dB, which take about 10 s of two cores."""
    from dataclasses import replace

    from tirender.datasets import generate_cow_renders
    from tirender.fit.nerf import HASHGRID_NERF, fit_nerf
    from tirender.fit.quality import view_quality
    from tirender.fit.views import Views
    from tirender.renderer import PointLights

    cameras, images, silhouettes = generate_cow_renders()
    views = Views(cameras, silhouettes, images + (1 - silhouettes[..., None]), PointLights())
    unseen = list(range(4, 40, 8))
    seen = [i for i in range(40) if i not in unseen]
    run = fit_nerf(views[seen], replace(HASHGRID_NERF, steps=300, progress=False))
    assert view_quality(run.module, views[unseen])["psnr"] > 28


def test_coarse_levels_come_first():
    layout = HashGridLayout(n_levels=4, log2_rows=6, base_resolution=4, finest_resolution=32)
    field = HashGridField(HashGridConfig(layout=layout))
    points = torch.rand(200, 3)
    everything = field._density(field._encode(points))[0]
    field.show_levels(0.375)  # one and a half of four
    field._density(field._encode(points))[0].sum().backward()
    sizes = [float(rows.abs().max()) for rows in field.table.grad.split([64] * 4)]
    assert sizes[0] > 0
    assert sizes[1] > 0
    assert sizes[2:] == [0.0, 0.0]
    field.show_levels(1.0)
    assert torch.equal(field._density(field._encode(points))[0], everything)
    shares = [share_of_levels(step, 1000) for step in (0, 300, 600, 1000)]
    assert shares[0] < shares[1] < shares[2] == pytest.approx(1.0)
    assert shares[3] > 1
