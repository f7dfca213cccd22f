"""Near clipping: faces are cut at the near plane before the division by depth, so that nothing behind it divides."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class NearClipping:
    """How the faces of a batch become triangles in front of the near plane.

    A face with one vertex behind leaves a quadrilateral (two triangles). A face with two behind leaves a triangle. Both
    cut the edges ab and ac, where a is alone on its side of the plane. A new point is ``s * front + (1 - s) * behind``,
    so that two faces which share an edge compute the same point. :meth:`apply` does this to everything that is given at
    the corners of faces.

    Args:
        face: (T,) int64 the face that each triangle is a part of, ascending.
        in_front: (K,) int64 faces wholly in front.
        crossing: (C,) int64 faces that cross the plane, those with one vertex behind first.
        n_quads: how many of these have one vertex behind.
        order: (C, 3) int64 corners a, b, c of each.
        weights: (C, 2) s on ab and on ac; differentiable.
        sorting: (T,) int64 sorts the triangles of faces in front, then of crossing faces, by face.
    """

    face: torch.Tensor
    in_front: torch.Tensor
    crossing: torch.Tensor
    n_quads: int
    order: torch.Tensor
    weights: torch.Tensor
    sorting: torch.Tensor

    def apply(self, values: torch.Tensor, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Values (n, D) with the new points appended, and the (T, 3) int32 rows at the corners of the triangles.

        Args:
            values: (n, D) what is interpolated over faces.
            faces: (F, 3) integer rows of values at the corners of each face.
        """
        corners = faces.long().index_select(0, self.crossing).gather(1, self.order)
        alone, others = corners[:, :1].expand(-1, 2), corners[:, 1:]
        is_quad = torch.arange(len(corners), device=faces.device)[:, None] < self.n_quads  # a lies behind
        front, behind = torch.where(is_quad, others, alone), torch.where(is_quad, alone, others)
        new = [
            s * values.index_select(0, front[:, i]) + (1 - s) * values.index_select(0, behind[:, i])
            for i, s in enumerate(self.weights.to(values.dtype).split(1, dim=1))
        ]
        p = len(values) + torch.arange(len(corners), device=faces.device)
        q = p + len(corners)
        quads, tips = slice(0, self.n_quads), slice(self.n_quads, None)
        triangles = [
            faces.long().index_select(0, self.in_front),
            torch.stack([p, corners[:, 1], corners[:, 2]], 1)[quads],
            torch.stack([p, corners[:, 2], q], 1)[quads],
            torch.stack([corners[:, 0], p, q], 1)[tips],
        ]
        return torch.cat([values, *new]), torch.cat(triangles).index_select(0, self.sorting).int()

    def siblings(self) -> torch.Tensor:
        """(T,) int32: the other triangle of the same face, -1 where there is none."""
        return siblings_of(self.face).int()

    def barycentric(self, n_faces: int) -> torch.Tensor:
        """(T, 3, 3): coordinates in the face of each triangle's corners."""
        unit = torch.eye(3, dtype=self.weights.dtype, device=self.weights.device)
        faces = torch.arange(3, device=self.weights.device).expand(n_faces, 3)
        points, rows = self.apply(unit, faces)
        return points.index_select(0, rows.long().flatten()).view(-1, 3, 3)


def siblings_of(face: torch.Tensor) -> torch.Tensor:
    """(T,) int64: the other triangle of the same face, -1 without one. The parts of a face follow each other."""
    is_pair = face[1:] == face[:-1]
    place = torch.arange(len(face), device=face.device)
    siblings = torch.full_like(place, -1)
    siblings[:-1][is_pair] = place[1:][is_pair]
    siblings[1:][is_pair] = place[:-1][is_pair]
    return siblings


def clip_near(z: torch.Tensor, faces: torch.Tensor, z_near: float) -> NearClipping | None:
    """How faces are clipped at depth ``z_near``; None where all vertices lie in front of it.

    Args:
        z: (V,) depth in view space; the clipping is differentiable in it.
        faces: (F, 3) int32.
        z_near: depth in view space; what is nearer is cut away.
    """
    if not bool((z.detach() < z_near).any()):
        return None
    z_corners = z.index_select(0, faces.flatten()).view(-1, 3)
    behind = z_corners.detach() < z_near
    n_behind = behind.sum(1)
    in_front, quads, tips = (torch.nonzero(n_behind == n).squeeze(1) for n in (0, 1, 2))
    crossing = torch.cat([quads, tips])
    alone = torch.where((n_behind == 1)[:, None], behind, ~behind).int().argmax(1).index_select(0, crossing)
    order = (alone[:, None] + torch.arange(3, device=z.device)) % 3
    za, zb, zc = z_corners.index_select(0, crossing).gather(1, order).unbind(1)
    a_behind = za.detach() < z_near
    weights = [_front_weight(torch.where(a_behind, z, za), torch.where(a_behind, za, z), z_near) for z in (zb, zc)]
    face = torch.cat([in_front, quads, quads, tips])
    sorting = torch.argsort(face, stable=True)
    return NearClipping(
        face=face.index_select(0, sorting),
        in_front=in_front,
        crossing=crossing,
        n_quads=len(quads),
        order=order,
        weights=torch.stack(weights, 1),
        sorting=sorting,
    )


def _front_weight(z_front: torch.Tensor, z_behind: torch.Tensor, z_near: float) -> torch.Tensor:
    """The weight of the vertex in front where an edge crosses the plane."""
    tiny = torch.finfo(z_front.dtype).eps * (abs(z_near) + 1e-30)
    return ((z_near - z_behind) / (z_front - z_behind).clamp(min=tiny)).clamp(0, 1)
