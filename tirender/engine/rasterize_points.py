"""Which points each pixel keeps, and the differentiable values there, over ``kernels/rasterize_points.py``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from tirender.engine import runtime
from tirender.engine.first_order import FirstOrder
from tirender.engine.kernels import rasterize_points as kernels
from tirender.engine.kernels.tiles import Listing, Scratch
from tirender.engine.partial_sums import part_bounds_by_work, part_count
from tirender.engine.tiles import TileGrid, bin_primitives, list_overlaps


@dataclass(frozen=True)
class PointRasterization:
    """A batch of point clouds ready to be drawn; what is selected is found when first asked for, and kept.

    Args:
        points_ndc: (P, 3) float32 or float64, (x_ndc, y_ndc, z_view); carries the gradient.
        radius: (P,) in NDC units; without gradient, as it only decides which pixels see a point.
        image: (P,) int32, ascending, the image that each point is drawn in.
        n_images: N.
        image_size: (H, W) in pixels.
        points_per_pixel: how many a pixel keeps, nearest first; None: all.
    """

    points_ndc: torch.Tensor
    radius: torch.Tensor
    image: torch.Tensor
    n_images: int
    image_size: tuple[int, int]
    points_per_pixel: int | None

    def select(self) -> tuple[torch.Tensor, torch.Tensor]:
        """offsets (N * H * W + 1,) and points (M,), both int32, sorted by depth within a pixel."""
        return self._selection

    def evaluate(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Depth and squared distance, (M,) each, of what was selected."""
        return point_fragments(self.points_ndc, self.image_size, *self._selection)

    @cached_property
    def _selection(self) -> tuple[torch.Tensor, torch.Tensor]:
        return select_points(self)


@runtime.not_compiled
def select_points(rasterization: PointRasterization) -> tuple[torch.Tensor, torch.Tensor]:
    """The nearest points of each pixel, packed and sorted by depth.

    A point overlaps a pixel if its distance to the centre is below its radius and its depth is >= 0; one with a
    coordinate that is not finite overlaps none. Ties in depth go to the lower index.

    Returns:
        offsets: (N * H * W + 1,) int32, where each pixel's points begin, and the total.
        index: (M,) int32 points.
    Raises:
        ValueError: where int32 cannot count the pixels, or their points.
    """
    points = rasterization.points_ndc.detach().contiguous()
    radius = rasterization.radius.detach().contiguous()
    height, width = rasterization.image_size
    grid = TileGrid.of(height, width, rasterization.n_images)
    n_pixels = rasterization.n_images * height * width
    if n_pixels == 0 or len(points) == 0:
        return points.new_zeros(n_pixels + 1, dtype=torch.int32), points.new_zeros(0, dtype=torch.int32)
    boxes = rasterization.image.new_empty(len(points), 4)
    runtime.launch(kernels.point_boxes, points, radius, height, width, boxes)
    bins = bin_primitives(boxes, rasterization.image, grid)
    binned = (points, radius, boxes, bins.offsets, bins.members)

    def list_tiles(listing: Listing, scratch_offsets: torch.Tensor, scratch: Scratch) -> None:
        runtime.launch(kernels.list_points, grid.sizes, listing, *binned, scratch_offsets, *scratch)

    return list_overlaps(list_tiles, bins, grid, rasterization.points_per_pixel, points)


@runtime.not_compiled
def point_fragments(
    points_ndc: torch.Tensor, image_size: tuple[int, int], offsets: torch.Tensor, index: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Where pixel centres lie beside the points selected for them.

    Args:
        points_ndc: (P, 3).
        image_size: (H, W).
        offsets, index: from :func:`select_points`.
    Returns:
        zbuf: (M,) depth in view space.
        dists: (M,) squared NDC distance.
        Both differentiable in ``points_ndc``, the selection held fixed.
    """
    with torch.autocast(points_ndc.device.type, enabled=False):
        return _PointFragments.apply(points_ndc, image_size, offsets, index)


class _PointFragments(FirstOrder):
    @staticmethod
    def forward(ctx: Any, points: torch.Tensor, image_size: tuple[int, int], offsets: Any, index: Any) -> Any:
        points = points.detach().contiguous()
        zbuf, dists = points.new_empty(len(index)), points.new_empty(len(index))
        ctx.save_for_backward(points, offsets, index)
        ctx.image_size = image_size
        if len(index):
            runtime.launch(kernels.point_fragments_forward, points, offsets, index, *image_size, zbuf, dists)
        return zbuf, dists

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> Any:
        points, offsets, index = ctx.saved_tensors
        n_parts = part_count(points.numel(), len(index))
        grad_points = points.new_zeros(n_parts, *points.shape)
        if len(index):
            fragments, grads = (points, offsets, index, *ctx.image_size), tuple(g.contiguous() for g in grads)
            bounds = part_bounds_by_work(offsets, n_parts)
            atomic = runtime.is_parallel_device()
            runtime.launch(kernels.point_fragments_adjoint, *fragments, *grads, bounds, atomic, grad_points)
        return grad_points.sum(0), None, None, None
