"""Raymarchers: from densities and features along rays to pixels.

Densities are opacities of single samples, in [0, 1], as in PyTorch3D. The opacity of a ray is 1 - prod(1 - d).
"""

from __future__ import annotations

import warnings
from typing import Any

import torch

from tirender.checks import FLOATS, check_integer, check_number, check_tensor

DENSITIES_OUTSIDE = "rays_densities: expected values in [0, 1], got some outside"
DENSITY_TOLERANCE = 1e-5  # interpolated densities may exceed [0, 1] by rounding


class EmissionAbsorptionRaymarcher(torch.nn.Module):
    """Composite features front to back (Max, "Optical Models for Direct Volume Rendering", 1995).

    Sample i has the weight d_i * prod_{j <= i - surface_thickness} (1 + eps - d_j).

    Args:
        surface_thickness: the number of samples, from a surface on, that the surface does not occlude; with 1 it
            occludes all samples behind it.
    Raises:
        ValueError: if ``surface_thickness`` is not a positive integer.
    """

    def __init__(self, surface_thickness: int = 1) -> None:
        super().__init__()
        self.surface_thickness = check_integer("surface_thickness", surface_thickness, 1)

    def forward(
        self, rays_densities: torch.Tensor, rays_features: torch.Tensor, eps: float = 1e-10, **kwargs: Any
    ) -> torch.Tensor:
        """Composite features.

        Args:
            rays_densities: (..., P, 1) float32 or float64 in [0, 1].
            rays_features: (..., P, C), of the same dtype.
            eps: added to the transmittance of each sample.
            kwargs: ignored.
        Returns:
            (..., C + 1): features, then opacity; differentiable. Gradients are finite at a density of 1.
        Raises:
            ValueError: if the shapes do not fit.
        Warns:
            UserWarning: if a density lies outside [0, 1].
        """
        densities = _densities(rays_densities)
        check_tensor("rays_features", rays_features, (*densities.shape, "C"), like=densities)
        transmittance = torch.cumprod(1 + check_number("eps", eps) - densities, dim=-1)
        n_ahead = min(self.surface_thickness, densities.shape[-1])
        ahead = torch.ones_like(transmittance[..., :n_ahead])
        weights = densities * torch.cat([ahead, transmittance[..., : densities.shape[-1] - n_ahead]], dim=-1)
        features = (weights[..., None] * rays_features).sum(dim=-2)
        return torch.cat([features, _opacity(densities)], dim=-1)


class AbsorptionOnlyRaymarcher(torch.nn.Module):
    """Compute the opacity of rays: 1 - prod(1 - d)."""

    def forward(self, rays_densities: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Composite densities.

        Args:
            rays_densities: (..., P, 1) float32 or float64 in [0, 1].
            kwargs: ignored.
        Returns:
            (..., 1) opacities; differentiable. Gradients are finite at a density of 1.
        Raises:
            ValueError: if the shape does not fit.
        Warns:
            UserWarning: if a density lies outside [0, 1].
        """
        return _opacity(_densities(rays_densities))


def _densities(rays_densities: torch.Tensor) -> torch.Tensor:
    """Check densities (..., P, 1), warn if they are out of range, and return them as (..., P)."""
    densities = check_tensor("rays_densities", rays_densities, ("...", "P", 1), FLOATS)[..., 0]
    detached = densities.detach()
    if bool(((detached < -DENSITY_TOLERANCE) | (detached > 1 + DENSITY_TOLERANCE)).any()):
        warnings.warn(DENSITIES_OUTSIDE, stacklevel=3)
    return densities


def _opacity(densities: torch.Tensor) -> torch.Tensor:
    return 1 - torch.prod(1 - densities, dim=-1, keepdim=True)
