"""Ray samplers: grids, random rays, masks, strata, shapes, gradients, bad input."""

import pytest
import torch

from tirender.renderer.cameras import (
    FoVOrthographicCameras,
    FoVPerspectiveCameras,
    PerspectiveCameras,
    look_at_view_transform,
)
from tirender.renderer.implicit.raysampling import (
    GridRaysampler,
    MonteCarloRaysampler,
    MultinomialRaysampler,
    NDCGridRaysampler,
    NDCMultinomialRaysampler,
)
from tirender.renderer.implicit.utils import (
    HeterogeneousRayBundle,
    RayBundle,
    ray_bundle_to_ray_points,
    ray_bundle_variables_to_ray_points,
)

SAMPLES = {"n_pts_per_ray": 5, "min_depth": 0.5, "max_depth": 2.5}
SIZE = {"image_width": 6, "image_height": 4}
RECTANGLE = {"min_x": -1.0, "max_x": 1.0, "min_y": -0.5, "max_y": 0.25}


def cameras(n=2, kind=FoVPerspectiveCameras, dtype=torch.float32):
    R, T = look_at_view_transform(dist=3.0, elev=torch.arange(n) * 10.0 + 5, azim=torch.arange(n) * 50.0)
    return kind(R=R.to(dtype), T=T.to(dtype))


def ndc(**kwargs):
    return NDCMultinomialRaysampler(**(SIZE | SAMPLES | kwargs))


def monte_carlo(n_rays_per_image=7, **kwargs):
    return MonteCarloRaysampler(**RECTANGLE, n_rays_per_image=n_rays_per_image, **SAMPLES, **kwargs)


# --- geometry ---


@pytest.mark.parametrize("kind", [FoVPerspectiveCameras, FoVOrthographicCameras, PerspectiveCameras])
@pytest.mark.parametrize("sampler", [ndc(), monte_carlo(), ndc(n_rays_per_image=9, stratified_sampling=True)])
def test_points_project_to_where_the_rays_are(kind, sampler):
    cams = cameras(kind=kind)
    bundle = sampler(cams)
    points = ray_bundle_to_ray_points(bundle)
    flat = points.reshape(2, -1, 3)
    xys = bundle.xys[..., None, :].expand(*points.shape[:-1], 2).reshape(2, -1, 2)
    torch.testing.assert_close(cams.transform_points_ndc(flat)[..., :2], xys, atol=2e-5, rtol=0)
    depths = cams.get_world_to_view_transform().transform_points(flat)[..., 2]
    torch.testing.assert_close(depths, bundle.lengths.reshape(2, -1), atol=2e-5, rtol=0)


def test_ndc_grid_is_the_pixel_centres():
    bundle = ndc()(cameras())
    assert isinstance(bundle, RayBundle)
    assert [tuple(x.shape) for x in bundle] == [(2, 4, 6, 3), (2, 4, 6, 3), (2, 4, 6, 5), (2, 4, 6, 2)]
    torch.testing.assert_close(bundle.xys[1, 0, :, 0], torch.tensor([1.25, 0.75, 0.25, -0.25, -0.75, -1.25]))
    torch.testing.assert_close(bundle.xys[1, :, 0, 1], torch.tensor([0.75, 0.25, -0.25, -0.75]))
    assert bundle.lengths[0, 0, 0].tolist() == [0.5, 1.0, 1.5, 2.0, 2.5]
    assert bundle.lengths.untyped_storage().nbytes() == 5 * 4  # expanded


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 3), (5, 2)])
def test_image_sizes(width, height):
    xys = ndc(image_width=width, image_height=height)(cameras(1)).xys[0]
    half = 1 / min(width, height)
    assert xys[0, 0].tolist() == pytest.approx([width * half - half, height * half - half])
    assert xys[-1, -1].tolist() == pytest.approx([half - width * half, half - height * half])


def test_multinomial_grid_takes_its_range():
    bundle = MultinomialRaysampler(**RECTANGLE, **SIZE, **SAMPLES)(cameras())
    assert bundle.xys[0, 0, 0].tolist() == [-1.0, -0.5]
    assert bundle.xys[0, -1, -1].tolist() == [1.0, 0.25]
    assert bundle.xys[0, 1, 0].tolist() == [-1.0, -0.25]


def test_older_names():
    old = GridRaysampler(-1.0, 1.0, -0.5, 0.25, 6, 4, 5, 0.5, 2.5)(cameras())
    for a, b in zip(old, MultinomialRaysampler(**RECTANGLE, **SIZE, **SAMPLES)(cameras())):
        assert torch.equal(a, b)
    for a, b in zip(NDCGridRaysampler(6, 4, 5, 0.5, 2.5)(cameras()), ndc()(cameras())):
        assert torch.equal(a, b)


