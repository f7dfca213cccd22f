"""Bundles of rays and the points along them."""

from __future__ import annotations

from typing import NamedTuple

import torch

from tirender.checks import check_tensor, fail


class RayBundle(NamedTuple):
    """The rays of N cameras and the samples along them; a sample lies at origin + length * direction.

    Attributes:
        origins: (N, ..., 3), world space.
        directions: (N, ..., 3), world space, not necessarily of length 1.
        lengths: (N, ..., P), in units of ``directions``; may be an expanded tensor, so do not write into it.
        xys: (N, ..., 2), the image points of the rays; NDC for the ``NDC...`` samplers.
    """

    origins: torch.Tensor
    directions: torch.Tensor
    lengths: torch.Tensor
    xys: torch.Tensor


class HeterogeneousRayBundle(NamedTuple):
    """The rays of cameras with different numbers of rays, concatenated.

    Attributes:
        origins, directions, lengths, xys: as in :class:`RayBundle`, with the leading shape (R, 1) for R rays in total.
        camera_ids: (M,) int64, the cameras that have rays, ascending.
        camera_counts: (M,) int64, the number of rays of each of these cameras; they sum to R.
    """

    origins: torch.Tensor
    directions: torch.Tensor
    lengths: torch.Tensor
    xys: torch.Tensor
    camera_ids: torch.Tensor | None = None
    camera_counts: torch.Tensor | None = None


def ray_bundle_to_ray_points(ray_bundle: RayBundle | HeterogeneousRayBundle) -> torch.Tensor:
    """The sample points (N, ..., P, 3) of a bundle in world space; differentiable.

    Raises:
        ValueError: if ``ray_bundle`` is not a bundle of rays.
    """
    if not all(hasattr(ray_bundle, name) for name in ("origins", "directions", "lengths")):
        fail("ray_bundle", "a bundle of rays", type(ray_bundle).__name__)
    return ray_bundle_variables_to_ray_points(ray_bundle.origins, ray_bundle.directions, ray_bundle.lengths)


def ray_bundle_variables_to_ray_points(
    rays_origins: torch.Tensor, rays_directions: torch.Tensor, rays_lengths: torch.Tensor
) -> torch.Tensor:
    """The sample points of rays.

    Args:
        rays_origins: (..., 3).
        rays_directions: (..., 3).
        rays_lengths: (..., P).
    Returns:
        (..., P, 3): origin + length * direction; differentiable.
    Raises:
        ValueError: if a last dimension is not 3, or the shapes do not broadcast.
    """
    check_tensor("rays_origins", rays_origins, ("...", 3))
    check_tensor("rays_directions", rays_directions, ("...", 3))
    check_tensor("rays_lengths", rays_lengths, ("...", "P"))
    shapes = [tuple(x.shape[:-1]) for x in (rays_origins, rays_directions, rays_lengths)]
    try:
        torch.broadcast_shapes(*shapes)
    except RuntimeError:
        fail("rays_origins, rays_directions, rays_lengths", "shapes that broadcast but for the last dimension", shapes)
    return torch.addcmul(rays_origins[..., None, :], rays_lengths[..., None], rays_directions[..., None, :])
