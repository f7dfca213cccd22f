"""Random coordinates in triangles."""

from __future__ import annotations

import torch

from tirender.ops.mesh_face_areas_normals import mesh_face_areas_normals
from tirender.ops.packed_to_padded import packed_to_padded
from tirender.ops.sample_points_from_meshes import _draw_coords

__all__ = ["_rand_barycentric_coords", "mesh_face_areas_normals", "packed_to_padded"]


def _rand_barycentric_coords(
    size1: int, size2: int, dtype: torch.dtype, device: torch.device | str
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Three coordinates (size1, size2) that sum to 1, of points that are uniform over a triangle."""
    first, second, third = _draw_coords(size1 * size2, dtype, device).view(3, size1, size2)
    return first, second, third
