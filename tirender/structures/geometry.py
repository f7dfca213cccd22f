"""Vertex positions on a topology, and the face normals, areas and vertex normals computed from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from tirender.structures.corner_normals import CornerNormals
from tirender.structures.keeping import compute_to_keep
from tirender.structures.packing import Ragged, repeat_rows
from tirender.structures.topology import Topology

NORMALIZE_EPS = 1e-6  # a cross product (twice the face's area) shorter than this gives a normal shorter than 1


class Geometry:
    """The vertices of a batch of meshes; derived quantities are computed on demand and cached.

    A cached value is computed again after the vertices were written to in place (an optimiser's step), and when it
    lacks gradients that are now needed.

    Args:
        topology: the connectivity.
        positions: the vertices, float32 or float64: packed (V, 3), or in the layout in which they were given.
        normals: (V, 3) vertex normals that replace computed ones, or None.
        corners: normals of corners that faces are lit by in place of vertex normals, or None.
    """

    def __init__(
        self,
        topology: Topology,
        positions: torch.Tensor | Ragged,
        normals: torch.Tensor | None = None,
        corners: CornerNormals | None = None,
    ) -> None:
        if isinstance(positions, torch.Tensor):
            positions = Ragged(topology.vert_rows, [positions])
        self.topology, self.positions, self.normals, self.corners = topology, positions, normals, corners
        self._cache: dict[str, tuple[tuple[int, int], torch.Tensor]] = {}
        self._base: tuple[Geometry, int] | None = None
        self._repeated_as: Any = None

    @property
    def verts(self) -> torch.Tensor:
        """(V, 3): the packed vertices."""
        return self.positions.packed()

    def with_verts(
        self,
        positions: torch.Tensor | Ragged,
        normals: torch.Tensor | None = None,
        corners: CornerNormals | None = None,
    ) -> Geometry:
        """Other positions on the same topology."""
        return Geometry(self.topology, positions, normals, corners)

    def moved(self, positions: torch.Tensor, matrices: torch.Tensor | None = None) -> Geometry:
        """Positions after an affine map; given normals are kept, and turned by its matrices (N or 1, 3, 3), if any."""
        normals, corners = self.normals, self.corners
        if matrices is not None and normals is not None:
            inverse = torch.linalg.inv(matrices).expand(self.topology.n_meshes, 3, 3)
            turned = normals[:, None].to(inverse) @ inverse.index_select(0, self.topology.vert_to_mesh).mT
            normals = _normalize(turned[:, 0])
        if matrices is not None and corners is not None:
            corners = corners.turned(matrices)
        return self.with_verts(positions, None if normals is None else normals.to(positions.dtype), corners)

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Geometry:
        """The same geometry after a function of the given tensors, such as one that clones or moves them."""
        positions = self.positions.map(function)
        normals = None if self.normals is None else function(self.normals)
        corners = None if self.corners is None else self.corners.map(function)
        return Geometry(self.topology.to(positions.like.device), positions, normals, corners)

    def __getstate__(self) -> dict[str, Any]:
        """Without what is derived, which may be part of a graph and then cannot be copied."""
        return {**self.__dict__, "_cache": {}}

    def extend(self, n: int) -> Geometry:
        """Each mesh n times in a row. Vertex normals are computed once, on this geometry, and repeated."""
        counts = self.topology.num_verts
        normals = None if self.normals is None else repeat_rows(self.normals, counts, n)
        corners = (
            None if self.corners is None else self.corners.select([i for i in range(len(counts)) for _ in range(n)])
        )
        extended = Geometry(self.topology.extend(n), repeat_rows(self.verts, counts, n), normals, corners)
        extended._base = (self, n)
        extended._repeated_as = extended._base_state()
        return extended

    @classmethod
    def joined(cls, parts: list[Geometry]) -> Geometry:
        """The meshes of several geometries, one or more, in one batch."""
        given = [part.normals for part in parts if part.normals is not None]
        topology = Topology(
            torch.cat([part.topology.faces_local for part in parts]),
            [n for part in parts for n in part.topology.num_verts],
            [n for part in parts for n in part.topology.num_faces],
        )
        verts = [mesh for part in parts for mesh in part.positions.list()]
        corners = None
        if any(part.corners is not None for part in parts):
            first, *others = [part.corners or part.vertices_as_corners() for part in parts]
            corners = first.join(others)
        normals = torch.cat(given) if len(given) == len(parts) else None
        return cls(topology, Ragged.of_parts(verts, parts[0].positions.like), normals, corners)

    def as_scene(self) -> Geometry:
        """All meshes in one."""
        topology = Topology(self.topology.faces_packed, [self.topology.n_verts], [self.topology.n_faces])
        corners = None if self.corners is None else self.corners.as_scene()
        return Geometry(topology, self.verts, self.normals, corners)

    def vertices_as_corners(self) -> CornerNormals:
        """The vertex normals, as an attribute of corners."""
        return CornerNormals(
            tuple(self.topology.vert_rows.split(self.vertex_normals())), tuple(self.topology.faces_list)
        )

    @property
    def has_vertex_normals(self) -> bool:
        """Whether vertex normals were given or have been computed."""
        return self.normals is not None or "vertex_normals" in self._cache

    def vertex_normals(self) -> torch.Tensor:
        """(V, 3): the given normals, else the normalised area-weighted mean over the adjacent faces."""
        return self.normals if self.normals is not None else self.cached("vertex_normals", self._compute_vertex_normals)

    def face_normals(self) -> torch.Tensor:
        """(F, 3): unit normals by the right-hand rule."""
        return self.cached("face_normals", lambda: _normalize(self.face_crosses()))

    def face_areas(self) -> torch.Tensor:
        """(F,): areas, in the vertices' unit squared."""
        return self.cached("face_areas", lambda: self.face_crosses().norm(dim=1) / 2)

    def face_crosses(self) -> torch.Tensor:
        """(F, 3): the cross product of two sides: the face's normal, with twice its area as length."""
        return self.cached("face_crosses", self._compute_face_crosses)

    def _compute_face_crosses(self) -> torch.Tensor:
        v0, v1, v2 = self.topology.gather_corners(self.verts).unbind(0)
        return torch.linalg.cross(v1 - v0, v2 - v0)

    def _compute_vertex_normals(self) -> torch.Tensor:
        if self._base is not None and self._base_state() == self._repeated_as:
            base, n = self._base
            return repeat_rows(base.vertex_normals(), base.topology.num_verts, n)
        return _normalize(self.topology.sum_faces_at_vertices(self.face_crosses()))

    def cached(self, name: str, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        """A derived quantity: the cached one of this name if it is still valid, else a new one."""
        version, verts = self.positions.version, self.verts
        wants_grad = verts.requires_grad and torch.is_grad_enabled()
        cached_version, value = self._cache.get(name, (None, verts))
        if cached_version != version or (wants_grad and not value.requires_grad):
            value = compute_to_keep(compute)
            self._cache[name] = (version, value)
        return value

    def _base_state(self) -> Any:
        """A value that changes when vertices, here or of the base, are written to or start to need gradients."""
        assert self._base is not None
        base, verts = self._base[0], self.verts
        return base.positions.version, self.positions.version, base.verts.requires_grad, verts.requires_grad


def _normalize(vectors: torch.Tensor) -> torch.Tensor:
    return F.normalize(vectors, eps=NORMALIZE_EPS, dim=1)
