"""A grid on the ground below a scene, hidden by what lies before it."""

from __future__ import annotations

import torch

from tirender.renderer.cameras import CamerasBase
from tirender.scenes.base import origin_depth
from tirender.scenes.cloud import CloudScene
from tirender.scenes.mesh import MeshScene

SPACING = 0.2  # of the lines; the scene lies in the unit sphere
STRONG = 5  # every fifth line is stronger
REACH = (1.6, 3.2)  # distances from the middle at which the lines begin to fade, and are gone
WIDTH = 0.6  # half the width of a line, in pixels
X_COLOR, Z_COLOR = (0.86, 0.31, 0.36), (0.27, 0.53, 0.93)  # of the X axis and of the Z axis


def floor_of(scene: object) -> float:
    """The height of the lowest point of a scene, or of the unit sphere."""
    if isinstance(scene, MeshScene):
        return float(scene.mesh.verts_packed()[:, 1].amin())
    return float(scene.points[:, 1].amin()) if isinstance(scene, CloudScene) else -1.0


def over_ground(
    image: torch.Tensor,
    depth: torch.Tensor,
    camera: CamerasBase,
    floor: float,
    background: tuple[float, float, float],
) -> torch.Tensor:
    """An image (H, W, 3) with a grid.

    Args:
        image: of the scene.
        depth: (H, W, 1 or 3), as the shader "depth" of a scene draws it.
        camera: one camera.
        floor: the height of the ground.
        background: of the image; it decides whether lines are light or dark.
    """
    size = image.shape[:2]
    eye = camera.get_camera_center()[0]
    x, z, distance = _ground(camera, size, eye, floor)
    far = 0.8 * ((distance - origin_depth(camera) + 1) / 2).clamp(0, 1)
    is_hidden = (depth[..., 0] > 0.1) & (1 - depth[..., 0] < far - 1e-3)
    fade = ((REACH[1] - torch.hypot(x, z)) / (REACH[1] - REACH[0])).clamp(0, 1)
    alpha = torch.where((distance > 0) & ~is_hidden, fade, 0)

    tone = 1.0 if sum(background) < 1.5 else 0.0
    along_x, along_z = _footprint(x), _footprint(z)
    lines = torch.maximum(_lines(x, along_x, SPACING), _lines(z, along_z, SPACING))
    strong = torch.maximum(_lines(x, along_x, STRONG * SPACING), _lines(z, along_z, STRONG * SPACING))
    grey = torch.maximum(0.16 * lines, 0.3 * strong) * alpha
    image = torch.lerp(image, image.new_tensor(tone), grey[..., None])
    for value, width, color in ((z, along_z, X_COLOR), (x, along_x, Z_COLOR)):
        axis = (WIDTH + 1 - value.abs() / width).clamp(0, 1) * alpha
        image = torch.lerp(image, image.new_tensor(color), 0.9 * axis[..., None])
    return image


def _ground(
    camera: CamerasBase, size: tuple[int, int], eye: torch.Tensor, floor: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Where the rays of the pixels meet the ground: x, z and the depth in view space; it is behind if not above 0."""
    height, width = size
    half = min(size) / 2
    rows = (height / 2 - torch.arange(height, device=eye.device) - 0.5) / half
    columns = (width / 2 - torch.arange(width, device=eye.device) - 0.5) / half
    y_ndc, x_ndc = torch.meshgrid(rows, columns, indexing="ij")
    at_depth_1 = torch.stack([x_ndc, y_ndc, torch.ones_like(x_ndc)], -1).reshape(1, -1, 3)
    ray = (camera.unproject_points(at_depth_1, world_coordinates=True, from_ndc=True) - eye).reshape(height, width, 3)
    distance = (floor - eye[1]) / torch.where(ray[..., 1].abs() < 1e-6, 1e-6, ray[..., 1])
    return eye[0] + distance * ray[..., 0], eye[2] + distance * ray[..., 2], distance


def _footprint(value: torch.Tensor) -> torch.Tensor:
    """By how much a value changes from pixel to pixel."""
    change = torch.zeros_like(value)
    for axis in (0, 1):
        if value.shape[axis] > 1:
            change = change + torch.gradient(value, dim=axis)[0].abs()
    return change.clamp(min=1e-6)


def _lines(value: torch.Tensor, footprint: torch.Tensor, spacing: float) -> torch.Tensor:
    """The share of each pixel that lines at multiples of ``spacing`` cover; lines that are too dense fade."""
    distance = (value / spacing - (value / spacing).round()).abs() * spacing
    return (WIDTH + 0.5 - distance / footprint).clamp(0, 1) * (2 - 6 * footprint / spacing).clamp(0, 1)
