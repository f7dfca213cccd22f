"""Normals and local frames of point clouds, from the covariance of neighbours."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from tirender.checks import check_integer, fail
from tirender.ops.utils import convert_pointclouds_to_tensor, get_point_covariances, wmean
from tirender.structures import Pointclouds


def estimate_pointcloud_normals(
    pointclouds: torch.Tensor | Pointclouds,
    neighborhood_size: int = 50,
    disambiguate_directions: bool = True,
    *,
    use_symeig_workaround: bool = True,
) -> torch.Tensor:
    """The direction in which each point's neighbours spread least.

    Arguments, errors and gradients as for ``estimate_pointcloud_local_coord_frames``.

    Returns:
        (N, P, 3) unit normals.
    """
    frames = estimate_pointcloud_local_coord_frames(pointclouds, neighborhood_size, disambiguate_directions)[1]
    return frames[..., 0]


def estimate_pointcloud_local_coord_frames(
    pointclouds: torch.Tensor | Pointclouds,
    neighborhood_size: int = 50,
    disambiguate_directions: bool = True,
    *,
    use_symeig_workaround: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The principal axes of each point's neighbours, from the eigenvectors of their covariance.

    Directions are made repeatable as in Tombari et al., "Unique signatures of histograms for local surface
    description", 2010.

    Args:
        pointclouds: N clouds, or (N, P, 3) float32 or float64.
        neighborhood_size: K, neighbours of a point, itself among them; every cloud has more points than this.
        disambiguate_directions: turn the first and the last axis to the side where most neighbours are, and take the
            second as the cross product of the two. Otherwise the signs are arbitrary.
        use_symeig_workaround: ignored.
    Returns:
        curvatures: (N, P, 3) variances along the axes, ascending; 0 in padded rows, like the axes.
        local_coord_frames: (N, P, 3, 3), the axes in its columns. Both differentiable in the points; axes whose
            variances are equal are arbitrary, and no gradient passes between them.
    Raises:
        ValueError: where a shape does not fit, a cloud is too small or a point is not finite.
    """
    points, num_points = convert_pointclouds_to_tensor(pointclouds)
    if points.shape[2] != 3:
        fail("pointclouds", "points with 3 coordinates", tuple(points.shape))
    neighborhood_size = check_integer("neighborhood_size", neighborhood_size, 1)
    if len(points) and int(num_points.min()) <= neighborhood_size:
        fail("neighborhood_size", f"less than the points of each cloud ({int(num_points.min())})", neighborhood_size)
    if not bool(points.isfinite().all()):
        fail("pointclouds", "finite points", "nan or inf")
    used = torch.arange(points.shape[1], device=points.device) < num_points[:, None]
    centred = points - wmean(points, used.to(points.dtype))  # the covariances then lose no digits
    covariances, neighbours = get_point_covariances(centred, num_points, neighborhood_size)
    if not bool(covariances.isfinite().all()):
        fail("pointclouds", "points whose squares are finite", "inf")
    curvatures, frames = _EigenSystem.apply(covariances)
    if disambiguate_directions:
        normal, last = (_toward_most(centred, neighbours, frames[..., i]) for i in (0, 2))
        frames = torch.stack([normal, torch.linalg.cross(normal, last), last], dim=3)
    return curvatures, frames.masked_fill(~used[..., None, None], 0)


def _toward_most(points: torch.Tensor, neighbours: torch.Tensor, axes: torch.Tensor) -> torch.Tensor:
    """The axes (N, P, 3), turned round where less than half of the neighbours are on their side."""
    ahead = ((neighbours - points[:, :, None]) * axes[:, :, None]).sum(3) > 0
    turn = ahead.sum(2, keepdim=True) < 0.5 * neighbours.shape[2]
    return torch.where(turn, -axes, axes)


class _EigenSystem(torch.autograd.Function):
    """Eigenvalues, ascending, and eigenvectors of symmetric matrices; gradients stay finite where values are equal."""

    @staticmethod
    def forward(ctx: Any, matrices: torch.Tensor) -> Any:
        size = matrices.abs().sum((-2, -1)).clamp(min=torch.finfo(matrices.dtype).tiny)  # LAPACK fails on large numbers
        values, vectors = torch.linalg.eigh(matrices / size[..., None, None])
        values = values * size[..., None]
        ctx.save_for_backward(values, vectors)
        return values, vectors

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_values: torch.Tensor, grad_vectors: torch.Tensor) -> Any:
        values, vectors = ctx.saved_tensors
        gaps = values[..., None, :] - values[..., :, None]
        smallest = 8 * torch.finfo(values.dtype).eps * values.abs().amax(-1)[..., None, None]
        apart = gaps.abs() > smallest
        inner = (vectors.mT @ grad_vectors) * torch.where(apart, 1 / torch.where(apart, gaps, 1), 0)
        grad = vectors @ (inner + torch.diag_embed(grad_values)) @ vectors.mT
        return (grad + grad.mT) / 2
