"""Phases at frequencies that double, over ``kernels/harmonic_phases.py``."""

from __future__ import annotations

import torch

from tirender.engine import runtime
from tirender.engine.kernels import harmonic_phases as kernels

# the bits of 2 / pi in 32-bit words
TWO_OVER_PI = (
    (0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB, 0xDEBBC561)
    + (0xB7246E3A, 0x424DD2E0, 0x06492EEA, 0x09D1921C, 0xFE1DEB1C, 0xB129A73E, 0xE88235F5, 0x2EBB4484)
)  # fmt: skip


def harmonic_phases(lowest: torch.Tensor, n: int) -> torch.Tensor:
    """The phases ``lowest`` times 2^k, minus the nearest whole turns, each as accurate as float32 can tell.

    Args:
        lowest: (...) float32, finite, in radians.
        n: number of frequencies, at most 128.
    Returns:
        (..., n) in radians, for k from 0 to n - 1; without gradients.
    """
    phases = lowest.new_empty(*lowest.shape, n)
    if len(phases):
        table = torch.tensor((0,) * kernels.LEADING_ZEROS + TWO_OVER_PI, device=lowest.device)
        runtime.launch(kernels.harmonic_phases, lowest.reshape(-1), table, phases.view(-1, n))
    return phases
