"""Anti-aliasing of outlines, with nvdiffrast's arguments and results."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tirender.checks import INTEGERS, check_kind, check_number, check_range, check_tensor, fail
from tirender.engine.antialias import blend_outlines
from tirender.engine.clip_outlines import picture_in_clip_space
from tirender.engine.edge_partners import edge_partners
from tirender.nvdiffrast.arguments import check_device, check_rast, check_triangles, in_one_dtype


@dataclass(frozen=True)
class TopologyHash:
    """Which edges of triangles meet, found by :func:`antialias_construct_topology_hash`.

    Args:
        partners: (T, 3) int32, for the edge opposite each corner ``3 * triangle + corner`` of the same edge in the
            triangle beyond it; -1 for none.
    Raises:
        ValueError: for a tensor of another shape or dtype, and edges out of range.
    """

    partners: torch.Tensor

    def __post_init__(self) -> None:
        check_tensor("partners", self.partners, ("num_triangles", 3), torch.int32)
        check_range("partners", self.partners.clamp(min=0), self.partners.numel(), "edges")


def antialias(
    color: torch.Tensor,
    rast: torch.Tensor,
    pos: torch.Tensor,
    tri: torch.Tensor,
    topology_hash: TopologyHash | None = None,
    pos_gradient_boost: float = 1.0,
) -> torch.Tensor:
    """Blend the pixels on both sides of each outline, by where it crosses between their centres.

    An edge is an outline if it belongs to one triangle, or to two that lie on the same side of it in the image. Edges
    are the same if they have the same vertices in ``tri``: vertices that files hold twice, at seams, must be merged.

    Source: Laine et al., "Modular Primitives for High-Performance Differentiable Rendering", 2020. The surface
    is followed from a pixel to its end, so that outlines of triangles narrower than a pixel are found too.

    Args:
        color: (N, H, W, C) float32 or float64.
        rast: (N, H, W, 4), the first result of :func:`rasterize`.
        pos, tri: as they were rasterized.
        topology_hash: of ``tri``; by default it is made in this call.
        pos_gradient_boost: gradients that reach ``pos`` are multiplied by it.
    Returns:
        (N, H, W, C), differentiable in ``color`` and, through the outlines, in x, y and w of ``pos``.
    Raises:
        ValueError: for arguments of other shapes, dtypes or devices, and indices out of range.
    """
    rast = check_rast(rast)
    n_images, *_ = size = rast.shape[:3]
    check_tensor("color", color, (*size, "num_channels"))
    check_tensor("pos", check_tensor("pos", pos), (n_images, "V", 4) if pos.dim() == 3 else ("V", 4))
    given = in_one_dtype(color=color, rast=rast, pos=pos)
    colors, drawn, verts = given["color"], given["rast"], given["pos"]
    faces = check_triangles(tri, verts.shape[-2], verts.device)
    if topology_hash is None:
        topology_hash = antialias_construct_topology_hash(faces)
    check_kind("topology_hash", topology_hash, TopologyHash)
    partners = topology_hash.partners
    check_device("topology_hash", partners, faces.device)
    if len(partners) != len(faces):
        fail("topology_hash", f"that of {len(faces)} triangles", f"that of {len(partners)}")
    if check_number("pos_gradient_boost", pos_gradient_boost) != 1 and verts.requires_grad:
        verts = verts.view_as(verts)
        verts.register_hook(lambda grad: grad * pos_gradient_boost)

    ids = torch.nan_to_num(drawn[..., 3].detach())
    shown = torch.where((ids >= 1) & (ids <= len(faces)), ids - 1, -1).to(torch.int32)
    if verts.dim() == 3:  # each image has vertices, and so triangles, of its own
        n_faces, n_verts = len(faces), verts.shape[1]
        image = torch.arange(n_images, dtype=torch.int32, device=verts.device)[:, None, None]
        faces = (faces + n_verts * image).view(-1, 3)
        partners = torch.where(partners < 0, -1, partners + 3 * n_faces * image).view(-1, 3)
        shown = torch.where(shown < 0, -1, shown + n_faces * image)
    depths = drawn[..., 2].detach().reshape(-1)
    image_size = (size[1], size[2])
    picture = picture_in_clip_space(verts.reshape(-1, 4), faces, partners, shown.reshape(-1), depths, image_size)
    return blend_outlines(colors.flatten(0, 2), picture, image_size).view(colors.shape)


def antialias_construct_topology_hash(tri: torch.Tensor) -> TopologyHash:
    """Which edges of triangles meet, for several calls of :func:`antialias` with the same triangles.

    Args:
        tri: (T, 3) int32 or int64.
    Raises:
        ValueError: for a tensor of another shape or dtype.
    """
    check_tensor("tri", tri, ("num_triangles", 3), INTEGERS)
    return TopologyHash(edge_partners(tri, None).int())
