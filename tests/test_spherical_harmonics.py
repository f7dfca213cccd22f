"""Colours from spherical harmonics, against Legendre polynomials in slow torch."""

from __future__ import annotations

import pytest
import torch
from reference import splats as twin

from tirender.engine import runtime
from tirender.engine.spherical_harmonics import MAX_DEGREE, view_colors


def scene(n: int, n_cameras: int, degree: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """Points, centres, coefficients with some more than the degree needs."""
    g = torch.Generator().manual_seed(0)
    shapes = ((n, 3), (n_cameras, 3), (n, (degree + 1) ** 2 + 2, 3))
    return [torch.randn(*shape, generator=g, dtype=dtype).requires_grad_() for shape in shapes]


def everything(n: int, n_cameras: int) -> torch.Tensor:
    return torch.ones(n_cameras, n, 1, dtype=torch.int32)


@pytest.mark.usefixtures("needs_f64")
@pytest.mark.parametrize("degree", range(MAX_DEGREE + 1))
@pytest.mark.parametrize("clamped", [False, True])
def test_matches_the_twin(degree, clamped):
    leaves = scene(40, 2, degree, torch.float64)
    points, centres, coefficients = leaves
    drawn = everything(40, 2)
    drawn[1, 5] = 0
    ours = view_colors(*leaves, degree, drawn, clamped)
    basis = twin.harmonics(points - centres[:, None], degree)
    theirs = (basis[..., None] * coefficients[:, : (degree + 1) ** 2]).sum(-2)
    if clamped:
        theirs = (theirs + 0.5).clamp(min=0)
        assert (theirs == 0).any()
    theirs = theirs * drawn
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    up = torch.rand_like(ours)
    a, b = (torch.autograd.grad(v, leaves, up, allow_unused=True) for v in (ours, theirs))
    b = [torch.zeros_like(leaf) if grad is None else grad for leaf, grad in zip(leaves, b)]
    torch.testing.assert_close(list(a), b, rtol=1e-11, atol=1e-11)


@pytest.mark.usefixtures("needs_f64")
def test_gradcheck():
    leaves = scene(5, 2, 4, torch.float64)
    drawn = everything(5, 2)
    assert torch.autograd.gradcheck(lambda *x: view_colors(*x, 4, drawn), leaves)


def test_coefficients_in_two_parts():
    points, centres, coefficients = scene(3000, 2, 3)
    first, rest = (x.detach().clone().requires_grad_() for x in (coefficients[:, :1], coefficients[:, 1:]))
    drawn = everything(3000, 2)
    for degree in range(4):
        whole = view_colors(points, centres, coefficients, degree, drawn)
        parts = view_colors(points, centres, first, degree, drawn, rest=rest)
        assert torch.equal(whole, parts)
        up = torch.rand_like(whole)
        grads = torch.autograd.grad(parts, (points, centres, first, rest), up)
        ours = [*grads[:2], torch.cat(grads[2:], 1)]
        torch.testing.assert_close(ours, [*torch.autograd.grad(whole, (points, centres, coefficients), up)])


def test_a_point_at_the_centre_is_finite():
    points, centres, coefficients = scene(3, 1, 3)
    with torch.no_grad():
        points[1] = centres[0]
    colors = view_colors(points, centres, coefficients, 3, everything(3, 1))
    grads = torch.autograd.grad(colors.sum(), (points, centres, coefficients))
    assert all(v.isfinite().all() for v in (colors, *grads))
    assert not grads[0][1].any()


@pytest.mark.parametrize(("n", "n_cameras"), [(0, 1), (1, 0), (1, 1), (3000, 2)])
def test_sizes_and_repeats(n, n_cameras):
    leaves = scene(n, n_cameras, 3)

    def run():
        colors = view_colors(*leaves, 3, everything(n, n_cameras))
        assert colors.shape == (n_cameras, n, 3)
        return colors, *torch.autograd.grad(colors.square().sum(), leaves)

    first, second = run(), run()
    if runtime.arch() == "cpu":
        assert all(torch.equal(a, b) for a, b in zip(first, second))
