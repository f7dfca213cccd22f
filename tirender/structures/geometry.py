"""Vertex positions on a topology, and the face normals, areas and vertex normals computed from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

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
    """

    def __init__(
        self, topology: Topology, positions: torch.Tensor | Ragged, normals: torch.Tensor | None = None
    ) -> None:
        if isinstance(positions, torch.Tensor):
            positions = Ragged(topology.vert_rows, [positions])
        self.topology, self.positions, self.normals = topology, positions, normals
        self._cache: dict[str, tuple[tuple[int, int], torch.Tensor]] = {}
        self._base: tuple[Geometry, int] | None = None
        self._repeated_as: Any = None

    @property
    def verts(self) -> torch.Tensor:
        """(V, 3): the packed vertices."""
        return self.positions.packed()

    def with_verts(self, positions: torch.Tensor | Ragged, normals: torch.Tensor | None = None) -> Geometry:
        """Other positions on the same topology."""
        return Geometry(self.topology, positions, normals)

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Geometry:
        """The same geometry after a function of the given tensors, such as one that clones or moves them."""
        positions = self.positions.map(function)
        normals = None if self.normals is None else function(self.normals)
        return Geometry(self.topology.to(positions.like.device), positions, normals)

    def __getstate__(self) -> dict[str, Any]:
        """Without what is derived, which may be part of a graph and then cannot be copied."""
        return {**self.__dict__, "_cache": {}}

    def extend(self, n: int) -> Geometry:
        """Each mesh n times in a row. Vertex normals are computed once, on this geometry, and repeated."""
        counts = self.topology.num_verts
        normals = None if self.normals is None else repeat_rows(self.normals, counts, n)
        extended = Geometry(self.topology.extend(n), repeat_rows(self.verts, counts, n), normals)
        extended._base = (self, n)
        extended._repeated_as = extended._base_state()
        return extended

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
            value = compute()
            self._cache[name] = (version, value)
        return value

    def _base_state(self) -> Any:
        """A value that changes when vertices, here or of the base, are written to or start to need gradients."""
        assert self._base is not None
        base, verts = self._base[0], self.verts
        return base.positions.version, self.positions.version, base.verts.requires_grad, verts.requires_grad


def _normalize(vectors: torch.Tensor) -> torch.Tensor:
    return F.normalize(vectors, eps=NORMALIZE_EPS, dim=1)
