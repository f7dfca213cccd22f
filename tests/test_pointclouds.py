"""Pointclouds: layouts, index maps, copies, other batches, gradients, bad input."""

import pytest
import torch

from tirender.ops import estimate_pointcloud_normals
from tirender.structures import Pointclouds, join_pointclouds_as_batch, join_pointclouds_as_scene

SIZES = [4, 0, 2]


def parts(columns, sizes=SIZES, dtype=torch.float32, requires_grad=False):
    return [torch.rand(n, columns, dtype=dtype).requires_grad_(requires_grad) for n in sizes]


def make(sizes=SIZES, columns=5, **kwargs):
    return Pointclouds(parts(3, sizes, **kwargs), parts(3, sizes, **kwargs), parts(columns, sizes, **kwargs))


def tensors(clouds):
    return [clouds.points_packed(), clouds.normals_packed(), clouds.features_packed()]


def lists(clouds):
    return [*clouds.points_list(), *clouds.normals_list(), *clouds.features_list()]


# --- views and index maps ---


def test_each_layout_holds_the_same():
    points, normals, features = parts(3), parts(3), parts(5)
    clouds = Pointclouds(points, normals, features)
    for name, expected in (("points", points), ("normals", normals), ("features", features)):
        as_list, packed, padded = (getattr(clouds, f"{name}_{layout}")() for layout in ("list", "packed", "padded"))
        assert torch.equal(packed, torch.cat(expected))
        assert padded.shape == (3, 4, expected[0].shape[1])
        for i, part in enumerate(expected):
            assert torch.equal(as_list[i], part)
            assert torch.equal(padded[i, : len(part)], part)
            assert (padded[i, len(part) :] == 0).all()
        assert torch.equal(padded.flatten(0, 1)[clouds.padded_to_packed_idx()], packed)
    for values, expected in zip(clouds.get_cloud(2), (points[2], normals[2], features[2])):
        assert torch.equal(values, expected)


def test_index_maps():
    clouds = make()
    assert len(clouds) == 3
    assert clouds.num_points_per_cloud().tolist() == SIZES
    assert clouds.cloud_to_packed_first_idx().tolist() == [0, 4, 4]
    assert clouds.packed_to_cloud_idx().tolist() == [0] * 4 + [2] * 2
    assert clouds.padded_to_packed_idx().tolist() == [0, 1, 2, 3, 8, 9]
    assert clouds.valid.tolist() == [True, False, True]
    assert not clouds.equisized
    assert not clouds.isempty()
    assert clouds.device == torch.device("cpu")
    assert clouds[[0, 0]].equisized


