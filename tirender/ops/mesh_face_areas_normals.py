"""Areas and normals of triangles."""

from __future__ import annotations

import torch

from tirender.checks import FLOATS, INTEGERS, check_tensor
from tirender.structures import Meshes


def mesh_face_areas_normals(verts: torch.Tensor, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The area and the unit normal of each face, from packed tensors.

    Args:
        verts: (V, 3) float32 or float64.
        faces: (F, 3) integers, vertex indices.
    Returns:
        areas: (F,) in the vertices' unit squared.
        normals: (F, 3) by the right-hand rule; shorter than 1 if twice the area is below 1e-6.
        Both are differentiable in the vertices, with finite gradients for faces without area.
    Raises:
        ValueError: if a shape or dtype is wrong, or a face index is out of range.
    """
    check_tensor("verts", verts, ("V", 3), FLOATS)
    check_tensor("faces", faces, ("F", 3), INTEGERS)
    mesh = Meshes([verts], [faces])
    return mesh.faces_areas_packed(), mesh.faces_normals_packed()
