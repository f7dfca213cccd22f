"""Materials of a file: base colours and maps, alpha, emission, normal and occlusion maps, vertex colours."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, ClassVar, NamedTuple

import torch

from tirender.checks import as_indices, check_range, fail
from tirender.ops.interp_face_attrs import evaluate_filled
from tirender.renderer.mesh.material import MAPS, Material
from tirender.renderer.mesh.material_table import MapTable, wants_grad
from tirender.renderer.mesh.textures_base import PerMesh, TexturesBase, check_per_mesh, device_of, distinct
from tirender.renderer.tone_mapping import decode_srgb
from tirender.structures.keeping import compute_to_keep
from tirender.transforms.math import matmul


class TexturesMaterial(TexturesBase):
    """Materials of faces, the texture coordinates that their maps are read at, and colours that multiply them.

    Args:
        materials: what ``faces_material`` counts; shared by all meshes of the batch.
        faces_material: N tensors (F_i,) int64, -1 for a plain white material.
        verts_uvs: N tensors (T_i, 2), v pointing up; all sets of texture coordinates, one after the other.
        faces_uvs: N tensors (F_i, K, 3) int64, the rows of K sets at each corner; -1 where a face has none: there a map
            is not read.
        colors: N tensors (n_i, 4), RGBA in [0, 1].
        faces_colors: N tensors (F_i, 3) int64, the row of ``colors`` at each corner; -1 is white.
    Raises:
        ValueError: if a shape, dtype or index does not fit.
    """

    _fields: ClassVar[dict[str, str | None]] = {
        "_faces_material": "faces",
        "_verts_uvs": None,
        "_faces_uvs": "faces",
        "_colors": None,
        "_faces_colors": "faces",
    }

    def __init__(
        self,
        materials: Sequence[Material],
        faces_material: PerMesh,
        verts_uvs: PerMesh | None = None,
        faces_uvs: PerMesh | None = None,
        colors: PerMesh | None = None,
        faces_colors: PerMesh | None = None,
    ) -> None:
        self.materials = tuple(materials)
        self._tables: dict[tuple[torch.device, bool, bool], MapTable] = {}  # of all textures made from these
        self._faces_material = check_per_mesh("faces_material", faces_material, "F", cast=as_indices)
        sizes = [len(t) for t in faces_material]
        device = device_of(self._faces_material)
        self._verts_uvs, self._faces_uvs = _indexed(
            ("verts_uvs", verts_uvs, 2), ("faces_uvs", faces_uvs, ("K", 3)), sizes, device
        )
        self._colors, self._faces_colors = _indexed(
            ("colors", colors, 4), ("faces_colors", faces_colors, (3,)), sizes, device
        )
        for rows in faces_material:
            if len(rows) and int(rows.min()) < -1:
                fail("faces_material", "indices of materials, or -1", int(rows.min()))
            check_range("faces_material", rows[rows >= 0], len(self.materials), "materials")
        self._start(len(sizes), device, sizes, None)

    def maps(self, mipmaps: bool = False, linear: bool = False) -> MapTable:
        """The maps of all materials, on the device of these textures.

        Args:
            mipmaps: with their smaller levels.
            linear: colours as linear light instead of sRGB.
        """
        if wants_grad(self.materials) and torch.is_grad_enabled():
            return MapTable.of(self.materials, self.device, mipmaps, linear)
        key = (self.device, mipmaps, linear)
        table = self._tables.get(key)
        if table is None:
            table = compute_to_keep(lambda: MapTable.of(self.materials, self.device, mipmaps, linear))
            if not wants_grad(self.materials):  # else numbers change from step to step
                self._tables[key] = table
        return table

    @property
    def is_physical(self) -> bool:
        """Whether a material says how metallic or rough it is, and is lit."""
        said = ((m.metallic, m.roughness, m.metallic_roughness_map) for m in self.materials if not m.unlit)
        return any(value is not None for values in said for value in values)

    @property
    def is_single_sided(self) -> bool:
        """Whether every face has a material which says that it does not show from behind."""
        every_face = bool(self.materials) and all(bool((rows >= 0).all()) for rows in self._faces_material)
        return every_face and all(material.double_sided is False for material in self.materials)

    @property
    def needs_all_fragments(self) -> bool:
        """Whether a pixel may see more than the nearest face."""
        return any(material.alpha_mode != "opaque" for material in self.materials)

    def packed(self) -> PackedMaterials:
        """The indices of all faces, into tables without repetition."""
        uvs, faces_uvs = self._pack("_verts_uvs", "_faces_uvs")
        colors, faces_colors = self._pack("_colors", "_faces_colors")
        rows = [torch.where(t < 0, len(self.materials), t) for t in self._list("_faces_material")]
        faces_material = _joined(rows) if rows else torch.zeros(0, dtype=torch.int64, device=self.device)
        return PackedMaterials(faces_material, uvs, faces_uvs, colors, faces_colors)

    def _pack(self, values: str, rows: str) -> tuple[torch.Tensor, torch.Tensor]:
        tables, which = distinct(self._list(values))
        if not tables:
            width, shape = (2, (0, 0, 3)) if values == "_verts_uvs" else (4, (0, 3))
            empty = torch.zeros(0, width, device=self.device)
            return empty, torch.zeros(shape, dtype=torch.int64, device=self.device)
        starts = [*accumulate(map(len, tables), initial=0)]
        moved = [torch.where(t < 0, -1, t + starts[w]) if w else t for t, w in zip(self._list(rows), which)]
        return _joined(tables), _joined(moved)

    def sample_textures(self, fragments: Any, **kwargs: Any) -> torch.Tensor:
        """The base colour of fragments, without light, alpha and emission.

        Args:
            fragments: dense fragments (N, H, W, K) or packed ones (M,).
        Returns:
            (N, H, W, K, 3) or (M, 3), 0 in empty slots; differentiable in colours and barycentric coordinates.
        """
        coords = fragments.bary_coords.reshape(-1, 3)

        def look_up(slots: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
            return self.base_color(faces, coords.index_select(0, slots))[:, :3]

        return evaluate_filled(fragments.pix_to_face, look_up)

    def base_color(
        self,
        faces: torch.Tensor,
        bary: torch.Tensor,
        slopes: torch.Tensor | None = None,
        table: MapTable | None = None,
        linear: bool = False,
    ) -> torch.Tensor:
        """(M, 4): factor times colour times map at barycentric coordinates (M, 3) of packed faces (M,).

        ``slopes`` and ``table`` as for :meth:`sample`; ``linear``: of linear light, as the table is.
        """
        packed, table = self.packed(), table or self.maps(slopes is not None, linear)
        material = packed.faces_material.index_select(0, faces)
        sampled, has_map = self.sample("base_map", faces, bary, slopes, table)
        mapped, plain = (t.index_select(0, material) for t in (table.base_color, table.plain_color))
        color = torch.where(has_map[:, None], mapped, plain) * sampled
        return color * packed.color_at(faces, bary, linear) if len(packed.colors) else color

    def sample(
        self,
        slot: str,
        faces: torch.Tensor,
        bary: torch.Tensor,
        slopes: torch.Tensor | None = None,
        table: MapTable | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A kind of map at barycentric coordinates (M, 3) of packed faces (M,).

        Args:
            slot: the attribute of ``Material``.
            faces, bary: the points.
            slopes: (M, 3, 2), the change of ``bary`` to the next pixel to the right and below, for mipmaps; None
                reads the maps themselves.
            table: of these materials, with mipmaps for ``slopes``; by default, that of colours in sRGB.
        Returns:
            (M, 4), 1 where the material has no such map or the face no coordinates; and where it has (M,) bool.
        """
        packed, table = self.packed(), table or self.maps(slopes is not None)
        channel = MAPS.index(slot)
        material = packed.faces_material.index_select(0, faces)
        which = table.map_of[material, channel]
        n_sets = packed.faces_uvs.shape[1]
        uv_set = table.uv_set[material, channel]
        has_map = (which >= 0) & (uv_set < n_sets)
        values = bary.new_ones(len(faces), 4)
        if not bool(has_map.any()):
            return values, has_map
        rows = packed.faces_uvs[faces, uv_set.clamp(max=n_sets - 1)]
        has_map = has_map & (rows >= 0).all(1)
        points = has_map.nonzero()[:, 0]
        corners = packed.uvs.index_select(0, rows[points].flatten()).view(-1, 3, 2)
        transform = table.transform[material[points], channel]
        uv = (bary[points][:, :, None] * corners).sum(1)
        uv = (transform[:, :, :2] * uv[:, None]).sum(2) + transform[:, :, 2]
        if slopes is not None:
            slopes = matmul(transform[:, :, :2], matmul(corners.transpose(1, 2), slopes[points]))
        return values.index_copy(0, points, table.read(which[points], uv, slopes)), has_map

    def faces_verts_textures_packed(self, **kwargs: Any) -> torch.Tensor:
        """(F, 3, 3): the base colours at the corners of the faces."""
        n_faces = sum(self._num_faces_per_mesh)
        faces = torch.arange(n_faces, device=self.device).repeat_interleave(3)
        bary = torch.eye(3, device=self.device).repeat(n_faces, 1)
        return self.base_color(faces, bary)[:, :3].view(-1, 3, 3)

    def join_batch(self, textures: Sequence[TexturesMaterial]) -> TexturesMaterial:  # type: ignore[override]
        """Concatenate these textures and those of ``textures`` to one batch.

        Where one has fewer sets of texture coordinates than another, its faces have none in the sets that it lacks.

        Raises:
            ValueError: if one is not TexturesMaterial.
        """
        for other in textures:
            if not isinstance(other, TexturesMaterial):
                fail("textures", "all of type TexturesMaterial", type(other).__name__)
        n_sets = max((t.shape[1] for part in (self, *textures) for t in part._list("_faces_uvs")), default=0)
        parts: list[TexturesMaterial] = []
        materials: list[Material] = []
        for part in (self, *textures):
            shifted = part._select(list(range(len(part))))
            shifted._faces_material = [
                torch.where(t < 0, -1, t + len(materials)) for t in part._list("_faces_material")
            ]
            shifted._faces_uvs = [_with_sets(t, n_sets) for t in part._list("_faces_uvs")]
            parts.append(shifted)
            materials += part.materials
        joined = super(TexturesMaterial, parts[0]).join_batch(parts[1:])
        joined.materials = tuple(materials)
        joined._tables = {}
        return joined

    def join_scene(self) -> TexturesMaterial:
        """The textures of the mesh that joins all meshes."""
        packed = self.packed()
        material = torch.where(packed.faces_material == len(self.materials), -1, packed.faces_material)
        return TexturesMaterial(
            self.materials, [material], [packed.uvs], [packed.faces_uvs], [packed.colors], [packed.faces_colors]
        )

    def submeshes(
        self, vertex_ids_list: list[list[torch.Tensor]], faces_ids_list: list[list[torch.Tensor]]
    ) -> TexturesMaterial:
        """The textures of submeshes, which share the tables; see :meth:`TexturesBase.submeshes`."""
        fields: dict[str, list[torch.Tensor]] = {name: [] for name in self._fields}
        for i, parts in enumerate(faces_ids_list):
            for ids in parts:
                for name, rows in self._fields.items():
                    values = self._list(name)[i]
                    fields[name].append(values if rows is None else values.index_select(0, ids))
        return TexturesMaterial(self.materials, *fields.values())

    def check_shapes(self, batch_size: int, max_num_verts: int, max_num_faces: int) -> bool:
        """Whether there are materials for ``batch_size`` meshes of ``max_num_faces`` padded faces."""
        return (self._N, max((len(t) for t in self._faces_material), default=0)) == (batch_size, max_num_faces)


