"""Farthest point sampling."""

from __future__ import annotations

import pytest
import torch

from tirender.ops.sample_farthest_points import sample_farthest_points


def twin(points, k, start=0):
    chosen, nearest = [], torch.full((len(points),), torch.inf)
    following = start
    for _ in range(min(k, len(points))):
        chosen.append(following)
        nearest = torch.minimum(nearest, (points - points[following]).square().sum(1))
        following = int(nearest.argmax())
    return chosen


@pytest.mark.parametrize("dims", [1, 3, 6])
def test_matches_the_twin(dims):
    points = torch.randn(3, 80, dims, requires_grad=True)
    lengths = torch.tensor([80, 7, 0])
    selected, idx = sample_farthest_points(points, lengths, K=[10, 9, 4])
    assert idx.shape == (3, 10)
    for n, k in enumerate([10, 9, 4]):
        expected = twin(points[n, : lengths[n]].detach(), k)
        assert idx[n].tolist() == expected + [-1] * (10 - len(expected))
        assert torch.equal(selected[n, : len(expected)], points[n, expected])
        assert not selected[n, len(expected) :].any()
    grad = torch.autograd.grad(selected.sum(), points)[0]
    assert grad[0].sum() == 10 * dims
    assert (grad[1, :7] == 1).all()


def test_the_ways_to_give_k():
    points = torch.randn(2, 20, 3)
    five = sample_farthest_points(points, K=5)[1]
    assert torch.equal(sample_farthest_points(points, K=torch.tensor([5, 5]))[1], five)
    assert torch.equal(sample_farthest_points(points, K=[5, 3])[1][1], torch.tensor([*five[1, :3], -1, -1]))
    assert sample_farthest_points(points)[1].shape == (2, 50)
    assert sample_farthest_points(points, K=0)[0].shape == (2, 0, 3)


def test_random_start():
    points = torch.randn(1, 50, 3).expand(40, -1, -1)
    idx = sample_farthest_points(points, torch.randint(1, 51, (40,)), K=3, random_start_point=True)[1]
    assert len(idx[:, 0].unique()) > 10
    torch.manual_seed(5)
    first = sample_farthest_points(points, K=3, random_start_point=True)[1]
    torch.manual_seed(5)
    assert torch.equal(sample_farthest_points(points, K=3, random_start_point=True)[1], first)
    for n in range(5):
        assert first[n].tolist() == twin(points[n], 3, int(first[n, 0]))


def test_coinciding_and_nan_points_are_chosen_once_and_last():
    points = torch.zeros(1, 6, 3)
    points[0, 4] = 1
    points[0, 0, 1] = points[0, 2, 0] = torch.nan
    idx = sample_farthest_points(points, K=6)[1][0].tolist()
    assert sorted(idx) == list(range(6))
    assert idx == [0, 1, 4, 3, 5, 2]


@pytest.mark.parametrize("shape", [(0, 5, 3), (2, 0, 3)])
def test_empty(shape):
    selected, idx = sample_farthest_points(torch.zeros(shape), K=4)
    assert selected.shape[0] == shape[0]
    assert (idx == -1).all()


@pytest.mark.parametrize(
    ("k", "message"),
    [
        (-1, "K: expected an integer of 0 or more, got -1"),
        ([1], r"K: expected shape \(2\), got \(1,\)"),
        (torch.tensor([1, 2, 3]), r"K: expected shape \(2\), got \(3,\)"),
    ],
)
def test_bad_input(k, message):
    with pytest.raises(ValueError, match=message):
        sample_farthest_points(torch.zeros(2, 5, 3), K=k)
