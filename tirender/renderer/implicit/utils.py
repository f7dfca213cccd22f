"""Bundles of rays and the points along them."""

from __future__ import annotations

from typing import NamedTuple

import torch

from tirender.checks import check_tensor, fail


class RayBundle(NamedTuple):
    """Rays of N cameras and the samples along them; a sample lies at origin + length * direction.

    Attributes:
        origins: (N, ..., 3), world space.
        directions: (N, ..., 3), world space, not necessarily of length 1.
        lengths: (N, ..., P), in units of ``directions``; may be expanded, so that it is not to be written to.
        xys: (N, ..., 2), where the rays pass through the image, NDC for the ``NDC...`` samplers.
    """

    origins: torch.Tensor
    directions: torch.Tensor
    lengths: torch.Tensor
    xys: torch.Tensor


class HeterogeneousRayBundle(NamedTuple):
    """A :class:`RayBundle` whose cameras have different numbers of rays, one camera's after the other.

    Attributes:
        origins, directions, lengths, xys: as there, with a leading shape (R, 1) for R rays in all.
        camera_ids: (M,) int64, the cameras that were drawn, ascending.
        camera_counts: (M,) int64, how many rays each of them has; they sum to R.
    """

    origins: torch.Tensor
    directions: torch.Tensor
    lengths: torch.Tensor
    xys: torch.Tensor
    camera_ids: torch.Tensor | None = None
    camera_counts: torch.Tensor | None = None


def ray_bundle_to_ray_points(ray_bundle: RayBundle | HeterogeneousRayBundle) -> torch.Tensor:
    """(N, ..., P, 3): the points of a bundle in world space; differentiable."""
    if not all(hasattr(ray_bundle, name) for name in ("origins", "directions", "lengths")):
        fail("ray_bundle", "a bundle of rays", type(ray_bundle).__name__)
    return ray_bundle_variables_to_ray_points(ray_bundle.origins, ray_bundle.directions, ray_bundle.lengths)


def ray_bundle_variables_to_ray_points(
    rays_origins: torch.Tensor, rays_directions: torch.Tensor, rays_lengths: torch.Tensor
) -> torch.Tensor:
    """Points along rays.

    Args:
        rays_origins: (..., 3).
        rays_directions: (..., 3).
        rays_lengths: (..., P).
    Returns:
        (..., P, 3): origin + length * direction; differentiable.
    Raises:
        ValueError: if a last dimension is not 3.
    """
    check_tensor("rays_origins", rays_origins, ("...", 3))
    check_tensor("rays_directions", rays_directions, ("...", 3))
    return torch.addcmul(rays_origins[..., None, :], rays_lengths[..., None], rays_directions[..., None, :])
