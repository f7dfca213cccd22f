"""Elementary functions with finite values and gradients everywhere, also where the usual formula divides by zero."""

from __future__ import annotations

import torch

from tirender.checks import as_floats, fail

DEFAULT_ACOS_BOUND = 1.0 - 1e-4


def acos_linear_extrapolation(
    x: torch.Tensor, bounds: tuple[float, float] = (-DEFAULT_ACOS_BOUND, DEFAULT_ACOS_BOUND)
) -> torch.Tensor:
    """Arc cosine within ``bounds``, extended outside by its tangents, so that the slope stays finite.

    Args:
        x: floats of any shape, the cosine; values outside [-1, 1] are allowed.
        bounds: (lower, upper), the ends of the exact part, with -1 < lower <= upper < 1.
    Returns:
        the angle in radians, of the shape of ``x``; differentiable everywhere.
    Raises:
        ValueError: if ``x`` is not a tensor of real numbers, or the bounds are out of range.
    """
    x = as_floats("x", x)
    try:
        lower, upper = map(float, bounds)
    except (TypeError, ValueError):
        fail("bounds", "two numbers", repr(bounds))
    if not -1.0 < lower <= upper < 1.0:
        fail("bounds", "-1 < lower <= upper < 1", bounds)
    inside = x.clamp(lower, upper)
    slope = -(1 - inside.detach() ** 2).rsqrt()
    return inside.acos() + (x - inside) * slope


def atan2(y: torch.Tensor, x: torch.Tensor, eps: float = 1e-6) -> torch.Tensor:
    """The angle of the vector (x, y) in radians. It is 0, without a gradient, if the vector is shorter than ``eps``."""
    defined = y * y + x * x > eps * eps
    return torch.atan2(torch.where(defined, y, 0), torch.where(defined, x, 1))


def away_from_zero(x: torch.Tensor, eps: float) -> torch.Tensor:
    """``x`` with magnitudes of at least ``eps``: smaller ones become ``eps`` with the same sign, without a gradient.

    0 counts as positive.
    """
    floor = torch.full_like(x, eps)
    return torch.where(x.abs() < eps, torch.where(x < 0, -floor, floor), x)


def matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """``a @ b`` in the wider of the two dtypes, also under autocast, as float16 is too coarse for geometry."""
    dtype = torch.promote_types(a.dtype, b.dtype)
    with torch.autocast(a.device.type, enabled=False):
        return a.to(dtype) @ b.to(dtype)


def normalize(vectors: torch.Tensor, eps: float = 1e-6) -> torch.Tensor:
    """Scale ``vectors`` (..., D) to length 1. Those shorter than ``eps`` are divided by it and pass no gradient."""
    length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    long_enough = length > eps
    return torch.where(long_enough, vectors / torch.where(long_enough, length, 1), vectors.detach() / eps)


def sine_ratios(squared_angle: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """sin(t)/t, (1 - cos(t))/t^2 and (t - sin(t))/t^3 of t = sqrt(``squared_angle``), smooth through 0.

    These are the coefficients of the exponential maps of SO(3) and SE(3).
    """
    small = squared_angle < 0.01  # the series, with an error below 1e-17, are more accurate here than the closed forms
    x = torch.where(small, squared_angle, 0)
    t = torch.where(small, 1, squared_angle).sqrt()
    half = (t / 2).sin() / t
    return (
        torch.where(small, _polynomial(x, 1, -1 / 6, 1 / 120, -1 / 5040, 1 / 362880), t.sin() / t),
        torch.where(small, _polynomial(x, 1 / 2, -1 / 24, 1 / 720, -1 / 40320, 1 / 3628800), 2 * half**2),
        torch.where(
            small,
            _polynomial(x, 1 / 6, -1 / 120, 1 / 5040, -1 / 362880, 1 / 39916800),
            (t - t.sin()) / t**3,
        ),
    )


def _polynomial(x: torch.Tensor, *coefficients: float) -> torch.Tensor:
    """A polynomial by Horner's scheme; the constant coefficient comes first."""
    value = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + coefficient
    return value
