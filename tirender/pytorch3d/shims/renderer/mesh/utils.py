"""Fragments of clipped faces."""

from __future__ import annotations

import torch

from tirender.ops.interp_face_attrs import interpolate_face_attributes
from tirender.structures import Meshes

__all__ = ["_clip_barycentric_coordinates", "_interpolate_zbuf", "interpolate_face_attributes"]


def _clip_barycentric_coordinates(bary: torch.Tensor) -> torch.Tensor:
    """Clamp coordinates (..., 3) to 0 from below, and divide them by their sum; those of empty slots (-1) stay.

    Raises:
        ValueError: if the last dimension is not 3.
    """
    if bary.shape[-1] != 3:
        raise ValueError(f"bary: expected shape (..., 3), got {tuple(bary.shape)}")
    clipped = bary.clamp(min=0)
    return torch.where((bary < 0).all(-1, keepdim=True), bary, clipped / clipped.sum(-1, keepdim=True).clamp(min=1e-5))


def _interpolate_zbuf(pix_to_face: torch.Tensor, barycentric_coords: torch.Tensor, meshes: Meshes) -> torch.Tensor:
    """The depths (N, H, W, K) of fragments from the z of their faces' corners, -1 where empty; differentiable."""
    corners = meshes.verts_packed()[:, 2].index_select(0, meshes.faces_packed().flatten()).view(-1, 3, 1)
    depths = interpolate_face_attributes(pix_to_face, barycentric_coords, corners)[..., 0]
    return depths.masked_fill(pix_to_face < 0, -1)
