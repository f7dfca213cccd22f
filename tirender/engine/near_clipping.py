"""Near clipping: faces are cut at the near plane before the division by depth, so that nothing behind it divides."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class NearClipping:
    """How the faces of a batch become triangles in front of the near plane.

    A face with one vertex behind leaves a quadrilateral (two triangles). A face with two behind leaves a triangle. Both
    cut the edges ab and ac, where a is alone on its side of the plane. The new points are ``s a + (1 - s) b`` and
    ``t a + (1 - t) c``. :meth:`apply` does the same to everything given at the corners of faces.

    Args:
        face: (T,) int64 the face that each triangle is a part of, ascending.
        in_front: (K,) int64 faces wholly in front.
        crossing: (C,) int64 faces that cross the plane, those with one vertex behind first.
        n_quads: how many of these have one vertex behind.
        order: (C, 3) int64 corners a, b, c of each.
        weights: (C, 2) s and t; differentiable.
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
        a, b, c = (values.index_select(0, corners[:, i]) for i in range(3))
        s, t = self.weights.to(values.dtype).split(1, dim=1)
        points = torch.cat([values, s * a + (1 - s) * b, t * a + (1 - t) * c])
        p = len(values) + torch.arange(len(self.crossing), device=faces.device)
        q = p + len(self.crossing)
        quads, tips = slice(0, self.n_quads), slice(self.n_quads, None)
        new = [
            faces.long().index_select(0, self.in_front),
            torch.stack([p, corners[:, 1], corners[:, 2]], 1)[quads],
            torch.stack([p, corners[:, 2], q], 1)[quads],
            torch.stack([corners[:, 0], p, q], 1)[tips],
        ]
        return points, torch.cat(new).index_select(0, self.sorting).int()

    def barycentric(self, n_faces: int) -> torch.Tensor:
        """(T, 3, 3): coordinates in the face of each triangle's corners."""
        unit = torch.eye(3, dtype=self.weights.dtype, device=self.weights.device)
        faces = torch.arange(3, device=self.weights.device).expand(n_faces, 3)
        points, rows = self.apply(unit, faces)
        return points.index_select(0, rows.long().flatten()).view(-1, 3, 3)


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
    weights = torch.stack([_crossing(za, zb, z_near), _crossing(za, zc, z_near)], 1)
    face = torch.cat([in_front, quads, quads, tips])
    sorting = torch.argsort(face, stable=True)
    return NearClipping(face.index_select(0, sorting), in_front, crossing, len(quads), order, weights, sorting)


def _crossing(za: torch.Tensor, zb: torch.Tensor, z_near: float) -> torch.Tensor:
    """The weight of a where edge ab crosses the plane; one of them lies behind, so the depths differ."""
    step = za - zb
    tiny = torch.finfo(step.dtype).eps * (abs(z_near) + 1e-30)
    step = torch.where(step.abs() < tiny, torch.full_like(step, tiny).copysign(step), step)
    return ((z_near - zb) / step).clamp(0, 1)