class PackedMaterials(NamedTuple):
    """The materials of all faces of a batch.

    Attributes:
        faces_material: (F,) int64; the number of materials for the plain one.
        uvs: (T, 2).
        faces_uvs: (F, K, 3) int64 into uvs, or -1.
        colors: (n, 4).
        faces_colors: (F, 3) int64 into colors, or -1.
    """

    faces_material: torch.Tensor
    uvs: torch.Tensor
    faces_uvs: torch.Tensor
    colors: torch.Tensor
    faces_colors: torch.Tensor

    def linear_colors(self) -> torch.Tensor:
        """(n, 4): the colours as linear light."""
        return torch.cat([decode_srgb(self.colors[:, :3]), self.colors[:, 3:]], 1)

    def color_at(self, faces: torch.Tensor, bary: torch.Tensor, linear: bool = False) -> torch.Tensor:
        """(M, 4): the colours at barycentric coordinates (M, 3) of faces (M,); white where there are none."""
        table = torch.cat([self.linear_colors() if linear else self.colors, self.colors.new_ones(1, 4)])
        rows = torch.where(self.faces_colors < 0, len(self.colors), self.faces_colors)
        corners = table.index_select(0, rows.index_select(0, faces).flatten()).view(-1, 3, 4)
        return (bary[:, :, None] * corners).sum(1)


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _with_sets(faces_uvs: torch.Tensor, n_sets: int) -> torch.Tensor:
    missing = faces_uvs.new_full((len(faces_uvs), n_sets - faces_uvs.shape[1], 3), -1)
    return torch.cat([faces_uvs, missing], 1)


