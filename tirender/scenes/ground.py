"""A grid on the ground below a scene, hidden by what lies before it."""

from __future__ import annotations

import torch

from tirender.renderer.cameras import CamerasBase
from tirender.scenes.base import Scene

SPACING = 0.2  # of the lines; the scene lies in the unit sphere
STRONG = 5  # every fifth line is stronger
REACH = (1.6, 3.2)  # distances from the middle at which the lines begin to fade, and are gone
HALF_WIDTH = 0.6  # of a line, in pixels
COLORS = ((0.86, 0.31, 0.36), (0.27, 0.53, 0.93))  # of the lines through the middle, to the right and to the front


class GroundGrid:
    """A grid on the ground below a scene.

    Args:
        scene: that stands on it.
    """

    def __init__(self, scene: Scene) -> None:
        up, front = (torch.tensor(axis, device=scene.device) for axis in vars(scene.orientation).values())
        self._axes = torch.stack([torch.linalg.cross(up, front), up, front])
        self.scene, self.floor = scene, float((scene.landmarks @ up).amin())

    def draw(self, image: torch.Tensor, camera: CamerasBase, background: tuple[float, float, float]) -> torch.Tensor:
        """An image (H, W, 3) of the scene, with a grid.

        Args:
            image: in which the scene is drawn.
            camera: one camera, that of the image.
            background: of the image; it decides whether lines are light or dark.
        """
        x, z, depth = self._met(camera, image.shape[0], image.shape[1])
        is_seen = (depth > 0) & (depth < self._depth(camera, image.shape[0], image.shape[1]))
        fade = ((REACH[1] - torch.hypot(x, z)) / (REACH[1] - REACH[0])).clamp(0, 1)
        alpha = torch.where(is_seen, fade, 0)

        widths = _footprint(x), _footprint(z)
        fine, strong = (
            torch.maximum(*(_lines(value, width, spacing) for value, width in zip((x, z), widths)))
            for spacing in (SPACING, STRONG * SPACING)
        )
        tone = 1.0 if sum(background) < 1.5 else 0.0
        image = torch.lerp(image, image.new_tensor(tone), (alpha * torch.maximum(0.16 * fine, 0.3 * strong))[..., None])
        for value, width, color in zip((z, x), widths[::-1], COLORS):
            line = alpha * (HALF_WIDTH + 0.5 - value.abs() / width).clamp(0, 1)
            image = torch.lerp(image, image.new_tensor(color), 0.9 * line[..., None])
        return image

    def _met(self, camera: CamerasBase, height: int, width: int) -> tuple[torch.Tensor, ...]:
        """Where the rays of the pixels (H, W) meet the ground: x, z, and the depth, not above 0 behind the camera."""
        eye = camera.get_camera_center()[0] @ self._axes.T
        half = min(height, width) / 2
        rows = (height / 2 - torch.arange(height, device=eye.device) - 0.5) / half
        columns = (width / 2 - torch.arange(width, device=eye.device) - 0.5) / half
        y_ndc, x_ndc = torch.meshgrid(rows, columns, indexing="ij")
        at_depth_1 = torch.stack([x_ndc, y_ndc, torch.ones_like(x_ndc)], -1).reshape(1, -1, 3)
        places = camera.unproject_points(at_depth_1, world_coordinates=True, from_ndc=True)
        ray = (places @ self._axes.T - eye).reshape(height, width, 3)
        depth = (self.floor - eye[1]) / torch.where(ray[..., 1].abs() < 1e-6, 1e-6, ray[..., 1])
        return eye[0] + depth * ray[..., 0], eye[2] + depth * ray[..., 2], depth

    def _depth(self, camera: CamerasBase, height: int, width: int) -> torch.Tensor:
        """The depth (H, W) of the scene; infinite where there is nothing."""
        return self.scene.depth(camera, (height, width))[0]


def _footprint(value: torch.Tensor) -> torch.Tensor:
    """By how much a value (H, W) changes from pixel to pixel."""
    change = torch.full_like(value, 1e-6)
    for axis in (0, 1):
        if value.shape[axis] > 1:
            change += torch.gradient(value, dim=axis)[0].abs()
    return change


def _lines(value: torch.Tensor, footprint: torch.Tensor, spacing: float) -> torch.Tensor:
    """The share of each pixel that lines at multiples of ``spacing`` cover; lines that are too dense fade."""
    distance = (value / spacing - (value / spacing).round()).abs() * spacing
    return (HALF_WIDTH + 0.5 - distance / footprint).clamp(0, 1) * (2 - 6 * footprint / spacing).clamp(0, 1)
