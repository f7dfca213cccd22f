"""Compositing of dense point fragments: the colour of a pixel from its list of points."""

from __future__ import annotations

import torch

from tirender.checks import FLOATS, INTEGERS, check_tensor, fail
from tirender.engine.compositing import composite
from tirender.engine.tiles import prefix_sum


def alpha_composite(pointsidx: torch.Tensor, alphas: torch.Tensor, pt_clds: torch.Tensor) -> torch.Tensor:
    """Composite points front to back: ``sum_k f_k a_k prod_{j<k} (1 - a_j)``.

    Args:
        pointsidx: (N, K, H, W) int32 or int64, nearest point first, -1 where empty.
        alphas: (N, K, H, W) opacities.
        pt_clds: (C, P) float32 or float64, the features of all points.
    Returns:
        (N, C, H, W), 0 at pixels without points; differentiable in ``alphas`` and ``pt_clds``.
    Raises:
        ValueError: if shapes, dtypes or indices do not fit.
    """
    return composite_dense(pointsidx, alphas, pt_clds, "alpha")


def norm_weighted_sum(pointsidx: torch.Tensor, alphas: torch.Tensor, pt_clds: torch.Tensor) -> torch.Tensor:
    """The weighted mean of the points: ``sum_k f_k a_k / max(sum_k a_k, 1e-4)``.

    Arguments, result and errors as for :func:`alpha_composite`.
    """
    return composite_dense(pointsidx, alphas, pt_clds, "norm")


def weighted_sum(pointsidx: torch.Tensor, alphas: torch.Tensor, pt_clds: torch.Tensor) -> torch.Tensor:
    """The weighted sum of the points: ``sum_k f_k a_k``.

    Arguments, result and errors as for :func:`alpha_composite`.
    """
    return composite_dense(pointsidx, alphas, pt_clds, "sum")


def composite_dense(pointsidx: torch.Tensor, alphas: torch.Tensor, pt_clds: torch.Tensor, mode: str) -> torch.Tensor:
    """Composite dense fragments by ``mode``: ``"alpha"``, ``"norm"`` or ``"sum"``; see the three functions above."""
    check_tensor("pointsidx", pointsidx, ("N", "K", "H", "W"), INTEGERS)
    check_tensor("pt_clds", pt_clds, ("C", "P"), FLOATS)
    check_tensor("alphas", alphas, tuple(pointsidx.shape), like=pt_clds)
    idx = pointsidx.permute(0, 2, 3, 1)
    seen = idx >= 0
    index = idx[seen]
    if len(index) and int(index.max()) >= pt_clds.shape[1]:
        fail("pointsidx", f"indices below the {pt_clds.shape[1]} points of pt_clds", int(index.max()))
    offsets = prefix_sum(seen.sum(-1).reshape(-1))
    packed_alphas = torch.masked_select(alphas.permute(0, 2, 3, 1), seen)
    pixels = composite(offsets, index.int(), packed_alphas, pt_clds.t(), mode)
    return pixels.view(*idx.shape[:3], len(pt_clds)).permute(0, 3, 1, 2)
