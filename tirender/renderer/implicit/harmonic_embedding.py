"""The harmonic embedding of coordinates: sines and cosines at many frequencies."""

from __future__ import annotations

import math
from typing import Any

import torch

from tirender.checks import FLOATS, check_tensor, fail


class HarmonicEmbedding(torch.nn.Module):
    """The positional encoding of NeRF (Mildenhall et al. 2020), and that of mip-NeRF (Barron et al. 2021).

    Args:
        n_harmonic_functions: n, the number of frequencies.
        omega_0: the lowest frequency, in radians per unit.
        logspace: whether each frequency is twice the one before; otherwise they are evenly spaced up to the same
            highest.
        append_input: whether to append the coordinates.
    Raises:
        ValueError: if n is negative.
    """

    _frequencies: torch.Tensor

    def __init__(
        self, n_harmonic_functions: int = 6, omega_0: float = 1.0, logspace: bool = True, append_input: bool = True
    ) -> None:
        super().__init__()
        if n_harmonic_functions < 0:
            fail("n_harmonic_functions", "a number that is not negative", n_harmonic_functions)
        if logspace:
            frequencies = 2.0 ** torch.arange(n_harmonic_functions, dtype=torch.float32)
        else:
            highest = 2.0 ** (n_harmonic_functions - 1)
            frequencies = torch.linspace(1.0, highest, n_harmonic_functions, dtype=torch.float32)
        self.register_buffer("_frequencies", frequencies * omega_0, persistent=False)
        self.append_input = append_input

    def forward(self, x: torch.Tensor, diag_cov: torch.Tensor | None = None, **kwargs: Any) -> torch.Tensor:
        """Embed coordinates.

        Args:
            x: (..., D) float32 or float64.
            diag_cov: (..., D), the variances of x. If given, the result is the expectation of the embedding, in which
                high frequencies are damped. None for variance 0.
            kwargs: ignored.
        Returns:
            (..., D * (2 n + append_input)): the sines of x_0 by ascending frequency, then of x_1, ...; then the cosines
            likewise; then x. Differentiable.
        Raises:
            ValueError: if a shape or dtype is wrong.
        """
        check_tensor("x", x, ("...", "D"), FLOATS)
        frequencies = self._frequencies.to(x.dtype)
        phases = (x[..., None] * frequencies).flatten(-2)
        # the cosine is a shifted sine, rounded as in PyTorch3D; phases of high frequencies are large
        waves = [torch.sin(phases), torch.sin(phases + 0.5 * math.pi)]
        if diag_cov is not None:
            check_tensor("diag_cov", diag_cov, tuple(x.shape), like=x)
            fading = torch.exp(-0.5 * (diag_cov[..., None] * frequencies**2).flatten(-2))
            waves = [wave * fading for wave in waves]
        return torch.cat([*waves, x] if self.append_input else waves, dim=-1)

    @staticmethod
    def get_output_dim_static(input_dims: int, n_harmonic_functions: int, append_input: bool) -> int:
        """The number of output channels for ``input_dims`` coordinates."""
        return input_dims * (2 * n_harmonic_functions + int(append_input))

    def get_output_dim(self, input_dims: int = 3) -> int:
        """The number of this embedding's output channels for ``input_dims`` coordinates."""
        return self.get_output_dim_static(input_dims, len(self._frequencies), self.append_input)
