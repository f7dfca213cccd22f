"""Points of each pixel, against PyTorch3D's results and slow torch."""

from __future__ import annotations

import pytest
import torch
from conftest import load_reference
from reference import points as twin

from tirender.renderer import rasterize_points
from tirender.structures import Pointclouds

OUTPUTS = ("zbuf", "dists")


def random_clouds(*counts: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return [torch.rand(n, 3, generator=g, dtype=dtype) * 2.4 - 1.2 + torch.eye(3, dtype=dtype)[2] for n in counts]


@pytest.mark.parametrize("name", ["case0", "case1"])
def test_matches_pytorch3d(name):
    data, meta = load_reference(f"point_raster/{name}")
    points = [data[f"in_points{i}"].requires_grad_() for i in (0, 1)]
    idx, zbuf, dists = rasterize_points(Pointclouds(points), **meta["kwargs"])
    assert idx.dtype == torch.int32
    assert torch.equal(idx, data["out_idx"])
    torch.testing.assert_close((zbuf, dists), (data["out_zbuf"], data["out_dists"]), rtol=1e-5, atol=1e-7)
    grads = torch.autograd.grad((zbuf, dists), points, [data[f"up_{k}"] for k in OUTPUTS])
    for i, grad in enumerate(grads):
        torch.testing.assert_close(grad, data[f"grad_points{i}"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("image_size", [(17, 30), (40, 9), (1, 1)])
@pytest.mark.parametrize("counts", [(1, 200), (70, 0)])
@pytest.mark.parametrize("k", [1, 5])
def test_matches_the_twin_with_a_radius_a_point(image_size, counts, k):
    leaf = torch.cat(random_clouds(*counts)).requires_grad_()
    points = leaf.split(counts)
    radius = torch.rand(2, max(counts)) * 0.4
    packed = torch.cat([r[:n] for r, n in zip(radius, counts)])
    ours = rasterize_points(Pointclouds(points), image_size, radius, k)
    theirs = twin.rasterize(points, packed, image_size, k)
    assert torch.equal(ours[0], theirs[0])
    torch.testing.assert_close(ours[1:], theirs[1:], rtol=1e-5, atol=1e-6)
    up = [torch.rand_like(v) for v in ours[1:]]
    a, b = (torch.autograd.grad(out[1:], leaf, up) for out in (ours, theirs))
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("needs_f64")
def test_gradcheck():
    cloud = random_clouds(12, dtype=torch.float64)[0].requires_grad_()

    def values(points):
        return rasterize_points(Pointclouds([points]), (5, 7), 0.5, 4)[1:]

    assert torch.autograd.gradcheck(values, (cloud,), eps=1e-7)


def test_equal_depths_go_to_the_lower_index():
    points = torch.tensor([[0.0, 0.0, 2.0]]).repeat(9, 1)
    points[4, 2] = 1
    idx = rasterize_points(Pointclouds([points]), 1, 0.5, 6)[0]
    assert idx.flatten().tolist() == [4, 0, 1, 2, 3, 5]


def test_indices_count_through_the_batch():
    idx = rasterize_points(Pointclouds([torch.zeros(2, 3), torch.zeros(1, 3)]), 1, 0.5, 3)[0]
    assert idx.flatten().tolist() == [0, 1, -1, 2, -1, -1]


def test_none_keeps_all():
    cloud = random_clouds(300)[0]
    all_of_them = rasterize_points(Pointclouds([cloud]), 8, 0.5, None)[0]
    assert torch.equal(all_of_them, rasterize_points(Pointclouds([cloud]), 8, 0.5, all_of_them.shape[-1])[0])
    assert (all_of_them[..., -1] >= 0).any()


@pytest.mark.parametrize("depth", [0.0, -1e-6])
def test_points_behind_the_viewer_are_not_drawn(depth):
    idx = rasterize_points(Pointclouds([torch.tensor([[0.0, 0.0, depth]])]), 1, 0.5, 1)[0]
    assert (idx.item() == 0) == (depth >= 0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_points_that_are_nowhere_are_not_drawn(value, axis):
    points = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 2.0]])
    points[0, axis] = value
    points.requires_grad_()
    idx, zbuf, dists = rasterize_points(Pointclouds([points]), 3, 2.0, 2)
    assert set(idx.flatten().tolist()) == {1, -1}
    grad = torch.autograd.grad(zbuf.sum() + dists.sum(), points)[0]
    assert grad[1, 2] == 9
    assert not grad[0].any()


@pytest.mark.parametrize("clouds", [[], [torch.zeros(0, 3)], [torch.zeros(0, 3), torch.zeros(0, 3)]])
def test_no_points(clouds):
    idx, zbuf, dists = rasterize_points(Pointclouds(clouds), (3, 4), 0.1, 2)
    for values in (idx, zbuf, dists):
        assert values.shape == (len(clouds), 3, 4, 2)
        assert (values == -1).all()


def test_a_point_of_radius_0_is_not_drawn():
    clouds = Pointclouds([torch.zeros(2, 3)])
    assert rasterize_points(clouds, 1, [0.0, 0.1], 2)[0].flatten().tolist() == [1, -1]


def test_radius_as_a_list_or_for_one_cloud_or_padded():
    clouds = Pointclouds(random_clouds(4, 2))
    padded = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.2, 0.3, 9.0, 9.0]])
    assert torch.equal(rasterize_points(clouds, 9, padded)[0], rasterize_points(clouds, 9, padded.tolist())[0])
    one = rasterize_points(clouds[0], 9, padded[0])[0]
    assert torch.equal(one, rasterize_points(clouds[0], 9, padded[:1])[0])
    assert torch.equal(one, rasterize_points(clouds, 9, padded)[0][:1])


