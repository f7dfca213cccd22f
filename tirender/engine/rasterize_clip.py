"""Pictures of triangles in clip space, over ``kernels/rasterize_clip.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from tirender.engine import runtime
from tirender.engine.first_order import FirstOrder
from tirender.engine.kernels import rasterize_clip as kernels
from tirender.engine.kernels.types import ImageSize
from tirender.engine.partial_sums import part_bounds, part_count
from tirender.engine.tiles import TileGrid, bin_primitives, check_loops


@dataclass(frozen=True)
class ClipTriangles:
    """Triangles in the clip space of OpenGL, and the images that they are drawn in.

    Args:
        verts: (V, 4) float32 or float64 (x, y, z, w); carries the gradient.
        faces: (T, 3) int32.
        ids: (T,) int32, what the picture says of each triangle.
        image: (T,) int32, ascending.
        n_images: N.
    """

    verts: torch.Tensor
    faces: torch.Tensor
    ids: torch.Tensor
    image: torch.Tensor
    n_images: int


@runtime.not_compiled
def select_in_clip_space(
    triangles: ClipTriangles, size: tuple[int, int], behind: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The triangle in front at each pixel; of equals, that of the lower index.

    Args:
        size: (H, W) of the images in pixels; the first row is at y / w = -1.
        behind: (N * H * W,) the z / w beyond which triangles are looked for.
    Returns:
        nearest: (N * H * W,) int32 triangles, -1 where there is none.
        depth: (N * H * W,) z / w, in [-1, 1]; 1 where there is none.
    Raises:
        ValueError: where int32 cannot count the pixels, or the driver ends loops early.
    """
    verts = triangles.verts.detach().contiguous()
    grid = TileGrid.of(*size, triangles.n_images)
    n_pixels = triangles.n_images * size[0] * size[1]
    nearest, depth = triangles.faces.new_full((n_pixels,), -1), verts.new_ones(n_pixels)
    if n_pixels and len(triangles.faces):
        boxes = triangles.faces.new_empty(len(triangles.faces), 4)
        runtime.launch(kernels.clip_boxes, ImageSize(*size), verts, triangles.faces, boxes)
        bins = bin_primitives(boxes, triangles.image, grid)
        runtime.launch(
            kernels.select_in_clip_space,
            grid.sizes,
            verts,
            triangles.faces,
            boxes,
            bins.offsets,
            bins.members,
            depth[:0] if behind is None else behind,
            depth,
            nearest,
        )
        check_loops(nearest)
    return nearest, depth


@runtime.not_compiled
def rasterize_clip(
    triangles: ClipTriangles,
    size: tuple[int, int],
    selection: tuple[torch.Tensor, torch.Tensor],
    with_changes: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the selected triangles are at each pixel.

    Args:
        size: (H, W) of the images in pixels.
        selection: of :func:`select_in_clip_space`.
        with_changes: whether the second result is wanted.
    Returns:
        rast: (N * H * W, 4) the barycentric coordinates, in space, of the first two vertices; z / w; and the id plus 1.
            0 where there is no triangle.
        rast_db: (N * H * W, 4) how the first coordinate changes with x and y of the pixel, then the second; (0, 4)
            where not wanted.

        The coordinates and their changes are differentiable in x, y and w of the vertices; the selection, and z / w,
        are held fixed. Triangles seen edge-on pass no gradients.
    """
    return _RasterizeClip.apply(triangles.verts, triangles, ImageSize(*size), *selection, with_changes)


class _RasterizeClip(FirstOrder):
    @staticmethod
    def forward(
        ctx: Any, verts: torch.Tensor, triangles: Any, size: Any, nearest: Any, depth: Any, with_changes: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        verts, n_pixels = verts.detach().contiguous(), len(nearest)
        rast, rast_db = verts.new_zeros(n_pixels, 4), verts.new_zeros(n_pixels if with_changes else 0, 4)
        if n_pixels:
            arrays = (verts, triangles.faces, triangles.ids, nearest, depth)
            runtime.launch(kernels.rasterize_clip_forward, size, *arrays, rast, rast_db)
        ctx.size = size
        ctx.save_for_backward(verts, triangles.faces, nearest)
        ctx.set_materialize_grads(False)
        return rast, rast_db

    @staticmethod
    def backward(ctx: Any, grad_rast: torch.Tensor | None, grad_rast_db: torch.Tensor | None) -> Any:
        verts, faces, nearest = ctx.saved_tensors
        n_pixels = len(nearest)
        grads = [
            verts.new_zeros(rows, 4) if grad is None else grad.contiguous()
            for grad, rows in ((grad_rast, n_pixels), (grad_rast_db, 0))
        ]
        n_parts = part_count(verts.numel(), n_pixels)
        grad_verts = verts.new_zeros(n_parts, *verts.shape)
        if n_pixels and len(faces):
            bounds, atomic = part_bounds(n_pixels, n_parts, verts.device), runtime.is_parallel_device()
            arrays = (verts, faces, nearest, *grads, bounds)
            runtime.launch(kernels.rasterize_clip_adjoint, ctx.size, *arrays, atomic, grad_verts)
        return grad_verts.sum(0), None, None, None, None, None
