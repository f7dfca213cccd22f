"""Sines and cosines of coordinates at frequencies that double, accurate at every frequency."""

from __future__ import annotations

import math
from typing import Any

import torch

from tirender.checks import FLOATS, check_tensor, fail
from tirender.engine import runtime
from tirender.engine.first_order import FirstOrder
from tirender.engine.harmonic_phases import harmonic_phases, harmonic_waves

MAX_FREQUENCIES = 128


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

    @runtime.not_compiled
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

    @runtime.not_compiled
    def matrix(self, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """What :meth:`forward` returns as a factor of a product of matrices; without gradients.

        Args:
            x: (..., D) float32 or float64.
            dtype: of the result.
        Returns:
            (M, 2 D n), M the product of the other sizes of ``x``; on a CPU it is likely to be a transposed one.
        """
        x = _rows(x.detach())
        if dtype in (torch.float32, torch.bfloat16) and _has_lanes(x) and _has_turns(x):
            return harmonic_waves(x * self.omega_0, self.n_harmonic_functions, dtype)
        with torch.no_grad():
            return self(x).to(dtype)

    def get_output_dim(self, input_dims: int = 3) -> int:
        """The number of channels for ``input_dims`` coordinates."""
        return 2 * input_dims * self.n_harmonic_functions


class _Harmonics(FirstOrder):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, n: int, omega_0: float) -> torch.Tensor:
        has_turns = _has_turns(x)
        if has_turns and _has_lanes(x):
            waves = harmonic_waves(_rows(x) * omega_0, n, x.dtype).contiguous().view(*x.shape[:-1], 2 * n * x.shape[-1])
        else:
            phases = harmonic_phases(x * omega_0, n) if has_turns else x[..., None] * _frequencies(x, n, omega_0)
            phases = phases.flatten(-2)
            waves = phases.new_empty(*phases.shape[:-1], 2 * phases.shape[-1])
            sines, cosines = waves.chunk(2, dim=-1)
            torch.sin(phases, out=sines)
            torch.cos(phases, out=cosines)
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


def _rows(x: torch.Tensor) -> torch.Tensor:
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _has_turns(x: torch.Tensor) -> bool:
    """Whether the phases are counted in turns."""
    return x.dtype == torch.float32 and bool(x.isfinite().all())


def _has_lanes(x: torch.Tensor) -> bool:
    return x.is_cpu and not runtime.is_parallel_device()


def _frequencies(like: torch.Tensor, n: int, omega_0: float) -> torch.Tensor:
    return omega_0 * 2.0 ** torch.arange(n, dtype=like.dtype, device=like.device)
