"""Small helpers for operators on points."""

from __future__ import annotations

from typing import TypeGuard

import torch

from tirender.checks import (
    FLOATS,
    INTEGERS,
    as_device,
    check_broadcast,
    check_dims,
    check_integer,
    check_number,
    check_tensor,
    fail,
)
from tirender.engine.local_frames import neighbour_covariances
from tirender.ops.knn import check_lengths, knn_gather
from tirender.structures import Pointclouds


def wmean(
    x: torch.Tensor,
    weight: torch.Tensor | None = None,
    dim: int | tuple[int, ...] = -2,
    keepdim: bool = True,
    eps: float = 1e-9,
) -> torch.Tensor:
    """The weighted mean of vectors over some dimensions.

    Args:
        x: (*, D) float32 or float64, any dimensions before the last.
        weight: weights of any number of dimensions, which broadcast with (*) from the right; None for a plain mean.
        dim: the dimensions of ``x`` to reduce.
        keepdim: keep the reduced dimensions with size 1.
        eps: the least divisor; a smaller sum of weights is replaced by it.
    Returns:
        the means; differentiable in ``x`` and ``weight``.
    Raises:
        ValueError: if the weights do not broadcast, or a dimension is not one of ``x``.
    """
    check_tensor("x", x, ("...", "D"), dtype=FLOATS)
    eps = check_number("eps", eps)
    if weight is None:
        return x.mean(dim=check_dims("dim", dim, x.dim()), keepdim=keepdim)
    check_tensor("weight", weight, dtype=(*FLOATS, *INTEGERS, torch.bool))
    check_broadcast("weight", weight, x[..., 0])
    dim = check_dims("dim", dim, max(x.dim(), weight.dim() + 1))
    weight = weight.reshape(*[1] * (x.dim() - 1 - weight.dim()), *weight.shape)
    total = weight[..., None].sum(dim=dim, keepdim=keepdim)
    return (x * weight[..., None]).sum(dim=dim, keepdim=keepdim) / total.clamp(min=eps)


def eyes(
    dim: int, N: int, device: torch.device | str | None = None, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """A batch of N identity matrices (N, dim, dim), not expanded.

    Raises:
        ValueError: if a number is negative, or the device or dtype is none of torch's.
    """
    dim, N, device = check_integer("dim", dim, 0), check_integer("N", N, 0), as_device("device", device)
    if not isinstance(dtype, torch.dtype):
        fail("dtype", "a dtype", repr(dtype))
    return torch.eye(dim, device=device, dtype=dtype)[None].repeat(N, 1, 1)


def is_pointclouds(pcl: torch.Tensor | Pointclouds) -> TypeGuard[Pointclouds]:
    """Whether the argument has the methods of ``Pointclouds`` that give padded points and their numbers."""
    return hasattr(pcl, "points_padded") and hasattr(pcl, "num_points_per_cloud")


def convert_pointclouds_to_tensor(pcl: torch.Tensor | Pointclouds) -> tuple[torch.Tensor, torch.Tensor]:
    """The padded points of clouds, and their numbers.

    Args:
        pcl: ``Pointclouds``, or a tensor (N, P, D) without padding.
    Returns:
        the points (N, P, D) and the number of points in each cloud (N,) int64.
    Raises:
        ValueError: if ``pcl`` is anything else.
    """
    if is_pointclouds(pcl):
        return pcl.points_padded(), pcl.num_points_per_cloud()
    points = check_tensor("pcl", pcl, ("N", "P", "D"), FLOATS)
    return points, check_lengths("lengths", None, points)


def masked_gather(points: torch.Tensor, idx: torch.Tensor) -> torch.Tensor:
    """Gather points by indices that may be -1.

    Args:
        points: (N, P, D).
        idx: (N, K) or (N, P1, K) int64 point indices within each cloud, or -1.
    Returns:
        (N, K, D) or (N, P1, K, D); 0 where ``idx`` is -1. Differentiable in ``points``.
    Raises:
        ValueError: if a shape is wrong, or an index is out of range.
    """
    check_tensor("points", points, ("N", "P", "D"))
    if idx.dim() not in (2, 3) or len(idx) != len(points):
        fail("idx", f"shape ({len(points)}, K) or ({len(points)}, P1, K)", tuple(idx.shape))
    flat = idx.flatten(1)[..., None]
    picked = knn_gather(points, flat.clamp(min=0))[:, :, 0].masked_fill(flat < 0, 0)
    return picked.reshape(*idx.shape, points.shape[2])


def get_point_covariances(
    points_padded: torch.Tensor, num_points_per_cloud: torch.Tensor, neighborhood_size: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The covariance of each point's nearest neighbours, which include the point itself.

    Args:
        points_padded: (N, P, D) float32 or float64.
        num_points_per_cloud: (N,) integers, the number of points in each cloud.
        neighborhood_size: K, the number of neighbours of a point.
    Returns:
        covariances: (N, P, D, D), about the neighbours' mean, divided by K.
        neighbours: (N, P, K, D).
        Both are differentiable in the points.
    Raises:
        ValueError: if a shape, dtype or number is wrong.
    """
    check_tensor("points_padded", points_padded, ("N", "P", "D"), FLOATS)
    num_points = check_lengths("num_points_per_cloud", num_points_per_cloud, points_padded)
    return neighbour_covariances(points_padded, num_points, check_integer("neighborhood_size", neighborhood_size, 1))
