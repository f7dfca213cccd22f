"""Alignment of point clouds."""

from __future__ import annotations

import warnings

import pytest
import torch

from tirender.ops.points_alignment import (
    ICPSolution,
    SimilarityTransform,
    corresponding_points_alignment,
    iterative_closest_point,
)
from tirender.structures import Pointclouds
from tirender.transforms import random_rotations, so3_exp_map


def random_transform(n, *, dim=3, scale=False, reflect=False, dtype=torch.float64):
    R = torch.linalg.qr(torch.randn(n, dim, dim, dtype=dtype)).Q
    wanted = -1.0 if reflect else 1.0
    R = torch.where(torch.linalg.det(R).sign()[:, None, None] == wanted, R, R[:, [1, 0, *range(2, dim)]])
    s = torch.rand(n, dtype=dtype) + 0.5 if scale else torch.ones(n, dtype=dtype)
    return SimilarityTransform(R, torch.randn(n, dim, dtype=dtype), s)


def apply(points, transform):
    return transform.s[:, None, None] * (points @ transform.R) + transform.T[:, None]


@pytest.mark.parametrize("dim", [2, 3, 5])
@pytest.mark.parametrize("scale", [False, True])
@pytest.mark.parametrize("reflect", [False, True])
def test_a_transform_is_found_again(dim, scale, reflect):
    points = torch.randn(4, 20, dim, dtype=torch.float64)
    truth = random_transform(4, dim=dim, scale=scale, reflect=reflect)
    found = corresponding_points_alignment(
        points, apply(points, truth), torch.rand(4, 20, dtype=torch.float64), scale, allow_reflection=True
    )
    torch.testing.assert_close(tuple(found), tuple(truth))
    proper = corresponding_points_alignment(points, apply(points, truth), None, scale)
    torch.testing.assert_close(torch.linalg.det(proper.R), torch.ones(4, dtype=torch.float64))


def test_is_the_least_squares_solution():
    x, y = torch.randn(2, 1, 12, 3, dtype=torch.float64).unbind()
    found = corresponding_points_alignment(x, y, estimate_scale=True)

    def error(transform):
        return (apply(x, transform) - y).square().sum()

    best = error(found)
    for _ in range(50):
        turn = so3_exp_map(0.01 * torch.randn(1, 3, dtype=torch.float64))
        other = SimilarityTransform(found.R @ turn, found.T + 0.01 * torch.randn(1, 3).double(), found.s * 1.01)
        assert error(other) > best


