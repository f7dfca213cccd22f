"""Checks and products of the raymarchers."""

from __future__ import annotations

import warnings

import torch

from tirender.checks import check_tensor


def _shifted_cumprod(x: torch.Tensor, shift: int = 1) -> torch.Tensor:
    """The products (..., P) of all numbers more than ``shift`` - 1 places before; 1 where there are none."""
    products = torch.cumprod(x, dim=-1)
    return torch.cat([torch.ones_like(products[..., :shift]), products[..., :-shift]], dim=-1)


def _check_density_bounds(rays_densities: torch.Tensor, bounds: tuple[float, float] = (0.0, 1.0)) -> None:
    """Warn if a density lies outside of ``bounds``."""
    if bool(((rays_densities < bounds[0]) | (rays_densities > bounds[1])).any()):
        warnings.warn(f"rays_densities: expected values in {[*bounds]}, got some outside", stacklevel=2)


def _check_raymarcher_inputs(
    rays_densities: torch.Tensor,
    rays_features: torch.Tensor | None,
    rays_z: torch.Tensor | None,
    features_can_be_none: bool = False,
    z_can_be_none: bool = False,
    density_1d: bool = True,
) -> None:
    """Raise ``ValueError`` if densities (..., D), features (..., C) and depths (...) do not fit; D is 1 if asked."""
    check_tensor("rays_densities", rays_densities, ("...", 1 if density_1d else None))
    shape = rays_densities.shape[:-1]
    if not features_can_be_none:
        check_tensor("rays_features", rays_features, (*shape, None))
    if not z_can_be_none:
        check_tensor("rays_z", rays_z, tuple(shape))