def test_unit_directions():
    bundle = ndc(unit_directions=True)(cameras())
    torch.testing.assert_close(bundle.directions.norm(dim=-1), torch.ones(2, 4, 6))
    by_depth = ndc()(cameras())
    torch.testing.assert_close(bundle.origins, by_depth.origins)
    torch.testing.assert_close(
        torch.linalg.cross(bundle.directions, by_depth.directions), torch.zeros(2, 4, 6, 3), atol=1e-6, rtol=0
    )


def test_strata():
    middles = [0.5, 0.75, 1.25, 1.75, 2.25, 2.5]
    for sampler in (ndc(stratified_sampling=True), monte_carlo(200, stratified_sampling=True)):
        lengths = sampler(cameras()).lengths
        for i in range(5):
            assert (lengths[..., i] >= middles[i]).all()
            assert (lengths[..., i] <= middles[i + 1]).all()
            assert lengths[..., i].std() > 0
        assert (sampler(cameras(), stratified_sampling=False).lengths == ndc()(cameras()).lengths[0, 0, 0]).all()
    assert ndc()(cameras(), stratified_sampling=True).lengths.std((0, 1, 2)).min() > 0


@pytest.mark.parametrize("n_points", [0, 1])
def test_few_points(n_points):
    bundle = ndc(n_pts_per_ray=n_points, min_depth=2.0, max_depth=2.0, stratified_sampling=True)(cameras())
    assert bundle.lengths.shape == (2, 4, 6, n_points)
    assert (bundle.lengths == 2).all()
    assert ray_bundle_to_ray_points(bundle).shape == (2, 4, 6, n_points, 3)


def test_settings_of_one_call():
    bundle = ndc()(cameras(), min_depth=1.0, max_depth=4.0, n_pts_per_ray=2, n_rays_per_image=3, other_kwarg=None)
    assert bundle.lengths.shape == (2, 3, 1, 2)
    assert bundle.lengths[0, 0, 0].tolist() == [1.0, 4.0]


def test_float64_and_gradients_to_the_cameras():
    cams = cameras(dtype=torch.float64)
    bundle = ndc()(cams)
    assert {x.dtype for x in bundle} == {torch.float64}
    sampler = ndc(unit_directions=True, image_width=2, image_height=1)

    def rays(R, T):
        return sampler(FoVPerspectiveCameras(R=R, T=T))[:2]

    assert torch.autograd.gradcheck(rays, (cams.R.clone().requires_grad_(), cams.T.clone().requires_grad_()))


# --- random rays ---


def test_drawn_rays_are_different_pixels():
    full, drawn = ndc()(cameras()), ndc(n_rays_per_image=24)(cameras())
    assert [tuple(x.shape) for x in drawn] == [(2, 24, 1, 3), (2, 24, 1, 3), (2, 24, 1, 5), (2, 24, 1, 2)]
    for image in range(2):
        assert len(drawn.xys[image, :, 0].unique(dim=0)) == 24  # all of them, once
        for i in range(24):
            match = (full.xys[image] == drawn.xys[image, i, 0]).all(-1)
            torch.testing.assert_close(full.directions[image][match], drawn.directions[image, i])
    assert ndc(n_rays_per_image=50)(cameras()).xys.shape == (2, 50, 1, 2)  # with repetition


def test_masks():
    full = ndc()(cameras()).xys
    mask = torch.zeros(2, 4, 6)
    mask[0, :2, 1], mask[1, 3, 2:5] = 1, 1
    for n, kwargs in ((2, {}), (3, {"n_rays_per_image": 3}), (10, {"n_rays_per_image": 10})):
        drawn = ndc()(cameras(), mask=mask, **kwargs).xys
        assert drawn.shape == (2, n, 1, 2)
        for image in range(2):
            allowed = full[image][mask[image] > 0]
            assert all((allowed == xy).all(-1).any() for xy in drawn[image, :, 0])
    # the image with enough pixels has no pixel twice beside one that has too few
    assert len(ndc()(cameras(), mask=mask, n_rays_per_image=3).xys[1, :, 0].unique(dim=0)) == 3
    assert len(ndc()(cameras(), mask=mask.bool()).xys[0, :, 0].unique(dim=0)) == 2


