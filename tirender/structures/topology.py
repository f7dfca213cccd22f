"""The connectivity of a batch of meshes: index maps, edges and adjacency, each computed on demand and cached."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
import torch.nn.functional as F

from tirender.engine.edge_partners import edge_partners
from tirender.engine.neighbourhood import Neighbourhood
from tirender.structures.gathering import Bags, Gather, gather_rows, group_by_owner, partners, scatter_rows, sum_bags
from tirender.structures.keeping import kept_property
from tirender.structures.packing import Partition, repeat_counts, repeat_rows


class Topology:
    """The faces of a batch of meshes, without positions; immutable.

    Meshes that differ only in their vertices (``offset_verts``, ``scale_verts``, ``update_padded``, ``clone``,
    ``detach``) share one topology, so each quantity here is derived once in a whole optimisation. "Packed" indices
    count through the batch. The tensors are shared: never write into them.

    Args:
        faces_local: (F, 3) int64, the faces of all meshes concatenated; indices count within each mesh. Not validated.
        num_verts: the number of vertices of each mesh.
        num_faces: the number of faces of each mesh; they sum to F.
    """

    def __init__(self, faces_local: torch.Tensor, num_verts: Sequence[int], num_faces: Sequence[int]) -> None:
        self.faces_local = faces_local
        self.device = faces_local.device
        self.vert_rows, self.face_rows = Partition(num_verts, self.device), Partition(num_faces, self.device)
        self.num_verts, self.num_faces = self.vert_rows.counts, self.face_rows.counts
        self.n_meshes, self.n_verts, self.n_faces = len(self.num_verts), self.vert_rows.n_rows, len(faces_local)
        self.max_verts, self.max_faces = self.vert_rows.largest, self.face_rows.largest
        self._extended: tuple[int, Topology] | None = None
        self._partners: torch.Tensor | None = None

    def extend(self, n: int) -> Topology:
        """Each mesh n times in a row. Costly quantities are copied from this topology; the last result is cached."""
        if self._extended is None or self._extended[0] != n:
            self._extended = (n, _ExtendedTopology(self, n))
        return self._extended[1]

    def to(self, device: torch.device) -> Topology:
        """The same connectivity on another device."""
        return self if device == self.device else Topology(self.faces_local.to(device), self.num_verts, self.num_faces)

    # --- index maps ---

    @property
    def num_verts_per_mesh(self) -> torch.Tensor:
        """(N,) int64, as all index maps here: the number of vertices of each mesh."""
        return self.vert_rows.sizes

    @property
    def num_faces_per_mesh(self) -> torch.Tensor:
        """(N,): the number of faces of each mesh."""
        return self.face_rows.sizes

    @property
    def first_vert(self) -> torch.Tensor:
        """(N,): the packed index of each mesh's first vertex."""
        return self.vert_rows.first

    @property
    def first_face(self) -> torch.Tensor:
        """(N,): the packed index of each mesh's first face."""
        return self.face_rows.first

    @property
    def vert_to_mesh(self) -> torch.Tensor:
        """(V,): the mesh of each packed vertex."""
        return self.vert_rows.owner

    @property
    def face_to_mesh(self) -> torch.Tensor:
        """(F,): the mesh of each packed face."""
        return self.face_rows.owner

    @property
    def padded_to_packed(self) -> torch.Tensor:
        """(V,): the index of each packed vertex in the flattened padded vertices."""
        return self.vert_rows.padded_to_packed

    @kept_property
    def valid(self) -> torch.Tensor:
        """(N,) bool: whether a mesh has both vertices and faces."""
        return (self.num_verts_per_mesh > 0) & (self.num_faces_per_mesh > 0)

    @kept_property
    def meshes_with_faces(self) -> torch.Tensor:
        """(M,): the meshes that have faces."""
        return self.num_faces_per_mesh.nonzero()[:, 0]

    @kept_property
    def face_bounds(self) -> torch.Tensor:
        """(2, M): the first packed face, and one past the last, of each mesh that has faces."""
        bounds = torch.stack([self.first_face, self.first_face + self.num_faces_per_mesh])
        return bounds.index_select(1, self.meshes_with_faces)

    # --- faces ---

    @kept_property
    def faces_list(self) -> list[torch.Tensor]:
        """N tensors (F_i, 3): the faces of each mesh, indices within the mesh."""
        return self.face_rows.split(self.faces_local)

    @kept_property
    def faces_packed(self) -> torch.Tensor:
        """(F, 3) int64: all faces, with packed vertex indices; not the storage of ``faces_local``."""
        return self.faces_local + self.first_vert.index_select(0, self.face_to_mesh)[:, None]

    @kept_property
    def faces_int32(self) -> torch.Tensor:
        """(F, 3) int32, contiguous: ``faces_packed`` for kernels."""
        return self.faces_packed.int().contiguous()

    @kept_property
    def faces_padded(self) -> torch.Tensor:
        """(N, max F, 3) int64: the faces of each mesh, indices within the mesh, padded with -1; storage of its own."""
        return self.face_rows.pad(self.faces_local, -1)

    # --- edges ---

    @property
    def edges(self) -> torch.Tensor:
        """(E, 2) int64: each undirected edge once, as packed indices (lower, higher), in lexicographic order."""
        return self._edges_and_faces_to_edges[0]

    @property
    def faces_to_edges(self) -> torch.Tensor:
        """(F, 3) int64: the edge opposite each corner, as an index into ``edges``."""
        return self._edges_and_faces_to_edges[1]

    @kept_property
    def edge_to_mesh(self) -> torch.Tensor:
        """(E,): the mesh of each edge."""
        return self.vert_to_mesh.index_select(0, self.edges[:, 0])

    @kept_property
    def num_edges_per_mesh(self) -> torch.Tensor:
        """(N,): the number of edges of each mesh."""
        return self.edge_to_mesh.bincount(minlength=self.n_meshes)

    @kept_property
    def first_edge(self) -> torch.Tensor:
        """(N,): the index of each mesh's first edge."""
        return self.num_edges_per_mesh.cumsum(0) - self.num_edges_per_mesh

    @kept_property
    def _edges_and_faces_to_edges(self) -> tuple[torch.Tensor, torch.Tensor]:
        start, end = self.faces_packed[:, [1, 2, 0]], self.faces_packed[:, [2, 0, 1]]
        stride = max(self.n_verts, 1)
        keys = torch.minimum(start, end) * stride + torch.maximum(start, end)
        keys, inverse = torch.unique(keys, return_inverse=True)
        return torch.stack([keys // stride, keys % stride], dim=1), inverse.reshape(-1, 3)

    def laplacian(self, dtype: torch.dtype) -> torch.Tensor:
        """(V, V) sparse: the uniform Laplacian; see ``uniform_laplacian``."""
        if dtype not in self._laplacians:
            self._laplacians[dtype] = uniform_laplacian(self.n_verts, self.edges, dtype)
        return self._laplacians[dtype]

    @kept_property
    def _laplacians(self) -> dict[torch.dtype, torch.Tensor]:
        return {}

    # --- pairs of faces that share an edge ---

    @property
    def face_pairs(self) -> torch.Tensor:
        """(P, 2) int64: all pairs of faces that share an edge; an edge with n faces gives n (n - 1) / 2 pairs."""
        return self._face_pairs_and_edges[0]

    @kept_property
    def pair_signs(self) -> torch.Tensor:
        """(P,) int64: 1 if the two faces traverse their edge in opposite directions (consistent winding), else -1."""
        start, end = self.faces_packed[:, [1, 2, 0]].reshape(-1), self.faces_packed[:, [2, 0, 1]].reshape(-1)
        forward = (start < end).index_select(0, self._face_pairs_and_edges[1].reshape(-1)).reshape(-1, 2)
        return torch.where(forward[:, 0] == forward[:, 1], -1, 1)

    @kept_property
    def pair_to_mesh(self) -> torch.Tensor:
        """(P,): the mesh of each pair of faces."""
        return self.face_to_mesh.index_select(0, self.face_pairs[:, 0])

    @kept_property
    def num_pairs_per_mesh(self) -> torch.Tensor:
        """(N,): the number of pairs of faces in each mesh."""
        return self.pair_to_mesh.bincount(minlength=self.n_meshes)

    @kept_property
    def _face_pairs_and_edges(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The pairs of faces, and their half-edges (P, 2); half-edge 3 f + k lies opposite corner k of face f."""
        edges, half_edges = self.faces_to_edges.reshape(-1).sort(stable=True)
        pairs = [half_edges.new_zeros(0, 2)]
        for step in range(1, int(edges.bincount().max()) if len(edges) else 1):
            same = edges[step:] == edges[:-step]
            pairs.append(torch.stack([half_edges[:-step][same], half_edges[step:][same]], dim=1))
        shared = torch.cat(pairs)
        return shared // 3, shared

    def edge_partners(self, verts: torch.Tensor) -> torch.Tensor:
        """(F, 3) int64: for the edge opposite each corner, ``3 * face + corner`` of it in the face beyond; -1 for none.

        Vertices at one place count as one. They are those of the first call: later ones may have moved.

        Args:
            verts: (V, 3).
        """
        if self._partners is None:
            positions = torch.cat([verts.detach(), self.vert_to_mesh[:, None].to(verts)], 1)
            self._partners = edge_partners(self.faces_packed, positions)
        return self._partners

    def sum_face_neighbours(self, values: torch.Tensor) -> torch.Tensor:
        """The weighted sum of a per-face quantity over the neighbours of each face: (F, C) to (F, C).

        The weight of a pair is its sign divided by the number of pairs in its mesh. Symmetric; twice differentiable;
        summed in a fixed order.
        """
        bags, weights = self._face_neighbours
        return sum_bags(values, bags, bags, weights.to(values.dtype))

    @kept_property
    def _face_neighbours(self) -> tuple[Bags, torch.Tensor]:
        """The neighbours of each face in ``face_pairs``, and the weights of these pairs, (2 P,) float64."""
        order, bags = partners(self.face_pairs, self.n_faces)
        weights = self.pair_signs / self.num_pairs_per_mesh.double().index_select(0, self.pair_to_mesh)
        return bags, weights.repeat(2).index_select(0, order)

    # --- edges and neighbours of a vertex ---

    @kept_property
    def degree(self) -> torch.Tensor:
        """(V,) int64: the number of edges at each packed vertex."""
        return self.edges.reshape(-1).bincount(minlength=self.n_verts)

    def gather_ends(self, values: torch.Tensor) -> torch.Tensor:
        """The rows of a per-vertex quantity at the ends of each edge: (V, C) to (2, E, C); twice differentiable."""
        return gather_rows(values, self._end_vertices, 2)

    def sum_ends_at_vertices(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over the edge ends at each vertex: (2, E, C) to (V, C); the adjoint of ``gather_ends``.

        0 at a vertex without edges; summed in a fixed order.
        """
        return scatter_rows(values, self._end_vertices)

    def sum_neighbours(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of a per-vertex quantity over each vertex's neighbours: (V, C) to (V, C); twice differentiable."""
        return sum_bags(values, self.vertex_neighbours, self.vertex_neighbours)

    @kept_property
    def vertex_neighbours(self) -> Bags:
        """The vertices that share an edge with each packed vertex, in the order of the edges."""
        return partners(self.edges, self.n_verts)[1]

    @kept_property
    def _end_vertices(self) -> Gather:
        return Gather.of(self.edges, self.n_verts)

    def neighbourhood(self, dtype: torch.dtype) -> Neighbourhood:
        """What the losses on shapes read; its weights, of a dtype, make means over each mesh, then over the batch."""
        if dtype not in self._neighbourhoods:
            counts = torch.stack([self.num_verts_per_mesh, self.num_edges_per_mesh.clamp(min=1)], 1)
            neighbours, pair_weights = self._face_neighbours
            weights = 1 / (self.n_meshes * counts.index_select(0, self.vert_to_mesh).double())
            self._neighbourhoods[dtype] = Neighbourhood(
                self.faces_int32,
                *self.vertex_neighbours,
                *self.vertex_corners,
                *neighbours,
                (pair_weights / self.n_meshes).to(dtype),
                weights.to(dtype),
            )
        return self._neighbourhoods[dtype]

    @kept_property
    def _neighbourhoods(self) -> dict[torch.dtype, Neighbourhood]:
        return {}

    # --- faces at a vertex ---

    @kept_property
    def vertex_corners(self) -> Bags:
        """The face corners at each packed vertex, ascending; corner 3 f + k is corner k of packed face f."""
        return group_by_owner(self.faces_packed.reshape(-1), self.n_verts)

    def gather_corners(self, values: torch.Tensor) -> torch.Tensor:
        """The rows of a per-vertex quantity at the corners of each face: (V, C) to (3, F, C).

        Twice differentiable; the adjoint sums at each vertex in a fixed order, so gradients repeat to the bit.
        """
        return gather_rows(values, self._corner_vertices, 3)

    def sum_faces_at_vertices(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of a per-face quantity over the faces at each vertex: (F, C) to (V, C).

        Twice differentiable; 0 at a vertex without faces; summed in a fixed order.
        """
        return sum_bags(values, self._vertex_faces, self._face_vertices)

    @kept_property
    def _corner_vertices(self) -> Gather:
        corners, offsets = self.vertex_corners
        by_corner = corners % 3 * self.n_faces + corners // 3
        return Gather(self.faces_int32.t().reshape(-1), Bags(by_corner, offsets))

    @kept_property
    def _face_vertices(self) -> Bags:
        offsets = torch.arange(0, 3 * self.n_faces + 1, 3, dtype=torch.int32, device=self.device)
        return Bags(self.faces_int32.reshape(-1), offsets)

    @kept_property
    def _vertex_faces(self) -> Bags:
        return Bags(self.vertex_corners.indices // 3, self.vertex_corners.offsets)


class _ExtendedTopology(Topology):
    """The result of ``base.extend(n)``: costly quantities are copied from the base, with shifted indices."""

    def __init__(self, base: Topology, n: int) -> None:
        super().__init__(
            repeat_rows(base.faces_local, base.num_faces, n),
            repeat_counts(base.num_verts, n),
            repeat_counts(base.num_faces, n),
        )
        self._base, self._n = base, n

    @kept_property
    def _edges_and_faces_to_edges(self) -> tuple[torch.Tensor, torch.Tensor]:
        n_verts, n_edges = self._base.num_verts, self._base.num_edges_per_mesh.tolist()
        return (
            self._repeat_indices(self._base.edges, rows=n_edges, counted=n_verts),
            self._repeat_indices(self._base.faces_to_edges, rows=self._base.num_faces, counted=n_edges),
        )

    def edge_partners(self, verts: torch.Tensor) -> torch.Tensor:
        if self._partners is None:
            counts, corners = self._base.num_verts, [3 * n for n in self._base.num_faces]
            copies = verts.split([n * self._n for n in counts])
            firsts = [copy[:count] for copy, count in zip(copies, counts, strict=True)]
            partners = self._base.edge_partners(torch.cat(firsts) if firsts else verts).flatten()
            shifted, missing = (
                self._repeat_indices(values, corners, counted)
                for values, counted in ((partners, corners), (partners.clamp(max=0), [0] * len(corners)))
            )
            self._partners = torch.where(missing < 0, -1, shifted).view(-1, 3)
        return self._partners

    @kept_property
    def vertex_corners(self) -> Bags:
        indices, offsets = self._base.vertex_corners
        n_corners = [3 * n for n in self._base.num_faces]
        counts = repeat_rows(offsets.diff(), self._base.num_verts, self._n)
        return Bags(
            self._repeat_indices(indices, rows=n_corners, counted=n_corners),
            F.pad(counts.cumsum(0), (1, 0)).int(),
        )

    def _repeat_indices(self, values: torch.Tensor, rows: list[int], counted: list[int]) -> torch.Tensor:
        """Repeat packed indices for each copy of a mesh, and shift them.

        Args:
            values: the indices, concatenated over the meshes of the base.
            rows: the number of rows of ``values`` that each mesh has.
            counted: the number of indexed items (vertices, edges, corners) that each mesh has.
        """
        first = [0, *accumulate(counted)]
        first_extended = [0, *accumulate(repeat_counts(counted, self._n))]
        parts = [
            part + (first_extended[mesh * self._n + copy] - first[mesh])
            for mesh, part in enumerate(values.split(rows))
            for copy in range(self._n)
        ]
        return torch.cat(parts) if parts else values


def uniform_laplacian(n_verts: int, edges: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The uniform (umbrella) Laplacian: L x is the mean over each vertex's neighbours minus the vertex itself.

    Args:
        n_verts: V.
        edges: (E, 2) int64, each undirected edge once.
        dtype: the result's dtype.
    Returns:
        (V, V) sparse COO, coalesced: 1 / degree(i) at (i, j) for each edge; -1 on the whole diagonal.
    """
    row, column = torch.cat([edges[:, 0], edges[:, 1]]), torch.cat([edges[:, 1], edges[:, 0]])
    degree = row.bincount(minlength=n_verts)
    diagonal = torch.arange(n_verts, device=edges.device)
    indices = torch.stack([torch.cat([row, diagonal]), torch.cat([column, diagonal])])
    values = torch.cat([degree.to(dtype).reciprocal().index_select(0, row), -torch.ones_like(diagonal, dtype=dtype)])
    return torch.sparse_coo_tensor(indices, values, (n_verts, n_verts), check_invariants=False).coalesce()
