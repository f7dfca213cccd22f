"""A loop that counts its rounds, to see whether the driver runs them all."""

import torch

from tirender.engine import runtime


def count_rounds(rounds: int) -> int:
    """How many of them are run."""
    import taichi as ti  # not before tirender has quieted it

    numbers = ti.types.ndarray(dtype=ti.i32, ndim=1)

    @ti.kernel
    def count_up(rounds: ti.i32, count: numbers):
        for i in range(1):
            for _ in range(rounds):
                count[i] += 1

    count = torch.zeros(1, dtype=torch.int32)
    runtime.launch(count_up, rounds, count)
    return int(count)
