"""From faces in clip space to the fragments of an image: clip, project, select, and evaluate when asked."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch

from tirender.engine import runtime
from tirender.engine.edge_partners import edge_partners
from tirender.engine.kernels.antialias import Picture
from tirender.engine.mesh_fragments import mesh_fragments
from tirender.engine.near_clipping import NearClipping, clip_near
from tirender.engine.packed_fragments import pixels_of
from tirender.engine.rasterize_meshes import RasterMode, Triangles, compact, select_nearest_triangles, select_triangles
from tirender.engine.surface_slopes import surface_slopes
from tirender.transforms.math import away_from_zero, matmul

W_MIN = 1e-8  # without a near plane, the least absolute divisor; no gradient passes to it below


class MeshRasterization:
    """A batch of meshes ready to be drawn; what is selected is found when first asked for, and kept.

    Args:
        verts_clip: (V, 4) rows (x_ndc * w, y_ndc * w, w, z_view); carries the gradient.
        faces: (F, 3) int32; nobody writes to them as long as they live.
        image: (F,) int32, ascending, the image of each face.
        n_images: N.
        mode: how pixels are matched with faces.
        z_near: depth in view space at which faces are clipped; None: they are not.
        perspective: whether w is z_view; else it is 1.
        partners: gives the edges beyond the edges of the faces, (F, 3), see ``edge_partners``; None: they are
            found from the positions when asked for.
    """

    def __init__(
        self,
        verts_clip: torch.Tensor,
        faces: torch.Tensor,
        image: torch.Tensor,
        n_images: int,
        mode: RasterMode,
        z_near: float | None,
        perspective: bool,
        partners: Callable[[], torch.Tensor] | None = None,
    ):
        self.mode = mode
        self._partners = partners
        self.n_faces = len(faces)
        self.clipping: NearClipping | None = None if z_near is None else clip_near(verts_clip[:, 3], faces, z_near)
        w, z = verts_clip[:, 2], verts_clip[:, 3]
        if self.clipping is not None and z_near is not None:
            behind = z < z_near
            verts_clip, faces = self.clipping.apply(verts_clip, faces)
            image = image.index_select(0, self.clipping.face)
            # vertices behind belong to no triangle any more: they divide by 1; new points lie on the plane exactly
            new = z.new_full((len(verts_clip) - len(z),), z_near)
            w = torch.cat([torch.where(behind, torch.ones_like(w), w), new if perspective else torch.ones_like(new)])
            z = torch.cat([z, new])
        if z_near is None or not z_near > W_MIN:
            w = away_from_zero(w, W_MIN)
        verts_ndc = torch.stack([verts_clip[:, 0] / w, verts_clip[:, 1] / w, z], 1)
        siblings = self.clipping.siblings() if self.clipping is not None and self.clipping.n_quads else None
        self.triangles = Triangles(verts_ndc, faces.contiguous(), image, n_images, siblings)
        if self.clipping is None:
            runtime.keep(self.triangles.faces)

    def selection(self, by_depth: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """offsets (N * H * W + 1,) and triangles (M,), both int32; sorted by depth within a pixel where asked."""
        return self._sorted if by_depth or "_sorted" in self.__dict__ else self._unsorted

    def select_faces(self) -> tuple[torch.Tensor, torch.Tensor]:
        """:meth:`selection` by depth, in terms of the faces: offsets int32, and faces (M,) int64."""
        offsets, index = self._sorted
        return offsets, index.long() if self.clipping is None else self.clipping.face.index_select(0, index.long())

    def evaluate(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Depth (M,), barycentric coordinates in the face (M, 3) and signed squared distance (M,) of the selected."""
        index = self._sorted[1]
        zbuf, bary, dists = mesh_fragments(self.triangles, self.mode, self._pixels(), index)
        if self.clipping is not None:
            corners = self.clipping.barycentric(self.n_faces).index_select(0, index.long())
            bary = matmul(bary[:, None], corners)[:, 0]
        return zbuf, bary, dists

    def bary_slopes(self) -> torch.Tensor:
        """How barycentric coordinates of the selected change to the next pixel to the right and below: (M, 3, 2)."""
        index = self._sorted[1].long()
        verts = self.triangles.verts_ndc.detach()[self.triangles.faces.long()[index]]
        slopes = surface_slopes(verts, self._pixels().long(), self.mode)
        if self.clipping is not None:
            corners = self.clipping.barycentric(self.n_faces).detach().index_select(0, index)
            slopes = matmul(corners.transpose(1, 2), slopes)
        return slopes

    def _pixels(self) -> torch.Tensor:
        """(M,) int32: the pixel of each of the selected."""
        offsets, index = self._sorted
        return pixels_of(offsets, len(index))

    def corner_values(self, values: torch.Tensor, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Values (n, D) and their int32 rows at the corners of the triangles, from those of the faces."""
        return (values, faces.int()) if self.clipping is None else self.clipping.apply(values, faces)

    def face_values(self, values: torch.Tensor) -> torch.Tensor:
        """Values of the triangles from those (F, ...) of the faces."""
        return values if self.clipping is None else values.index_select(0, self.clipping.face)

    @cached_property
    def picture(self) -> Picture:
        """The triangle in front at each pixel, and what anti-aliasing needs to know of its edges."""
        nearest, depth = self._nearest
        if self.clipping is None and self._partners is not None:
            partners = self._partners()
        else:
            drawn = self.triangles
            image = drawn.verts_ndc.new_zeros(len(drawn.verts_ndc))
            image[drawn.faces.long()] = drawn.image[:, None].to(image)
            partners = edge_partners(drawn.faces, torch.cat([drawn.verts_ndc.detach(), image[:, None]], 1))
        return Picture(nearest, depth, self.triangles.faces, partners.int(), self.triangles.verts_ndc)

    @cached_property
    def _nearest(self) -> tuple[torch.Tensor, torch.Tensor]:
        return select_nearest_triangles(self.triangles, self.mode)

    @cached_property
    def _sorted(self) -> tuple[torch.Tensor, torch.Tensor]:
        if self.mode.keeps_nearest_alone:
            return compact(self._nearest[0])
        return select_triangles(self.triangles, self.mode, by_depth=True)

    @cached_property
    def _unsorted(self) -> tuple[torch.Tensor, torch.Tensor]:
        return select_triangles(self.triangles, self.mode, by_depth=False)
