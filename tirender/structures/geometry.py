"""Vertex positions on a topology, and the normals and areas that follow from them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from tirender.structures.packing import repeat_rows
from tirender.structures.topology import Topology

NORMALIZE_EPS = 1e-6  # a normal whose length (twice a face's area) is below this stays shorter than 1


class Geometry:
    """The vertices of a batch of meshes; derived quantities are computed when first asked for and kept.

    What is kept is dropped when the vertices were written to in place (an optimiser's step), or when it was computed
    without gradients that are now wanted.

    Args:
        topology: the connectivity.
        verts: (V, 3) packed vertices.
        normals: (V, 3) vertex normals to report in place of computed ones, or None.
    """

    def __init__(self, topology: Topology, verts: torch.Tensor, normals: torch.Tensor | None = None) -> None:
        self.topology, self.verts, self.normals = topology, verts, normals
        self._kept: dict[str, tuple[int, torch.Tensor]] = {}
        self._base: tuple[Geometry, int] | None = None
        self._repeated_as: tuple[int, int, bool] | None = None

    def with_verts(self, verts: torch.Tensor, normals: torch.Tensor | None = None) -> Geometry:
        """Other positions on the same topology."""
        return Geometry(self.topology, verts, normals)

    def extend(self, n: int) -> Geometry:
        """Each mesh n times in a row; vertex normals are computed on this one and repeated."""
        counts = self.topology.num_verts
        normals = None if self.normals is None else repeat_rows(self.normals, counts, n)
        extended = Geometry(self.topology.extend(n), repeat_rows(self.verts, counts, n), normals)
        extended._base = (self, n)
        extended._repeated_as = extended._base_state()
        return extended

    @property
    def has_vertex_normals(self) -> bool:
        """Whether vertex normals were given or have been computed."""
        return self.normals is not None or "vertex_normals" in self._kept

    def vertex_normals(self) -> torch.Tensor:
        """(V, 3): the given normals, else unit normals: the area-weighted mean over the adjacent faces."""
        return self.normals if self.normals is not None else self.keep("vertex_normals", self._compute_vertex_normals)

    def face_normals(self) -> torch.Tensor:
        """(F, 3): unit normals by the right-hand rule."""
        return self.keep("face_normals", lambda: _normalize(self.face_crosses()))

    def face_areas(self) -> torch.Tensor:
        """(F,): areas, in the vertices' unit squared."""
        return self.keep("face_areas", lambda: self.face_crosses().norm(dim=1) / 2)

    def face_crosses(self) -> torch.Tensor:
        """(F, 3): the normal of each face, as long as twice its area."""
        return self.keep("face_crosses", self._compute_face_crosses)

    def _compute_face_crosses(self) -> torch.Tensor:
        v0, v1, v2 = self.topology.gather_corners(self.verts).unbind(0)
        return torch.linalg.cross(v1 - v0, v2 - v0)

    def _compute_vertex_normals(self) -> torch.Tensor:
        if self._base is not None and self._base_state() == self._repeated_as:
            base, n = self._base
            return repeat_rows(base.vertex_normals(), base.topology.num_verts, n)
        return _normalize(self.topology.sum_faces_at_vertices(self.face_crosses()))

    def keep(self, name: str, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        """A derived quantity: the one computed under this name before, where it still holds."""
        version, wants_grad = _version(self.verts), self.verts.requires_grad and torch.is_grad_enabled()
        kept_version, value = self._kept.get(name, (-1, self.verts))
        if kept_version != version or (wants_grad and not value.requires_grad):
            value = compute()
            self._kept[name] = (version, value)
        return value

    def _base_state(self) -> tuple[int, int, bool]:
        """Changes when anyone writes to the base's or these vertices, or makes these a leaf that wants gradients."""
        assert self._base is not None
        return _version(self._base[0].verts), _version(self.verts), self.verts.requires_grad


def _normalize(vectors: torch.Tensor) -> torch.Tensor:
    return F.normalize(vectors, eps=NORMALIZE_EPS, dim=1)


def _version(tensor: torch.Tensor) -> int:
    """How often a tensor was written to in place; inference tensors do not count."""
    return 0 if tensor.is_inference() else tensor._version
