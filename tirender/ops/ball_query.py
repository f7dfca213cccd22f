"""Neighbours of points within a radius."""

from __future__ import annotations

import torch

from tirender.checks import check_integer, check_number, fail
from tirender.engine.ball_query import select_in_balls
from tirender.engine.knn import neighbour_distances
from tirender.ops.knn import KNN, check_clouds
from tirender.ops.utils import masked_gather


def ball_query(
    p1: torch.Tensor,
    p2: torch.Tensor,
    lengths1: torch.Tensor | None = None,
    lengths2: torch.Tensor | None = None,
    K: int = 500,
    radius: float = 0.2,
    return_nn: bool = True,
    skip_points_outside_cube: bool = False,
) -> KNN:
    """Find up to K points of ``p2`` within ``radius`` of each point of ``p1``: those of lowest index, not the nearest.

    Args:
        p1: (N, P1, D) float32 or float64.
        p2: (N, P2, D), of the same dtype, device and space.
        lengths1: (N,) integers, the number of points in each cloud of ``p1``; the rest is padding. None for all.
        lengths2: (N,), likewise for ``p2``.
        K: the largest number of neighbours of a point.
        radius: in the unit of the points; a point at exactly this distance is outside.
        return_nn: whether to return the coordinates of the neighbours.
        skip_points_outside_cube: ignored; points far outside are always skipped.
    Returns:
        dists: (N, P1, K) squared distances; 0 in unused slots. Differentiable in ``p1`` and ``p2``.
        idx: (N, P1, K) int64 point indices within the cloud of ``p2``, ascending; -1 in unused slots.
        knn: (N, P1, K, D) the neighbours, 0 in unused slots; differentiable. None without ``return_nn``.
        A point with a NaN coordinate has no neighbours and is nobody's neighbour.
    Raises:
        ValueError: if a shape, dtype, device or length is wrong, K < 1, or the radius is not a number above 0.
    """
    lengths1, lengths2 = check_clouds(p1, p2, lengths1, lengths2)
    K = check_integer("K", K, 1)
    radius = check_number("radius", radius)
    if not radius > 0:
        fail("radius", "a number above 0", radius)
    with torch.autocast(p1.device.type, enabled=False):
        idx = select_in_balls(p1, p2, lengths1, lengths2, K, radius)
        (dists,) = neighbour_distances(p1, p2, lengths1, lengths2, [idx], norm=2)
    return KNN(dists, idx, masked_gather(p2, idx) if return_nn else None)
