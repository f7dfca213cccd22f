"""Batches of triangle meshes of different sizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from tirender.checks import as_floats, batch_index, check_tensor, fail
from tirender.structures.corner_normals import CornerNormals
from tirender.structures.geometry import Geometry
from tirender.structures.mesh_input import check_faces, check_selection
from tirender.structures.mesh_views import MeshViews
from tirender.structures.packing import PartsOrPadded, Ragged, check_ragged, concatenate, per_item, split_slices, stored
from tirender.structures.topology import Topology
from tirender.transforms import Transform3d


class Meshes(MeshViews):
    """A batch of N triangle meshes, available as lists, padded tensors and packed tensors.

    *List*: one tensor a mesh. *Packed*: all meshes concatenated; indices count through the batch. *Padded*: (N,
    largest, ...), padded with 0, or with -1 for faces. ``verts_list()`` and ``verts_padded()`` return the very tensors
    that were given in that layout. Packed vertices, and padded ones made from a list, have their own storage. Meshes
    that differ only in their vertices share the ``topology``, so index tensors are shared between meshes: copy one
    before you write into it.

    Args:
        verts: N tensors (V_i, 3) of one device, or one (N, V, 3) tensor; any unit of length. float32 and float64 are
            kept; half floats and integers become float32; mixed parts become float64. NaN and infinity are allowed, so
            that a diverged fit can still be inspected. Areas are infinite where the dtype cannot hold their squares (in
            float32, edges longer than about 1e9).
        faces: N tensors (F_i, 3) of vertex indices within the mesh, of any integer or float dtype, or one (N, F, 3)
            tensor padded at the end; copied as int64. Rows of -1 are padding. Faces are counter-clockwise seen from
            outside.
        textures: ``TexturesVertex``, ``TexturesUV`` or ``TexturesAtlas`` for these meshes.
        verts_normals: vertex normals shaped like ``verts``, used in place of computed ones. One offset for all vertices
            keeps them; other offsets drop them.
        corner_normals: N tensors (n_i, 3), normals that faces are lit by in place of vertex normals. They are kept, and
            turned, as ``verts_normals`` are.
        faces_corner_normals: N tensors (F_i, 3), the rows of ``corner_normals`` at the corners of each face.
    Raises:
        ValueError: if shapes, dtypes, devices or lengths do not fit, or a face index is not a vertex of its mesh.
    """

    def __init__(
        self,
        verts: PartsOrPadded,
        faces: PartsOrPadded,
        textures: Any = None,
        *,
        verts_normals: PartsOrPadded | None = None,
        corner_normals: Sequence[torch.Tensor] | None = None,
        faces_corner_normals: Sequence[torch.Tensor] | None = None,
    ) -> None:
        positions = check_ragged("verts", verts, as_floats)
        topology = check_faces(faces, positions)
        normals = None
        if verts_normals is not None:
            given = check_ragged("verts_normals", verts_normals, as_floats)
            if given.rows.counts != topology.num_verts:
                fail("verts_normals", f"as many as verts in each mesh, {topology.num_verts}", given.rows.counts)
            if given.like.device != positions.like.device:
                fail("verts_normals", f"a tensor on {positions.like.device} as verts", given.like.device)
            normals = given.packed().to(positions.like.dtype)
        corners = None
        if corner_normals is not None:
            corners = CornerNormals.checked(corner_normals, faces_corner_normals or (), topology.num_faces)
        self._geometry = Geometry(topology, positions, normals, corners)
        self.textures = textures

    @classmethod
    def _of(cls, geometry: Geometry, textures: Any) -> Meshes:
        """Meshes from parts that are already validated."""
        meshes = cls.__new__(cls)
        meshes._geometry = geometry
        meshes._attach(textures)
        return meshes

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore pickled meshes, also those of PyTorch3D."""
        if "_geometry" in state:
            self.__dict__.update(state)
            return
        self.__init__(stored(state, "verts"), stored(state, "faces"), state.get("textures"))  # type: ignore[misc]
        normals = state.get("_verts_normals_packed")
        if normals is not None and not torch.allclose(normals, self.verts_normals_packed(), atol=1e-4):  # given ones
            self._geometry = self._geometry.with_verts(self._geometry.positions, normals)

    # --- the batch as a whole ---

    @property
    def textures(self) -> Any:
        """The textures or None. Assigning raises ``ValueError`` if their sizes do not fit these meshes."""
        return self._textures

    @textures.setter
    def textures(self, textures: Any) -> None:
        if textures is not None:
            if not hasattr(textures, "check_shapes"):
                raise TypeError(f"textures: expected a Textures object, got {type(textures).__name__}")
            topology = self.topology
            fits = textures.check_shapes(topology.n_meshes, topology.max_verts, topology.max_faces)
            if fits and hasattr(textures, "check_sizes"):
                fits = textures.check_sizes(topology.num_verts, topology.num_faces)
            if not fits:
                largest = f"at most {topology.max_verts} verts and {topology.max_faces} faces"
                expected = f"textures for {topology.n_meshes} meshes of {largest}"
                fail("textures", expected, f"{type(textures).__name__} of other sizes")
        self._attach(textures)

    # --- other vertices, same topology ---

    def offset_verts_(self, vert_offsets_packed: torch.Tensor) -> Meshes:
        """Add offsets to the vertices of these meshes.

        The old vertices are replaced, not overwritten, so autograd still works.

        Args:
            vert_offsets_packed: (sum V_i, 3), or (3,) or (1, 3) for all vertices; differentiable. Offsets of float64
                make float32 vertices float64.
        Returns:
            self.
        Raises:
            ValueError: if the shape, dtype or device is wrong.
        """
        verts = self.verts_packed()
        offsets = as_floats("vert_offsets_packed", vert_offsets_packed)
        if offsets.shape not in (verts.shape, (3,), (1, 3)):
            fail("vert_offsets_packed", f"shape {tuple(verts.shape)} or (3,)", tuple(offsets.shape))
        if offsets.device != verts.device:
            fail("vert_offsets_packed", f"a tensor on {verts.device}", offsets.device)
        moved = verts + offsets
        is_shift = offsets.numel() <= 3
        self._geometry = self._geometry.moved(moved) if is_shift else self._geometry.with_verts(moved)
        return self

    def offset_verts(self, vert_offsets_packed: torch.Tensor) -> Meshes:
        """As ``offset_verts_``, but returns new Meshes that share topology and textures."""
        return self._shallow_copy().offset_verts_(vert_offsets_packed)

    def scale_verts_(self, scale: float | torch.Tensor) -> Meshes:
        """Scale the vertices of these meshes about the origin.

        Given normals are kept. Other factors along each axis turn them.

        Args:
            scale: a number, or a tensor of any real dtype: (N,) or (N, 1) has one factor a mesh, (N, 3) one an axis;
                differentiable. Row i belongs to mesh i; further rows are ignored, as in PyTorch3D.
        Returns:
            self.
        Raises:
            ValueError: if the shape, dtype or device is wrong.
        """
        scaled = self.verts_packed() * per_item("scale", scale, self._geometry.positions)
        is_uneven = isinstance(scale, torch.Tensor) and scale.dim() == 2 and scale.shape[1] == 3
        matrices = torch.diag_embed(scale[: len(self)].to(scaled)) if is_uneven else None  # type: ignore[index]
        self._geometry = self._geometry.moved(scaled, matrices)
        return self

    def scale_verts(self, scale: float | torch.Tensor) -> Meshes:
        """As ``scale_verts_``, but returns new Meshes that share topology and textures."""
        return self._shallow_copy().scale_verts_(scale)

    def update_padded(self, new_verts_padded: torch.Tensor) -> Meshes:
        """New Meshes with other vertices that share topology and textures; differentiable.

        Args:
            new_verts_padded: (N, max V_i, 3) floats on this device; values in the padding are ignored.
        Raises:
            ValueError: if the shape, dtype or device is wrong.
        """
        rows = self.topology.vert_rows
        check_tensor("new_verts_padded", new_verts_padded, (rows.n_items, rows.largest, 3))
        if new_verts_padded.device != self.device:
            fail("new_verts_padded", f"a tensor on {self.device}", new_verts_padded.device)
        padded = as_floats("new_verts_padded", new_verts_padded)
        positions = Ragged(rows, [padded], "padded") if rows.is_even else rows.unpad(padded)
        return self._of(self._geometry.with_verts(positions), self.textures)

    def transform_verts(self, transform: Transform3d) -> Meshes:
        """New Meshes after an affine transform of the vertices, with topology and textures shared.

        Given normals are multiplied by the inverse transpose of its matrix.

        Args:
            transform: one for all meshes, or N.
        Raises:
            ValueError: if it is not affine, or its number does not fit.
        """
        matrix = transform.get_matrix()
        if bool((matrix[:, :, 3] != matrix.new_tensor([0.0, 0, 0, 1])).any()):
            fail("transform", "an affine transform", "one that divides")
        moved = self.topology.vert_rows.unpad(transform.transform_points(self.verts_padded()))
        return self._of(self._geometry.moved(moved, matrix[:, :3, :3]), self.textures)

    # --- copies ---

    def clone(self) -> Meshes:
        """A copy with its own vertices and textures; differentiable."""
        return self._of(self._geometry.map(torch.clone), None if self.textures is None else self.textures.clone())

    def detach(self) -> Meshes:
        """The same meshes and textures without gradients, sharing memory."""
        textures = None if self.textures is None else self.textures.detach()
        return self._of(self._geometry.map(torch.Tensor.detach), textures)

    def to(self, device: torch.device | str, copy: bool = False) -> Meshes:
        """These meshes on a device. Returns self if they are there already and ``copy`` is False."""
        geometry = self._geometry.map(lambda tensor: tensor.to(device))
        if geometry.positions.like.device == self.device:
            return self.clone() if copy else self
        return self._of(geometry, None if self.textures is None else self.textures.to(device))

    def cpu(self) -> Meshes:
        """These meshes on the CPU."""
        return self.to("cpu")

    def cuda(self) -> Meshes:
        """These meshes on the current CUDA device."""
        return self.to("cuda")

    # --- other batches ---

    def extend(self, N: int) -> Meshes:
        """Repeat each mesh N times in a row, textures included; gradients are summed in the original.

        Topology and vertex normals are derived once, from the original.

        Raises:
            ValueError: if N is not a positive integer.
        """
        if not isinstance(N, int) or N < 1:
            fail("N", "a positive integer", N)
        return self._of(self._geometry.extend(N), None if self.textures is None else self.textures.extend(N))

    def __getitem__(self, index: int | slice | Sequence[int] | torch.Tensor) -> Meshes:
        """A batch of the selected meshes; vertices stay differentiable.

        Args:
            index: an integer, slice, list of integers, bool tensor (N,) or integer tensor (n,); negatives count from
                the end.
        Raises:
            IndexError: if an index is out of range or has another type.
        """
        ids = batch_index(index, len(self), torch.device("cpu")).tolist()
        verts, normals = self.verts_list(), self._geometry.normals
        given = None if normals is None else normals.split(self.topology.num_verts)
        geometry = self._assemble(
            [verts[i] for i in ids],
            [self.topology.faces_list[i] for i in ids],
            None if given is None else [given[i] for i in ids],
            None if self._geometry.corners is None else self._geometry.corners.select(ids),
        )
        return self._of(geometry, None if self.textures is None else self.textures[ids])

    def split(self, split_sizes: Sequence[int]) -> list[Meshes]:
        """Split the batch into consecutive batches of these sizes; what is left over is in none.

        Raises:
            ValueError: if the sizes are not non-negative integers that sum to at most N.
        """
        return [self[part] for part in split_slices(split_sizes, len(self))]

    def submeshes(self, face_indices: Sequence[Sequence[torch.Tensor] | torch.Tensor]) -> Meshes:
        """Meshes made of selected faces. Each has only the vertices that its faces use, in their old order.

        Args:
            face_indices: one entry a mesh, which lists its submeshes: integer tensors (f,) of faces within the mesh, or
                one (n_submeshes, f) tensor.
        Returns:
            a batch of all submeshes, in order, with textures; differentiable in the vertices.
        Raises:
            ValueError: if there is not one entry a mesh, or a face index is not a face of its mesh.
        """
        if len(face_indices) != len(self):
            fail("face_indices", f"{len(self)} entries, one a mesh", len(face_indices))
        given, all_verts = self._geometry.normals, self.verts_list()
        all_normals = None if given is None else given.split(self.topology.num_verts)
        verts, faces, normals = [], [], []
        vertex_ids: list[list[torch.Tensor]] = []
        face_ids: list[list[torch.Tensor]] = []
        for mesh, (all_faces, selections) in enumerate(zip(self.topology.faces_list, face_indices)):
            vertex_ids.append([])
            face_ids.append([])
            for part, selection in enumerate(selections):
                selection = check_selection(f"face_indices[{mesh}][{part}]", selection, len(all_faces))
                used, renumbered = torch.unique(all_faces[selection], return_inverse=True)
                vertex_ids[-1].append(used)
                face_ids[-1].append(selection)
                verts.append(all_verts[mesh].index_select(0, used))
                faces.append(renumbered.reshape(-1, 3))
                if all_normals is not None:
                    normals.append(all_normals[mesh].index_select(0, used))
        corners = None if self._geometry.corners is None else self._geometry.corners.of_faces(face_ids)
        geometry = self._assemble(verts, faces, None if given is None else normals, corners)
        textures = None
        if self.textures is not None and verts:
            textures = self.textures.submeshes(vertex_ids, face_ids)
        return self._of(geometry, textures)

    # --- textures ---

    def sample_textures(self, fragments: Any) -> torch.Tensor:
        """Sample the texture at each fragment; differentiable in the texture and the barycentric coordinates.

        Args:
            fragments: ``Fragments`` (N, H, W, K) or packed fragments (M,), rasterized from these meshes.
        Returns:
            (N, H, W, K, C) or (M, C) features; 0 where a dense fragment is empty.
        Raises:
            ValueError: if these meshes have no textures.
        """
        if self.textures is None:
            fail("textures", "meshes with textures", None)
        return self.textures.sample_textures(fragments, faces_packed=self.faces_packed())

    # --- helpers ---

    def _attach(self, textures: Any) -> None:
        """Set the textures, and give them the sizes of the meshes, which padded tensors do not show."""
        if textures is not None:
            textures._num_faces_per_mesh = list(self.topology.num_faces)
            textures._num_verts_per_mesh = list(self.topology.num_verts)
            textures.valid = self.topology.valid
        self._textures = textures

    def _shallow_copy(self) -> Meshes:
        return self._of(self._geometry, self.textures)

    def _assemble(
        self,
        verts: list[torch.Tensor],
        faces: list[torch.Tensor],
        normals: list[torch.Tensor] | None,
        corners: CornerNormals | None,
    ) -> Geometry:
        """The geometry of already validated parts; an empty batch has this batch's dtype and device."""
        positions = Ragged.of_parts(verts, self.verts_packed())
        packed = concatenate(faces, like=self.topology.faces_local)
        topology = Topology(packed, positions.rows.counts, [len(f) for f in faces])
        return Geometry(topology, positions, None if normals is None else concatenate(normals, positions.like), corners)


