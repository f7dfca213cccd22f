"""Principal axes of each point's neighbours, from the eigenvectors of their covariance."""

from __future__ import annotations

from typing import Any

import torch

from tirender.checks import check_integer, fail
from tirender.engine.first_order import FirstOrder
from tirender.engine.knn import gather_neighbours, select_nearest


def local_frames(
    points: torch.Tensor, num_points: torch.Tensor, neighborhood_size: int, disambiguate_directions: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Variances (N, P, 3), ascending, and axes (N, P, 3, 3) in columns; 0 in padded rows.

    Args:
        points: (N, P, 3) padded clouds.
        num_points: (N,) how many points of each count.
        neighborhood_size, disambiguate_directions: as for ``ops.estimate_pointcloud_local_coord_frames``, whose errors
            these are.
    """
    if points.shape[2] != 3:
        fail("pointclouds", "points with 3 coordinates", tuple(points.shape))
    neighborhood_size = check_integer("neighborhood_size", neighborhood_size, 1)
    if len(points) and int(num_points.min()) <= neighborhood_size:
        fail("neighborhood_size", f"less than the points of each cloud ({int(num_points.min())})", neighborhood_size)
    if not bool(points.isfinite().all()):
        fail("pointclouds", "finite points", "nan or inf")
    used = torch.arange(points.shape[1], device=points.device) < num_points[:, None]
    weight = used.to(points.dtype)[..., None]
    mean = (points * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)
    centred = points - mean  # the covariances then lose no digits
    covariances, neighbours = neighbour_covariances(centred, num_points, neighborhood_size)
    if not bool(covariances.isfinite().all()):
        fail("pointclouds", "points whose squares are finite", "inf")
    curvatures, frames = _EigenSystem.apply(covariances)
    if disambiguate_directions:
        normal, last = (_toward_most(centred, neighbours, frames[..., i]) for i in (0, 2))
        frames = torch.stack([normal, torch.linalg.cross(normal, last), last], dim=3)
    return curvatures, frames.masked_fill(~used[..., None, None], 0)


def neighbour_covariances(points: torch.Tensor, num_points: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Covariances (N, P, D, D) of the k points nearest to each, itself among them; and these points (N, P, k, D)."""
    ((_, idx),) = select_nearest(points, points, num_points, num_points, k, norm=2)
    neighbours = gather_neighbours(points, idx, num_points)
    centred = neighbours - neighbours.mean(dim=2, keepdim=True)
    return centred.transpose(2, 3) @ centred / k, neighbours


def _toward_most(points: torch.Tensor, neighbours: torch.Tensor, axes: torch.Tensor) -> torch.Tensor:
    """The axes (N, P, 3), turned round where less than half of the neighbours are on their side."""
    ahead = ((neighbours - points[:, :, None]) * axes[:, :, None]).sum(3) > 0
    turn = ahead.sum(2, keepdim=True) < 0.5 * neighbours.shape[2]
    return torch.where(turn, -axes, axes)


class _EigenSystem(FirstOrder):
    """Eigenvalues, ascending, and eigenvectors of symmetric matrices; gradients stay finite where values are equal."""

    @staticmethod
    def forward(ctx: Any, matrices: torch.Tensor) -> Any:
        size = matrices.abs().sum((-2, -1)).clamp(min=torch.finfo(matrices.dtype).tiny)  # LAPACK fails on large numbers
        values, vectors = torch.linalg.eigh(matrices / size[..., None, None])
        values = values * size[..., None]
        ctx.save_for_backward(values, vectors)
        return values, vectors

    @staticmethod
    def backward(ctx: Any, grad_values: torch.Tensor, grad_vectors: torch.Tensor) -> Any:
        values, vectors = ctx.saved_tensors
        gaps = values[..., None, :] - values[..., :, None]
        smallest = 8 * torch.finfo(values.dtype).eps * values.abs().amax(-1)[..., None, None]
        apart = gaps.abs() > smallest
        inner = (vectors.mT @ grad_vectors) * torch.where(apart, 1 / torch.where(apart, gaps, 1), 0)
        grad = vectors @ (inner + torch.diag_embed(grad_values)) @ vectors.mT
        return (grad + grad.mT) / 2
