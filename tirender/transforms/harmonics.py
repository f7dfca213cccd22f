"""Real spherical harmonics in torch, and their rotation."""

from __future__ import annotations

import math

import torch


def real_harmonics(directions: torch.Tensor, degree: int) -> torch.Tensor:
    """The real spherical harmonics Y_lm to a degree, with the phase (-1)^m, as Gaussian splatting has them.

    Args:
        directions: (..., 3) unit vectors.
        degree: the greatest l.
    Returns:
        (..., (degree + 1)^2): by l, then by m from -l to l. Differentiable.
    """
    x, y, z = directions.unbind(-1)
    cosine, sine = torch.ones_like(z), torch.zeros_like(z)  # of m phi, times sin(theta)^m
    sectoral = 1.0  # the Legendre function P_mm, divided by sin(theta)^m
    values: dict[tuple[int, int], torch.Tensor] = {}
    for m in range(degree + 1):
        before, legendre = torch.zeros_like(z), torch.full_like(z, sectoral)
        for n in range(m, degree + 1):
            scale = math.sqrt((2 * n + 1) / (4 * math.pi) * math.factorial(n - m) / math.factorial(n + m))
            scale *= math.sqrt(2) if m else 1
            values[n, m] = scale * legendre * cosine
            if m:
                values[n, -m] = scale * legendre * sine
            before, legendre = legendre, ((2 * n + 1) * z * legendre - (n + m) * before) / (n + 1 - m)
        cosine, sine = x * cosine - y * sine, x * sine + y * cosine
        sectoral *= -(2 * m + 1)
    return torch.stack([values[n, m] for n in range(degree + 1) for m in range(-n, n + 1)], -1)


def rotate_harmonics(coefficients: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """The coefficients of a function on the sphere that is turned: g(d) = f(R^T d).

    Args:
        coefficients: (..., K, C), K a square number: those of f, in the order of :func:`real_harmonics`.
        rotation: (3, 3), R, for column vectors; may mirror.
    Returns:
        (..., K, C), those of g; differentiable in the coefficients.
    """
    degree = math.isqrt(coefficients.shape[-2]) - 1
    # as many directions as harmonics determine the matrix, well spread ones with few digits lost
    n = 4 * (degree + 1) ** 2
    k = torch.arange(n, dtype=torch.float64, device=coefficients.device)
    z, angle = (2 * k + 1) / n - 1, k * (math.pi * (3 - math.sqrt(5)))
    radius = (1 - z * z).sqrt()
    directions = torch.stack([radius * angle.cos(), radius * angle.sin(), z], -1)
    turned = real_harmonics(directions @ rotation.detach().to(directions), degree)
    matrix = torch.linalg.pinv(real_harmonics(directions, degree)) @ turned
    return matrix.to(coefficients.dtype) @ coefficients