def join_meshes_as_batch(meshes: Sequence[Meshes], include_textures: bool = True) -> Meshes:
    """Concatenate several batches of meshes into one.

    Args:
        meshes: a list of batches of one dtype on one device.
        include_textures: whether to join the textures too. They must all be None or all have one type.
    Returns:
        the joined batch; differentiable. Given vertex normals are kept if every batch has them. Given normals of
        corners are kept, beside the vertex normals of batches without.
    Raises:
        ValueError: if meshes is not a list of Meshes, or their dtypes, devices or textures do not fit.
    """
    if isinstance(meshes, Meshes) or not (
        isinstance(meshes, Iterable) and all(isinstance(batch, Meshes) for batch in meshes)
    ):
        fail("meshes", "a list of Meshes", type(meshes).__name__ if isinstance(meshes, Meshes) else meshes)
    if not meshes:
        return Meshes(verts=[], faces=[])
    for i, batch in enumerate(meshes):
        check_tensor(f"meshes[{i}].verts", batch._geometry.positions.like, like=meshes[0]._geometry.positions.like)
    joined = Geometry.joined([batch._geometry for batch in meshes])
    return Meshes._of(joined, _join_textures(meshes) if include_textures else None)


def join_meshes_as_scene(meshes: Meshes | Sequence[Meshes], include_textures: bool = True) -> Meshes:
    """Join all meshes of a batch, or of several batches, into one mesh.

    Args:
        meshes: a batch, or a list of batches as for ``join_meshes_as_batch``.
        include_textures: whether to join the textures too.
    Returns:
        a batch of one mesh (an empty batch stays empty); differentiable.
    Raises:
        ValueError: as ``join_meshes_as_batch``.
    """
    batch = meshes if isinstance(meshes, Meshes) else join_meshes_as_batch(meshes, include_textures)
    textures = batch.textures if include_textures else None
    if len(batch) <= 1:
        return Meshes._of(batch._geometry, textures)
    return Meshes._of(batch._geometry.as_scene(), None if textures is None else textures.join_scene())


def _join_textures(meshes: Sequence[Meshes]) -> Any:
    textures = [batch.textures for batch in meshes if len(batch)]
    kinds = {type(texture).__name__ for texture in textures}
    if len(kinds) > 1:
        fail("meshes", "textures of one type, or none at all", ", ".join(sorted(kinds)))
    if not textures or textures[0] is None:
        return None
    return textures[0].join_batch(textures[1:])