def _indexed(
    table: tuple[str, PerMesh | None, int],
    rows: tuple[str, PerMesh | None, tuple[int | str, ...]],
    sizes: list[int],
    device: torch.device,
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Checked values and their rows at the corners of faces; empty where there are none."""
    (name, values, width), (rows_name, indices, shape) = table, rows
    if values is None or indices is None:
        if (values is None) != (indices is None):
            fail(name if values is None else rows_name, f"a value, as {rows_name if values is None else name}", None)
        none = (0, 3) if "K" in shape else (3,)
        return (
            [torch.zeros(0, width, device=device) for _ in sizes],
            [torch.full((n, *none), -1, dtype=torch.int64, device=device) for n in sizes],
        )
    values = list(check_per_mesh(name, values, "n", width))
    indices = list(check_per_mesh(rows_name, indices, "F", *shape, cast=as_indices))
    if [len(t) for t in indices] != sizes or len(values) != len(sizes):
        fail(rows_name, f"tensors of {sizes} faces", [len(t) for t in indices])
    for of_mesh, index in zip(values, indices):
        if index.numel() and int(index.min()) < -1:
            fail(rows_name, "indices or -1", int(index.min()))
        check_range(rows_name, index[index >= 0], len(of_mesh), f"rows of {name}")
    return values, indices
