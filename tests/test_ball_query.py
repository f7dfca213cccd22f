"""Neighbours within a radius, against looking at every pair."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference.neighbours import in_balls

from tirender.ops.ball_query import ball_query
from tirender.ops.utils import masked_gather


@pytest.mark.parametrize("sizes", [(1, 200, 150), (3, 50, 33), (2, 1, 1)])
@pytest.mark.parametrize(("dims", "k"), [(1, 3), (3, 1), (3, 40), (3, 500), (5, 7)])
@pytest.mark.parametrize("radius", [0.3, 1.0, 50.0])
def test_matches_the_twin(sizes, dims, k, radius):
    n, size1, size2 = sizes
    p1, p2 = (torch.randn(n, size, dims) for size in (size1, size2))
    if k == 3:  # on a grid, where points lie at the radius exactly
        p1, p2 = p1.round(), p2.round()
    p1.requires_grad_()
    p2.requires_grad_()
    lengths = torch.randint(0, size1 + 1, (n,)), torch.randint(0, size2 + 1, (n,))
    ours = ball_query(p1, p2, *lengths, K=k, radius=radius)
    dists, idx = in_balls(p1, p2, *lengths, k, radius)
    assert torch.equal(ours.idx, idx)
    torch.testing.assert_close(ours.dists, dists)
    assert torch.equal(ours.knn, masked_gather(p2, idx))
    up = torch.randn_like(dists)
    grads = (torch.autograd.grad(d, (p1, p2), up) for d in (ours.dists, dists))
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("needs_f64")
def test_gradcheck():
    p1, p2 = (torch.randn(1, size, 3, dtype=torch.float64, requires_grad=True) for size in (3, 4))
    assert torch.autograd.gradcheck(lambda a, b: ball_query(a, b, K=2, radius=2.0)[::2], (p1, p2))


def test_a_ball_that_holds_everything_gives_the_first_points():
    p = torch.randn(1, 3000, 3)
    idx = ball_query(p, p, K=5, radius=1e6, return_nn=False).idx
    assert torch.equal(idx, torch.arange(5).expand(1, 3000, 5))
    same = ball_query(torch.ones(1, 300, 3), torch.ones(1, 300, 3), K=5, radius=1e-6).idx
    assert torch.equal(same, torch.arange(5).expand(1, 300, 5))


def test_nan_and_empty():
    p1, p2 = torch.zeros(1, 4, 3), torch.zeros(1, 4, 3)
    p1[0, 1, 2] = p2[0, 0, 0] = torch.nan
    idx = ball_query(p1, p2, K=2, radius=1.0).idx[0]
    assert idx.tolist() == [[1, 2], [-1, -1], [1, 2], [1, 2]]
    for shapes in (((0, 3, 3), (0, 2, 3)), ((2, 0, 3), (2, 2, 3)), ((2, 3, 3), (2, 0, 3))):
        ours = ball_query(*(torch.zeros(s) for s in shapes), K=3)
        assert ours.idx.shape == (*shapes[0][:2], 3)
        assert (ours.idx == -1).all()
        assert not ours.knn.any()


def test_numbers_of_numpy():
    points = torch.rand(1, 9, 3)
    found = ball_query(points, points, K=np.int64(4), radius=np.float32(0.5))
    assert torch.equal(found.idx, ball_query(points, points, K=4, radius=0.5).idx)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"radius": 0}, "radius: expected a number above 0, got 0"),
        ({"radius": float("nan")}, "radius: expected a finite number, got nan"),
        ({"K": -1}, "K: expected an integer of 1 or more, got -1"),
        ({"p2": torch.zeros(2, 5, 2)}, r"p2: expected shape \(2, P2, 3\)"),
    ],
)
def test_bad_input(change, message):
    arguments = {"p1": torch.zeros(2, 5, 3), "p2": torch.zeros(2, 4, 3)} | change
    with pytest.raises(ValueError, match=message):
        ball_query(**arguments)
