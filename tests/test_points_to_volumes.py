"""Clouds accumulated in volumes, against one index_add a corner in torch."""

import pytest
import torch

from tirender.engine.points_to_volumes import points_to_volumes
from tirender.ops.points_to_volumes import (
    add_pointclouds_to_volumes,
    add_points_features_to_volume_densities_features,
)
from tirender.structures import Pointclouds, Volumes

SHAPE, SIZES = (4, 5, 6), torch.tensor([[4, 5, 6], [3, 1, 2]])


def twin(coords, values, image, grid_sizes, shape):
    depth, height, width = shape
    base = coords.detach().floor()
    fraction, base = coords - base, base.long()
    sums = values.new_zeros(len(grid_sizes) * depth * height * width, values.shape[1])
    limits = grid_sizes[image].flip(1)
    for corner in range(8):
        step = torch.tensor([corner & 1, corner >> 1 & 1, corner >> 2])
        x, y, z = (base + step).unbind(1)
        is_inside = ((base + step >= 0) & (base + step < limits)).all(1)
        weight = torch.where(step.bool(), fraction, 1 - fraction).prod(1) * is_inside
        voxel = torch.where(is_inside, ((image * depth + z) * height + y) * width + x, 0)
        sums = sums.index_add(0, voxel, weight[:, None] * values)
    return sums.view(len(grid_sizes), *shape, -1).permute(0, 4, 1, 2, 3)


def random_points(n_points, dtype=torch.float32, n_channels=3):
    coords = torch.rand(n_points, 3, dtype=dtype) * 9 - 2
    image = torch.arange(n_points) % 2
    return coords.requires_grad_(), torch.rand(n_points, n_channels, dtype=dtype).requires_grad_(), image


@pytest.mark.parametrize(("n_points", "n_channels"), [(1, 1), (500, 3), (5000, 0), (3000, 7)])
def test_matches_the_twin(n_points, n_channels):
    coords, values, image = random_points(n_points, n_channels=n_channels)
    ours, expected = (f(coords, values, image, SIZES, SHAPE) for f in (points_to_volumes, twin))
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    up = torch.randn_like(ours)
    for a, b in zip(*(torch.autograd.grad(out, (coords, values), up) for out in (ours, expected))):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("needs_f64")
def test_gradcheck():
    coords, values, image = random_points(20, torch.float64)
    assert torch.autograd.gradcheck(lambda c, v: points_to_volumes(c, v, image, SIZES, SHAPE), (coords, values))


def test_repeats_are_equal_to_the_bit():
    coords, values, image = random_points(20000)
    strided = torch.rand(3, 20000).t()
    runs = []
    for _ in range(3):
        sums = points_to_volumes(coords, values * 1, image, SIZES, SHAPE)
        assert points_to_volumes(coords, strided, image, SIZES, SHAPE).isfinite().all()
        runs.append((sums, *torch.autograd.grad(sums.cos().sum(), (coords, values))))
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(runs[0], run))


def test_what_lies_outside_is_left_out():
    nan, inf = float("nan"), float("inf")
    coords = torch.tensor([[nan, 0, 0], [inf, 0, 0], [-inf, 0, 0], [-1, 0, 0], [6, 0, 0], [0, 0, 4], [1e30, 0, 0]])
    coords.requires_grad_()
    values = torch.ones(7, 1, requires_grad=True)
    sums = points_to_volumes(coords, values, torch.zeros(7, dtype=torch.int64), SIZES, SHAPE)
    assert not sums.any()
    grads = torch.autograd.grad(sums.sum(), (coords, values))
    assert not any(grad.any() for grad in grads)


@pytest.mark.parametrize("n", [0, 2])
def test_no_points(n):
    coords, values, image = random_points(0)
    sums = points_to_volumes(coords, values, image, SIZES[:n], SHAPE)
    assert sums.shape == (n, 3, *SHAPE)
    assert not sums.any()
    assert torch.autograd.grad(sums.sum(), values)[0].shape == (0, 3)


# --- clouds and volumes ---


def scene(align_corners=True, n_channels=3):
    clouds = Pointclouds([torch.rand(n, 3) * 2 - 1 for n in (50, 20)], features=[torch.rand(n, 3) for n in (50, 20)])
    volumes = Volumes(
        torch.rand(2, 1, *SHAPE),
        torch.rand(2, n_channels, *SHAPE),
        voxel_size=0.4,
        volume_translation=(0.1, 0, 0),
        align_corners=align_corners,
    )
    return clouds, volumes


