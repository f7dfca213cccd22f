"""The check of bundles of rays."""

from __future__ import annotations

import torch

from tirender.checks import check_tensor


def _validate_ray_bundle_variables(
    rays_origins: torch.Tensor, rays_directions: torch.Tensor, rays_lengths: torch.Tensor
) -> None:
    """Raise ``ValueError`` unless these are origins (..., 3), directions (..., 3) and lengths (..., P) of rays."""
    check_tensor("rays_origins", rays_origins, ("...", 3))
    check_tensor("rays_directions", rays_directions, tuple(rays_origins.shape))
    check_tensor("rays_lengths", rays_lengths, (*rays_origins.shape[:-1], None))
