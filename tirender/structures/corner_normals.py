"""Normals of the corners of faces: an indexed attribute of their own, so that creases need no doubled vertices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
import torch.nn.functional as F

from tirender.checks import INTEGERS, as_floats, check_range, check_tensor, fail
from tirender.structures.keeping import kept_property


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

    @property
    def packed(self) -> tuple[torch.Tensor, torch.Tensor]:
        """All normals (n, 3) without repetition, and their rows at the corners of all faces (sum F_i, 3)."""
        if not self.values:
            return torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64)
        return torch.cat([*self._distinct.values()]), self._packed_rows

    @property
    def _distinct(self) -> dict[int, torch.Tensor]:
        return {id(of_mesh): of_mesh for of_mesh in self.values}

    @kept_property
    def _packed_rows(self) -> torch.Tensor:
        starts = accumulate(map(len, self._distinct.values()), initial=0)
        first = dict(zip(self._distinct, starts))
        return torch.cat([rows + first[id(of_mesh)] for rows, of_mesh in zip(self.rows, self.values)])

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
