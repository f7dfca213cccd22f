"""The read-only methods of ``Meshes``: lists, padded and packed tensors, index maps, normals and areas."""

from __future__ import annotations

import torch

from tirender.checks import fail
from tirender.structures.geometry import Geometry
from tirender.structures.packing import bounding_boxes
from tirender.structures.private_names import PrivateNamesOfMeshes
from tirender.structures.topology import Topology


class MeshViews(PrivateNamesOfMeshes):
    """The read-only half of ``Meshes``: views of its geometry and topology, computed on demand."""

    _geometry: Geometry

    # --- the batch as a whole ---

    def __len__(self) -> int:
        """The number of meshes, N."""
        return self.topology.n_meshes

    @property
    def topology(self) -> Topology:
        """The faces, edges and adjacency: one object, shared by all meshes that differ only in their vertices."""
        return self._geometry.topology

    @property
    def device(self) -> torch.device:
        """The device of the vertices."""
        return self._geometry.positions.like.device

    @property
    def valid(self) -> torch.Tensor:
        """(N,) bool: whether each mesh has both vertices and faces."""
        return self.topology.valid

    @property
    def equisized(self) -> bool:
        """Whether all meshes have equally many vertices and equally many faces."""
        return self.topology.vert_rows.is_even and self.topology.face_rows.is_even

    def isempty(self) -> bool:
        """Whether no mesh has both vertices and faces."""
        return not any(v and f for v, f in zip(self.topology.num_verts, self.topology.num_faces))

    # --- vertices ---

    def verts_list(self) -> list[torch.Tensor]:
        """N tensors (V_i, 3): those that were given as a list, else views. All three layouts are differentiable."""
        return self._geometry.positions.list()

    def verts_packed(self) -> torch.Tensor:
        """(sum V_i, 3): all vertices, in storage of their own."""
        return self._geometry.verts

    def verts_padded(self) -> torch.Tensor:
        """(N, max V_i, 3): the tensor that was given padded, else a copy padded with 0."""
        return self._geometry.positions.padded()

    def num_verts_per_mesh(self) -> torch.Tensor:
        """(N,) int64: the numbers of vertices V_i."""
        return self.topology.num_verts_per_mesh

    def verts_packed_to_mesh_idx(self) -> torch.Tensor:
        """(sum V_i,) int64: the mesh of each packed vertex."""
        return self.topology.vert_to_mesh

    def mesh_to_verts_packed_first_idx(self) -> torch.Tensor:
        """(N,) int64: each mesh's first packed vertex."""
        return self.topology.first_vert

    def verts_padded_to_packed_idx(self) -> torch.Tensor:
        """(sum V_i,) int64: ``verts_padded().reshape(-1, 3)[idx]`` is ``verts_packed()``."""
        return self.topology.padded_to_packed

    def get_bounding_boxes(self) -> torch.Tensor:
        """(N, 3, 2): the least and greatest x, y and z of each mesh; (inf, -inf) for a mesh without vertices.

        Differentiable; if several vertices are equally extreme, one of them gets the gradient.
        """
        return bounding_boxes(self.topology.vert_rows, self.verts_packed())

    # --- faces ---

    def faces_list(self) -> list[torch.Tensor]:
        """N int64 tensors (F_i, 3): vertex indices within each mesh."""
        return list(self.topology.faces_list)

    def faces_packed(self) -> torch.Tensor:
        """(sum F_i, 3) int64: packed vertex indices."""
        return self.topology.faces_packed

    def faces_padded(self) -> torch.Tensor:
        """(N, max F_i, 3) int64: vertex indices within each mesh, padded with -1."""
        return self.topology.faces_padded

    def num_faces_per_mesh(self) -> torch.Tensor:
        """(N,) int64: the numbers of faces F_i."""
        return self.topology.num_faces_per_mesh

    def faces_packed_to_mesh_idx(self) -> torch.Tensor:
        """(sum F_i,) int64: the mesh of each packed face."""
        return self.topology.face_to_mesh

    def mesh_to_faces_packed_first_idx(self) -> torch.Tensor:
        """(N,) int64: each mesh's first packed face."""
        return self.topology.first_face

    def get_mesh_verts_faces(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The vertices (V_i, 3) and faces (F_i, 3) of one mesh.

        Raises:
            ValueError: if index is not an integer from 0 to N - 1.
        """
        if not isinstance(index, int) or not 0 <= index < len(self):
            fail("index", f"an integer from 0 to {len(self) - 1}", index)
        return self.verts_list()[index], self.topology.faces_list[index]

    # --- edges ---

    def edges_packed(self) -> torch.Tensor:
        """(E, 2) int64: each undirected edge once, as packed vertex indices (lower, higher), in lexicographic order."""
        return self.topology.edges

    def faces_packed_to_edges_packed(self) -> torch.Tensor:
        """(sum F_i, 3) int64: the edge opposite the first, second and third vertex of each face."""
        return self.topology.faces_to_edges

    def edges_packed_to_mesh_idx(self) -> torch.Tensor:
        """(E,) int64: the mesh of each edge."""
        return self.topology.edge_to_mesh

    def num_edges_per_mesh(self) -> torch.Tensor:
        """(N,) int64: the number of edges of each mesh."""
        return self.topology.num_edges_per_mesh

    def mesh_to_edges_packed_first_idx(self) -> torch.Tensor:
        """(N,) int64: each mesh's first edge."""
        return self.topology.first_edge

    def laplacian_packed(self) -> torch.Tensor:
        """(sum V_i, sum V_i) sparse: the uniform Laplacian: 1 / degree(i) for each edge (i, j), -1 on the diagonal."""
        return self.topology.laplacian(self.verts_packed().dtype)

    # --- normals and areas: differentiable in the vertices, with finite gradients for faces without area ---

    def has_verts_normals(self) -> bool:
        """Whether vertex normals were given or have already been computed."""
        return self._geometry.has_vertex_normals

    def verts_normals_packed(self) -> torch.Tensor:
        """(sum V_i, 3): the given normals, else the normalised sum of adjacent face normals weighted by area.

        The normal of a vertex without faces is 0. A sum shorter than 1e-6 gives a normal shorter than 1.
        """
        return self._geometry.vertex_normals()

    def corner_normals_packed(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The normals that faces are lit by: (n, 3), and their rows at the corners of all faces, (sum F_i, 3) int64.

        They are the vertex normals unless normals of corners were given.
        """
        corners = self._geometry.corners
        return (self.verts_normals_packed(), self.topology.faces_packed) if corners is None else corners.packed

    def verts_normals_padded(self) -> torch.Tensor:
        """(N, max V_i, 3): vertex normals, padded with 0."""
        return self.topology.vert_rows.pad(self.verts_normals_packed())

    def verts_normals_list(self) -> list[torch.Tensor]:
        """N tensors (V_i, 3): vertex normals."""
        return self.topology.vert_rows.split(self.verts_normals_packed())

    def faces_normals_packed(self) -> torch.Tensor:
        """(sum F_i, 3): unit normals by the right-hand rule; shorter than 1 if twice the area is below 1e-6."""
        return self._geometry.face_normals()

    def faces_normals_padded(self) -> torch.Tensor:
        """(N, max F_i, 3): face normals, padded with 0."""
        return self.topology.face_rows.pad(self.faces_normals_packed())

    def faces_normals_list(self) -> list[torch.Tensor]:
        """N tensors (F_i, 3): face normals."""
        return self.topology.face_rows.split(self.faces_normals_packed())

    def faces_areas_packed(self) -> torch.Tensor:
        """(sum F_i,): areas, in the vertices' unit squared."""
        return self._geometry.face_areas()
