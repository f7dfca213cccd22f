"""Colours that depend on the direction of view, over ``kernels/spherical_harmonics.py``."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from tirender.engine import runtime
from tirender.engine.kernels import spherical_harmonics as kernels
from tirender.engine.partial_sums import part_bounds, part_count

MAX_DEGREE = 4


@runtime.not_compiled
def view_colors(
    points: torch.Tensor,
    centres: torch.Tensor,
    coefficients: torch.Tensor,
    degree: int,
    drawn: torch.Tensor,
    clamped: bool = True,
    rest: torch.Tensor | None = None,
) -> torch.Tensor:
    """The colours of points seen from cameras.

    Args:
        points: (N, 3) float32 or float64, in world space.
        centres: (I, 3) of the cameras, in world space.
        coefficients: (N, K, 3) of the harmonics, K at least ``(degree + 1) ** 2``.
        degree: up to ``MAX_DEGREE``.
        drawn: (I, N, any) int32, the first positive where a colour is wanted.
        clamped: whether colours are ``max(1/2 + sum, 0)``, else the sum.
        rest: (N, L, 3) further coefficients, after those; together as many as said above.
    Returns:
        (I, N, 3), 0 where no colour is wanted; differentiable in the first three, and in the rest.
    """
    with torch.autocast(points.device.type, enabled=False):
        return _ViewColors.apply(points, centres, coefficients, rest, drawn, degree, clamped)


@functools.cache
def constants(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """(25,) the factors of the polynomials in the kernels."""
    pi = math.pi
    a, b, c = math.sqrt(15 / pi) / 2, math.sqrt(35 / (2 * pi)) / 4, math.sqrt(21 / (2 * pi)) / 4
    d, e = 3 / 4 * math.sqrt(35 / (2 * pi)), 3 / 4 * math.sqrt(5 / (2 * pi))
    f, g = 3 / 4 * math.sqrt(5 / pi), 3 / 4 * math.sqrt(35 / pi)
    first = math.sqrt(3 / (4 * pi))
    values = [math.sqrt(1 / (4 * pi)), -first, first, -first]
    values += [a, -a, math.sqrt(5 / pi) / 4, -a, a / 2]
    values += [-b, math.sqrt(105 / pi) / 2, -c, math.sqrt(7 / pi) / 4, -c, math.sqrt(105 / pi) / 4, -b]
    values += [g, -d, f, -e, 3 / 16 * math.sqrt(1 / pi), -e, f / 2, -d, g / 4]
    return torch.tensor(values, dtype=dtype, device=device)


class _ViewColors(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        points: torch.Tensor,
        centres: torch.Tensor,
        coefficients: torch.Tensor,
        rest: torch.Tensor | None,
        drawn: torch.Tensor,
        degree: int,
        clamped: bool,
    ) -> torch.Tensor:
        n_first = (MAX_DEGREE + 1) ** 2 if rest is None else coefficients.shape[1]
        inputs = kernels.Inputs(
            constants(points.dtype, points.device),
            points.detach().contiguous(),
            centres.detach().contiguous(),
            coefficients.detach().contiguous(),
            points.new_empty(len(points), 0, 3) if rest is None else rest.detach().contiguous(),
            drawn.contiguous(),
        )
        ctx.save_for_backward(*inputs)
        ctx.variant = kernels.Variant(degree, clamped, n_first)
        colors = inputs.points.new_empty(len(centres), len(points), 3)
        if colors.numel():
            runtime.launch(kernels.spherical_harmonics_forward, ctx.variant, *inputs, colors)
        return colors

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_colors: torch.Tensor) -> Any:
        inputs = kernels.Inputs(*ctx.saved_tensors)
        n_points, n_centres = len(inputs.points), len(inputs.centres)
        n_parts = part_count(3 * n_centres, n_points)
        grad_points = inputs.points.new_zeros(n_points, 3)
        grad_coefficients, grad_rest = (torch.empty_like(x) for x in (inputs.coefficients, inputs.rest))
        grad_centres = inputs.points.new_zeros(n_parts, 3 * n_centres)
        if grad_colors.numel():
            runtime.launch(
                kernels.spherical_harmonics_adjoint,
                ctx.variant._replace(atomic=runtime.is_parallel_device()),
                *inputs,
                grad_colors.contiguous(),
                part_bounds(n_points, n_parts, grad_points.device),
                grad_points,
                grad_coefficients,
                grad_rest,
                grad_centres,
            )
        else:
            grad_coefficients.zero_()
            grad_rest.zero_()
        given = grad_rest if ctx.needs_input_grad[3] else None
        return grad_points, grad_centres.sum(0).view(n_centres, 3), grad_coefficients, given, None, None, None
