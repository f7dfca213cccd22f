"""A loop of multiply-adds, over ``kernels/multiply_add.py``: how fast a loop can be."""

from __future__ import annotations

import torch

from tirender.checks import check_tensor
from tirender.engine import runtime
from tirender.engine.kernels import multiply_add as kernels

LANES = kernels.LANES


def multiply_add(sums: torch.Tensor, rounds: int) -> None:
    """Overwrite each lane with its number after many rounds of ``x * 0.5 + 1``.

    Args:
        sums: (tasks, LANES) float32; the numbers are 0 to LANES - 1.
        rounds: of one multiply-add a lane.
    """
    check_tensor("sums", sums, ("tasks", LANES), torch.float32)
    runtime.launch(kernels.multiply_add, rounds, sums)
