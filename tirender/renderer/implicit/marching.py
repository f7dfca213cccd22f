"""Rendering of volumes by one kernel, which samples and composites without storing the samples."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch

from tirender.engine.first_order import refuse_transforms
from tirender.engine.runtime import MAX_NUMBERS
from tirender.engine.volume_march import MAX_CHANNELS, MAX_THICKNESS, march_volumes, padded_shape
from tirender.renderer.implicit.raymarching import (
    DENSITIES_OUTSIDE,
    DENSITY_TOLERANCE,
    AbsorptionOnlyRaymarcher,
    EmissionAbsorptionRaymarcher,
)
from tirender.renderer.implicit.utils import HeterogeneousRayBundle, RayBundle
from tirender.structures.volume_locator import local_to_voxel_coords
from tirender.structures.volumes import Volumes, voxel_sizes


def can_march(volumes: Volumes, raymarcher: Any, ray_bundle: RayBundle | HeterogeneousRayBundle) -> bool:
    """Whether :func:`march` gives the same result as sampling followed by this raymarcher."""
    origins, directions, lengths = ray_bundle.origins, ray_bundle.directions, ray_bundle.lengths
    densities, features = volumes.densities(), volumes.features()
    if type(raymarcher) is EmissionAbsorptionRaymarcher:
        is_standard = features is not None and raymarcher.surface_thickness <= MAX_THICKNESS
        n_channels = 1 if features is None else 1 + features.shape[1]
    else:
        is_standard, n_channels = type(raymarcher) is AbsorptionOnlyRaymarcher, 1
    return (
        is_standard
        and not (raymarcher._forward_hooks or raymarcher._forward_pre_hooks)  # march does not call hooks
        and n_channels <= MAX_CHANNELS
        and densities.shape[1] == 1
        and len(volumes) in (1, len(origins))
        and not lengths.requires_grad
        and all(x.dtype == densities.dtype and x.device == densities.device for x in (origins, directions, lengths))
        and min(densities.numel(), lengths.numel()) > 0
        and max(math.prod(padded_shape(densities.shape, n_channels)), lengths.numel()) < MAX_NUMBERS
    )


def march(
    volumes: Volumes, raymarcher: Any, ray_bundle: RayBundle | HeterogeneousRayBundle, eps: float
) -> torch.Tensor:
    """Render volumes with trilinear interpolation; they are 0 outside.

    Args:
        volumes: N volumes, or one for all rays.
        raymarcher: an ``EmissionAbsorptionRaymarcher`` or ``AbsorptionOnlyRaymarcher``.
        ray_bundle: rays (N, ..., .) that :func:`can_march` accepts, world space.
        eps: see ``EmissionAbsorptionRaymarcher.forward``.
    Returns:
        the raymarcher's images; differentiable in the volumes, and in the origins and directions of the rays.
    """
    refuse_transforms(march)
    densities, features, thickness = volumes.densities(), None, 1
    if isinstance(raymarcher, EmissionAbsorptionRaymarcher):
        features, thickness = volumes.features(), raymarcher.surface_thickness
    lowest, highest = torch.aminmax(densities.detach())
    if lowest < -DENSITY_TOLERANCE or highest > 1 + DENSITY_TOLERANCE:
        warnings.warn(DENSITIES_OUTSIDE, stacklevel=3)

    origins, directions, lengths = ray_bundle.origins, ray_bundle.directions, ray_bundle.lengths
    shape = origins.shape[:-1]
    rays = origins.reshape(len(volumes), -1, 3), directions.reshape(len(volumes), -1, 3)
    image = march_volumes(densities, features, *_in_voxels(volumes, *rays), _rows(lengths), eps, thickness)
    return image.view(*shape, -1)


def _in_voxels(volumes: Volumes, origins: torch.Tensor, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Origins and directions (N, R, 3) in world space to (N * R, 3) in voxel coordinates; lengths stay the same."""
    local = volumes.world_to_local_coords(origins)
    voxels = local_to_voxel_coords(local, volumes.get_grid_sizes(), volumes.get_align_corners())
    return voxels.reshape(-1, 3), (directions / voxel_sizes(volumes)[:, None]).reshape(-1, 3)


def _rows(lengths: torch.Tensor) -> torch.Tensor:
    """Lengths as (R, P), or as (1, P) if they are one expanded row."""
    if all(stride == 0 or size == 1 for stride, size in zip(lengths.stride()[:-1], lengths.shape[:-1])):
        return lengths[(0,) * (lengths.dim() - 1)][None]
    return lengths.reshape(-1, lengths.shape[-1])
