"""The wireframe of a camera in figures."""

from __future__ import annotations

import torch


def get_camera_wireframe(scale: float = 0.3) -> torch.Tensor:
    """A polyline in view space that draws a camera: image plane, frustum, optical axis, and a notch that shows up.

    Args:
        scale: in world units; the image plane is ``2 * scale`` in front of the pinhole.
    Returns:
        Points (15, 3), float32, to join in order. ``cameras.get_world_to_view_transform().inverse().transform_points``
        takes them to world space.
    """
    pinhole, axis = (0.0, 0.0, 0.0), (0.0, 0.0, 3.0)
    left_up, right_up = (1.0, 0.75, 2.0), (-1.0, 0.75, 2.0)  # the image plane; +X is left
    left_down, right_down = (1.0, -0.75, 2.0), (-1.0, -0.75, 2.0)
    edge, notch = (0.0, 0.75, 2.0), (0.0, 1.0, 2.0)
    image_plane = (left_up, edge, notch, edge, right_up, right_down, left_down, left_up)
    sides = (pinhole, right_up, right_down, pinhole, left_down, pinhole, axis)
    return scale * torch.tensor(image_plane + sides)
