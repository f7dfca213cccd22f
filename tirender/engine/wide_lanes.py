"""Tensors as kernels of vectors of 64 numbers take them, see ``kernels/wide_lanes.py``."""

from __future__ import annotations

import torch

from tirender.engine.kernels.wide_lanes import SLOTS, TASKS, WIDTH
from tirender.engine.launcher import ALIGNMENT


def halves_of(dtype: torch.dtype) -> int:
    """How many numbers of a type lie in the memory of a float32."""
    return 2 if dtype == torch.bfloat16 else 1


def as_vectors(values: torch.Tensor) -> torch.Tensor:
    """(n, WIDTH) float32: the memory of float32 or bfloat16 values; a copy where a vector cannot begin there."""
    values = values.detach().contiguous()
    values = values.clone() if values.data_ptr() % ALIGNMENT else values
    return values.view(-1).view(torch.float32).view(-1, WIDTH)


def scratch_vectors() -> tuple[torch.Tensor, torch.Tensor]:
    """Scratch memory for all tasks, as float32 and as int32."""
    floats = torch.empty(TASKS * SLOTS, WIDTH)
    return floats, floats.view(torch.int32)
