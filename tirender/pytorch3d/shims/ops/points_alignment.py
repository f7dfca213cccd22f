"""Similarity transforms of points."""

from __future__ import annotations

import torch

from tirender.ops.points_alignment import AMBIGUOUS_SINGULAR_VALUE, SimilarityTransform, _apply

AMBIGUOUS_ROT_SINGULAR_THR = AMBIGUOUS_SINGULAR_VALUE


def _apply_similarity_transform(X: torch.Tensor, R: torch.Tensor, T: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    """s X R + T, for points X (N, P, D), R (N, D, D), T (N, D) and s (N,); differentiable."""
    return _apply(X, SimilarityTransform(R, T, s))