def test_points_at_voxel_centres():
    """Both modes put a point at the centre of a voxel into that voxel alone."""
    volumes = Volumes(torch.zeros(1, 1, *SHAPE), voxel_size=(0.3, 0.2, 0.1), volume_translation=(1.0, 2.0, 3.0))
    centres = volumes.get_coord_grid()[0, 1, 2, 3][None]
    clouds = Pointclouds([centres.expand(4, 3)], features=[torch.tensor([[1.0], [2], [3], [6]])])
    for mode in ("trilinear", "nearest"):
        filled = add_pointclouds_to_volumes(clouds, volumes, mode=mode)
        expected = torch.zeros(SHAPE)
        expected[1, 2, 3] = 1
        torch.testing.assert_close(filled.densities()[0, 0], 4 * expected, atol=1e-4, rtol=0)
        assert filled.features()[0, 0, 1, 2, 3].item() == pytest.approx(3)  # the mean
        sums = add_pointclouds_to_volumes(clouds, volumes, mode=mode, rescale_features=False)
        torch.testing.assert_close(sums.features()[0, 0], 12 * expected, atol=1e-3, rtol=0)
        assert torch.equal(filled.get_coord_grid(), volumes.get_coord_grid())


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("mode", ["trilinear", "nearest"])
@pytest.mark.parametrize("rescale", [True, False])
def test_initial_values_are_added_to(mode, rescale, align_corners):
    clouds, volumes = scene(align_corners)
    filled = add_pointclouds_to_volumes(clouds, volumes, mode=mode, rescale_features=rescale, min_weight=0.5)
    empty = volumes.update_padded(0 * volumes.densities(), 0 * volumes.features())
    sums = add_pointclouds_to_volumes(clouds, empty, mode=mode, rescale_features=False)
    densities, features = volumes.densities() + sums.densities(), volumes.features() + sums.features()
    torch.testing.assert_close(filled.densities(), densities)
    torch.testing.assert_close(filled.features(), features / densities.clamp(0.5) if rescale else features)
    # the same of tensors, padded with a mask
    local = volumes.world_to_local_coords(clouds.points_padded())
    mask = torch.arange(50) < clouds.num_points_per_cloud()[:, None]
    new_features, new_densities = add_points_features_to_volume_densities_features(
        local,
        clouds.features_padded(),
        volumes.densities(),
        volumes.features(),
        mode=mode,
        min_weight=0.5,
        mask=mask,
        rescale_features=rescale,
        align_corners=align_corners,
    )
    torch.testing.assert_close(new_densities, filled.densities())
    torch.testing.assert_close(new_features, filled.features())


def test_nearest_counts_whole_points():
    clouds, volumes = scene()
    empty = Volumes(0 * volumes.densities(), voxel_size=0.4, volume_translation=(0.1, 0, 0))
    filled = add_pointclouds_to_volumes(clouds, empty, mode="nearest")
    assert torch.equal(filled.densities(), filled.densities().round())
    is_inside = (empty.world_to_local_coords(clouds.points_padded()).abs() <= 1).all(2)
    assert filled.densities().sum() >= is_inside[:, :20].sum()


def test_weight_is_conserved_inside():
    clouds, _ = scene()
    volumes = Volumes([torch.zeros(1, 12, 9, 10), torch.zeros(1, 7, 8, 9)], voxel_size=0.5)
    filled = add_pointclouds_to_volumes(clouds, volumes)
    torch.testing.assert_close(filled.densities().sum((1, 2, 3, 4)), torch.tensor([50.0, 20.0]), rtol=1e-5, atol=0)
    assert not filled.densities()[1, :, 7:].any()
    assert not filled.densities()[1, :, :, 8:].any()


@pytest.mark.parametrize("align_corners", [True, False])
def test_one_voxel(align_corners):
    volume = Volumes(torch.zeros(1, 1, 1, 1, 1), voxel_size=1.0, align_corners=align_corners)
    points = torch.tensor([[0.0, 0, 0], [0.25, 0, 0], [1.5, 0, 0]], requires_grad=True)
    filled = add_pointclouds_to_volumes(Pointclouds([points], features=[torch.ones(3, 1)]), volume)
    assert filled.densities().item() == pytest.approx(1.75)
    assert torch.autograd.grad(filled.densities().sum(), points)[0][1].tolist() == pytest.approx([-1, -0.75, -0.75])


@pytest.mark.usefixtures("needs_f64")
def test_gradients_reach_everything():
    shape = (2, 3, 2)
    volumes = Volumes(torch.zeros(1, 1, *shape).double(), voxel_size=0.7)

    def fill(points, features, densities, volume_features):
        clouds = Pointclouds([points], features=[features])
        filled = add_pointclouds_to_volumes(clouds, volumes.update_padded(densities, volume_features))
        return filled.densities(), filled.features()

    rand = [
        torch.rand(*s, dtype=torch.float64).requires_grad_() for s in ((6, 3), (6, 2), (1, 1, *shape), (1, 2, *shape))
    ]
    assert torch.autograd.gradcheck(fill, rand)


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (
            lambda c, v: add_pointclouds_to_volumes(c[0], v),
            "initial_volumes: expected as many volumes as clouds, 1, got 2",
        ),
        (
            lambda c, v: add_pointclouds_to_volumes(Pointclouds(c.points_list()), v),
            "pointclouds: expected clouds with features, got None",
        ),
        (
            lambda c, v: add_pointclouds_to_volumes(c, v, mode="cubic"),
            "mode: expected 'trilinear' or 'nearest', got 'cubic'",
        ),
        (
            lambda c, v: add_pointclouds_to_volumes(c, scene(n_channels=4)[1]),
            r"volume_features: expected shape \(2, 3, 4, 5, 6\), got \(2, 4, 4, 5, 6\)",
        ),
        (
            lambda c, v: add_pointclouds_to_volumes(c, Volumes(v.features())),
            r"volume_densities: expected shape \(N, 1, 4, 5, 6\), got \(2, 3, 4, 5, 6\)",
        ),
        (
            lambda c, v: add_points_features_to_volume_densities_features(
                c.points_padded(), c.features_padded(), v.densities(), None, grid_sizes=torch.ones(3, 3)
            ),
            r"grid_sizes: expected shape \(2, 3\), got \(3, 3\)",
        ),
        (
            lambda c, v: add_points_features_to_volume_densities_features(
                c.points_padded(), c.features_padded(), v.densities(), None, mask=torch.ones(2, 3)
            ),
            r"mask: expected shape \(2, 50\), got \(2, 3\)",
        ),
        (
            lambda c, v: add_pointclouds_to_volumes(c, Volumes(torch.zeros(2, 1, *SHAPE).double())),
            "pointclouds.points: expected torch.float64 on cpu, got torch.float32 on cpu",
        ),
    ],
)
def test_bad_input(make_it, message):
    with pytest.raises(ValueError, match=message):
        make_it(*scene())