def test_weights_and_lengths_leave_points_out():
    parts = [torch.randn(9, 3), torch.randn(6, 3)]
    truth = random_transform(2, dtype=torch.float32)
    moved = [apply(p[None], SimilarityTransform(*(t[i : i + 1] for t in truth)))[0] for i, p in enumerate(parts)]
    moved[0][0] += 100
    weights = [torch.ones(9), torch.ones(6)]
    weights[0][0] = 0
    found = corresponding_points_alignment(Pointclouds(parts), Pointclouds(moved), weights)
    torch.testing.assert_close(tuple(found), tuple(truth), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("allow_reflection", [False, True])
def test_gradcheck(allow_reflection):
    x, y = torch.randn(2, 1, 5, 3, dtype=torch.float64).requires_grad_().unbind()
    weights = torch.rand(1, 5, dtype=torch.float64, requires_grad=True)

    def align(a, b, w):
        return tuple(corresponding_points_alignment(a, b, w, True, allow_reflection))

    assert torch.autograd.gradcheck(align, (x, y, weights))


@pytest.mark.filterwarnings("ignore:corresponding_points_alignment")
@pytest.mark.parametrize("points", [torch.ones(1, 8, 3), torch.eye(3)[None].repeat(1, 3, 1), torch.zeros(1, 8, 3)])
def test_gradients_are_finite_for_symmetric_and_flat_clouds(points):
    points = points.clone().requires_grad_()
    found = corresponding_points_alignment(points, points.detach(), estimate_scale=True)
    grad = torch.autograd.grad(sum((t * torch.randn_like(t)).sum() for t in found), points)[0]
    assert grad.isfinite().all()


@pytest.mark.parametrize("size", [1e-6, 1e16])
def test_a_rotation_does_not_depend_on_size(size):
    """Even where LAPACK gives up on the covariance itself."""
    x, R = torch.randn(2, 20, 3), random_rotations(2)
    found = corresponding_points_alignment(size * x, size * x @ R)
    torch.testing.assert_close(found.R, R, rtol=0, atol=1e-5)


def test_warns_where_the_rotation_is_ambiguous():
    with pytest.warns(UserWarning, match="3 points or fewer"):
        corresponding_points_alignment(torch.randn(1, 3, 3), torch.randn(1, 3, 3))
    line = torch.zeros(1, 8, 3)
    line[..., 0] = torch.arange(8)
    with pytest.warns(UserWarning, match="in a line or plane"):
        corresponding_points_alignment(line, line)


@pytest.mark.parametrize("scale", [False, True])
def test_icp_finds_a_small_motion(scale):
    points = torch.randn(2, 300, 3)
    R = so3_exp_map(0.1 * torch.randn(2, 3))
    s = torch.tensor([1.03, 0.97]) if scale else torch.ones(2)
    truth = SimilarityTransform(R, 0.05 * torch.randn(2, 3), s)
    target = apply(points, truth)[:, torch.randperm(300)]
    solution = iterative_closest_point(points, target, estimate_scale=scale)
    assert isinstance(solution, ICPSolution)
    assert solution.converged
    assert (solution.rmse < 1e-5).all()
    torch.testing.assert_close(tuple(solution.RTs), tuple(truth), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(solution.Xt, apply(points, solution.RTs))
    assert solution.t_history[-1] is solution.RTs
    again = iterative_closest_point(points, target, init_transform=truth, estimate_scale=scale)
    assert len(again.t_history) <= 3


def test_icp_of_clouds_of_different_sizes(capsys):
    parts = [torch.randn(120, 3), torch.randn(60, 3)]
    clouds = Pointclouds(parts)
    moved = Pointclouds([p + 0.03 for p in parts])
    solution = iterative_closest_point(clouds, moved, verbose=True)
    assert isinstance(solution.Xt, Pointclouds)
    torch.testing.assert_close(solution.Xt.points_packed(), moved.points_packed(), rtol=1e-4, atol=1e-4)
    assert "ICP iteration 0: rmse" in capsys.readouterr().out


def test_icp_stops_and_is_differentiable():
    x = torch.randn(1, 50, 3, requires_grad=True)
    y = x.detach() @ random_rotations(1)
    solution = iterative_closest_point(x, y, max_iterations=2)
    assert not solution.converged
    assert len(solution.t_history) == 2
    assert torch.autograd.grad(solution.rmse.sum(), x)[0].isfinite().all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = iterative_closest_point(x, x.detach())
    assert same.converged
    assert torch.autograd.grad(same.rmse.sum(), x)[0].isfinite().all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Y": torch.zeros(2, 5, 2)}, r"Y: expected shape \(2, P2, 3\)"),
        ({"max_iterations": 0}, "max_iterations: expected an integer of 1 or more, got 0"),
        (
            {"init_transform": SimilarityTransform(torch.zeros(2, 3, 2), torch.zeros(2, 3), torch.ones(2))},
            "init_transform.R",
        ),
    ],
)
def test_bad_icp_input(change, message):
    arguments = {"X": torch.randn(2, 5, 3), "Y": torch.randn(2, 6, 3)} | change
    with pytest.raises(ValueError, match=message):
        iterative_closest_point(**arguments)


def test_bad_alignment_input():
    x = torch.randn(2, 5, 3)
    with pytest.raises(ValueError, match=r"Y: expected shape \(2, 5, 3\), got \(2, 4, 3\)"):
        corresponding_points_alignment(x, x[:, :4])
    with pytest.raises(ValueError, match=r"weights: expected shape \(2, 5\)"):
        corresponding_points_alignment(x, x, torch.ones(2, 4))
    for bad in (torch.nan, torch.inf, 1e30):
        with pytest.raises(ValueError, match="X: expected points with a finite covariance with Y, got nan or inf"):
            corresponding_points_alignment(x * bad, x * bad)
    parts = [torch.randn(5, 3), torch.randn(4, 3)]
    with pytest.raises(ValueError, match=r"Y: expected clouds of \[5, 4\] points as in X, got \[4, 5\]"):
        corresponding_points_alignment(Pointclouds(parts), Pointclouds(parts[::-1]))
