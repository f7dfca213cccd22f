"""Phases at frequencies that double and their waves, over ``kernels/harmonic_phases.py`` and
``kernels/harmonic_waves_lanes.py``."""

from __future__ import annotations

import functools
import math

import torch

from tirender.engine import runtime
from tirender.engine.kernels import harmonic_phases as kernels
from tirender.engine.kernels.harmonic_waves_lanes import MAX_WORDS
from tirender.engine.kernels.harmonic_waves_lanes import harmonic_waves as kernel_of_waves
from tirender.engine.kernels.wide_lanes import TASKS, WIDTH
from tirender.engine.wide_lanes import as_vectors, halves_of, scratch_vectors

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
        runtime.launch(kernels.harmonic_phases, lowest.reshape(-1), _two_over_pi(lowest.device), phases.view(-1, n))
    return phases


def harmonic_waves(lowest: torch.Tensor, n: int, dtype: torch.dtype) -> torch.Tensor:
    """The sines and cosines of the phases ``lowest`` times 2^k; on a CPU.

    Args:
        lowest: (M, D) float32, finite, in radians.
        n: number of frequencies, at most 128.
        dtype: float32 or bfloat16.
    Returns:
        (M, 2 D n) the sines of the first coordinate for k from 0 to n - 1, then of the next, ...; then the cosines
        likewise. The numbers of a column lie next to each other in memory. Without gradients.
    """
    m, n_coordinates = lowest.shape
    halves = halves_of(dtype)
    n_blocks = math.ceil(m / (WIDTH * halves)) | 1  # odd: else rows may begin at the same places in a core's cache
    padded = lowest.new_zeros(n_coordinates, n_blocks * WIDTH * halves)
    padded[:, :m] = lowest.T
    waves = torch.empty(2 * n_coordinates * n, padded.shape[1], dtype=dtype)
    words = torch.empty(TASKS * halves * MAX_WORDS, WIDTH, dtype=torch.int32)
    scratch = (words.view(-1), words, *scratch_vectors())
    runtime.launch(kernel_of_waves, n, halves == 2, padded, _two_over_pi(lowest.device), *scratch, as_vectors(waves))
    return waves[:, :m].T


@functools.cache
def _two_over_pi(device: torch.device) -> torch.Tensor:
    return torch.tensor((0,) * kernels.LEADING_ZEROS + TWO_OVER_PI, device=device)