def test_padded_input():
    points = torch.rand(2, 6, 3)
    strided = torch.rand(2, 4, 6).transpose(1, 2)
    clouds = Pointclouds(points, features=strided)
    assert torch.equal(clouds.points_padded(), points)
    assert torch.equal(clouds.features_padded(), strided)
    assert torch.equal(clouds.features_list()[1], strided[1])
    assert clouds.normals_list() is clouds.normals_packed() is clouds.normals_padded() is None
    assert clouds.equisized
    # a list of points takes padded features, whose padding is dropped
    padded = torch.rand(3, 4, 2)
    features = Pointclouds(parts(3), features=padded).features_packed()
    assert torch.equal(features, torch.cat([padded[0], padded[2, :2]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtypes_are_kept(dtype):
    clouds = Pointclouds(parts(3, dtype=dtype), features=[torch.zeros(n, 1, dtype=torch.uint8) for n in SIZES])
    assert clouds.points_packed().dtype == clouds.scale(2.0).points_packed().dtype == dtype
    assert clouds.features_packed().dtype == torch.uint8


def test_empty():
    none = Pointclouds(points=[])
    assert len(none) == 0
    assert none.isempty()
    assert none.points_list() == []
    assert none.points_padded().shape == (0, 0, 3)
    assert none.get_bounding_boxes().shape == (0, 3, 2)
    assert len(none.extend(2)) == len(none.clone()) == len(join_pointclouds_as_scene(none)) == 0
    hollow = Pointclouds([torch.tensor([]), torch.zeros(0, 3)], features=[torch.zeros(0, 4)] * 2)
    assert hollow.isempty()
    assert len(hollow) == 2
    assert hollow.features_padded().shape == (2, 0, 4)
    assert hollow.points_packed().shape == (0, 3)
    assert join_pointclouds_as_scene(hollow).points_padded().shape == (1, 0, 3)


# --- geometry ---


def test_bounding_boxes():
    clouds = make()
    boxes = clouds.get_bounding_boxes()
    assert torch.equal(boxes[0, :, 0], clouds.points_list()[0].amin(0))
    assert torch.equal(boxes[2, :, 1], clouds.points_list()[2].amax(0))
    assert boxes[1, 0].tolist() == [float("inf"), float("-inf")]


def test_inside_box():
    points = torch.tensor([[0.0, 0, 0], [1, 1, 1], [1.01, 0, 0], [float("nan"), 0, 0]])
    clouds = Pointclouds([points, points[:2]])
    unit = torch.tensor([[0.0, 0, 0], [1, 1, 1]])
    assert clouds.inside_box(unit).tolist() == [True, True, False, False, True, True]
    each = torch.stack([unit, unit - 0.5])
    assert clouds.inside_box(each).tolist() == [True, True, False, False, True, False]
    assert clouds.inside_box(unit[None]).tolist() == clouds.inside_box(unit).tolist()


def test_estimate_normals_can_be_kept():
    plane = torch.cat([torch.rand(40, 2), torch.full((40, 1), 0.3)], 1)
    clouds = Pointclouds([plane, plane[:30].roll(1, 1)])
    normals = clouds.estimate_normals(6, disambiguate_directions=False)
    assert torch.equal(normals, estimate_pointcloud_normals(clouds, 6, disambiguate_directions=False))
    expected = torch.zeros(2, 40, 3)
    expected[0, :, 2], expected[1, :30, 0] = 1, 1  # along z, along x, and padding
    torch.testing.assert_close(normals.abs(), expected)
    assert clouds.normals_packed() is None
    clouds.estimate_normals(6, disambiguate_directions=False, assign_to_self=True)
    assert torch.equal(clouds.normals_packed(), torch.cat([normals[0], normals[1, :30]]))
    with pytest.raises(ValueError, match="neighborhood_size"):
        clouds.estimate_normals(30)


@pytest.mark.parametrize("in_place", [False, True])
def test_offset_and_scale(in_place):
    clouds = make()
    points, normals, _ = tensors(clouds)
    moves = torch.rand(6, 3)
    factors = torch.tensor([2.0, 5.0, 3.0])
    for name, argument, expected in (
        ("offset", moves, points + moves),
        ("offset", moves[0], points + moves[0]),
        ("scale", 2.5, points * 2.5),
        ("scale", factors, points * torch.tensor([2.0] * 4 + [3.0] * 2)[:, None]),
    ):
        start = clouds.clone()
        result = getattr(start, name + "_" * in_place)(argument)
        assert torch.equal(result.points_packed(), expected)
        assert torch.equal(result.normals_packed(), normals)
        assert (result is start) == in_place
        if not in_place:
            assert torch.equal(start.points_packed(), points)


def test_update_padded():
    clouds = make()
    new = torch.rand(3, 4, 3, requires_grad=True)
    updated = clouds.update_padded(new)
    assert torch.equal(updated.points_list()[2], new[2, :2])
    assert torch.equal(updated.features_packed(), clouds.features_packed())
    updated.points_packed().sum().backward()
    assert new.grad.sum(2).tolist() == [[3.0] * 4, [0.0] * 4, [3, 3, 0, 0]]
    normals, features = torch.rand(3, 4, 3), torch.rand(3, 4, 5)
    updated = clouds.update_padded(new, normals, features)
    assert torch.equal(updated.normals_list()[0], normals[0])
    assert torch.equal(updated.features_list()[2], features[2, :2])
    assert Pointclouds(new.detach()).update_padded(new, new_features_padded=features).features_packed().shape == (12, 5)


# --- copies and other batches ---


def test_clone_detach_to():
    clouds = make(requires_grad=True)
    clone, detached = clouds.clone(), clouds.detach()
    for original, cloned, cut in zip(lists(clouds), lists(clone), lists(detached)):
        assert torch.equal(original, cloned)
        assert cloned.data_ptr() != original.data_ptr() or not len(original)
        assert cloned.requires_grad
        assert cut.data_ptr() == original.data_ptr()
        assert not cut.requires_grad
    assert clouds.to("cpu") is clouds.cpu() is clouds
    copy = clouds.to("cpu", copy=True)
    assert copy.points_packed().data_ptr() != clouds.points_packed().data_ptr()
    meta = clouds.to("meta")
    assert meta.device.type == meta.features_packed().device.type == meta.num_points_per_cloud().device.type == "meta"


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (0, [0]),
        (-1, [2]),
        (slice(0, 3, 2), [0, 2]),
        ([2, 0, 2], [2, 0, 2]),
        (torch.tensor([True, False, True]), [0, 2]),
        (torch.tensor([2, 1]), [2, 1]),
        ([], []),
    ],
    ids=str,
)
def test_indexing(index, expected):
    clouds = make()
    picked = clouds[index]
    assert len(picked) == len(expected)
    for name in ("points", "normals", "features"):
        before, after = getattr(clouds, f"{name}_list")(), getattr(picked, f"{name}_list")()
        assert all(torch.equal(part, before[i]) for part, i in zip(after, expected))
    assert picked.features_packed().shape[1] == 5


def test_indexing_gradient():
    points = parts(3, requires_grad=True)
    Pointclouds(points)[[0, 0, 2]].points_packed().sum().backward()
    assert (points[0].grad == 2).all()
    assert (points[2].grad == 1).all()


def test_split():
    clouds = make()
    first, none, rest = clouds.split([1, 0, 2])
    assert [len(first), len(none), len(rest)] == [1, 0, 2]
    assert torch.equal(rest.points_packed(), clouds[[1, 2]].points_packed())


def test_extend():
    points = parts(3, requires_grad=True)
    clouds = Pointclouds(points, features=parts(2))
    extended = clouds.extend(3)
    assert extended.num_points_per_cloud().tolist() == [4, 4, 4, 0, 0, 0, 2, 2, 2]
    for i in range(9):
        assert torch.equal(extended.points_list()[i], points[i // 3])
        assert torch.equal(extended.features_list()[i], clouds.features_list()[i // 3])
    extended.points_packed().sum().backward()
    assert (points[2].grad == 3).all()


def test_subsample():
    clouds = make([6, 0, 2])
    for limit, sizes in ((4, [4, 0, 2]), ([2, 5, 1], [2, 0, 1]), (0, [0, 0, 0])):
        fewer = clouds.subsample(limit)
        assert fewer.num_points_per_cloud().tolist() == sizes
        for i, part in enumerate(fewer.points_list()):
            rows = [clouds.points_list()[i].tolist().index(row) for row in part.tolist()]
            assert len(set(rows)) == len(rows)
            assert torch.equal(fewer.normals_list()[i], clouds.normals_list()[i][rows])
            assert torch.equal(fewer.features_list()[i], clouds.features_list()[i][rows])
    assert torch.equal(clouds.subsample(4).points_list()[2], clouds.points_list()[2])
    assert clouds.subsample(6) is clouds


def test_join_as_batch_and_scene():
    first, second = make(), make([3])
    for joined in (join_pointclouds_as_batch([first, second]), join_pointclouds_as_batch((first, second))):
        assert joined.num_points_per_cloud().tolist() == [4, 0, 2, 3]
    scene = join_pointclouds_as_scene([first, second])
    assert len(scene) == 1
    assert torch.equal(scene.points_packed(), torch.cat([first.points_packed(), second.points_packed()]))
    assert torch.equal(scene.features_padded()[0], joined.features_packed())
    assert torch.equal(join_pointclouds_as_scene(first).normals_list()[0], first.normals_packed())
    assert join_pointclouds_as_batch([Pointclouds(parts(3))] * 2).features_packed() is None
    assert len(join_pointclouds_as_batch([])) == 0


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda: Pointclouds("cow"), "points: expected a list of tensors or a padded tensor, got str"),
        (lambda: Pointclouds(torch.rand(5, 3)), r"points: expected shape \(N, n, 3\), got \(5, 3\)"),
        (lambda: Pointclouds([torch.rand(5, 2)]), r"points\[0\]: expected shape \(n, 3\), got \(5, 2\)"),
        (lambda: Pointclouds([torch.ones(5, 3) > 0]), r"points\[0\]: expected real numbers, got torch.bool"),
        (
            lambda: Pointclouds(parts(3), features=parts(2, [4, 1, 2])),
            r"features: expected as many as points in each cloud, \[4, 0, 2\], got \[4, 1, 2\]",
        ),
        (lambda: Pointclouds(parts(3), features=parts(2)[:2]), "features: expected as many as points"),
        (
            lambda: Pointclouds(parts(3), features=[torch.rand(4, 2), torch.rand(0, 2), torch.rand(2, 3)]),
            r"features\[2\]: expected shape \(n, 2\), got \(2, 3\)",
        ),
        (lambda: Pointclouds(parts(3), features=torch.rand(3, 5, 2)), r"features: expected shape \(3, 4, C\), got"),
        (lambda: Pointclouds(parts(3), parts(2)), r"normals\[0\]: expected shape \(n, 3\), got \(4, 2\)"),
        (lambda: make().get_cloud(3), "index: expected an integer from 0 to 2, got 3"),
        (lambda: make().get_cloud(0.5), "index: expected an integer from 0 to 2, got 0.5"),
        (lambda: make().extend(0), "N: expected a positive integer, got 0"),
        (lambda: make().split([1, 3]), "split_sizes: expected non-negative integers that sum to at most 3"),
        (lambda: make().subsample([1, 2]), "max_points: expected a non-negative integer, or 3 of them"),
        (lambda: make().subsample(-1), "max_points: expected a non-negative integer"),
        (lambda: make().offset(torch.rand(5, 3)), r"offsets_packed: expected shape \(6, 3\) or \(3,\)"),
        (
            lambda: make().scale(torch.rand(2)),
            r"scale: expected a number, or shape \(3,\), \(3, 1\) or \(3, 3\), got \(2,\)",
        ),
        (lambda: make().inside_box(torch.rand(2, 2, 3)), r"box: expected shape \(2, 3\) or \(3, 2, 3\)"),
        (
            lambda: make().inside_box(torch.tensor([[0.0] * 3, [-1.0] * 3])),
            "box: expected least coordinates no greater",
        ),
        (lambda: make().update_padded(torch.rand(3, 5, 3)), r"new_points_padded: expected shape \(3, 4, 3\)"),
        (
            lambda: make().update_padded(torch.rand(3, 4, 3), None, torch.rand(3, 4, 4)),
            r"new_features_padded: expected shape \(3, 4, 5\), got \(3, 4, 4\)",
        ),
        (lambda: join_pointclouds_as_batch(make()), "pointclouds: expected a list of Pointclouds, got Pointclouds"),
        (
            lambda: join_pointclouds_as_batch([make(), Pointclouds(parts(3))]),
            "pointclouds: expected normals in all batches or in none, got 1 of 2 with normals",
        ),
        (
            lambda: join_pointclouds_as_batch([make(), make(columns=4)]),
            r"pointclouds\[1\].features: expected shape \(..., 5\), got \(4, 4\)",
        ),
        (lambda: join_pointclouds_as_batch([make(), make(dtype=torch.float64)]), r"pointclouds\[1\].points: expected"),
    ],
)
def test_bad_input(make_it, message):
    with pytest.raises(ValueError, match=message):
        make_it()


def test_bad_index():
    with pytest.raises(IndexError):
        make()[3]
    with pytest.raises(IndexError, match="index: expected an integer, a slice"):
        make()["0"]
