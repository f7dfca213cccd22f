"""What anti-aliasing needs to know of triangles in clip space: cut where they leave the view, and divided by w."""

from __future__ import annotations

import torch

from tirender.engine.edge_partners import edge_partners
from tirender.engine.kernels.antialias import Picture
from tirender.engine.kernels.rasterize_clip import FAR
from tirender.engine.near_clipping import clip_near
from tirender.transforms.math import away_from_zero

W_MIN = 1e-8  # the least absolute divisor; no gradient passes to it below


def picture_in_clip_space(
    verts: torch.Tensor,
    faces: torch.Tensor,
    partners: torch.Tensor,
    shown: torch.Tensor,
    depths: torch.Tensor,
    size: tuple[int, int],
) -> Picture:
    """The triangle that each pixel shows, in NDC.

    Args:
        verts: (V, 4) in the clip space of OpenGL; carries the gradient.
        faces: (T, 3) int32.
        partners: (T, 3) int32, of ``edge_partners``.
        shown: (N * H * W,) int32 faces, -1 for none; the first row of an image is at y / w = -1.
        depths: (N * H * W,) z / w.
        size: (H, W) in pixels.
    """
    verts = torch.where(verts.detach().abs().sum(1, keepdim=True) < FAR, verts, 0)  # of triangles that no pixel shows
    verts, cut_faces, place, owner = _cut(verts, faces)
    short = max(min(size), 1)
    w = away_from_zero(verts[:, 3:], W_MIN)
    xy = verts[:, :2] / w * verts.new_tensor([-size[1] / short, -size[0] / short])  # +X left and +Y up
    if len(place):  # faces were cut
        shown = _part_shown(shown, owner, cut_faces, xy, size)
        partners = edge_partners(place[cut_faces.long()], None).int()
    return Picture(shown, depths, cut_faces, partners, torch.nn.functional.pad(xy, (0, 1)))


def _cut(verts: torch.Tensor, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Triangles between the planes z / w = -1 and 1.

    Returns:
        verts: (V', 4) with new points.
        faces: (T', 3) int32.
        place: (V',) int64, equal for new points on the same edge of two faces; empty where nothing is cut.
        owner: (T',) int64, ascending, the face that each triangle is a part of.
    """
    owner = torch.arange(len(faces), device=faces.device)
    place = owner[:0]
    for sign in (1, -1):
        clipping = clip_near(verts[:, 3] + sign * verts[:, 2], faces, 0.0)
        if clipping is None:
            continue
        if not len(place):
            place = torch.arange(len(verts), device=faces.device)
        alone, *others = place[faces.long().index_select(0, clipping.crossing).gather(1, clipping.order)].unbind(1)
        edges = torch.cat([torch.stack([alone, other], 1) for other in others]).sort(1).values
        place = torch.cat([place, place.max() + 1 + edges.unique(dim=0, return_inverse=True)[1]])
        verts, faces = clipping.apply(verts, faces)
        owner = owner.index_select(0, clipping.face)
    return verts, faces, place, owner


def _part_shown(
    shown: torch.Tensor, owner: torch.Tensor, faces: torch.Tensor, xy: torch.Tensor, size: tuple[int, int]
) -> torch.Tensor:
    """(P,) int32: of the parts of the face that a pixel shows, the one that its centre is in; -1 where none is left."""
    if not len(owner):
        return torch.full_like(shown, -1)
    first = torch.searchsorted(owner, shown.long())
    n_parts = torch.searchsorted(owner, shown.long(), right=True) - first
    part = torch.where((shown >= 0) & (n_parts > 0), first, -1)
    pixels = (n_parts > 1).nonzero()[:, 0]
    if len(pixels):
        short = min(size)
        column, row = pixels % size[1], pixels.div(size[1], rounding_mode="floor") % size[0]
        centre = torch.stack([(size[1] - 1 - 2 * column) / short, (size[0] - 1 - 2 * row) / short], 1).to(xy)
        best = torch.full_like(centre[:, 0], -torch.inf)
        for k in range(int(n_parts.max())):
            candidate = first[pixels] + torch.minimum(n_parts[pixels] - 1, torch.full_like(pixels, k))
            a, b, c = xy.detach()[faces.long()[candidate]].sub(centre[:, None]).unbind(1)
            areas = torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)], 1)
            inside = (areas / areas.sum(1, keepdim=True)).min(1).values.nan_to_num(-torch.inf)
            part[pixels] = torch.where(inside > best, candidate, part[pixels])
            best = torch.maximum(best, inside)
    return part.int()


def _cross(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
