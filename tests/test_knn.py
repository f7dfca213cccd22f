"""Nearest neighbours, against looking at every pair."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import load_reference, rounding
from reference.neighbours import nearest

import tirender
from tirender.engine.knn import select_nearest
from tirender.ops.knn import knn_gather, knn_points

SIZES = [(1, 300, 200), (3, 50, 33), (2, 1, 1)]


def clouds(n=1, *, size1, size2, dims=3, dtype=torch.float32, on_grid=False):
    """Two batches of n clouds with size1 and size2 points."""
    p1, p2 = torch.randn(n, size1, dims, dtype=dtype), torch.randn(n, size2, dims, dtype=dtype)
    if on_grid:  # many equal distances
        p1, p2 = (p1 * 2).round(), (p2 * 2).round()
    return p1.requires_grad_(), p2.requires_grad_()


def random_lengths(n, size):
    return torch.randint(0, size + 1, (n,))


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize(
    ("dims", "norm", "k"), [(1, 2, 1), (2, 1, 3), (3, 1, 1), (3, 2, 1), (3, 1, 40), (3, 2, 40), (5, 2, 1), (5, 1, 3)]
)
def test_matches_the_twin(sizes, dims, norm, k):
    n, size1, size2 = sizes
    for on_grid in (False, True):
        p1, p2 = clouds(n, size1=size1, size2=size2, dims=dims, on_grid=on_grid)
        for lengths in (None, (random_lengths(n, size1), random_lengths(n, size2))):
            full = torch.full((n,), size1), torch.full((n,), size2)
            ours = knn_points(p1, p2, *(lengths or (None, None)), norm=norm, K=k, return_nn=True)
            dists, idx = nearest(p1, p2, *(lengths or full), k, norm)
            if dims <= 3 or on_grid:  # beyond, sums are in another order
                assert torch.equal(ours.idx, idx)
            torch.testing.assert_close(ours.dists, dists)
            assert torch.equal(ours.knn, knn_gather(p2, ours.idx, lengths and lengths[1]))
            up = torch.randn_like(dists)
            grads = (torch.autograd.grad(d, (p1, p2), up) for d in (ours.dists, dists))
            torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-5 * k)


@pytest.mark.usefixtures("needs_f64")
@pytest.mark.parametrize(("norm", "dims"), [(1, 3), (2, 3), (2, 4)])
def test_gradcheck(norm, dims):
    p1, p2 = clouds(2, size1=3, size2=4, dims=dims, dtype=torch.float64)
    lengths = torch.tensor([3, 2]), torch.tensor([2, 4])
    assert torch.autograd.gradcheck(lambda a, b: knn_points(a, b, *lengths, norm=norm, K=3).dists, (p1, p2))


def test_reference():
    data, _ = load_reference("ops/knn")
    x, y = data["in_x"].requires_grad_(), data["in_y"].requires_grad_()
    dists, idx, _ = knn_points(x, y, K=4)
    assert torch.equal(idx, data["out_idx"])
    torch.testing.assert_close(dists, data["out_dists"])
    grads = torch.autograd.grad(dists, (x, y), data["up_dists"])
    torch.testing.assert_close(grads, (data["grad_x"], data["grad_y"]))


def degenerate(name: str, n: int) -> torch.Tensor:
    if name == "equal":
        return torch.ones(n, 3)
    if name == "line":
        return torch.rand(n, 1) * torch.tensor([[1.0, 2, 3]])
    if name == "outlier":
        points = torch.rand(n, 3)
        points[0] = 1e10
        return points
    if name == "clusters":
        return torch.rand(10, 3)[torch.randint(0, 10, (n,))] + torch.randn(n, 3) * 10 ** (-6 * torch.rand(n, 1) - 1)
    if name == "scales":
        return torch.randn(n, 3) * 10 ** (torch.rand(n, 1) * 20 - 10)
    side = round(n ** (1 / 3))
    return torch.cartesian_prod(*[torch.arange(side)] * 3).float()


@pytest.mark.parametrize("name", ["equal", "line", "outlier", "clusters", "scales", "grid"])
@pytest.mark.parametrize("k", [1, 20])
def test_degenerate_clouds(name, k):
    p1, p2 = degenerate(name, 1000)[None], degenerate(name, 1000)[None].roll(1, 2)
    full = torch.tensor([p1.shape[1]])
    dists, idx = nearest(p1, p2, full, full, k)
    ours = knn_points(p1, p2, K=k)
    assert torch.equal(ours.dists, dists)
    assert torch.equal(ours.idx, idx)


def test_both_ways_equals_each_way():
    p1, p2 = (p.detach() for p in clouds(3, size1=70, size2=90))
    lengths = random_lengths(3, 70), random_lengths(3, 90)
    there, back = select_nearest(p1, p2, *lengths, 2, 2, both=True)
    for found, expected in ((there, nearest(p1, p2, *lengths, 2)), (back, nearest(p2, p1, *lengths[::-1], 2))):
        torch.testing.assert_close(found[0], expected[0])
        assert torch.equal(found[1], expected[1])


def test_more_than_one_block_of_queries():
    p1, p2 = torch.randn(1, 3000, 3), torch.randn(1, 2500, 3)
    dists, idx = nearest(p1, p2, torch.tensor([3000]), torch.tensor([2500]), 1)
    ours = knn_points(p1, p2)
    assert torch.equal(ours.idx, idx)
    torch.testing.assert_close(ours.dists, dists, rtol=1e-6 * rounding(), atol=1e-6 * rounding())


@pytest.mark.parametrize("shape", [(0, 5, 5), (2, 0, 5), (2, 5, 0)])
def test_empty(shape):
    n, size1, size2 = shape
    p1, p2 = clouds(n, size1=size1, size2=size2)
    ours = knn_points(p1, p2, K=2, return_nn=True)
    assert ours.dists.shape == ours.idx.shape == (n, size1, 2)
    assert ours.knn.shape == (n, size1, 2, 3)
    assert not ours.dists.any()
    assert not any(g.any() for g in torch.autograd.grad(ours.dists.sum(), (p1, p2)))


def test_nan_and_infinity():
    p1, p2 = torch.rand(1, 50, 3), torch.rand(1, 60, 3)
    p1[0, 3, 1], p1[0, 9] = torch.nan, torch.inf
    p2[0, ::2, 0] = torch.nan
    p2[0, 1, 2] = -torch.inf
    for k in (1, 5):
        ours = knn_points(p1, p2, K=k)
        good = torch.tensor([i not in (3, 9) for i in range(50)])
        dists, idx = nearest(p1[:, good], p2[:, 3::2], torch.tensor([48]), torch.tensor([29]), k)
        torch.testing.assert_close(ours.dists[:, good], dists)
        assert torch.equal(ours.idx[:, good], 2 * idx + 3)
        assert ours.dists[0, 3].isnan().all()
        assert (ours.dists[0, 9] == torch.inf).all()
    few = knn_points(p1[:, :2], p2[:, ::2])
    assert few.dists.isnan().all()
    assert (few.idx == 0).all()


def test_used_twice_and_not_contiguous():
    p = torch.randn(4, 40, 2).transpose(1, 2).transpose(0, 2).requires_grad_()  # (40, 2, 4)
    p1, p2 = p[:20].transpose(1, 2), p[20:].transpose(1, 2)
    ours = knn_points(p1 * 2, p1 + p2, K=2).dists
    full = torch.full((20,), 4)
    theirs = nearest(p1 * 2, p1 + p2, full, full, 2)[0]
    up = torch.randn(2, 4, 20).transpose(0, 2)
    torch.testing.assert_close(torch.autograd.grad(ours, p, up), torch.autograd.grad(theirs, p, up))


def test_distances_may_be_written_to():
    """As code written for PyTorch3D does, to mask and to weigh them."""
    p1, p2 = clouds(2, size1=30, size2=20)
    near = knn_points(p1, p2).dists[..., 0]
    expected = torch.autograd.grad((near[1:] * 2).sum(), (p1, p2))
    near = knn_points(p1, p2, K=np.int64(1)).dists[..., 0]
    near[0] = 0
    near *= 2
    torch.testing.assert_close(torch.autograd.grad(near.sum(), (p1, p2)), expected)


def test_expanded_upstream_gradient():
    p1, p2 = clouds(size1=30, size2=20)
    full = torch.tensor([30]), torch.tensor([20])
    for k in (1, 4):
        ours, theirs = knn_points(p1, p2, K=k).dists, nearest(p1, p2, *full, k)[0]
        torch.testing.assert_close(*(torch.autograd.grad(d.sum(), (p1, p2)) for d in (ours, theirs)))


def test_a_nan_from_above_is_passed_on():
    p1, p2 = clouds(size1=30, size2=20)
    dists = knn_points(p1, p2, K=2)
    up = torch.zeros_like(dists.dists)
    up[0, 7, 1] = torch.nan
    first, second = torch.autograd.grad(dists.dists, (p1, p2), up)
    assert first.isnan().any(2)[0].nonzero().tolist() == [[7]]
    assert second.isnan().any(2)[0].nonzero().tolist() == [[int(dists.idx[0, 7, 1])]]


def test_repeats_are_equal_to_the_bit():
    p1, p2 = clouds(size1=4000, size2=100)
    runs = []
    for _ in range(3):
        dists = knn_points(p1, p2, K=3).dists
        runs.append((dists, *torch.autograd.grad(dists.cos().sum(), (p1, p2))))
    assert all(torch.equal(a, b) for run in runs[1:] for a, b in zip(runs[0], run))


@pytest.mark.long
def test_any_number_of_threads_gives_the_same_bits(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(
        "import sys, torch, tirender\n"
        "tirender.init('cpu', cpu_max_num_threads=int(sys.argv[1]))\n"
        "from tirender.ops import knn_points\n"
        "torch.manual_seed(0)\n"
        "p1, p2 = torch.randn(2, 9000, 3, requires_grad=True), torch.randn(2, 70, 3, requires_grad=True)\n"
        "d = knn_points(p1, p2, K=3).dists\n"
        "torch.save((d, *torch.autograd.grad(d, (p1, p2), d.detach().cos())), sys.argv[2])\n"
    )
    results = []
    for threads in (1, 2, 5):
        out = tmp_path / f"{threads}.pt"
        subprocess.run([sys.executable, script, str(threads), out], check=True)
        results.append(torch.load(out))
    assert all(torch.equal(a, b) for result in results[1:] for a, b in zip(results[0], result))


@pytest.mark.long
def test_a_million_points():
    if tirender.engine.runtime.is_parallel_device():
        pytest.skip("measured on the CPU")
    p = torch.rand(2, 1_000_000, 3)
    ours = knn_points(p[:1], p[1:])
    some = torch.randint(0, 1_000_000, (200,))
    expected = (p[0, some][:, None] - p[1]).square().sum(-1).min(1)
    torch.testing.assert_close(ours.dists[0, some, 0], expected.values)


def test_gather():
    x = torch.randn(2, 9, 4, requires_grad=True)
    idx = torch.randint(0, 9, (2, 6, 3))
    gathered = knn_gather(x, idx, torch.tensor([9, 2]))
    expected = torch.stack([x[n][idx[n]] for n in range(2)])
    assert torch.equal(gathered[0], expected[0])
    assert torch.equal(gathered[1, :, :2], expected[1, :, :2])
    assert not gathered[1, :, 2].any()
    assert torch.equal(knn_gather(x, idx), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"p1": torch.zeros(2, 5)}, r"p1: expected shape \(N, P1, D\), got \(2, 5\)"),
        ({"p1": torch.zeros(2, 5, 0), "p2": torch.zeros(2, 4, 0)}, "p1: expected points with at least one coordinate"),
        ({"p1": torch.zeros(2, 5, 3).int()}, "p1: expected float32 or float64"),
        ({"p2": torch.zeros(3, 5, 3)}, r"p2: expected shape \(2, P2, 3\), got \(3, 5, 3\)"),
        ({"p2": torch.zeros(2, 5, 3).double()}, "p2: expected torch.float32"),
        ({"lengths1": torch.tensor([1, 6])}, "lengths1: expected between 0 and 5"),
        ({"lengths2": torch.tensor([1])}, r"lengths2: expected shape \(2\)"),
        ({"lengths2": torch.tensor([1.0, 2])}, "lengths2: expected int32 or int64"),
        ({"norm": 3}, "norm: expected 1 or 2, got 3"),
        ({"K": 0}, "K: expected an integer of 1 or more, got 0"),
    ],
)
def test_bad_input(change, message):
    arguments = {"p1": torch.zeros(2, 5, 3), "p2": torch.zeros(2, 4, 3)} | change
    with pytest.raises(ValueError, match=message):
        knn_points(**arguments)


def test_bad_gather():
    with pytest.raises(ValueError, match="idx: expected int64"):
        knn_gather(torch.zeros(2, 5, 3), torch.zeros(2, 5, 1).int())
    with pytest.raises(ValueError, match=r"idx: expected shape \(2, L, K\)"):
        knn_gather(torch.zeros(2, 5, 3), torch.zeros(3, 5, 1).long())
