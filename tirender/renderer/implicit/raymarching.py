"""From densities and features along rays to pixels: emission-absorption and absorption alone.

Densities are opacities in [0, 1] of single samples, as in PyTorch3D; the opacity of a ray is 1 - prod(1 - d).
"""

from __future__ import annotations

import warnings
from typing import Any

import torch

from tirender.checks import FLOATS, check_integer, check_number, check_tensor

DENSITIES_OUTSIDE = "rays_densities: expected values in [0, 1], got some outside"
DENSITY_TOLERANCE = 1e-5  # interpolation of densities in [0, 1] rounds a little beyond


class EmissionAbsorptionRaymarcher(torch.nn.Module):
    """Composites features front to back (Max, "Optical Models for Direct Volume Rendering", 1995).

    Sample i has the weight d_i * prod_{j <= i - surface_thickness} (1 + eps - d_j).

    Args:
        surface_thickness: how many samples at and behind a surface it does not hide; 1 hides all behind it.
    Raises:
        ValueError: if it is not positive.
    """

    def __init__(self, surface_thickness: int = 1) -> None:
        super().__init__()
        self.surface_thickness = check_integer("surface_thickness", surface_thickness, 1)

    def forward(
        self, rays_densities: torch.Tensor, rays_features: torch.Tensor, eps: float = 1e-10, **kwargs: Any
    ) -> torch.Tensor:
        """Composite features.

        Args:
            rays_densities: (..., P, 1) in [0, 1].
            rays_features: (..., P, C).
            eps: added to the transmittance of each sample.
            kwargs: not used.
        Returns:
            (..., C + 1): features, then opacity. Differentiable; finite gradients where densities are 1.
        Raises:
            ValueError: if the shapes do not fit.
        Warns:
            UserWarning: where a density lies outside [0, 1].
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
    """The opacity of rays: 1 - prod(1 - d)."""

    def forward(self, rays_densities: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        """Composite densities.

        Args:
            rays_densities: (..., P, 1) in [0, 1].
            kwargs: not used.
        Returns:
            (..., 1). Differentiable; finite gradients where densities are 1.
        Raises:
            ValueError: if the shape does not fit.
        Warns:
            UserWarning: where a density lies outside [0, 1].
        """
        return _opacity(_densities(rays_densities))


def _densities(rays_densities: torch.Tensor) -> torch.Tensor:
    """(..., P) of (..., P, 1), after a look at them."""
    densities = check_tensor("rays_densities", rays_densities, ("...", "P", 1), FLOATS)[..., 0]
    detached = densities.detach()
    if bool(((detached < -DENSITY_TOLERANCE) | (detached > 1 + DENSITY_TOLERANCE)).any()):
        warnings.warn(DENSITIES_OUTSIDE, stacklevel=3)
    return densities


def _opacity(densities: torch.Tensor) -> torch.Tensor:
    return 1 - torch.prod(1 - densities, dim=-1, keepdim=True)
