"""Subdivision of meshes: each face into four."""

from __future__ import annotations

from typing import NamedTuple

import torch

from tirender.checks import check_kind, check_tensor, fail
from tirender.structures import Meshes
from tirender.structures.geometry import Geometry
from tirender.structures.topology import Topology


class _Subdivision(NamedTuple):
    parent: Topology
    child: Topology
    order: torch.Tensor  # (V + E,), for each new vertex, its index among all old vertices followed by all midpoints


class SubdivideMeshes(torch.nn.Module):
    """Divide each face into four at the midpoints of its edges.

    The vertices of a mesh keep their indices; the midpoint of its edge e becomes vertex V_i + e. The new faces are
    computed once, and used again for all meshes with the same topology, which differ only in their vertices (see
    ``Meshes.offset_verts``).

    Args:
        meshes: meshes whose subdivision is computed in advance, or None.
    """

    def __init__(self, meshes: Meshes | None = None) -> None:
        super().__init__()
        self._last = None if meshes is None else _subdivide(meshes.topology)
        self._pads_feats = meshes is not None

    def forward(self, meshes: Meshes, feats: torch.Tensor | None = None) -> Meshes | tuple[Meshes, torch.Tensor]:
        """Subdivide meshes.

        Args:
            meshes: a batch of N meshes.
            feats: features of the vertices, (sum V_i, D), or (N, V, D) if all meshes have V vertices; or None.
        Returns:
            the meshes without textures and, with ``feats``, the features; at a midpoint, they are the mean of the
            edge's ends. Features are packed, (sum V_i + E_i, D). An object that was built with meshes gives
            (N, V + E, D) if all meshes have V vertices and E edges, as in PyTorch3D. All are differentiable.
        Raises:
            ValueError: if ``feats`` do not fit the meshes.
        """
        check_kind("meshes", meshes, Meshes)
        if self._last is None or self._last.parent is not meshes.topology:
            self._last = _subdivide(meshes.topology)
        geometry = Geometry(self._last.child, _with_midpoints(meshes.verts_packed(), self._last))
        subdivided = Meshes._of(geometry, None)
        if feats is None:
            return subdivided
        return subdivided, self._subdivide_feats(feats, self._last)

    def _subdivide_feats(self, feats: torch.Tensor, subdivision: _Subdivision) -> torch.Tensor:
        parent, child = subdivision.parent, subdivision.child
        check_tensor("feats", feats)
        if feats.dim() == 3 and feats.shape[:2] == (parent.n_meshes, parent.max_verts):
            feats = feats.flatten(0, 1)
        if feats.dim() != 2 or len(feats) != parent.n_verts:
            fail("feats", f"shape ({parent.n_verts}, D), one row a vertex", tuple(feats.shape))
        feats = _with_midpoints(feats, subdivision)
        if self._pads_feats and len(set(parent.num_verts)) == len(set(child.num_verts)) == 1:
            return feats.reshape(parent.n_meshes, child.max_verts, feats.shape[1])
        return feats


def _with_midpoints(values: torch.Tensor, subdivision: _Subdivision) -> torch.Tensor:
    """Append the mean of each edge's ends to values of vertices, in the order of the new vertices."""
    start, end = subdivision.parent.gather_ends(values).unbind(0)
    return torch.cat([values, (start + end) / 2]).index_select(0, subdivision.order)


def _subdivide(topology: Topology) -> _Subdivision:
    """The subdivided topology."""
    num_verts, num_edges = topology.num_verts, topology.num_edges_per_mesh.tolist()
    # within its mesh, edge e becomes vertex e - first_edge + num_verts
    shift = topology.num_verts_per_mesh - topology.first_edge
    middles = topology.faces_to_edges + shift.index_select(0, topology.face_to_mesh)[:, None]
    (a, b, c), (bc, ca, ab) = topology.faces_local.unbind(1), middles.unbind(1)
    quarters = torch.stack([torch.stack(q, 1) for q in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (bc, ca, ab))])
    faces = torch.cat([part.flatten(0, 1) for part in quarters.split(topology.num_faces, dim=1)] or [quarters[0]])

    verts = torch.arange(topology.n_verts, device=topology.device).split(num_verts)
    edges = torch.arange(len(topology.edges), device=topology.device).split(num_edges)
    order = [part for v, e in zip(verts, edges) for part in (v, e + topology.n_verts)]
    child = Topology(faces, [v + e for v, e in zip(num_verts, num_edges)], [4 * n for n in topology.num_faces])
    return _Subdivision(topology, child, torch.cat(order) if order else topology.first_edge)
