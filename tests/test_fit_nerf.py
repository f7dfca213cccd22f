"""Fits of radiance fields, with both kinds of fields; the helpers that tutorials 5 and 6 call."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_fit_splats import Stop, capture
from torch import nn

from tirender import datasets
from tirender.captures import Capture, Photos
from tirender.engine import runtime
from tirender.engine.hash_grid import HashGridLayout
from tirender.fields import HashGridConfig, HashGridField, NeuralRadianceField, VolumeModel
from tirender.fit import (
    Callback,
    Checkpoint,
    FitRun,
    NerfConfig,
    Views,
    extract_mesh,
    fit_nerf,
    normalized,
    render_views,
)
from tirender.fit.held_out import photo_quality
from tirender.fit.nerf import HASHGRID_NERF, config_for
from tirender.fit.photo_rays import normalized_capture, rays_of_pixels
from tirender.fit.quality import view_quality
from tirender.fit.refinement import as_pinholes
from tirender.io import load_objs_as_meshes
from tirender.loss import huber
from tirender.renderer import (
    EmissionAbsorptionRaymarcher,
    FoVPerspectiveCameras,
    ImplicitRenderer,
    NDCMultinomialRaysampler,
    RayBundle,
    TexturesVertex,
    VolumeRenderer,
)
from tirender.utils import (
    generate_rotating_nerf,
    generate_rotating_volume,
    ico_sphere,
    sample_images_at_mc_locs,
    torus,
)

SMALL = NerfConfig(
    steps=40, n_pts_per_ray=24, views_per_step=4, rays_per_view=40, lr=5e-3, warmup_steps=0, progress=False
)
SMALL_HASHGRID = replace(HASHGRID_NERF, steps=30, views_per_step=4, rays_per_view=40, n_pts_per_ray=32, progress=False)


@pytest.fixture(scope="module")
def views() -> Views:
    """Of a ring, whose colour is its place; wider than high."""
    ring = normalized(torus(0.4, 1.0, 12, 24))[0]
    ring.textures = TexturesVertex(ring.verts_padded() / 2 + 0.5)
    return render_views(ring, 10, 16)


def small_field() -> NeuralRadianceField:
    torch.manual_seed(0)
    return NeuralRadianceField(8, 32)


def small_hash_grid() -> HashGridField:
    torch.manual_seed(0)
    layout = HashGridLayout(n_levels=6, log2_rows=9, base_resolution=4, finest_resolution=32)
    return HashGridField(HashGridConfig(layout=layout, hidden=16, steps_per_extent=32, grid_resolution=8))


SKIPPING = replace(SMALL, skip_empty=True, steps=100, warmup_steps=6, update_every=16, samples_per_step=1 << 12)

each = pytest.mark.parametrize(
    ("config", "make"),
    [(SMALL, small_field), (SKIPPING, small_field), (SMALL_HASHGRID, small_hash_grid)],
    ids=["harmonic", "skipping", "hashgrid"],
)


@each
def test_it_looks_like_the_ring(views: Views, config: NerfConfig, make: Callable[[], nn.Module]) -> None:
    run = fit_nerf(views, config, field=make())
    total = run.history["total"]
    assert list(run.history) == ["color", "silhouette", "total"]
    assert sum(total[-5:]) < 0.5 * sum(total[:5])
    image = run.module(views.cameras[0])
    assert image.shape == (1, 16, 16, 4)
    assert not image.requires_grad
    assert view_quality(run.module, views)["psnr"] > 11


@pytest.mark.parametrize("make", [small_field, small_hash_grid])
def test_a_mesh_of_a_field(make: Callable[[], nn.Module]) -> None:
    mesh = extract_mesh(make(), size=6, isolevel=1e-12)  # all of the cube has some opacity
    assert 1.4 < mesh.verts_packed().abs().max() < 1.76
    assert mesh.textures.verts_features_packed().shape == mesh.verts_packed().shape


def test_the_tutorials_settings() -> None:
    config = NerfConfig()
    assert (config.steps, config.views_per_step, config.rays_per_view, config.n_pts_per_ray) == (3000, 6, 750, 128)
    assert config.lr == 1e-3
    assert isinstance(config.make_field(), NeuralRadianceField)


def test_the_seed_decides_the_field_too(views: Views) -> None:
    config = replace(SMALL, steps=1, rays_per_view=1, n_pts_per_ray=2)
    first, second = (fit_nerf(views, config).module.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = fit_nerf(views, replace(config, seed=1)).module.state_dict()
    assert not torch.equal(first["field.mlp.0.weight"], other["field.mlp.0.weight"])


@each
def test_resumed_it_ends_with_the_same_bits(
    views: Views, tmp_path: Path, config: NerfConfig, make: Callable[[], nn.Module]
) -> None:
    config = replace(config, steps=6, update_every=2)
    whole = fit_nerf(views, config, field=make()).module.state_dict()

    class Kill(Checkpoint):
        def on_losses(self, run) -> None:
            if run.step == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_nerf(views, config, [Kill(tmp_path / "checkpoint.pt", 1)], make())
    resumed = fit_nerf(views, config, [Checkpoint(tmp_path / "checkpoint.pt", 1)], make()).module.state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_empty_cells_are_skipped_once_the_rate_has_risen(views: Views) -> None:
    """All samples are taken at first, of as many rays as fit; then those near the ring, of more rays."""
    config = replace(SKIPPING, rays_per_view=200)
    n_samples, n_rays = [], []

    class Counting(NeuralRadianceField):
        def forward(self, ray_bundle, wanted=None, **kwargs):
            n_samples.append(int(wanted.sum()))
            n_rays.append(len(wanted))
            return super().forward(ray_bundle, wanted, **kwargs)

    torch.manual_seed(0)
    run = fit_nerf(views, config, field=Counting(8, 32))
    shares = [n / (rays * config.n_pts_per_ray) for n, rays in zip(n_samples, n_rays)]
    assert min(shares[:16]) > 0.7  # all in the cube of the extent
    assert max(shares[-8:]) < 0.5
    assert n_rays[-1] > 1.5 * n_rays[0]
    assert max(n_samples) <= 1 << 12
    occupied = run.module.occupancy.fraction()
    assert 0.02 < occupied < 0.6
    points = torch.tensor([[0.66, 0.0, 0.0], [1.4, 1.4, 1.4]])  # in the ring, and a corner
    assert run.module.occupancy.contains(points / config.extent + 0.5).tolist() == [True, False]


def test_rays_cover_images_that_are_not_square(views: Views) -> None:
    wide = replace(views, images=views.images[:, 4:12], silhouettes=views.silhouettes[:, 4:12])
    run = fit_nerf(wide, replace(SMALL, steps=1), field=small_field())
    assert run.module(wide.cameras[:2]).shape == (2, 8, 16, 4)
    y, x = torch.meshgrid(1 - (torch.arange(8) + 0.5) / 4, 2 - (torch.arange(16) + 0.5) / 4, indexing="ij")
    rendered, seen, part = run.module.sample(wide.cameras, torch.stack([x, y], dim=-1).expand(10, 8, 16, 2))
    assert rendered.shape == (400, 4)
    assert seen.shape == (400, 2)
    assert part == (slice(0, 400), 400, 1.0)
    assert seen[:, 0].abs().max() > 1.8
    assert seen[:, 1].abs().max() <= 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"field": "grid"}, "field: expected 'harmonic' or 'hashgrid', got 'grid'"),
        ({"rays_per_view": 0}, "rays_per_view: expected at least 1, got 0"),
        ({"update_every": 0}, "update_every: expected at least 1, got 0"),
        ({"skip_empty": True, "field": "hashgrid"}, "skip_empty: expected False for a hash grid"),
    ],
)
def test_settings_that_do_not_fit(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NerfConfig(**settings)


# --- photos of a whole scene ---


def scene() -> Capture:
    """Photos of a ball of Gaussians in front of a wall that fills every photo."""
    photos = capture()
    images = torch.stack([photos.image(i) for i in range(len(photos))])
    return replace(photos, photos=Photos.of(images + 0.3 * (images.sum(-1, keepdim=True) == 0)))


SMALL_SCENE = replace(SMALL_HASHGRID, n_pts_per_ray=32, samples_per_step=1 << 13)


def small_scene_field() -> HashGridField:
    field = small_hash_grid()
    return HashGridField(replace(field.config, unbounded=True, background="learned"))


@pytest.mark.parametrize("settings", [{}, {"refine_cameras": True, "exposure": "gain"}], ids=["plain", "refined"])
def test_whole_photos_are_fitted_and_resume_to_the_bit(tmp_path: Path, settings: dict) -> None:
    if runtime.arch() != "cpu":
        pytest.skip("a GPU adds in any order")
    fitted, held_out = normalized_capture(scene())[0].split()
    config = replace(SMALL_SCENE, steps=40, unbounded=True, **settings)
    torch.manual_seed(0)
    start = small_scene_field().state_dict()

    def run(*callbacks: Callback) -> FitRun:
        field = small_scene_field()
        field.load_state_dict(start)
        return fit_nerf(fitted, config, callbacks, field)

    whole = run()
    assert [*whole.history] == ["color", "total"]  # no silhouettes
    total = whole.history["total"]
    assert sum(total[-5:]) < 0.5 * sum(total[:5])
    assert photo_quality(whole.module, held_out, aligning=False)["psnr"] > 11
    run(Checkpoint(tmp_path / "a.pt", 1000), Stop(17))
    again = run(Checkpoint(tmp_path / "a.pt", 1000)).module.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in whole.module.state_dict().items())


def test_bounds_of_a_scene_and_its_settings() -> None:
    photos = scene()
    found, centre, scale = normalized_capture(photos)
    points = (photos.points.points_packed() - centre) / scale
    torch.testing.assert_close(found.points.points_packed(), points)
    assert float((points.abs().amax(1) <= 1).float().mean()) == pytest.approx(0.8, abs=0.02)
    torch.testing.assert_close(found.cameras.get_camera_center() * scale + centre, photos.cameras.get_camera_center())
    config = config_for(found, None)
    assert config.unbounded
    assert config.min_depth == found.bounds.near
    field = config.make_field()
    assert (field.config.unbounded, field.config.background, field.config.min_depth) == (True, "none", config.min_depth)
    without = normalized_capture(replace(photos, points=None))
    torch.testing.assert_close(without[1], photos.bounds.middle)
    with pytest.raises(ValueError, match="field: expected 'hashgrid' for an unbounded scene, got 'harmonic'"):
        NerfConfig(unbounded=True)


def test_rays_of_pixels_pass_through_the_pixels_centres() -> None:
    photos = scene()
    photo, row, column = torch.tensor([0, 3]), torch.tensor([0, 20]), torch.tensor([5, 39])
    cameras = as_pinholes(photos[photo.tolist()])
    origins, directions = rays_of_pixels(cameras, torch.tensor(photos.sizes)[photo], row, column)
    places = (origins + 2.5 * directions)[:, None]
    height, width = photos.sizes[0]
    seen = cameras.transform_points_screen(places, image_size=[(height, width)] * 2)[:, 0, :2]
    torch.testing.assert_close(seen, torch.stack([column + 0.5, row + 0.5], 1), atol=1e-3, rtol=0)


def test_a_contracted_field_is_rendered_alike_both_ways() -> None:
    """By its own samples, and by a raymarcher at the same places."""
    torch.manual_seed(1)
    field = HashGridField(replace(small_hash_grid().config, unbounded=True, steps_per_extent=64, min_transmittance=0.0))
    with torch.no_grad():
        field.table.normal_(0, 0.3)
        origins, directions = 0.3 * torch.randn(20, 3), torch.nn.functional.normalize(torch.randn(20, 3), dim=1)
        own = field.render_rays(origins, directions)
        samples = field.sample_rays(origins, directions)
        for ray in range(20):
            lengths = samples.lengths[samples.offsets[ray] : samples.offsets[ray + 1]] * field.config.extent / 2
            bundle = RayBundle(origins[ray][None], directions[ray][None], lengths[None], origins[ray][None, :2])
            found = EmissionAbsorptionRaymarcher()(*field(bundle))[0]
            torch.testing.assert_close(found, own[ray], atol=0.02, rtol=0)


# --- the helpers of tutorials 5 and 6 ---


@pytest.mark.parametrize("size", [(5, 5), (4, 7), (7, 4)])
def test_images_are_sampled_where_rays_pass(size: tuple[int, int]) -> None:
    height, width = size
    images = torch.rand(2, height, width, 3)
    sampler = NDCMultinomialRaysampler(
        image_width=width, image_height=height, n_pts_per_ray=2, min_depth=1.0, max_depth=2.0
    )
    xys = sampler(FoVPerspectiveCameras(R=torch.eye(3).expand(2, 3, 3), T=torch.zeros(2, 3))).xys
    torch.testing.assert_close(sample_images_at_mc_locs(images, xys), images)
    half = (xys[:, :, :-1] + xys[:, :, 1:]) / 2
    expected = (images[:, :, :-1] + images[:, :, 1:]) / 2
    torch.testing.assert_close(sample_images_at_mc_locs(images, half), expected)
    corner = torch.tensor([width, height]) / min(size)
    torch.testing.assert_close(sample_images_at_mc_locs(images, corner.expand(2, 1, 2)), images[:, 0, :1])
    with pytest.raises(ValueError, match="sampled_rays_xy: expected rays of 2 images, got of 1"):
        sample_images_at_mc_locs(images, xys[:1])


def test_huber() -> None:
    x, y = torch.randn(2, 3, 4), torch.randn(3, 1)
    expected = ((1 + (x - y) ** 2 / 0.1**2).clamp(1e-4).sqrt() - 1) * 0.1  # as the tutorial prints it
    torch.testing.assert_close(huber(x, y), expected)
    x = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(huber, (x, torch.randn(5, dtype=torch.float64), 0.3))
    grad = torch.autograd.grad(huber(x, x.detach()).sum(), x)[0]
    assert (grad == 0).all()
    with pytest.raises(ValueError, match="scaling: expected a positive number, got 0"):
        huber(x, x, 0)


def test_turning_volumes_and_fields() -> None:
    sampler = NDCMultinomialRaysampler(image_width=6, image_height=6, n_pts_per_ray=20, min_depth=0.1, max_depth=4.0)
    volume = VolumeModel(VolumeRenderer(sampler, EmissionAbsorptionRaymarcher()), (8, 8, 8), 0.3)
    with torch.no_grad():  # dense and red on the side of -Z, which the first camera sees
        volume.log_densities[:, :4] = 4
        volume.log_densities[:, 4:] = -9
        volume.log_colors[0] = 9
    frames = generate_rotating_volume(volume, n_frames=4)
    assert frames.shape == (4, 6, 6, 3)
    assert not frames.requires_grad
    assert (frames[0, 2:4, 2:4, 0] > 0.7).all()
    assert (frames[0, 2:4, 2:4, 1] < 0.5).all()
    torch.testing.assert_close(frames[1], frames[3].flip(1), atol=1e-4, rtol=0)  # mirror images

    renderer = ImplicitRenderer(sampler, EmissionAbsorptionRaymarcher())
    frames = generate_rotating_nerf(small_field(), 3, renderer, FoVPerspectiveCameras(fov=30.0))
    assert frames.shape == (3, 6, 6, 3)
    assert (frames[0] != frames[1]).any()
    with pytest.raises(ValueError, match="n_frames: expected an integer of 1 or more, got 0"):
        generate_rotating_volume(volume, 0)


def test_renders_of_any_mesh_for_the_tutorials() -> None:
    mesh = ico_sphere(2).scale_verts(7.0).offset_verts(torch.tensor([1.0, 2.0, 3.0]))
    mesh.textures = TexturesVertex(torch.ones_like(mesh.verts_padded()))
    cameras, images, silhouettes = datasets.generate_cow_renders(3, azimuth_range=90, mesh=mesh, image_size=32)
    assert images.shape == (3, 32, 32, 3)
    assert silhouettes.shape == (3, 32, 32)
    assert set(silhouettes.unique().tolist()) == {0.0, 1.0}
    assert (images[silhouettes == 0] == 0).all()
    assert (images[silhouettes == 1] > 0).all()
    centers = torch.tensor([[-2.7, 0, 0], [0, 0, 2.7], [2.7, 0, 0]])
    torch.testing.assert_close(cameras.get_camera_center(), centers, atol=1e-5, rtol=0)
    angle = math.asin(1 / 2.7)  # the unit sphere's disc, seen over 60 degrees
    share = math.pi * (math.tan(angle) / math.tan(math.radians(30))) ** 2 / 4
    assert silhouettes[0].mean().item() == pytest.approx(share, rel=0.05)
    with pytest.raises(ValueError, match="num_views: expected at least 1, got 0"):
        datasets.generate_cow_renders(0, mesh=mesh)


def test_renders_of_the_cow(tutorial_data: Path) -> None:
    cameras, images, silhouettes = datasets.generate_cow_renders(4)
    assert images.shape == (4, 128, 128, 3)
    assert silhouettes.shape == (4, 128, 128)
    assert 0.1 < silhouettes.mean() < 0.4
    torch.testing.assert_close(images[0], images[3], atol=1e-4, rtol=0)  # -180 and 180 degrees


def test_the_learning_rate_rises_stays_and_falls() -> None:
    config = NerfConfig(steps=1000)
    factors = [config.rate_factor(step) for step in (0, 200, 300, 400, 749, 750, 999)]
    assert factors == pytest.approx([0.1, 0.1, 0.55, 1, 1, 0.1, 0.1])
    assert NerfConfig(steps=10, warmup_steps=0).rate_factor(0) == 1
    with pytest.raises(ValueError, match="warmup_steps: expected an integer of 0 or more, got -1"):
        NerfConfig(warmup_steps=-1)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
def test_the_network_learns_whatever_the_seed(seed: int) -> None:
    """Its rate rises slowly; with the full rate from the start, none of these seeds has learned after so many steps."""
    target, _, _ = normalized(load_objs_as_meshes([datasets.creature()]))
    config = NerfConfig(steps=240, warmup_steps=80, rays_per_view=60, n_pts_per_ray=48, progress=False, seed=seed)
    run = fit_nerf(render_views(target, 40, 64), config)
    silhouette = run.history["silhouette"]
    assert sum(silhouette[-30:]) < 0.6 * sum(silhouette[:30])
