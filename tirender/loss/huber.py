"""The smooth L1 loss that the tutorials use for volumes and radiance fields."""

from __future__ import annotations

import torch

from tirender.checks import FLOATS, check_broadcast, check_tensor, fail


def huber(x: torch.Tensor, y: torch.Tensor, scaling: float = 0.1) -> torch.Tensor:
    """The Charbonnier loss: quadratic for small differences, linear for large ones (Barron 2019, alpha 1).

    Args:
        x, y: floats with shapes that broadcast.
        scaling: s, the difference between the quadratic and the linear part.
    Returns:
        s (sqrt(1 + (x - y)^2 / s^2) - 1), elementwise, in the broadcast shape; differentiable everywhere.
    Raises:
        ValueError: if ``scaling`` is not positive, or a shape or dtype is wrong.
    """
    for name, value in (("x", x), ("y", y)):
        check_tensor(name, value, dtype=(*FLOATS, torch.float16, torch.bfloat16))
    check_broadcast("y", y, x)
    if not scaling > 0:
        fail("scaling", "a positive number", scaling)
    return ((1 + ((x - y) / scaling) ** 2).sqrt() - 1) * scaling
