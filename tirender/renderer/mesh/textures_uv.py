"""Textures made of maps (images) and uv coordinates."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, ClassVar

import torch
import torch.nn.functional as F

from tirender.checks import FLOATS, as_floats, as_indices, check_choice, check_tensor, fail
from tirender.ops.interp_face_attrs import check_faces, evaluate_filled
from tirender.renderer.mesh.mipmaps import pack_mipmaps, sample_mipmaps, unbind_maps
from tirender.renderer.mesh.private_names import PrivateNamesOfUVTextures
from tirender.renderer.mesh.texture_maps import (
    SAMPLING_MODES,
    check_padding,
    join_maps,
    pack_maps,
    sample_maps,
)
from tirender.renderer.mesh.textures_base import (
    PerMesh,
    TexturesBase,
    check_per_mesh,
    device_of,
    distinct,
)
from tirender.structures.fragments import Fragments, PackedFragments
from tirender.transforms.math import matmul


class TexturesUV(PrivateNamesOfUVTextures, TexturesBase):
    """One or several texture maps a mesh, sampled at interpolated uv coordinates.

    (u, v) = (0, 0) is the lower left of a map, (1, 1) the upper right. Maps in a list may differ in size; each is
    sampled at its own size.

    Args:
        maps: (N, H, W, C) or N tensors (H_i, W_i, C), floats (half becomes float32), the top row first. With
            ``maps_ids``, (N, M, H, W, C) or N tensors (M_i, H_i, W_i, C).
        faces_uvs: (N, F, 3) whole numbers padded with -1, or N tensors (F_i, 3): the row in ``verts_uvs`` of each
            corner. A face without uv coordinates has -1; its colour is undefined.
        verts_uvs: (N, T, 2) padded, or N tensors (T_i, 2), numbers.
        maps_ids: (N, F) whole numbers, or N tensors (F_i,): the map of each face, among the mesh's M maps.
        padding_mode: what lies beyond a map: "zeros", "border" (or "clamp"), "reflection" (or "mirror") or "repeat"; a
            pair for u and v. With ``align_corners=False`` the last three are those of OpenGL and glTF.
        align_corners: True puts 0 and 1 at the centres of the outermost texels, False at their outer edges.
        sampling_mode: "bilinear", "nearest", or "trilinear" for mipmaps: pixels that are larger than texels show means
            of them, so that distant maps do not flicker. The level is chosen by the pixel's footprint in the map, and
            held fixed in gradients. Fragments made by hand have no footprint and show the map itself.
    Raises:
        ValueError: if a shape, size, dtype or choice does not fit, or an index is not a row of its mesh's verts_uvs.
    """

    _fields: ClassVar[dict[str, str | None]] = {
        "_maps": None,
        "_faces_uvs": "faces",
        "_verts_uvs": None,
        "_maps_ids": "faces",
    }

    def __init__(
        self,
        maps: PerMesh,
        faces_uvs: PerMesh,
        verts_uvs: PerMesh,
        *,
        maps_ids: PerMesh | None = None,
        padding_mode: str | tuple[str, str] = "border",
        align_corners: bool = True,
        sampling_mode: str = "bilinear",
    ) -> None:
        check_padding("padding_mode", padding_mode)
        self.padding_mode = padding_mode
        self.sampling_mode = check_choice("sampling_mode", sampling_mode, SAMPLING_MODES)
        self.align_corners = align_corners
        self._faces_uvs = check_per_mesh("faces_uvs", faces_uvs, "F", 3, cast=as_indices)
        self._verts_uvs = check_per_mesh("verts_uvs", verts_uvs, "T", 2)
        several = () if maps_ids is None else ("M",)
        self._maps = check_per_mesh("maps", maps, *several, "H", "W", "C", cast=_as_map)
        self._maps_ids = None if maps_ids is None else check_per_mesh("maps_ids", maps_ids, "F", cast=as_indices)
        n = len(faces_uvs)
        for name, values in (("verts_uvs", verts_uvs), ("maps", maps), ("maps_ids", maps_ids)):
            if values is not None and len(values) != n:
                fail(name, f"{n} meshes, as in faces_uvs", len(values))
        ids_list = [] if maps_ids is None else list(maps_ids)
        if len({t.shape[-1] for t in maps}) > 1:
            fail("maps", "one number of channels", sorted({t.shape[-1] for t in maps}))
        if any(0 in t.shape for t in maps):
            fail("maps", "at least one texel a map", [tuple(t.shape) for t in maps if 0 in t.shape][0])
        if maps_ids is not None and [len(t) for t in ids_list] != [len(t) for t in faces_uvs]:
            fail("maps_ids", "as many faces as faces_uvs", [len(t) for t in ids_list])
        for ids, m in zip(ids_list, maps):
            if len(ids) and int(ids.max()) >= len(m):
                fail("maps_ids", f"indices below {len(m)}, the number of maps", int(ids.max()))
        _check_indices(self._faces_uvs, self._verts_uvs)
        self._start(n, device_of(self._faces_uvs), [len(t) for t in faces_uvs], None)

    @property
    def padding(self) -> tuple[str, str]:
        """What lies beyond a map along u and along v, in the words of ``padding_mode``'s first four."""
        return check_padding("padding_mode", self.padding_mode)

    def maps_padded(self) -> torch.Tensor:
        """(N, H, W, C), or (N, M, H, W, C) with ``maps_ids``; smaller maps are resized to the largest."""
        if isinstance(self._maps, torch.Tensor):
            return self._maps
        if not self._maps:
            return torch.zeros(0, 0, 0, 3, device=self.device)
        maps, which = distinct(self._maps)
        if len(maps) == 1:
            return maps[0].clone().expand(self._N, *maps[0].shape)
        size = (max(m.shape[-3] for m in maps), max(m.shape[-2] for m in maps))
        resized = [self._resize(m, size) for m in maps]
        most = max(len(m) for m in resized)
        padded = torch.stack([F.pad(m, (0, 0) * 3 + (0, most - len(m))) for m in resized])
        padded = padded.index_select(0, torch.tensor(which, device=self.device))
        return padded.squeeze(1) if self._maps_ids is None else padded

    def maps_list(self) -> list[torch.Tensor]:
        """N tensors (H_i, W_i, C), or (M_i, H_i, W_i, C) with ``maps_ids``."""
        return self._list("_maps")

    def maps_ids_padded(self) -> torch.Tensor | None:
        """(N, F) int64, -1 beyond a mesh's faces; None if each mesh has one map."""
        return None if self._maps_ids is None else self._padded("_maps_ids", -1)

    def maps_ids_list(self) -> list[torch.Tensor] | None:
        """N tensors (F_i,); None if each mesh has one map."""
        return None if self._maps_ids is None else self._list("_maps_ids")

    def faces_uvs_padded(self) -> torch.Tensor:
        """(N, F, 3) int64, -1 beyond a mesh's faces."""
        return self._padded("_faces_uvs", -1) if self._N else torch.zeros(0, 0, 3, dtype=torch.int64)

    def faces_uvs_list(self) -> list[torch.Tensor]:
        """N tensors (F_i, 3)."""
        return self._list("_faces_uvs")

    def verts_uvs_padded(self) -> torch.Tensor:
        """(N, T, 2), 0 beyond a mesh's uv vertices."""
        return self._padded("_verts_uvs") if self._N else torch.zeros(0, 0, 2, device=self.device)

    def verts_uvs_list(self) -> list[torch.Tensor]:
        """N tensors (T_i, 2)."""
        return self._list("_verts_uvs")

    def faces_verts_uvs_packed(self) -> torch.Tensor:
        """(F, 3, 2): the uv coordinates of the corners of all faces."""
        if not self._N:
            return torch.zeros(0, 3, 2, device=self.device)
        pairs = zip(self.uv_tables(), self.faces_uvs_list())
        return torch.cat([uvs.index_select(0, faces.clamp(min=0).reshape(-1)).view(-1, 3, 2) for uvs, faces in pairs])

    def uv_tables(self) -> list[torch.Tensor]:
        """The tensors of :meth:`verts_uvs_list`, each with at least one row, so that index -1 can be clamped to 0."""
        return [uvs if len(uvs) else uvs.new_zeros(1, 2) for uvs in self.verts_uvs_list()]

    def distinct_maps(self) -> tuple[list[torch.Tensor], torch.Tensor]:
        """All maps without repetition, (H, W, C) each, and the map of each packed face (F,) int64."""
        maps, which = distinct(self.maps_list())
        parts = [(m,) if self._maps_ids is None else unbind_maps(m) for m in maps]
        first = [*accumulate(map(len, parts), initial=0)]
        flat = [m for part in parts for m in part]
        counts = torch.tensor(self._num_faces_per_mesh, dtype=torch.int64, device=self.device)
        of_face = torch.tensor([first[w] for w in which], dtype=torch.int64, device=self.device)
        of_face = of_face.repeat_interleave(counts)
        if self._maps_ids is not None and self._N:
            of_face = of_face + torch.cat(self._list("_maps_ids")).clamp(min=0)
        return flat, of_face

    def faces_verts_textures_packed(self, **kwargs: Any) -> torch.Tensor:
        """(F, 3, C): the maps sampled at the corners of all faces."""
        uvs = self.faces_verts_uvs_packed()
        maps, map_of_face = self.distinct_maps()
        corners = self._sample(maps, map_of_face.repeat_interleave(3), uvs.view(-1, 2), None)
        return corners.unflatten(0, (len(uvs), 3))

    def sample_textures(self, fragments: Any, **kwargs: Any) -> torch.Tensor:
        """Sample each fragment's map at its interpolated uv coordinates.

        Args:
            fragments: dense fragments (N, H, W, K) or packed ones (M,).
        Returns:
            (N, H, W, K, C) or (M, C), 0 in empty slots; differentiable in the maps and, if bilinear, in the uv and
            barycentric coordinates. Unless ``padding_mode`` is "zeros", no gradient passes through a uv coordinate on
            or beyond the border.
        Raises:
            ValueError: if a face index is out of range.
        """
        uvs = self.faces_verts_uvs_packed()
        maps, map_of_face = self.distinct_maps()
        check_faces("fragments.pix_to_face", fragments.pix_to_face, len(uvs))
        coords = check_tensor("fragments.bary_coords", fragments.bary_coords, (*fragments.pix_to_face.shape, 3))
        coords = coords.reshape(-1, 3)
        slopes = fragments.bary_slopes() if self.sampling_mode == "trilinear" and _is_ours(fragments) else None

        def look_up(slots: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
            corners = uvs.index_select(0, faces)
            uv = (coords.index_select(0, slots)[:, :, None] * corners).sum(1)
            uv_slopes = None
            if slopes is not None:
                uv_slopes = matmul(corners.detach().transpose(1, 2), slopes.reshape(-1, 3, 2).index_select(0, slots))
            return self._sample(maps, map_of_face.index_select(0, faces), uv, uv_slopes)

        return evaluate_filled(fragments.pix_to_face, look_up)

    def centers_for_image(self, index: int) -> torch.Tensor:
        """The positions of one mesh's uv vertices in its map.

        Args:
            index: the mesh.
        Returns:
            (T, 2), x to the right and y down, in texels; (0, 0) is the centre of the map's first texel. No gradient.
        Raises:
            ValueError: if each mesh has several maps.
        """
        if self._maps_ids is not None:
            fail("index", "textures with one map a mesh", "several maps")
        rows, columns = self.maps_padded()[index].shape[:2]
        uv = self.verts_uvs_list()[index].detach()
        size = uv.new_tensor([columns, rows])
        x, y = (uv * (size - 1) if self.align_corners else uv * size - 0.5).unbind(1)
        return torch.stack((x.clamp(0, columns - 1), (rows - 1 - y).clamp(0, rows - 1)), dim=1)

    def submeshes(
        self, vertex_ids_list: list[list[torch.Tensor]], faces_ids_list: list[list[torch.Tensor]]
    ) -> TexturesUV:
        """The textures of submeshes, which share the maps; see :meth:`TexturesBase.submeshes`."""
        if len(faces_ids_list) != self._N:
            fail("faces_ids_list", f"{self._N} lists, one a mesh", len(faces_ids_list))
        maps, faces_uvs, verts_uvs, maps_ids = [], [], [], []
        for i, parts in enumerate(faces_ids_list):
            for ids in parts:
                used, faces = self.faces_uvs_list()[i].index_select(0, ids).unique(return_inverse=True)
                n_missing = int((used < 0).sum())  # 1 if there is a -1, which is sorted first
                used, faces = used[n_missing:], faces - n_missing
                maps.append(self.maps_list()[i])
                faces_uvs.append(faces.view(-1, 3))
                verts_uvs.append(self.verts_uvs_list()[i].index_select(0, used))
                if self._maps_ids is not None:
                    maps_ids.append(self._list("_maps_ids")[i].index_select(0, ids))
        return self._like(maps, faces_uvs, verts_uvs, maps_ids if self._maps_ids is not None else None)

    def join_batch(self, textures: Sequence[TexturesUV]) -> TexturesUV:  # type: ignore[override]
        """Concatenate these textures and those of ``textures`` to one batch.

        Raises:
            ValueError: if one is not TexturesUV, or they sample in different ways.
        """
        for other in textures:
            if not isinstance(other, TexturesUV):
                fail("textures", "all of type TexturesUV", type(other).__name__)
            for name in ("padding_mode", "align_corners", "sampling_mode"):
                if getattr(other, name) != getattr(self, name):
                    fail(f"textures.{name}", f"{getattr(self, name)!r} for all", repr(getattr(other, name)))
            if (other._maps_ids is None) != (self._maps_ids is None):
                fail("textures.maps_ids", "for all or for none", "both")
        return super().join_batch(textures)

    def join_scene(self) -> TexturesUV:
        """The textures of the mesh that joins all meshes, with the maps side by side in one map.

        The joined map gives the same colours for uv coordinates in [0, 1]. Coordinates beyond are clamped, unless all
        maps are one, or are of one size and do not end at their border: then ``maps_ids`` says which map a face uses.
        Warns where clamping changes colours.
        """
        if not self._N:
            return self
        maps, map_of_face = self.distinct_maps()
        uvs = self.faces_verts_uvs_packed().view(-1, 2)
        faces = torch.arange(len(uvs), device=self.device).view(-1, 3)
        if len(maps) == 1:
            return self._like([maps[0]], [faces], [uvs], None)
        if self.padding != ("border", "border") and bool(((uvs < 0) | (uvs > 1)).any()):
            if len({m.shape for m in maps}) == 1:
                return self._like([torch.stack(maps)], [faces], [uvs], [map_of_face])
            warnings.warn("join_scene: clamps uv coordinates beyond the maps, as these differ in size", stacklevel=2)
        if self.sampling_mode == "trilinear":
            warnings.warn("join_scene: the smaller levels of joined maps mix at their borders", stacklevel=2)
        joined, corners = join_maps(maps)
        height, width = joined.shape[:2]
        size = torch.tensor([(m.shape[1], m.shape[0]) for m in maps], device=self.device)
        low = torch.tensor([(c, height - r - m.shape[0]) for (r, c), m in zip(corners, maps)], device=self.device)
        whole = torch.tensor([width, height], device=self.device)

        which = map_of_face.repeat_interleave(3)
        size, low = size.index_select(0, which), low.index_select(0, which)
        if self.align_corners:
            uvs = (low + uvs.clamp(0, 1) * (size - 1)) / (whole - 1)
        else:
            uvs = (low + uvs.clamp(0, 1) * size) / whole
        return self._like([joined], [faces], [uvs], None)

    def check_shapes(self, batch_size: int, max_num_verts: int, max_num_faces: int) -> bool:
        """Whether there are uv indices for ``batch_size`` meshes of ``max_num_faces`` padded faces."""
        return tuple(self.faces_uvs_padded().shape[:2]) == (batch_size, max_num_faces)

    def _list(self, name: str) -> list[torch.Tensor]:
        maps = self._maps
        return [*unbind_maps(maps)] if name == "_maps" and isinstance(maps, torch.Tensor) else super()._list(name)

    def _sample(
        self, maps: Sequence[torch.Tensor], map_index: torch.Tensor, uv: torch.Tensor, slopes: torch.Tensor | None
    ) -> torch.Tensor:
        if not maps:
            return uv.new_zeros(0, 3)
        if self.sampling_mode == "trilinear":
            return sample_mipmaps(pack_mipmaps(maps), map_index, uv, slopes, self.padding, self.align_corners)
        packed = pack_maps(maps)
        return sample_maps(packed, map_index, uv, self.sampling_mode, self.padding, self.align_corners)

    def _like(self, maps: PerMesh, faces_uvs: PerMesh, verts_uvs: PerMesh, maps_ids: PerMesh | None) -> TexturesUV:
        return TexturesUV(
            maps,
            faces_uvs,
            verts_uvs,
            maps_ids=maps_ids,
            padding_mode=self.padding_mode,
            align_corners=self.align_corners,
            sampling_mode=self.sampling_mode,
        )

    def _resize(self, m: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Resize maps (M, h, w, C) or (h, w, C) to (M, H, W, C)."""
        m = m if m.dim() == 4 else m[None]
        if m.shape[1:3] == size:
            return m
        resized = F.interpolate(m.permute(0, 3, 1, 2), size, mode="bilinear", align_corners=self.align_corners)
        return resized.permute(0, 2, 3, 1)


def _is_ours(fragments: Any) -> bool:
    return isinstance(fragments, Fragments | PackedFragments)


def _as_map(name: str, values: torch.Tensor) -> torch.Tensor:
    """A map as floats; integers are refused, as their range could be [0, 1] or [0, 255]."""
    return as_floats(name, values) if values.is_floating_point() else check_tensor(name, values, dtype=FLOATS)


def _check_indices(faces_uvs: PerMesh, verts_uvs: PerMesh) -> None:
    """Raise ``ValueError`` if a face index is neither a uv vertex of its mesh nor -1; the kernels check no bounds."""
    if isinstance(faces_uvs, torch.Tensor) and isinstance(verts_uvs, torch.Tensor):
        pairs = [(faces_uvs, verts_uvs.shape[1])]
    else:
        pairs = [(faces, len(uvs)) for faces, uvs in zip(faces_uvs, verts_uvs)]
    for faces, n in {(id(faces), n): (faces, n) for faces, n in pairs}.values():
        if faces.numel():
            low, high = torch.stack(torch.aminmax(faces)).tolist()
            if low < -1 or high >= n:
                fail("faces_uvs", f"indices below {n}, the number of verts_uvs, or -1", low if low < -1 else high)
