"""Determinants of 3x3 matrices."""

from __future__ import annotations

import torch


def _safe_det_3x3(t: torch.Tensor) -> torch.Tensor:
    """The determinants (N,) of matrices (N, 3, 3): the triple products of their rows."""
    return (t[:, 0] * torch.linalg.cross(t[:, 1], t[:, 2])).sum(1)
