"""Compositing of points, against dense torch."""

from __future__ import annotations

import pytest
import torch
from reference import points as twin

from tirender.engine.compositing import composite
from tirender.renderer.compositing import alpha_composite, norm_weighted_sum, weighted_sum

FUNCTIONS = {"alpha": alpha_composite, "norm": norm_weighted_sum, "sum": weighted_sum}


def dense_scene(*, n_channels=3, n_points=50, shape=(2, 6, 7, 9), dtype=torch.float32):
    """idx and alphas (N, K, H, W), about half of the slots empty at the end, and features (C, P)."""
    g = torch.Generator().manual_seed(0)
    idx = torch.randint(0, n_points, shape, generator=g)
    count = torch.randint(0, shape[1] + 1, (shape[0], 1, *shape[2:]), generator=g)
    idx = torch.where(torch.arange(shape[1])[:, None, None] < count, idx, -1)
    alphas, features = torch.rand(shape, generator=g, dtype=dtype), torch.rand(n_channels, n_points, generator=g)
    return idx, alphas.requires_grad_(), features.to(dtype).requires_grad_()


@pytest.mark.parametrize("mode", FUNCTIONS)
@pytest.mark.parametrize("n_channels", [1, 3, 33])
def test_matches_the_twin(mode, n_channels):
    idx, alphas, features = dense_scene(n_channels=n_channels)
    ours, theirs = FUNCTIONS[mode](idx, alphas, features), twin.composite(idx, alphas, features, mode)
    assert ours.shape == (2, n_channels, 7, 9)
    torch.testing.assert_close(ours, theirs)
    up = torch.randn_like(ours)
    grads = [torch.autograd.grad(out, (alphas, features), up) for out in (ours, theirs)]
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("needs_f64")
@pytest.mark.parametrize("mode", FUNCTIONS)
def test_gradcheck(mode):
    idx, alphas, features = dense_scene(n_channels=2, n_points=5, shape=(1, 3, 2, 3), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda a, f: FUNCTIONS[mode](idx, a, f), (alphas, features))


@pytest.mark.parametrize("layout", ["int32", "strided", "alphas of a view"])
def test_layouts(layout):
    idx, alphas, features = dense_scene()
    expected = alpha_composite(idx, alphas, features)
    if layout == "int32":
        idx = idx.int()
    elif layout == "strided":
        idx = idx.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
        features = features.t().contiguous().t()
    else:
        alphas = alphas[..., None].expand(*alphas.shape, 2)[..., 1]
    assert torch.equal(alpha_composite(idx, alphas, features), expected)


def test_an_opaque_point_hides_what_is_behind_and_has_a_gradient():
    """The transmittance behind is 0, where a formula that divides by it gives NaN."""
    idx = torch.tensor([0, 1, 2]).view(1, 3, 1, 1)
    alphas = torch.tensor([0.5, 1.0, 1.0]).view(1, 3, 1, 1).requires_grad_()
    features = torch.tensor([[8.0, 4.0, 2.0]])
    image = alpha_composite(idx, alphas, features)
    assert image.item() == 6
    (grad,) = torch.autograd.grad(image, alphas)
    assert grad.flatten().tolist() == [4, 0.5 * (4 - 2), 0]


def test_weights_that_add_up_to_nothing():
    idx = torch.zeros(1, 2, 1, 1, dtype=torch.int64)
    alphas = torch.tensor([1e-5, 0.0]).view(1, 2, 1, 1).requires_grad_()
    image = norm_weighted_sum(idx, alphas, torch.ones(3, 1))
    torch.testing.assert_close(image, torch.full((1, 3, 1, 1), 0.1))
    torch.testing.assert_close(torch.autograd.grad(image.sum(), alphas)[0], torch.full((1, 2, 1, 1), 3e4))


def test_only_what_is_wanted_has_a_gradient():
    idx, alphas, features = dense_scene()
    both = torch.autograd.grad(alpha_composite(idx, alphas, features).sum(), (alphas, features))
    (alone,) = torch.autograd.grad(alpha_composite(idx, alphas, features.detach()).sum(), alphas)
    assert torch.equal(both[0], alone)
    (alone,) = torch.autograd.grad(alpha_composite(idx, alphas.detach(), features).sum(), features)
    assert torch.equal(both[1], alone)


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_repeats_are_equal_to_the_bit(mode):
    idx, alphas, features = dense_scene(n_channels=4, n_points=20, shape=(2, 8, 40, 40))
    runs = []
    for _ in range(3):
        image = FUNCTIONS[mode](idx, alphas, features)
        runs.append((image, *torch.autograd.grad(image.cos().sum(), (alphas, features))))
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(runs[0], run))


@pytest.mark.parametrize(
    ("shape", "n_channels", "n_points"), [((0, 3, 2, 2), 3, 4), ((1, 3, 2, 2), 0, 4), ((1, 3, 2, 2), 3, 0)]
)
def test_nothing(shape, n_channels, n_points):
    alphas, features = torch.rand(shape, requires_grad=True), torch.rand(n_channels, n_points, requires_grad=True)
    image = alpha_composite(torch.full(shape, -1 if not n_points else 0), alphas, features)
    assert image.shape == (shape[0], n_channels, 2, 2)
    assert not image.any()
    assert all(not g.any() for g in torch.autograd.grad(image.sum(), (alphas, features)))


def test_a_point_used_twice_and_inputs_that_are_no_leaves():
    offsets, index = torch.tensor([0, 2, 3], dtype=torch.int32), torch.tensor([0, 0, 0], dtype=torch.int32)
    leaf = torch.tensor([[2.0]], requires_grad=True)
    image = composite(offsets, index, torch.full((3,), 0.5), 3 * leaf, "sum")
    assert image.tolist() == [[6], [3]]
    assert torch.autograd.grad(image.sum(), leaf)[0].item() == 4.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pointsidx": torch.zeros(1, 2, 3, dtype=torch.int64)}, r"pointsidx: expected shape \(N, K, H, W\), got"),
        ({"pointsidx": torch.zeros(1, 2, 3, 4)}, "pointsidx: expected int32 or int64, got torch.float32"),
        (
            {"pointsidx": torch.full((1, 2, 3, 4), 5)},
            "pointsidx: expected indices below the 5 points of pt_clds, got 5",
        ),
        ({"pointsidx": torch.full((1, 2, 3, 4), 2**31)}, "pointsidx: expected indices below the 5 points"),
        ({"alphas": torch.rand(1, 2, 3, 5)}, r"alphas: expected shape \(1, 2, 3, 4\), got \(1, 2, 3, 5\)"),
        ({"alphas": torch.rand(1, 2, 3, 4).double()}, "alphas: expected torch.float32 on cpu, got torch.float64"),
        ({"pt_clds": torch.rand(5)}, r"pt_clds: expected shape \(C, P\), got \(5,\)"),
    ],
)
def test_bad_input(change, message):
    arguments = {
        "pointsidx": torch.zeros(1, 2, 3, 4, dtype=torch.int64),
        "alphas": torch.rand(1, 2, 3, 4),
        "pt_clds": torch.rand(3, 5),
    }
    with pytest.raises(ValueError, match=message):
        alpha_composite(**(arguments | change))
