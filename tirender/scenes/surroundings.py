"""Meshes with metallic-roughness materials, in a studio or in surroundings of one's own."""

from __future__ import annotations

from typing import Any

import torch

from tirender.io.orientation import Orientation
from tirender.renderer import BlendParams, EnvironmentLights, PBRShader, PointLights, studio_lights
from tirender.renderer.cameras import CamerasBase
from tirender.scenes.base import Look
from tirender.structures import Meshes
from tirender.structures.fragments import Fragments

LAMP = 1.5  # the light of a lamp that the look names


def draw_in_surroundings(
    fragments: Fragments, meshes: Meshes, cameras: CamerasBase, look: Look, orientation: Orientation
) -> torch.Tensor:
    """Images (N, H, W, 4) without a background; a lamp shines where the look has a light.

    Args:
        fragments, meshes, cameras: of N pictures.
        look: how they are drawn.
        orientation: which way up the meshes stand, as the surroundings then do.
    """
    lights: list[Any] = [surroundings_of(look, orientation, meshes.device)]
    if look.light is not None:
        lights.append(PointLights([[0.0] * 3], [[LAMP] * 3], location=[look.light], device=meshes.device))
    shader = PBRShader(
        lights,
        mipmaps=look.edges != "hard",
        tone_mapping=look.tone_mapping,
        exposure=look.exposure,
        device=meshes.device,
        cameras=cameras,
        blend_params=BlendParams(background_color=(0.0, 0.0, 0.0)),
    )
    return shader(fragments, meshes)


def surroundings_of(look: Look, orientation: Orientation, device: torch.device | str = "cpu") -> EnvironmentLights:
    """The look's surroundings, or a studio: upright as a scene stands, turned, and on a device."""
    up, front = (torch.tensor(axis, dtype=torch.float64) for axis in (orientation.up, orientation.front))
    standing = torch.stack([torch.linalg.cross(up, front), up, front])
    lights = studio_lights(device=device) if look.environment is None else look.environment.to(device)
    lights.maps()  # once, for all that share them
    axis = (orientation.up[0], orientation.up[1], orientation.up[2])
    return lights.rotated(standing).turned(look.environment_turn, axis)
