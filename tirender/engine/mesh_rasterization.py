"""From faces in clip space to the fragments of an image: cut, project, select, and evaluate when asked."""

from __future__ import annotations

from functools import cached_property

import torch

from tirender.engine import runtime
from tirender.engine.mesh_fragments import mesh_fragments
from tirender.engine.near_plane import NearCut, cut_near
from tirender.engine.rasterize_meshes import RasterMode, Triangles, select_triangles
from tirender.transforms.math import away_from_zero, matmul

W_MIN = 1e-8  # without a near plane, the least absolute divisor; no gradient passes to it below


class MeshRasterization:
    """A batch of meshes ready to be drawn; what is selected is found when first asked for, and kept.

    Args:
        clip: (V, 4) rows (x_ndc * w, y_ndc * w, w, z_view); carries the gradient.
        faces: (F, 3) int32; nobody writes to them as long as they live.
        image: (F,) int32, ascending, the image of each face.
        n_images: N.
        mode: how pixels are matched with faces.
        z_near: faces are cut at this depth (view space); None: not at all.
        perspective: whether w is z_view; else it is 1.
    """

    def __init__(
        self,
        clip: torch.Tensor,
        faces: torch.Tensor,
        image: torch.Tensor,
        n_images: int,
        mode: RasterMode,
        z_near: float | None,
        perspective: bool,
    ):
        self.mode = mode
        self.n_faces = len(faces)
        self.cut: NearCut | None = None if z_near is None else cut_near(clip[:, 3], faces, z_near)
        w, z = clip[:, 2], clip[:, 3]
        if self.cut is not None and z_near is not None:
            behind = z < z_near
            clip, faces = self.cut.apply(clip, faces)
            image = image.index_select(0, self.cut.face)
            # vertices behind belong to no triangle any more: they divide by 1; new points lie on the plane exactly
            new = z.new_full((len(clip) - len(z),), z_near)
            w = torch.cat([torch.where(behind, torch.ones_like(w), w), new if perspective else torch.ones_like(new)])
            z = torch.cat([z, new])
        if z_near is None or not z_near > W_MIN:
            w = away_from_zero(w, W_MIN)
        verts_ndc = torch.stack([clip[:, 0] / w, clip[:, 1] / w, z], 1)
        self.triangles = Triangles(verts_ndc, faces.contiguous(), image, n_images)
        if self.cut is None:
            runtime.keep(self.triangles.faces)

    def selection(self, by_depth: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """offsets (N * H * W + 1,) and triangles (M,), both int32; sorted by depth within a pixel where asked."""
        return self._sorted if by_depth or "_sorted" in self.__dict__ else self._unsorted

    def select_faces(self) -> tuple[torch.Tensor, torch.Tensor]:
        """:meth:`selection` by depth, in terms of the faces: offsets int32, and faces (M,) int64."""
        offsets, index = self._sorted
        return offsets, index.long() if self.cut is None else self.cut.face.index_select(0, index.long())

    def evaluate(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Depth (M,), barycentric coordinates in the face (M, 3) and signed squared distance (M,) of the selected."""
        offsets, index = self._sorted
        pixels = torch.arange(len(offsets) - 1, dtype=torch.int32, device=offsets.device)
        pixels = torch.repeat_interleave(pixels, (offsets[1:] - offsets[:-1]).long(), output_size=len(index))
        zbuf, bary, dists = mesh_fragments(self.triangles, self.mode, pixels, index)
        if self.cut is not None:
            corners = self.cut.barycentric(self.n_faces).index_select(0, index.long())
            bary = matmul(bary[:, None], corners)[:, 0]
        return zbuf, bary, dists

    def corner_values(self, values: torch.Tensor, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Values (n, D) and their int32 rows at the corners of the triangles, from those of the faces."""
        return (values, faces.int()) if self.cut is None else self.cut.apply(values, faces)

    def face_values(self, values: torch.Tensor) -> torch.Tensor:
        """Values of the triangles from those (F, ...) of the faces."""
        return values if self.cut is None else values.index_select(0, self.cut.face)

    @cached_property
    def _sorted(self) -> tuple[torch.Tensor, torch.Tensor]:
        return select_triangles(self.triangles, self.mode, by_depth=True)

    @cached_property
    def _unsorted(self) -> tuple[torch.Tensor, torch.Tensor]:
        return select_triangles(self.triangles, self.mode, by_depth=False)
