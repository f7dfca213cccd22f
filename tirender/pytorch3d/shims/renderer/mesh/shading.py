"""The light on points."""

from __future__ import annotations

from typing import Any

import torch

from tirender.renderer.mesh.shading import _lighting


def _apply_lighting(
    points: torch.Tensor, normals: torch.Tensor, lights: Any, cameras: Any, materials: Any
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The ambient, diffuse and specular light on points, each to be broadcast with them; differentiable.

    Args:
        points: (N, ..., 3), world space.
        normals: (N, ..., 3) unit vectors.
        lights, cameras, materials: one, or N.
    """
    ambient, diffuse, specular = _lighting(points, normals, lights, cameras, materials, None)
    return ambient, diffuse, specular
