"""Sines and cosines of coordinates at frequencies that double, accurate at every frequency."""

from __future__ import annotations

import math
from typing import Any

import torch

from tirender.checks import FLOATS, check_tensor, fail
from tirender.engine.first_order import FirstOrder

# the bits of 2 / pi in 32-bit words (Payne and Hanek, "Radian reduction for trigonometric functions", 1983)
TWO_OVER_PI = (
    (0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB, 0xDEBBC561)
    + (0xB7246E3A, 0x424DD2E0, 0x06492EEA, 0x09D1921C, 0xFE1DEB1C, 0xB129A73E, 0xE88235F5, 0x2EBB4484)
)  # fmt: skip
LEADING_ZEROS = 6  # zero words in front of them, for the smallest coordinates
MAX_FREQUENCIES = 128
WORD = 32
MASK = (1 << WORD) - 1


class Harmonics(torch.nn.Module):
    """sin(2^k omega_0 x) and cos(2^k omega_0 x) of each coordinate, the embedding of radiance fields.

    This is :class:`~tirender.renderer.HarmonicEmbedding` without its rounding error. PyTorch3D computes cosines as
    shifted sines, which are wrong at high frequencies. Here float32 phases are fractions of a turn in fixed point.
    Doubling is then a shift, so every frequency is as accurate and as fast as the lowest.

    Args:
        n_harmonic_functions: n, the number of frequencies, from 1 to 128.
        omega_0: the lowest frequency, in radians per unit.
    Raises:
        ValueError: if n is out of range.
    """

    def __init__(self, n_harmonic_functions: int = 60, omega_0: float = 0.1) -> None:
        super().__init__()
        if not 1 <= n_harmonic_functions <= MAX_FREQUENCIES:
            fail("n_harmonic_functions", f"1 to {MAX_FREQUENCIES}", n_harmonic_functions)
        self.n_harmonic_functions, self.omega_0 = n_harmonic_functions, omega_0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Embed coordinates.

        Args:
            x: (..., D) float32 or float64.
        Returns:
            (..., 2 D n): the sines of x_0 by ascending frequency, then of x_1, ...; then the cosines likewise.
            Differentiable once, with derivatives as large as the highest frequency.
        Raises:
            ValueError: if ``x`` has another dtype.
        """
        check_tensor("x", x, ("...", "D"), FLOATS)
        return _Harmonics.apply(x, self.n_harmonic_functions, self.omega_0)

    def get_output_dim(self, input_dims: int = 3) -> int:
        """The number of channels for ``input_dims`` coordinates."""
        return 2 * input_dims * self.n_harmonic_functions


class _Harmonics(FirstOrder):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, n: int, omega_0: float) -> torch.Tensor:
        if x.dtype == torch.float32 and bool(x.isfinite().all()):
            phases = _phases(x * omega_0, n)
        else:
            phases = x[..., None] * _frequencies(x, n, omega_0)
        phases = phases.flatten(-2)
        waves = torch.cat([phases.sin(), phases.cos()], dim=-1)
        ctx.save_for_backward(waves)
        ctx.n, ctx.omega_0 = n, omega_0
        return waves

    @staticmethod
    def backward(ctx: Any, grad_waves: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (waves,) = ctx.saved_tensors
        sines, cosines = waves.chunk(2, dim=-1)
        grad_sines, grad_cosines = grad_waves.chunk(2, dim=-1)
        grad_phases = (grad_sines * cosines - grad_cosines * sines).unflatten(-1, (-1, ctx.n))
        return (grad_phases * _frequencies(waves, ctx.n, ctx.omega_0)).sum(-1), None, None


def _frequencies(like: torch.Tensor, n: int, omega_0: float) -> torch.Tensor:
    return omega_0 * 2.0 ** torch.arange(n, dtype=like.dtype, device=like.device)


def _phases(lowest: torch.Tensor, n: int) -> torch.Tensor:
    """(..., n): the phases ``lowest`` (finite float32, radians) times 2^k, minus the nearest whole turns."""
    mantissa, exponent = torch.frexp(lowest.abs())
    mantissa = (mantissa * (1 << 24)).long()
    # phases in turns: times 1 / (2 pi), which is 2 / pi shifted by two bits; the bits of whole turns are dropped
    first = exponent.long() - 24 - 2 + WORD * LEADING_ZEROS
    table = torch.tensor((0,) * LEADING_ZEROS + TWO_OVER_PI, device=lowest.device)
    word, digit = first >> 5, first & 31
    n_words = -(-n // WORD)
    words = [table[word + i] for i in range(n_words + 3)]
    factors = [((high << WORD) | low) >> (WORD - digit) & MASK for high, low in zip(words, words[1:])]
    negative = (lowest < 0).long() * MASK  # inverting all bits negates the number
    digits: list[torch.Tensor] = []
    carry = torch.zeros_like(mantissa)
    for factor in reversed(factors):
        product = factor * mantissa + carry
        digits.insert(0, product & MASK ^ negative)
        carry = product >> WORD
    # doubling is a shift; the highest 32 bits, read as signed, are the distance from the nearest whole turn
    pairs = torch.stack([(high << WORD) | low for high, low in zip(digits, digits[1:])], dim=-1)
    turns = (pairs[..., None] << torch.arange(WORD, device=lowest.device)).bitwise_right_shift_(WORD)
    return turns.flatten(-2)[..., :n].to(lowest.dtype).mul_(2 * math.pi / (1 << WORD))
