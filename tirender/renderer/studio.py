"""A photographer's studio as surroundings: soft boxes in a grey room, made by formulas."""

from __future__ import annotations

from functools import cache

import torch

from tirender.checks import as_device
from tirender.renderer.environment import EnvironmentLights, check_side, cube_directions
from tirender.structures.keeping import compute_to_keep

SIZE = 128
FLOOR, WALL, CEILING = 0.12, 0.26, 0.5  # grey of the room
BOXES = (  # azimuth (0 is in front, +Z; 90 is +X), elevation, half the width, half the height in degrees; and RGB
    (28.0, 40.0, 26.0, 20.0, (6.2, 6.0, 5.7)),  # the key light, a little warm
    (-95.0, 12.0, 14.0, 34.0, (1.5, 1.65, 1.9)),  # the fill light, a little cold
    (140.0, 24.0, 7.0, 36.0, (5.2, 5.2, 5.3)),  # two strips behind, which draw the outline
    (-155.0, 34.0, 9.0, 32.0, (4.6, 4.7, 4.9)),
    (0.0, 84.0, 30.0, 12.0, (2.4, 2.4, 2.4)),  # above
)
BRIGHTNESS = 0.75  # of all of it
SOFT = 2.5  # degrees over which a box ends


def studio_lights(
    size: int = SIZE, intensity: float = 1.0, device: torch.device | str | None = None
) -> EnvironmentLights:
    """A studio: a large soft box in front towards +X, a weaker one towards -X, strips behind, a panel above.

    +Y is up, and the front is +Z; :meth:`EnvironmentLights.turned` turns it. It is made by formulas.

    Args:
        size: of its cube map, a power of 2 from 4 to 1024.
        intensity: multiplies the light; at 1 a white sphere is a little above 1 on its bright side.
        device: where it is needed; its maps are computed there once.
    Raises:
        ValueError: another size or intensity.
    """
    known = _prefiltered(check_side("size", size), as_device("device", device))
    if intensity == 1.0:
        return known.rotated(known.rotation)  # not itself, which its user may change
    return EnvironmentLights(known.radiance, intensity=intensity)


def _studio(size: int) -> torch.Tensor:
    """The cube map (6, size, size, 3)."""
    x, y, z = cube_directions(size).float().unbind(1)
    up = (y + 1) / 2
    room = torch.where(y < 0, FLOOR + (WALL - FLOOR) * _smooth(2 * up), WALL + (CEILING - WALL) * _smooth(2 * up - 1))
    light = room[:, None] * torch.tensor([1.0, 1.0, 1.02])
    towards = torch.stack([x, y, z], 1)
    for azimuth, elevation, width, height, color in BOXES:
        a, e = torch.deg2rad(torch.tensor([azimuth, elevation]))
        ahead = torch.stack([a.sin() * e.cos(), e.sin(), a.cos() * e.cos()])
        beside = torch.stack([a.cos(), torch.zeros(()), -a.sin()])
        above = torch.linalg.cross(ahead, beside)
        depth = towards @ ahead
        across, along = (torch.rad2deg(torch.atan2(towards @ axis, depth)).abs() for axis in (beside, above))
        inside = _smooth((width - across) / SOFT) * _smooth((height - along) / SOFT) * (depth > 0)
        light = torch.lerp(light, torch.tensor(color), inside[:, None])
    return BRIGHTNESS * light.view(6, size, size, 3)


@cache
def _prefiltered(size: int, device: torch.device) -> EnvironmentLights:
    lights = compute_to_keep(lambda: EnvironmentLights(_studio(size), device=device))
    lights.maps()
    return lights


def _smooth(x: torch.Tensor) -> torch.Tensor:
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)
