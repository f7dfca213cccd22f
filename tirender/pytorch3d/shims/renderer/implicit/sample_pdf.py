"""Sampling from densities, which tirender has in one implementation."""

from __future__ import annotations

import torch

from tirender.renderer.implicit.sample_pdf import sample_pdf


def sample_pdf_python(
    bins: torch.Tensor, weights: torch.Tensor, N_samples: int, det: bool = False, eps: float = 1e-5
) -> torch.Tensor:
    """See :func:`tirender.renderer.implicit.sample_pdf.sample_pdf`."""
    return sample_pdf(bins, weights, N_samples, det, eps)
