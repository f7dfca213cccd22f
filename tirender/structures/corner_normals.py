"""Normals of the corners of faces: an indexed attribute of their own, so that creases need no doubled vertices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F

from tirender.checks import INTEGERS, as_floats, check_range, check_tensor, fail


@dataclass(frozen=True)
class CornerNormals:
    """Normals of N meshes; meshes that share them hold the same tensors.

    Args:
        values: N tensors (n_i, 3), of any length.
        rows: N tensors (F_i, 3) int64, the row of ``values`` at each corner.
    """

    values: tuple[torch.Tensor, ...]
    rows: tuple[torch.Tensor, ...]

    @classmethod
    def checked(
        cls, values: Sequence[torch.Tensor], rows: Sequence[torch.Tensor], num_faces: list[int]
    ) -> CornerNormals:
        """These normals, if there is one row a corner and each is a row.

        Raises:
            ValueError: naming ``corner_normals`` or ``faces_corner_normals``.
        """
        if len(values) != len(num_faces) or len(rows) != len(num_faces):
            fail("corner_normals", f"tensors of {len(num_faces)} meshes, and as many of their faces", len(values))
        floats = tuple(as_floats(f"corner_normals[{i}]", v) for i, v in enumerate(values))
        for i, (of_mesh, index, n) in enumerate(zip(floats, rows, num_faces)):
            check_tensor(f"corner_normals[{i}]", of_mesh, ("n", 3))
            check_tensor(f"faces_corner_normals[{i}]", index, (n, 3), INTEGERS)
            check_range(f"faces_corner_normals[{i}]", index, len(of_mesh), f"rows of corner_normals[{i}]")
        return cls(floats, tuple(index.long() for index in rows))

    @cached_property
    def packed(self) -> tuple[torch.Tensor, torch.Tensor]:
        """All normals (n, 3) without repetition, and their rows at the corners of all faces (sum F_i, 3)."""
        if not self.values:
            return torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64)
        first, start, parts = {}, 0, []
        for of_mesh in self.values:
            if id(of_mesh) not in first:
                first[id(of_mesh)] = start
                start += len(of_mesh)
                parts.append(of_mesh)
        return torch.cat(parts), torch.cat([r + first[id(v)] for r, v in zip(self.rows, self.values)])

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> CornerNormals:
        """The same after a function of each tensor, such as one that clones or moves it."""
        changed = {id(t): function(t) for t in (*self.values, *self.rows)}
        return CornerNormals(tuple(changed[id(v)] for v in self.values), tuple(changed[id(r)] for r in self.rows))

    def select(self, ids: Sequence[int]) -> CornerNormals:
        """Those of some meshes."""
        return CornerNormals(tuple(self.values[i] for i in ids), tuple(self.rows[i] for i in ids))

    def of_faces(self, face_ids: Sequence[Sequence[torch.Tensor]]) -> CornerNormals:
        """Those of submeshes made of selected faces, one list of selections a mesh."""
        pairs = [(i, ids) for i, selections in enumerate(face_ids) for ids in selections]
        rows = tuple(self.rows[i].index_select(0, ids) for i, ids in pairs)
        return CornerNormals(tuple(self.values[i] for i, _ in pairs), rows)

    def turned(self, matrices: torch.Tensor) -> CornerNormals:
        """What they become where points (row vectors) are multiplied by matrices (N or 1, 3, 3)."""
        if not self.values:
            return self
        inverse = torch.linalg.inv(matrices.to(self.values[0])).expand(len(self.values), 3, 3)
        return CornerNormals(tuple(F.normalize(v @ m.T, dim=1) for v, m in zip(self.values, inverse)), self.rows)

    def join(self, others: Sequence[CornerNormals]) -> CornerNormals:
        """Those of this batch, then of others."""
        parts = (self, *others)
        return CornerNormals(tuple(v for p in parts for v in p.values), tuple(r for p in parts for r in p.rows))

    def as_scene(self) -> CornerNormals:
        """Those of one mesh made of all."""
        values, rows = self.packed
        return CornerNormals((values,), (rows,))


def creased_normals(
    verts: torch.Tensor, faces: torch.Tensor, crease_angle: float = 60.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Normals for display: smooth over edges whose faces bend by less than an angle, sharp over the others.

    Vertices at one place count as one, so that the seams of a texture do not show. A corner's normal is the mean over
    the faces that can be reached around its vertex without crossing a sharp edge, weighted by their angles there
    (Thürmer and Wüthrich 1998).

    Args:
        verts: (V, 3) positions.
        faces: (F, 3) int64.
        crease_angle: in degrees; 180 makes all edges smooth, and 0 none but those of coplanar faces.
    Returns:
        (n, 3) unit normals, 0 where all faces are without area, and (F, 3) int64 rows of them at the corners.
    """
    if not len(faces):
        return verts.new_zeros(0, 3), faces.new_zeros(0, 3)
    welded = torch.unique(verts + 0.0, dim=0, return_inverse=True)[1][faces]  # -0 is 0
    corners = verts[faces]
    sides = corners.roll(-1, 1) - corners  # from each corner to the next
    face_normals = F.normalize(torch.linalg.cross(sides[:, 0], sides[:, 1]), dim=1)
    directions = F.normalize(sides, dim=2)
    angles = torch.arccos((-directions * directions.roll(1, 1)).sum(2).clamp(-1, 1))
    group = _smooth_groups(welded, face_normals, crease_angle)
    ids, rows = torch.unique(group, return_inverse=True)
    weighted = (angles[..., None] * face_normals[:, None]).reshape(-1, 3)
    sums = verts.new_zeros(len(ids), 3).index_add(0, rows, weighted)
    return F.normalize(sums, dim=1), rows.view(-1, 3)


def _smooth_groups(faces: torch.Tensor, face_normals: torch.Tensor, crease_angle: float) -> torch.Tensor:
    """(3 F,): a label of each corner, equal for those of one vertex that smooth edges connect."""
    n_corners = faces.numel()
    index = torch.arange(n_corners, device=faces.device).view(-1, 3)
    begin, end = faces, faces.roll(-1, 1)  # the edge from each corner to the next
    low, high = torch.minimum(begin, end).flatten(), torch.maximum(begin, end).flatten()
    key = low * (int(faces.max()) + 1) + high
    order = key.argsort(stable=True)
    a, b = order[:-1], order[1:]  # neighbours across an edge, in a row where it has more than two faces
    cosine = (face_normals[a // 3] * face_normals[b // 3]).sum(1)
    smooth = (key[a] == key[b]) & (cosine > torch.cos(torch.deg2rad(torch.tensor(float(crease_angle)))) - 1e-6)
    a, b = a[smooth], b[smooth]
    # the two corners of each edge: this one and the next; they meet those of the neighbour at the same vertices
    following = index.roll(-1, 1).flatten()
    corners_a, corners_b = torch.stack([a, following[a]], 1), torch.stack([b, following[b]], 1)
    same = (faces.flatten()[corners_a[:, 0]] == faces.flatten()[corners_b[:, 0]])[:, None]
    corners_b = torch.where(same, corners_b, corners_b.flip(1))
    return _components(n_corners, corners_a.flatten(), corners_b.flatten())


def _components(n: int, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(n,): the least member of each node's component in the graph with edges a-b."""
    label = torch.arange(n, device=a.device)
    while len(a):
        low = torch.minimum(label[a], label[b])
        new = label.clone()
        for end in (label[a], label[b]):  # the roots take the least label next to them
            new.scatter_reduce_(0, end, low, "amin")
        new = new[new]
        if torch.equal(new, label):
            break
        label = new
    return label
