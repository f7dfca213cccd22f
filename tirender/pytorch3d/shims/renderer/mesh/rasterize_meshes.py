"""The geometry of one pixel and one triangle.

Points are tensors whose first dimension holds x and y: (2,) for one, or (2, ...) for many.
"""

from __future__ import annotations

from typing import Any

import torch

from tirender.renderer.mesh.rasterize_meshes import rasterize_meshes
from tirender.structures import Meshes

kEpsilon = 1e-8
kMaxFacesPerBin = 22  # of bins, which tirender lacks
Triple = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def non_square_ndc_range(S1: int, S2: int) -> float:
    """The extent in NDC of an image along its side of S1 pixels; the other has S2, and the shorter spans 2."""
    return 2 * max(S1 / S2, 1.0)


def pix_to_non_square_ndc(i: Any, S1: int, S2: int) -> Any:
    """The NDC coordinate of the centre of pixel ``i``, a number or tensor, along the side of S1 pixels."""
    return non_square_ndc_range(S1, S2) * ((i + 0.5) / S1 - 0.5)


def edge_function(p: torch.Tensor, v0: torch.Tensor, v1: torch.Tensor) -> torch.Tensor:
    """Twice the area of the triangle v0, v1, p: positive if it is clockwise with +X right and +Y up."""
    return (p[0] - v0[0]) * (v1[1] - v0[1]) - (p[1] - v0[1]) * (v1[0] - v0[0])


def barycentric_coordinates(p: torch.Tensor, v0: torch.Tensor, v1: torch.Tensor, v2: torch.Tensor) -> Triple:
    """The barycentric coordinates of p in the triangle v0, v1, v2; 1e-8 is added to twice its area."""
    area = edge_function(v2, v0, v1) + kEpsilon
    return edge_function(p, v1, v2) / area, edge_function(p, v2, v0) / area, edge_function(p, v0, v1) / area


def barycentric_coordinates_clip(bary: Triple) -> Triple:
    """Clamp three coordinates to 0 from below, and divide them by their sum."""
    clipped = torch.stack([torch.as_tensor(w) for w in bary]).clamp(min=0)
    w0, w1, w2 = clipped / clipped.sum(0).clamp(min=1e-5)
    return w0, w1, w2


def point_line_distance(p: torch.Tensor, v0: torch.Tensor, v1: torch.Tensor) -> torch.Tensor:
    """The squared distance from p to the segment v0, v1."""
    edge, to_p = v1 - v0, p - v0
    share = (edge * to_p).sum(0) / (edge * edge).sum(0).clamp(min=kEpsilon)
    return (to_p - share.clamp(0, 1) * edge).square().sum(0)


def point_triangle_distance(p: torch.Tensor, v0: torch.Tensor, v1: torch.Tensor, v2: torch.Tensor) -> torch.Tensor:
    """The squared distance from p to the nearest edge of the triangle, inside it and outside."""
    edges = [point_line_distance(p, *ends) for ends in ((v0, v1), (v1, v2), (v2, v0))]
    return torch.stack(edges).amin(0)


def rasterize_meshes_python(
    meshes: Meshes,
    image_size: int | tuple[int, int] = 256,
    blur_radius: float = 0.0,
    faces_per_pixel: int = 8,
    perspective_correct: bool = False,
    clip_barycentric_coords: bool = False,
    cull_backfaces: bool = False,
    z_clip_value: float | None = None,
    cull_to_frustum: bool = True,
    clipped_faces_neighbor_idx: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """:func:`tirender.renderer.rasterize_meshes`; ``clipped_faces_neighbor_idx`` is ignored."""
    return rasterize_meshes(
        meshes,
        image_size,
        blur_radius,
        faces_per_pixel,
        perspective_correct=perspective_correct,
        clip_barycentric_coords=clip_barycentric_coords,
        cull_backfaces=cull_backfaces,
        z_clip_value=z_clip_value,
        cull_to_frustum=cull_to_frustum,
    )


class _RasterizeFaceVerts:
    """Rasterization of faces that are given by their corners."""

    @staticmethod
    def apply(
        face_verts: torch.Tensor,
        mesh_to_face_first_idx: torch.Tensor,
        num_faces_per_mesh: torch.Tensor,
        clipped_faces_neighbor_idx: torch.Tensor,
        image_size: int | tuple[int, int] = (256, 256),
        blur_radius: float = 0.01,
        faces_per_pixel: int = 0,
        bin_size: int = 0,
        max_faces_per_bin: int = 0,
        perspective_correct: bool = False,
        clip_barycentric_coords: bool = False,
        cull_backfaces: bool = False,
        z_clip_value: float | None = None,
        cull_to_frustum: bool = True,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """See :func:`tirender.renderer.rasterize_meshes`.

        Args:
            face_verts: (F, 3, 3) corners in NDC with depth, those of each mesh in a row; differentiable.
            mesh_to_face_first_idx, clipped_faces_neighbor_idx, bin_size, max_faces_per_bin, cull_to_frustum: ignored.
            num_faces_per_mesh: (N,) integers, how many faces belong to each mesh.
        """
        parts = [corners.reshape(-1, 3) for corners in face_verts.split(num_faces_per_mesh.tolist())]
        faces = [torch.arange(len(part), device=part.device).view(-1, 3) for part in parts]
        return rasterize_meshes(
            Meshes(parts, faces),
            image_size,
            blur_radius,
            faces_per_pixel,
            perspective_correct=perspective_correct,
            clip_barycentric_coords=clip_barycentric_coords,
            cull_backfaces=cull_backfaces,
            z_clip_value=z_clip_value,
        )