def test_repeats_are_equal_to_the_bit():
    cloud = random_clouds(3000)[0].requires_grad_()
    runs = []
    for _ in range(3):
        out = rasterize_points(Pointclouds([cloud]), 50, 0.1, 8)
        runs.append((*out, *torch.autograd.grad(out[1].cos().sum() + out[2].sin().sum(), cloud)))
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(runs[0], run))


def test_non_contiguous_points():
    cloud = random_clouds(60)[0]
    strided = cloud.t().contiguous().t().requires_grad_()
    ours, expected = (rasterize_points(Pointclouds([c]), 9, 0.2) for c in (strided, cloud))
    assert all(torch.equal(a, b) for a, b in zip(ours, expected))
    assert torch.autograd.grad(ours[2].sum(), strided)[0].any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"radius": -0.1}, "radius: expected finite numbers >= 0, got -0.1"),
        ({"radius": float("nan")}, "radius: expected finite numbers >= 0, got from nan"),
        ({"radius": float("inf")}, "radius: expected finite numbers >= 0, got inf"),
        ({"radius": [0.1, -0.1, 0.1]}, "radius: expected finite numbers >= 0, got from -0.1"),
        ({"radius": [0.1, float("nan"), 0.1]}, "radius: expected finite numbers >= 0, got from nan to nan"),
        ({"radius": torch.full((2, 3), 0.1)}, r"radius: expected shape \(1, 3\), got \(2, 3\)"),
        ({"radius": [0.1, 0.1]}, r"radius: expected shape \(1, 3\), got \(1, 2\)"),
        ({"radius": "big"}, "radius: expected a number, or one for each point, got 'big'"),
        ({"points_per_pixel": 0}, "points_per_pixel: expected an integer >= 1 or None, got 0"),
        ({"points_per_pixel": 1.5}, "points_per_pixel: expected an integer >= 1 or None, got 1.5"),
        ({"image_size": 0}, "image_size: expected a positive int or"),
        ({"image_size": (1, 2, 3)}, "image_size: expected a positive int or"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        rasterize_points(Pointclouds([torch.zeros(3, 3)]), **({"image_size": 4} | settings))


def test_a_radius_of_0_draws_nothing():
    idx, zbuf, dists = rasterize_points(Pointclouds([torch.zeros(3, 3)]), 8, 0.0)
    assert (idx == -1).all()
    assert (zbuf == -1).all()
