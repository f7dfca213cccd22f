"""Eigenvalues of symmetric 3x3 matrices."""

from __future__ import annotations

import torch


def symeig3x3(inputs: torch.Tensor, eigenvectors: bool = True) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The eigenvalues (..., 3) of symmetric matrices (..., 3, 3), ascending, and their eigenvectors as columns."""
    if not eigenvectors:
        return torch.linalg.eigvalsh(inputs), None
    return torch.linalg.eigh(inputs)
