"""The smooth L1 loss of the tutorials' volumes and radiance fields."""

from __future__ import annotations

import torch

from tirender.checks import fail


def huber(x: torch.Tensor, y: torch.Tensor, scaling: float = 0.1) -> torch.Tensor:
    """A loss that is quadratic for small differences and linear for large ones (Charbonnier's; Barron 2019, alpha 1).

    Args:
        x, y: tensors whose shapes broadcast.
        scaling: s, the difference where one turns into the other.
    Returns:
        s (sqrt(1 + (x - y)^2 / s^2) - 1), elementwise; differentiable everywhere.
    Raises:
        ValueError: if ``scaling`` is not positive.
    """
    if not scaling > 0:
        fail("scaling", "a positive number", scaling)
    return ((1 + ((x - y) / scaling) ** 2).sqrt() - 1) * scaling
