"""Textures with a small square of texels for each face."""

from __future__ import annotations

from itertools import accumulate
from typing import Any, ClassVar

import torch

from tirender.checks import check_tensor, fail
from tirender.ops.interp_face_attrs import check_faces, evaluate_filled
from tirender.renderer.mesh.private_names import PrivateNamesOfAtlases
from tirender.renderer.mesh.textures_base import PerMesh, TexturesBase, check_per_mesh, device_of, distinct


class TexturesAtlas(PrivateNamesOfAtlases, TexturesBase):
    """R x R texels a face, each for one small triangle of the face (the surface texture of SoftRas, Liu et al. 2019).

    The first two barycentric coordinates of a fragment select a cell, and the cell's half selects the texel. There is
    no filtering.

    Args:
        atlas: (N, F, R, R, D) padded, or N tensors (F_i, R, R, D) of one R > 0 and D; half floats and integers become
            float32.
    Raises:
        ValueError: if a shape or dtype does not fit.
    """

    _fields: ClassVar[dict[str, str | None]] = {"_atlas": "faces"}

    def __init__(self, atlas: PerMesh) -> None:
        self._atlas = check_per_mesh("atlas", atlas, "F", "R", "R", "D")
        tails = {tuple(t.shape[1:]) for t in atlas}
        if len(tails) > 1 or any(r != s for r, s, _ in tails):
            fail("atlas", "shapes (F, R, R, D) of one R and D", sorted(tails))
        if any(r == 0 for r, _, _ in tails):
            fail("atlas", "at least one texel a face", sorted(tails)[0])
        self._start(len(atlas), device_of(self._atlas), [len(t) for t in atlas], None)

    def atlas_padded(self) -> torch.Tensor:
        """(N, F, R, R, D), 0 beyond a mesh's faces."""
        return self._padded("_atlas") if self._N else torch.zeros(0, 0, 0, 0, 3, device=self.device)

    def atlas_list(self) -> list[torch.Tensor]:
        """N tensors (F_i, R, R, D)."""
        return self._list("_atlas")

    def atlas_packed(self) -> torch.Tensor:
        """(sum of F_i, R, R, D)."""
        return torch.cat(self.atlas_list()) if self._N else torch.zeros(0, 0, 0, 3, device=self.device)

    def distinct_atlas(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The texels (T, R, R, D) without repetition over meshes, and the row of each packed face (F,) int64."""
        if not self._N:
            return self.atlas_packed(), torch.zeros(0, dtype=torch.int64, device=self.device)
        tables, which = distinct(self.atlas_list())
        first = [*accumulate(map(len, tables), initial=0)]
        rows = [torch.arange(first[w], first[w + 1], device=self.device) for w in which]
        return tables[0] if len(tables) == 1 else torch.cat(tables), torch.cat(rows)

    def faces_verts_textures_packed(self, **kwargs: Any) -> torch.Tensor:
        """(F, 3, D): the texels at the corners of the faces."""
        atlas = self.atlas_packed()
        return torch.stack((atlas[:, 0, -1], atlas[:, -1, 0], atlas[:, 0, 0]), dim=1)

    def sample_textures(self, fragments: Any, **kwargs: Any) -> torch.Tensor:
        """Look up the texel of each fragment.

        Args:
            fragments: dense fragments (N, H, W, K) or packed ones (M,).
        Returns:
            (N, H, W, K, D) or (M, D), 0 in empty slots; differentiable in the atlas. Not differentiable in the
            barycentric coordinates, as each texel is constant. Coordinates outside the face are clamped to a cell.
        Raises:
            ValueError: if a face index is out of range.
        """
        table, row_of_face = self.distinct_atlas()
        size, channels = table.shape[1], table.shape[-1]
        check_faces("fragments.pix_to_face", fragments.pix_to_face, len(row_of_face))
        coords = check_tensor("fragments.bary_coords", fragments.bary_coords, (*fragments.pix_to_face.shape, 3))
        coords = coords.detach().reshape(-1, 3)

        def look_up(slots: torch.Tensor, faces: torch.Tensor) -> torch.Tensor:
            b = coords.index_select(0, slots)[:, :2]
            cell = (b * size).long().clamp(0, size - 1)
            # The triangle beyond a cell's diagonal is stored in the mirrored cell, beyond the diagonal of the square.
            beyond_diagonal = b.sum(-1) * size - cell.sum(-1) > 1
            cell = torch.where(beyond_diagonal[:, None], size - 1 - cell, cell)
            texel = (row_of_face.index_select(0, faces) * size + cell[:, 1]) * size + cell[:, 0]
            return table.reshape(-1, channels).index_select(0, texel)

        return evaluate_filled(fragments.pix_to_face, look_up)

    def submeshes(
        self, vertex_ids_list: list[list[torch.Tensor]], faces_ids_list: list[list[torch.Tensor]]
    ) -> TexturesAtlas:
        """The textures of submeshes; see :meth:`TexturesBase.submeshes`."""
        if len(faces_ids_list) != self._N:
            fail("faces_ids_list", f"{self._N} lists, one a mesh", len(faces_ids_list))
        pairs = zip(self.atlas_list(), faces_ids_list)
        return TexturesAtlas([atlas.index_select(0, ids) for atlas, parts in pairs for ids in parts])

    def join_scene(self) -> TexturesAtlas:
        """The textures of the mesh that joins all meshes."""
        return TexturesAtlas([self.atlas_packed()]) if self._N else self

    def check_shapes(self, batch_size: int, max_num_verts: int, max_num_faces: int) -> bool:
        """Whether there are texels for ``batch_size`` meshes of ``max_num_faces`` padded faces."""
        return tuple(self.atlas_padded().shape[:2]) == (batch_size, max_num_faces)
