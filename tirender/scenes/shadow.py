"""The shadow of a scene on the ground below it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from tirender.renderer import FoVOrthographicCameras, look_at_view_transform
from tirender.renderer.cameras import CamerasBase

if TYPE_CHECKING:
    from tirender.scenes.base import Look, Scene

N_LIGHTS = 48
STEEPNESS = 35.0  # degrees; the lights lie in a cone of this half angle around the vertical
DARKNESS = 0.55  # opacity where no light arrives
TEXELS = 256  # along a side of the shadow's map, and of each light's picture
REACH = 2.2  # half of the map's side, in radii of the scene
SIDE = 1.3  # half of the side of each light's picture, in the same unit
SMOOTHING = 2.5  # standard deviation of the blur that hides single lights, in texels


class ShadowedGround:
    """The plane that touches a scene from below, with a map of the light that the scene keeps off it.

    Many lights far above share in the light. What each of them sees of the scene is dark on the ground behind it.

    Args:
        scene: casts the shadow.
        look: how it is drawn.
    """

    def __init__(self, scene: Scene, look: Look) -> None:
        up, front = (torch.tensor(axis, device=scene.device) for axis in vars(scene.orientation).values())
        self._axes = torch.stack([torch.linalg.cross(up, front), front, up])
        self._height = float((scene.landmarks @ up).amin())
        across = REACH * (2 * (torch.arange(TEXELS, device=scene.device) + 0.5) / TEXELS - 1)
        places = torch.stack([*torch.meshgrid(across, across, indexing="xy")], dim=-1).view(-1, 2)
        points = torch.cat([places, torch.full_like(places[:, :1], self._height)], dim=1) @ self._axes
        look = replace(look, image_size=(TEXELS, TEXELS), wireframe=False, shadow=False)
        total = torch.zeros(TEXELS, TEXELS, device=scene.device)
        for i in range(N_LIGHTS):
            total += self._seen_by_light(scene, look, i, points).view(TEXELS, TEXELS)
        self._map = DARKNESS * _blurred(total / N_LIGHTS)

    def shadow(self, cameras: CamerasBase, image_size: tuple[int, int]) -> torch.Tensor:
        """The opacity (N, H, W, 1) of the shadow in pictures; 0 where the ground is not seen from above."""
        height, width = image_size
        half = min(height, width) / 2
        y, x = (((size - 1) / 2 - torch.arange(size, device=cameras.device)) / half for size in (height, width))
        grid = torch.stack([*torch.meshgrid(x, y, indexing="xy")], dim=-1).view(1, -1, 2).expand(len(cameras), -1, -1)
        near, far = (
            cameras.unproject_points(torch.cat([grid, torch.full_like(grid[..., :1], depth)], -1), from_ndc=True)
            for depth in (1.0, 2.0)
        )
        near, ray = near @ self._axes.T, (far - near) @ self._axes.T
        falls = ray[..., 2] < -1e-6
        steps = (self._height - near[..., 2]) / torch.where(falls, ray[..., 2], -1.0)  # from depth 1, a unit each
        in_front = falls & (steps > -1)
        places = (near + steps[..., None] * ray)[..., :2] / REACH
        found = F.grid_sample(
            self._map[None, None].expand(len(cameras), -1, -1, -1), places[:, None], align_corners=False
        )[:, 0, 0]
        return (found * in_front).view(len(cameras), height, width, 1)

    def _seen_by_light(self, scene: Scene, look: Look, i: int, points: torch.Tensor) -> torch.Tensor:
        """How much of the scene one of the lights sees in the direction of each point (P, 3)."""
        radius = math.tan(math.radians(STEEPNESS)) * math.sqrt((i + 0.5) / N_LIGHTS)
        turn = i * math.pi * (3 - math.sqrt(5))
        towards = torch.tensor([radius * math.cos(turn), radius * math.sin(turn), 1.0], device=scene.device)
        eye = (4 * F.normalize(towards, dim=0) @ self._axes)[None]
        R, T = look_at_view_transform(eye=eye, up=self._axes[1][None], device=scene.device)
        light = FoVOrthographicCameras(
            znear=0.01, zfar=100.0, max_y=SIDE, min_y=-SIDE, max_x=SIDE, min_x=-SIDE, R=R, T=T, device=scene.device
        )
        picture = scene.draw(light, "silhouette", look)[:, None, :, :, 0]
        seen = (points @ R[0, :, :2] + T[0, :2]) / -SIDE
        return F.grid_sample(picture, seen[None, None], align_corners=False).reshape(-1)


def _blurred(image: torch.Tensor) -> torch.Tensor:
    """An image (H, W), blurred by a Gaussian."""
    reach = math.ceil(3 * SMOOTHING)
    kernel = (-0.5 * (torch.arange(-reach, reach + 1, device=image.device) / SMOOTHING) ** 2).exp()
    kernel = (kernel / kernel.sum())[None, None]
    image = F.conv2d(image[None, None], kernel[..., None], padding=(reach, 0))
    return F.conv2d(image, kernel[:, :, None], padding=(0, reach))[0, 0]
