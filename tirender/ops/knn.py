"""The K nearest neighbours of points."""

from __future__ import annotations

from typing import NamedTuple

import torch

from tirender.checks import FLOATS, INTEGERS, check_choice, check_integer, check_range, check_tensor, fail
from tirender.engine.knn import gather_neighbours, neighbour_distances, select_nearest


class KNN(NamedTuple):
    """Neighbours: (N, P1, K) ``dists`` and ``idx``, and (N, P1, K, D) ``knn`` or None."""

    dists: torch.Tensor
    idx: torch.Tensor
    knn: torch.Tensor | None


def knn_points(
    p1: torch.Tensor,
    p2: torch.Tensor,
    lengths1: torch.Tensor | None = None,
    lengths2: torch.Tensor | None = None,
    norm: int = 2,
    K: int = 1,
    version: int = -1,
    return_nn: bool = False,
    return_sorted: bool = True,
) -> KNN:
    """Find the K nearest neighbours in ``p2`` of each point of ``p1``, exactly, in time close to n log n.

    Args:
        p1: (N, P1, D) float32 or float64.
        p2: (N, P2, D), of the same dtype, device and space.
        lengths1: (N,) integers, the number of points in each cloud of ``p1``; the rest is padding. None for all.
        lengths2: (N,), likewise for ``p2``.
        norm: 2 for squared Euclidean distances, 1 for sums of absolute differences.
        K: the number of neighbours.
        version: ignored (in PyTorch3D, the choice of an implementation).
        return_nn: whether to return the coordinates of the neighbours.
        return_sorted: ignored; neighbours always come in ascending order of distance, ties by index.
    Returns:
        dists: (N, P1, K), differentiable in ``p1`` and ``p2``; the choice of neighbours is held fixed.
        idx: (N, P1, K) int64 point indices within the cloud of ``p2``.
        knn: (N, P1, K, D) the neighbours, differentiable; None without ``return_nn``.
        All are 0 in padded rows, and in slots beyond the size of the cloud of ``p2``. A point with a NaN coordinate has
        distance NaN and index 0 as a query, and is never a neighbour; slots that this leaves free have distance NaN and
        index 0 too.
    Raises:
        ValueError: if a shape, dtype, device or length is wrong, the norm is unknown, or K < 1.
    """
    lengths1, lengths2 = check_clouds(p1, p2, lengths1, lengths2)
    check_choice("norm", norm, (1, 2))
    K = check_integer("K", K, 1)
    with torch.autocast(p1.device.type, enabled=False):
        ((dists, idx),) = select_nearest(p1, p2, lengths1, lengths2, K, norm)
        (dists,) = neighbour_distances(p1, p2, lengths1, lengths2, [idx], norm, [dists])
    return KNN(dists, idx, knn_gather(p2, idx, lengths2) if return_nn else None)


def knn_gather(x: torch.Tensor, idx: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
    """Gather the values of the neighbours that ``knn_points`` has found.

    Args:
        x: (N, M, U) values of the points ``p2``, any dtype.
        idx: (N, L, K) int64, from ``knn_points``.
        lengths: (N,) integers, the number of points in each cloud; None for all M.
    Returns:
        (N, L, K, U); 0 in slots beyond the size of the cloud. Differentiable in ``x``.
    Raises:
        ValueError: if a shape or dtype is wrong, or an index is out of range.
    """
    check_tensor("x", x, ("N", "M", "U"))
    check_tensor("idx", idx, (len(x), "L", "K"), torch.int64)
    lengths = check_lengths("lengths", lengths, x)
    if idx.numel() and x.shape[1] == 0:
        return x.new_zeros(*idx.shape, x.shape[2])
    check_range("idx", idx, x.shape[1], "points")
    return gather_neighbours(x, idx, lengths)


def check_clouds(
    p1: torch.Tensor, p2: torch.Tensor, lengths1: torch.Tensor | None, lengths2: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Check two batches of padded clouds and return their lengths, (N,) int64 each."""
    check_tensor("p1", p1, ("N", "P1", "D"), FLOATS)
    check_tensor("p2", p2, (len(p1), "P2", p1.shape[2]), like=p1)
    if p1.shape[2] == 0:
        fail("p1", "points with at least one coordinate", tuple(p1.shape))
    return check_lengths("lengths1", lengths1, p1), check_lengths("lengths2", lengths2, p2)


def check_lengths(name: str, lengths: torch.Tensor | None, points: torch.Tensor) -> torch.Tensor:
    """Check the lengths of padded clouds (N, P, ...) and return them as (N,) int64; None gives P for all."""
    n, size = points.shape[:2]
    if lengths is None:
        return torch.full((n,), size, dtype=torch.int64, device=points.device)
    check_tensor(name, lengths, (n,), INTEGERS)
    if n and (int(lengths.min()) < 0 or int(lengths.max()) > size):
        fail(name, f"between 0 and {size}", lengths.tolist())
    return lengths.to(points.device, torch.int64)
