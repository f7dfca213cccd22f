"""Samples of rays through contracted space, over ``kernels/contraction.py``."""

from __future__ import annotations

import torch

from tirender.checks import FLOATS, check_tensor
from tirender.engine import runtime
from tirender.engine.kernels import contraction as kernels
from tirender.engine.occupancy import RaySamples, listed_samples


def contract(points: torch.Tensor) -> torch.Tensor:
    """Move all of space into the cube [-2, 2]^3 (Barron et al., "Mip-NeRF 360", 2022, with the maximum norm).

    Args:
        points: (..., 3).
    Returns:
        (..., 3): points in [-1, 1]^3 unchanged; another, of maximum norm m, times (2 - 1 / m) / m. Differentiable.
    """
    check_tensor("points", points, ("...", 3), FLOATS)
    inverse = 1 / points.abs().amax(-1, keepdim=True).clamp(min=1)
    return points * (inverse * (2 - inverse))


@runtime.not_compiled
def sample_contracted(
    origins: torch.Tensor,
    directions: torch.Tensor,
    occupied: torch.Tensor,
    step: float,
    nearest: float = 0.0,
    shifts: torch.Tensor | None = None,
    max_samples: int | None = None,
) -> RaySamples:
    """Sample rays through all of space and keep what lies in occupied cells of the contracted cube [-2, 2]^3.

    Args:
        origins, directions, occupied, shifts, max_samples: as for :func:`~tirender.engine.occupancy.sample_occupied`;
            the space is that of :func:`contract`.
        step: distance between samples along the contracted ray, at least 2^-16.
        nearest: the least length.
    Returns:
        the samples; lengths are those along the straight rays. Not differentiable.
    Raises:
        ValueError: where a shape, dtype or device does not fit, or a number is out of its range.
    """
    launches = (kernels.count_contracted, kernels.list_contracted)
    return listed_samples(launches, (origins, directions, shifts), occupied, step, nearest, max_samples)
