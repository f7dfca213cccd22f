"""The chamfer distance."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from conftest import load_reference
from reference.neighbours import nearest

from tirender.loss import chamfer_distance
from tirender.structures import Pointclouds


@pytest.mark.parametrize("case", range(7))
def test_reference(case):
    data, meta = load_reference(f"chamfer/case{case}")
    x, y = data["in_x"].requires_grad_(), data["in_y"].requires_grad_()
    normals = {}
    if "normals" in meta["call"]:
        normals = {"x_normals": data["in_x_normals"], "y_normals": data["in_y_normals"]}
    distance, cosine = chamfer_distance(
        x, y, data["in_x_lengths"], data["in_y_lengths"], weights=data["in_weights"], **normals, **meta["kwargs"]
    )
    torch.testing.assert_close(distance, data["out_dist"])
    if normals:
        torch.testing.assert_close(cosine, data["out_normals"])
    else:
        assert cosine is None
    grads = torch.autograd.grad(distance, (x, y), data["up_dist"])
    torch.testing.assert_close(grads, (data["grad_x"], data["grad_y"]))


def one_way(p, q, p_lengths, q_lengths, p_normals, q_normals, norm, abs_cosine):
    dists, idx = nearest(p, q, p_lengths, q_lengths, 1, norm)
    others = torch.stack([q_normals[n][idx[n, :, 0]] for n in range(len(p))])
    cosine = F.cosine_similarity(p_normals, others, dim=2, eps=1e-6)
    used = torch.arange(p.shape[1]) < p_lengths[:, None]
    return dists[..., 0], torch.where(used, 1 - (cosine.abs() if abs_cosine else cosine), 0)


@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("abs_cosine", [False, True])
def test_unreduced_matches_the_twin(norm, abs_cosine):
    x, y, x_normals, y_normals = (torch.randn(3, n, 3, requires_grad=True) for n in (40, 50, 40, 50))
    lengths = torch.tensor([40, 11, 1]), torch.tensor([3, 50, 20])
    ours = chamfer_distance(
        x,
        y,
        *lengths,
        x_normals,
        y_normals,
        batch_reduction=None,
        point_reduction=None,
        norm=norm,
        abs_cosine=abs_cosine,
    )
    forth = one_way(x, y, *lengths, x_normals, y_normals, norm, abs_cosine)
    back = one_way(y, x, *lengths[::-1], y_normals, x_normals, norm, abs_cosine)
    flat, expected = (ours[0][0], ours[1][0], ours[0][1], ours[1][1]), (*forth, *back)
    torch.testing.assert_close(flat, expected)
    ups = [torch.randn_like(t) for t in expected]
    inputs = (x, y, x_normals, y_normals)
    torch.testing.assert_close(torch.autograd.grad(flat, inputs, ups), torch.autograd.grad(expected, inputs, ups))


@pytest.mark.parametrize("batch", ["mean", "sum", None])
@pytest.mark.parametrize("point", ["mean", "sum", "max"])
@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_reductions(batch, point, single, weighted):
    x, y = torch.randn(3, 12, 3), torch.randn(3, 9, 3)
    weights = torch.tensor([0.5, 0.0, 2.0]) if weighted else None
    ours, none = chamfer_distance(x, y, None, None, None, None, weights, batch, point, single_directional=single)
    both = chamfer_distance(x, y, batch_reduction=None, point_reduction=None)[0]
    reduce = {"mean": lambda d: d.mean(1), "sum": lambda d: d.sum(1), "max": lambda d: d.amax(1)}[point]
    scale = torch.ones(3) if weights is None else weights
    forth, back = (reduce(d * scale[:, None]) for d in both)
    expected = forth if single else torch.maximum(forth, back) if point == "max" else forth + back
    if batch is not None:
        expected = expected.sum()
    if batch == "mean":
        expected = expected / scale.sum()
    torch.testing.assert_close(ours, expected)
    assert none is None


def test_pointclouds_and_tensors_agree():
    parts, others = [torch.randn(7, 3), torch.randn(4, 3)], [torch.randn(3, 3), torch.randn(6, 3)]
    normals, other_normals = [torch.randn_like(p) for p in parts], [torch.randn_like(p) for p in others]
    clouds, other_clouds = Pointclouds(parts, normals), Pointclouds(others, other_normals)
    ours = chamfer_distance(clouds, other_clouds)
    padded = chamfer_distance(
        clouds.points_padded(),
        other_clouds.points_padded(),
        torch.tensor([7, 4]),
        torch.tensor([3, 6]),
        clouds.normals_padded(),
        other_clouds.normals_padded(),
    )
    torch.testing.assert_close(ours, padded)
    each = [chamfer_distance(p[None], q[None])[0] for p, q in zip(parts, others)]
    torch.testing.assert_close(ours[0], sum(each) / 2)
    assert chamfer_distance(clouds, Pointclouds(others))[1] is None


@pytest.mark.usefixtures("needs_f64")
@pytest.mark.parametrize("point", ["mean", "max"])
def test_gradcheck(point):
    x, y = (torch.randn(2, n, 3, dtype=torch.float64, requires_grad=True) for n in (4, 3))
    weights = torch.rand(2, dtype=torch.float64, requires_grad=True)

    def distance(a, b, w):
        return chamfer_distance(a, b, torch.tensor([4, 2]), weights=w, point_reduction=point)[0]

    assert torch.autograd.gradcheck(distance, (x, y, weights))


def test_gradients_are_finite_at_coinciding_points_and_zero_normals():
    x = torch.ones(1, 6, 3, requires_grad=True)
    normals = torch.zeros(1, 6, 3, requires_grad=True)
    for norm in (1, 2):
        distance, cosine = chamfer_distance(x, x.detach(), x_normals=normals, y_normals=normals.detach(), norm=norm)
        grads = torch.autograd.grad(distance + cosine, (x, normals))
        assert all(g.isfinite().all() for g in grads)


def test_empty_clouds_and_zero_weights():
    x, y = torch.randn(2, 5, 3, requires_grad=True), torch.randn(2, 4, 3)
    lengths = torch.tensor([5, 0]), torch.tensor([0, 4])
    distance = chamfer_distance(x, y, *lengths)[0]
    assert distance == 0
    assert not torch.autograd.grad(distance, x)[0].any()
    weighted = chamfer_distance(x, y, weights=torch.zeros(2))[0]
    assert weighted == 0
    assert not torch.autograd.grad(weighted, x)[0].any()
    for shape in ((0, 5, 3), (2, 0, 3)):
        for point in ("mean", "max"):
            assert chamfer_distance(torch.zeros(shape), torch.zeros(shape), point_reduction=point)[0] == 0


def test_nan_is_seen():
    x, y = torch.randn(1, 5, 3), torch.randn(1, 5, 3)
    x[0, 2, 1] = torch.nan
    assert chamfer_distance(x, y)[0].isnan()
    assert chamfer_distance(y, x)[0].isnan()


def test_repeats_are_equal_to_the_bit():
    x, y = torch.randn(1, 3000, 3, requires_grad=True), torch.randn(1, 2000, 3, requires_grad=True)
    runs = []
    for _ in range(3):
        distance = chamfer_distance(x, y)[0]
        runs.append((distance, *torch.autograd.grad(distance, (x, y))))
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(runs[0], run))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_reduction": "max"}, "batch_reduction: expected 'mean' or 'sum' or None, got 'max'"),
        ({"point_reduction": "min"}, "point_reduction: expected 'mean' or 'sum' or 'max' or None, got 'min'"),
        ({"point_reduction": None}, "batch_reduction: expected None, as point_reduction is None, got 'mean'"),
        ({"norm": 0}, "norm: expected 1 or 2, got 0"),
        ({"x": [1]}, "x: expected a tensor, got list"),
        ({"y": torch.zeros(3, 5, 3)}, r"y: expected shape \(2, P2, 3\)"),
        ({"x_lengths": torch.tensor([6, 1])}, "x_lengths: expected between 0 and 5"),
        ({"x_normals": torch.zeros(2, 4, 3)}, r"x_normals: expected shape \(2, 5, D\)"),
        ({"weights": torch.ones(3)}, r"weights: expected shape \(2\)"),
        ({"weights": torch.tensor([1.0, -1])}, "weights: expected numbers of 0 or more"),
    ],
)
def test_bad_input(change, message):
    arguments = {"x": torch.zeros(2, 5, 3), "y": torch.zeros(2, 4, 3)} | change
    with pytest.raises(ValueError, match=message):
        chamfer_distance(**arguments)


def test_no_greatest_distance_of_normals():
    x = torch.randn(1, 4, 3)
    with pytest.raises(ValueError, match="point_reduction: expected 'mean', 'sum' or None with normals, got max"):
        chamfer_distance(x, x, x_normals=x, y_normals=x, point_reduction="max")
