"""The limits of the machine: how fast it copies memory, multiplies matrices, and runs a loop of Taichi."""

from __future__ import annotations

import torch

from tirender.bench.measuring import Stopwatch, Work
from tirender.engine.multiply_add import LANES, multiply_add

COPY, GEMM, LOOP = "copy", "gemm", "loop"
UNITS = {COPY: "B/s", GEMM: "FLOP/s", LOOP: "mul-add/s"}
ROUNDS = 4096
TASKS = 4096


def measure_limits(device: str, budget: float, n_bytes: int = 1 << 28, side: int = 1536) -> dict[str, float]:
    """Measure the best rates.

    Args:
        device: of the tensors.
        budget: seconds for each.
        n_bytes: of the tensor to copy.
        side: of the square matrices.
    Returns:
        a second: bytes read and written by a copy, float32 operations of a matrix product, multiply-adds of a loop.
    """
    source = torch.ones(n_bytes // 4, device=device)
    target = torch.zeros_like(source)
    a, b = torch.rand(2, side, side, device=device)
    sums = torch.zeros(TASKS, LANES, device=device)
    works = {
        COPY: Work.of(lambda: target.copy_(source), 2 * n_bytes),
        GEMM: Work.of(lambda: a @ b, 2 * side**3),
        LOOP: Work.of(lambda: multiply_add(sums, ROUNDS), TASKS * LANES * ROUNDS),
    }
    rates = {}
    for name, work in works.items():
        watch = Stopwatch(budget)
        work.run(watch)
        rates[name] = work.n_units / min(watch.laps[1:])
    return rates
