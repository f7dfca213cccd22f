"""Which triangles touch which pixels, over ``kernels/rasterize_meshes.py``."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from tirender.engine import runtime
from tirender.engine.kernels import rasterize_meshes as kernels
from tirender.engine.kernels.tiles import Listing, Scratch, compact_nearest
from tirender.engine.kernels.triangle import Raster
from tirender.engine.tiles import Bins, TileGrid, bin_primitives, check_loops, list_overlaps, prefix_sum


@dataclass(frozen=True)
class Triangles:
    """What the rasterizer draws: the faces of a batch in image order, cut where they cross the near plane.

    Args:
        verts_ndc: (V, 3) float32 or float64, (x_ndc, y_ndc, z_view); carries the gradient.
        faces: (T, 3) int32.
        image: (T,) int32, ascending, the image that each triangle is drawn in.
        n_images: N.
        siblings: (T,) int32, the triangle that is the other part of the same face, -1 where there is none; None where
            no face is in two parts.
    """

    verts_ndc: torch.Tensor
    faces: torch.Tensor
    image: torch.Tensor
    n_images: int
    siblings: torch.Tensor | None = None


@dataclass(frozen=True)
class RasterMode:
    """How pixels are matched with triangles: sizes in pixels, ``blur_radius`` in NDC units squared."""

    image_size: tuple[int, int]
    blur_radius: float = 0.0
    faces_per_pixel: int | None = None
    perspective_correct: bool = False
    clip_barycentric_coords: bool = False
    cull_backfaces: bool = False

    @property
    def keeps_nearest_alone(self) -> bool:
        """Whether a pixel keeps the one triangle in front."""
        return self.faces_per_pixel == 1 and self.blur_radius == 0

    @property
    def raster(self) -> Raster:
        """What kernels need to know of it."""
        return Raster(
            height=self.image_size[0],
            width=self.image_size[1],
            perspective=self.perspective_correct,
            clip_bary=self.clip_barycentric_coords,
            blur=self.blur_radius,
        )


@runtime.not_compiled
def select_nearest_triangles(triangles: Triangles, mode: RasterMode) -> tuple[torch.Tensor, torch.Tensor]:
    """The triangle in front of those that cover each pixel.

    Returns:
        nearest: (N * H * W,) int32 triangles, -1 where there is none.
        depth: (N * H * W,) where there is one.
    Raises:
        ValueError: where int32 cannot count the pixels, or the driver ends loops early.
    """
    verts = triangles.verts_ndc.detach().contiguous()
    n_pixels = triangles.n_images * mode.image_size[0] * mode.image_size[1]
    sharp = replace(mode, blur_radius=0.0)
    if n_pixels == 0 or len(triangles.faces) == 0:
        return triangles.faces.new_full((n_pixels,), -1), verts.new_zeros(n_pixels)
    nearest, depth = triangles.faces.new_empty(n_pixels), verts.new_empty(n_pixels)
    grid, binned, _ = _bin(triangles, verts, sharp)
    runtime.launch(kernels.select_nearest_triangles, sharp.raster, grid.sizes, *binned[:-1], depth, nearest)
    check_loops(nearest)
    return nearest, depth


@runtime.not_compiled
def select_triangles(
    triangles: Triangles, mode: RasterMode, by_depth: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """The nearest triangles of each pixel, packed.

    A triangle overlaps a pixel that it covers, or whose centre is nearer to it than ``sqrt(blur_radius)``, at a depth
    >= 0. A centre on an edge or vertex that triangles share belongs to one of them, by the top-left rule of Direct3D.
    Of two siblings, a pixel has the one that it lies in, or else is nearer to. Ties in depth go to the lower index.

    Args:
        by_depth: whether each pixel's triangles are sorted by depth; else by index (unless some were dropped).
    Returns:
        offsets: (N * H * W + 1,) int32, where each pixel's triangles begin, and the total.
        index: (M,) int32 triangles.
    Raises:
        ValueError: where int32 cannot count the pixels, or their triangles.
    """
    if mode.keeps_nearest_alone:
        nearest, _depth = select_nearest_triangles(triangles, mode)
        return compact(nearest)
    verts = triangles.verts_ndc.detach().contiguous()
    height, width = mode.image_size
    n_pixels = triangles.n_images * height * width
    if n_pixels == 0 or len(triangles.faces) == 0:
        return verts.new_zeros(n_pixels + 1, dtype=torch.int32), verts.new_zeros(0, dtype=torch.int32)
    grid, binned, bins = _bin(triangles, verts, mode)

    def list_tiles(listing: Listing, scratch_offsets: torch.Tensor, scratch: Scratch) -> None:
        runtime.launch(kernels.list_triangles, mode.raster, grid.sizes, listing, *binned, scratch_offsets, *scratch)

    return list_overlaps(list_tiles, bins, grid, mode.faces_per_pixel, verts, by_depth)


def compact(nearest: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The offsets (pixels + 1,) and members (M,) of fragments of which each pixel has one, or none (-1)."""
    offsets = prefix_sum(nearest >= 0)
    members = nearest.new_empty(int(offsets[-1]))
    if len(members):
        runtime.launch(compact_nearest, nearest, offsets, 256, members)
    return offsets, members


def _bin(triangles: Triangles, verts: torch.Tensor, mode: RasterMode) -> tuple[TileGrid, kernels.Binned, Bins]:
    """Which triangles each tile may see."""
    height, width = mode.image_size
    grid = TileGrid.of(height, width, triangles.n_images)
    boxes = triangles.faces.new_empty(len(triangles.faces), 4)
    margin, cull = math.sqrt(mode.blur_radius), int(mode.cull_backfaces)
    runtime.launch(kernels.triangle_boxes, verts, triangles.faces, margin, cull, height, width, boxes)
    bins = bin_primitives(boxes, triangles.image, grid)
    siblings = bins.members[:0] if triangles.siblings is None else triangles.siblings
    return grid, kernels.Binned(verts, triangles.faces, boxes, bins.offsets, bins.members, siblings), bins