def test_monte_carlo_fills_its_rectangle():
    bundle = monte_carlo(4000)(cameras())
    assert [tuple(x.shape) for x in bundle] == [(2, 4000, 3), (2, 4000, 3), (2, 4000, 5), (2, 4000, 2)]
    flat = bundle.xys.reshape(-1, 2)
    torch.testing.assert_close(flat.amin(0), torch.tensor([-1.0, -0.5]), atol=0.01, rtol=0)
    torch.testing.assert_close(flat.amax(0), torch.tensor([1.0, 0.25]), atol=0.01, rtol=0)
    torch.testing.assert_close(flat.mean(0), torch.tensor([0.0, -0.125]), atol=0.05, rtol=0)
    torch.manual_seed(3)
    once = monte_carlo()(cameras()).xys
    torch.manual_seed(3)
    assert torch.equal(once, monte_carlo()(cameras()).xys)


@pytest.mark.parametrize("sampler", [ndc(n_rays_total=40), monte_carlo(None, n_rays_total=40)])
def test_rays_of_drawn_cameras(sampler):
    cams = cameras(5)
    bundle = sampler(cams)
    assert isinstance(bundle, HeterogeneousRayBundle)
    assert [tuple(x.shape) for x in bundle[:4]] == [(40, 1, 3), (40, 1, 3), (40, 1, 5), (40, 1, 2)]
    assert bundle.camera_counts.sum() == 40
    assert bundle.camera_ids.tolist() == sorted(set(bundle.camera_ids.tolist()))
    centres = cams.get_camera_center()[bundle.camera_ids].repeat_interleave(bundle.camera_counts, dim=0)
    torch.testing.assert_close(bundle.origins[:, 0], centres, atol=1e-5, rtol=0)


def test_drawn_cameras_keep_their_masks():
    mask = torch.zeros(3, 4, 6)
    for image in range(3):
        mask[image, image] = 1
    full = ndc()(cameras(3)).xys
    bundle = ndc()(cameras(3), mask=mask, n_rays_total=30)
    images = bundle.camera_ids.repeat_interleave(bundle.camera_counts)
    for image, xy in zip(images, bundle.xys[:, 0]):
        assert (full[image, image] == xy).all(-1).any()


# --- ray points ---


def test_ray_points():
    origins, directions, lengths = torch.rand(2, 3, 3), torch.rand(2, 3, 3), torch.rand(2, 3, 4)
    points = ray_bundle_variables_to_ray_points(origins, directions, lengths)
    torch.testing.assert_close(points[1, 2, 3], origins[1, 2] + lengths[1, 2, 3] * directions[1, 2])
    with pytest.raises(ValueError, match=r"rays_origins: expected shape \(..., 3\), got \(2, 3, 2\)"):
        ray_bundle_variables_to_ray_points(origins[..., :2], directions, lengths)


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda: ndc(min_depth=3.0), "min_depth, max_depth: expected min_depth < max_depth, got"),
        (lambda: ndc(min_depth=2.5), "min_depth, max_depth: expected min_depth < max_depth"),
        (lambda: ndc(max_depth=float("nan")), "min_depth, max_depth: expected min_depth < max_depth"),
        (lambda: ndc(max_depth=float("inf")), r"min_depth, max_depth: expected finite numbers, got \(0.5, inf\)"),
        (lambda: ndc()(cameras(), min_depth=7.0), "min_depth, max_depth: expected min_depth < max_depth"),
        (lambda: ndc(n_pts_per_ray=-1), "n_pts_per_ray: expected a number that is not negative, got -1"),
        (lambda: ndc(image_width=0), "image_width, image_height: expected positive integers"),
        (lambda: ndc(n_rays_per_image=3, n_rays_total=3), "n_rays_per_image, n_rays_total: expected at most one"),
        (
            lambda: ndc(n_rays_per_image=3)(cameras(), n_rays_total=3),
            "n_rays_per_image, n_rays_total: expected at most",
        ),
        (lambda: ndc(n_rays_per_image=-3), "n_rays_per_image: expected a positive integer or None, got -3"),
        (lambda: monte_carlo(None), "n_rays_per_image, n_rays_total: expected one of them positive"),
        (lambda: ndc()(cameras(), mask=torch.eye(4, 6).expand(2, 4, 6) - 0.5), "mask: expected values of 0 or more"),
        (lambda: ndc()(cameras(), mask=torch.ones(2, 6, 4)), r"mask: expected shape \(2, 4, 6\), got \(2, 6, 4\)"),
        (
            lambda: ndc()(cameras(), mask=torch.zeros(2, 4, 6)),
            r"mask: expected a positive pixel in each image, got \[0, 0",
        ),
    ],
)
def test_bad_input(make_it, message):
    with pytest.raises(ValueError, match=message):
        make_it()
