"""A loop of multiply-adds, to see how fast such loops can be at all."""

from __future__ import annotations

import torch

from tirender.checks import check_tensor
from tirender.engine import runtime
from tirender.engine.kernels import multiply_add as kernels

LANES = kernels.LANES


def multiply_add(sums: torch.Tensor, rounds: int) -> None:
    """Overwrite each lane with what comes of its number after so many rounds of ``x * 0.5 + 1``.

    Args:
        sums: (tasks, LANES) float32; the numbers are 0 to LANES - 1.
        rounds: of one multiply-add for each lane of each task.
    """
    check_tensor("sums", sums, ("tasks", LANES), torch.float32)
    runtime.launch(kernels.multiply_add, sums, rounds)
