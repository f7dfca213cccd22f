"""Farthest point sampling of clouds."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tirender.checks import FLOATS, INTEGERS, as_tensor, check_integer, check_tensor, fail
from tirender.engine.sample_farthest_points import select_farthest
from tirender.ops.knn import check_lengths
from tirender.ops.utils import masked_gather


def sample_farthest_points(
    points: torch.Tensor,
    lengths: torch.Tensor | None = None,
    K: int | Sequence[int] | torch.Tensor = 50,
    random_start_point: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Select points one by one, each as far as possible from those selected before (Eldar et al. 1997).

    Args:
        points: (N, P, D) float32 or float64.
        lengths: (N,) integers, the number of points in each cloud; None for all P.
        K: the number of points to select, one number or one a cloud (a sequence or an integer tensor (N,)).
        random_start_point: start at a random point (from torch's generator), not at the first.
    Returns:
        selected_points: (N, max K, D), 0 in unused slots; differentiable in ``points``; the selection is held fixed.
        selected_indices: (N, max K) int64, -1 in unused slots.
        A cloud with fewer than K points gives all of them. Ties go to the lower index. Points with a NaN coordinate
        come last.
    Raises:
        ValueError: if a shape, dtype or length is wrong, or K is negative.
    """
    check_tensor("points", points, ("N", "P", "D"), FLOATS)
    lengths = check_lengths("lengths", lengths, points)
    wanted = _check_k(K, lengths)
    with torch.no_grad(), torch.autocast(points.device.type, enabled=False):
        index = select_farthest(points, lengths, wanted, random_start_point)
    return masked_gather(points, index), index


def _check_k(k: int | Sequence[int] | torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Check K; return it as (N,) int64."""
    if isinstance(k, torch.Tensor):
        wanted = check_tensor("K", k, (len(lengths),), INTEGERS).to(lengths)
    elif isinstance(k, Sequence):
        wanted = as_tensor("K", [check_integer("K", each, 0) for each in k], torch.int64, lengths.device)
        check_tensor("K", wanted, (len(lengths),))
    else:
        wanted = torch.full_like(lengths, check_integer("K", k, 0))
    if len(wanted) and int(wanted.min()) < 0:
        fail("K", "integers of 0 or more", k)
    return wanted
