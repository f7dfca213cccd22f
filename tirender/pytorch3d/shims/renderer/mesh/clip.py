"""Culling and clipping of faces before rasterization, as separate steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tirender.checks import FLOATS, check_tensor
from tirender.engine.near_clipping import clip_near, siblings_of


@dataclass
class ClipFrustum:
    """What is visible: NDC coordinates from ``left`` to ``right`` and from ``top`` to ``bottom``, and depths.

    Attributes:
        left, right, top, bottom, znear, zfar: the least and greatest x, y and depth; None for no limit.
        perspective_correct: whether the cut edges are straight in view space; otherwise they are in NDC.
        cull: whether faces that lie wholly beyond one limit are left out.
        z_clip_value: the depth at which faces are cut; None for no cut.
    """

    left: float | None = None
    right: float | None = None
    top: float | None = None
    bottom: float | None = None
    znear: float | None = None
    zfar: float | None = None
    perspective_correct: bool = False
    cull: bool = True
    z_clip_value: float | None = None


@dataclass
class ClippedFaces:
    """Triangles that are left of faces.

    Attributes:
        face_verts: (T, 3, 3) corners.
        mesh_to_face_first_idx, num_faces_per_mesh: (N,) int64, each mesh's first triangle, and how many it has.
        faces_clipped_to_unclipped_idx: (T,) int64, the face that each triangle is a part of; None where all are whole.
        barycentric_conversion: (T, 3, 3), the coordinates in the face of each triangle's corners; or None.
        faces_clipped_to_conversion_idx: (T,) int64, the row of that for cut faces, -1 for whole ones; or None.
        clipped_faces_neighbor_idx: (T,) int64, the other half of a face that leaves two triangles, else -1; or None.
    """

    face_verts: torch.Tensor
    mesh_to_face_first_idx: torch.Tensor
    num_faces_per_mesh: torch.Tensor
    faces_clipped_to_unclipped_idx: torch.Tensor | None = None
    barycentric_conversion: torch.Tensor | None = None
    faces_clipped_to_conversion_idx: torch.Tensor | None = None
    clipped_faces_neighbor_idx: torch.Tensor | None = None


def clip_faces(
    face_verts_unclipped: torch.Tensor,
    mesh_to_face_first_idx: torch.Tensor,
    num_faces_per_mesh: torch.Tensor,
    frustum: ClipFrustum,
) -> ClippedFaces:
    """Leave out faces beyond the frustum, and cut those that cross ``z_clip_value``.

    Args:
        face_verts_unclipped: (F, 3, 3) corners of all faces: x and y in NDC, z the depth; differentiable.
        mesh_to_face_first_idx, num_faces_per_mesh: (N,) integers, each mesh's first face, and how many it has.
        frustum: what is visible.
    Raises:
        ValueError: if a shape or dtype is wrong.
    """
    corners = check_tensor("face_verts_unclipped", face_verts_unclipped, ("F", 3, 3), FLOATS)
    kept = (~_beyond(corners.detach(), frustum)).nonzero()[:, 0]
    whole = corners.index_select(0, kept)
    rows = torch.arange(3 * len(kept), device=corners.device).view(-1, 3)
    x_y, z = whole.reshape(-1, 3).split([2, 1], dim=1)
    clipping = None if frustum.z_clip_value is None else clip_near(z[:, 0], rows, frustum.z_clip_value)
    if clipping is None and len(kept) == len(corners):
        return ClippedFaces(corners, mesh_to_face_first_idx, num_faces_per_mesh)
    face, triangles, conversion, conversion_row = kept, whole, None, torch.full_like(kept, -1)
    if clipping is not None:
        w = z if frustum.perspective_correct else torch.ones_like(z)
        points, at = clipping.apply(torch.cat([x_y * w, w, z], 1), rows)
        x_y, w, z = points.index_select(0, at.long().flatten()).split([2, 1, 1], dim=1)
        face, triangles = kept.index_select(0, clipping.face), torch.cat([x_y / w, z], 1).view(-1, 3, 3)
        is_cut = torch.isin(clipping.face, clipping.crossing)
        conversion, conversion_row = clipping.barycentric(len(kept)), torch.where(is_cut, _count(face), -1)
    owner = _count(num_faces_per_mesh).repeat_interleave(num_faces_per_mesh.long())
    n_triangles = owner.index_select(0, face).bincount(minlength=len(num_faces_per_mesh))
    return ClippedFaces(
        triangles, n_triangles.cumsum(0) - n_triangles, n_triangles, face, conversion, conversion_row, siblings_of(face)
    )


def convert_clipped_rasterization_to_original_faces(
    pix_to_face_clipped: torch.Tensor, bary_coords_clipped: torch.Tensor, clipped_faces: ClippedFaces
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fragments of clipped triangles as fragments of the faces that these were cut from.

    Args:
        pix_to_face_clipped: (N, H, W, K) int64 into the triangles, -1 where empty.
        bary_coords_clipped: (N, H, W, K, 3); differentiable.
        clipped_faces: the triangles.
    Returns:
        the faces (N, H, W, K) and coordinates in them (N, H, W, K, 3).
    """
    face = clipped_faces.faces_clipped_to_unclipped_idx
    if face is None:
        return pix_to_face_clipped, bary_coords_clipped
    empty, triangle = pix_to_face_clipped < 0, pix_to_face_clipped.clamp(min=0).flatten()
    faces = face.index_select(0, triangle).view_as(pix_to_face_clipped).masked_fill(empty, -1)
    rows, conversion = clipped_faces.faces_clipped_to_conversion_idx, clipped_faces.barycentric_conversion
    if rows is None or conversion is None:
        return faces, bary_coords_clipped
    row = rows.index_select(0, triangle)
    matrices = conversion.index_select(0, row.clamp(min=0))
    converted = (bary_coords_clipped.reshape(-1, 1, 3) @ matrices).view_as(bary_coords_clipped)
    is_cut = (row >= 0).view_as(empty) & ~empty
    return faces, torch.where(is_cut[..., None], converted, bary_coords_clipped)


def _beyond(corners: torch.Tensor, frustum: ClipFrustum) -> torch.Tensor:
    """(F,): whether all corners of a face lie beyond one limit of the frustum."""
    least, greatest = corners.amin(1), corners.amax(1)
    outside = torch.zeros(len(corners), dtype=torch.bool, device=corners.device)
    limits = (frustum.left, frustum.right), (frustum.top, frustum.bottom), (frustum.znear, frustum.zfar)
    for axis, (lower, upper) in enumerate(limits if frustum.cull else ()):
        if lower is not None:
            outside |= greatest[:, axis] < lower
        if upper is not None:
            outside |= least[:, axis] > upper
    if frustum.z_clip_value is not None:
        outside |= greatest[:, 2] < frustum.z_clip_value
    return outside


def _count(values: torch.Tensor) -> torch.Tensor:
    """0, 1, ... as many as there are values."""
    return torch.arange(len(values), device=values.device)
