"""The overlaps of primitives and pixels, listed tile by tile, over ``kernels/tiles.py``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from tirender.engine import runtime
from tirender.engine.kernels import tiles as kernels

SCRATCH_RECORDS = 4 << 20  # overlaps listed at once (20 bytes each), unless one band of rows has more
COUNTS = 1 << 24  # counts of primitives, for each tile and chunk, that a GPU may use


@dataclass(frozen=True)
class TileGrid:
    """Images of H x W pixels in tiles: a CPU thread takes a band of rows, a GPU thread a few pixels."""

    height: int
    width: int
    tile_h: int
    tile_w: int
    n_images: int

    @classmethod
    def of(cls, height: int, width: int, n_images: int) -> TileGrid:
        """The grid that suits the running arch.

        Raises:
            ValueError: where int32 cannot count the pixels.
        """
        if n_images * height * width > kernels.INT32_MAX:
            raise ValueError(
                f"image_size: expected fewer than 2^31 pixels in all images, got {n_images * height * width}"
            )
        tile = (4, 4) if runtime.is_parallel_device() else (8, width)
        return cls(height, width, *tile, n_images)

    @property
    def sizes(self) -> kernels.Grid:
        """The sizes of an image and of a tile, as kernels take them."""
        return kernels.Grid(height=self.height, width=self.width, tile_h=self.tile_h, tile_w=self.tile_w)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of tiles in an image."""
        return math.ceil(self.height / self.tile_h), math.ceil(self.width / self.tile_w)

    @property
    def n_tiles(self) -> int:
        """Tiles of all images."""
        return self.n_images * self.shape[0] * self.shape[1]

    def first_pixel(self, row: int) -> int:
        """The first pixel of a row of tiles, both counted through all images."""
        rows = self.shape[0]
        return (row // rows * self.height + min(row % rows * self.tile_h, self.height)) * self.width


@dataclass(frozen=True)
class Bins:
    """The primitives whose boxes meet each tile.

    Args:
        offsets: (tiles + 1,) int32.
        members: (n,) int32 primitives, ascending within a tile.
        max_overlaps: (tiles,) int64, the pixels of their boxes in the tile: an upper bound of the overlaps.
    """

    offsets: torch.Tensor
    members: torch.Tensor
    max_overlaps: torch.Tensor


def bin_primitives(boxes: torch.Tensor, image: torch.Tensor, grid: TileGrid) -> Bins:
    """Lists the primitives of each tile.

    Args:
        boxes: (n, 4) int32 first and last column, first and last row, inside the image; empty where last < first.
        image: (n,) int32.
    Raises:
        ValueError: where the tiles list 2^31 primitives or more, or the driver has ended loops early.
    """
    # a GPU wants many short chunks; each costs a count for every tile
    most = min(1024, COUNTS // max(grid.n_tiles, 1)) if runtime.is_parallel_device() else 64
    n_chunks = max(1, min(most, len(boxes) // 64))
    counts = boxes.new_zeros(2, n_chunks, grid.n_tiles)  # threads do not share the lines of memory that they write
    runtime.launch(kernels.count_bins, grid.sizes, boxes, image, counts)
    check_loops(counts[0, :, 0])
    _check_total(int(counts[0].sum(dtype=torch.int64)), "with tiles")
    begins = prefix_sum(counts[0].t().reshape(-1))
    members = boxes.new_empty(int(begins[-1]))
    offsets = begins[::n_chunks].clone()
    cursor = begins[:-1].view(grid.n_tiles, n_chunks).t().contiguous()  # fill_bins moves it
    runtime.launch(kernels.fill_bins, grid.sizes, boxes, image, cursor, members)
    return Bins(offsets, members, counts[1].sum(0))


def list_overlaps(
    list_tiles: Callable[[kernels.Listing, torch.Tensor, kernels.Scratch], None],
    bins: Bins,
    grid: TileGrid,
    limit: int | None,
    like: torch.Tensor,
    by_depth: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The nearest primitives of each pixel, a few rows of tiles at a time so that scratch memory stays bounded.

    Args:
        list_tiles: launches the kernel that lists tiles; the tensor says where the overlaps of each begin in scratch.
        limit: how many a pixel keeps; None: all.
        like: gives the float type of depths.
        by_depth: whether each pixel's primitives are sorted by depth; else by index (unless some were dropped).
    Returns:
        offsets: (N * H * W + 1,) int32, where each pixel's primitives begin, and the total.
        members: (M,) int32.
    Raises:
        ValueError: where one band of rows overlaps 2^31 primitives, or all images keep so many, or the driver has ended
            loops early.
    """
    n_pixels = grid.n_images * grid.height * grid.width
    device = bins.members.device
    begin, count = runtime.scratch((n_pixels,), torch.int32, device), bins.members.new_empty(n_pixels)
    parts: list[torch.Tensor] = []
    total = 0
    for first_row, last_row in _groups(bins.max_overlaps, grid):
        tiles = slice(first_row * grid.shape[1], last_row * grid.shape[1])
        pixels = slice(grid.first_pixel(first_row), grid.first_pixel(last_row))
        scratch_offsets = prefix_sum(bins.max_overlaps[tiles])
        n_overlaps = int(scratch_offsets[-1])
        scratch = kernels.Scratch(
            pairs=runtime.scratch((n_overlaps, 2), torch.int32, device),
            pair_depths=runtime.scratch((n_overlaps,), like.dtype, device),
            members=runtime.scratch((n_overlaps,), torch.int32, device),
            member_depths=runtime.scratch((n_overlaps,), like.dtype, device),
            begin=begin,
            count=count,
        )
        listing = kernels.Listing(first_tile=tiles.start, limit=limit or kernels.INT32_MAX, by_depth=by_depth)
        list_tiles(listing, scratch_offsets, scratch)
        check_loops(count[pixels])
        offsets = prefix_sum(count[pixels])
        total += int(offsets[-1])
        _check_total(total, "kept in all images")
        part = count.new_empty(int(offsets[-1]))
        runtime.launch(kernels.compact_fragments, scratch.members, begin, offsets, pixels.start, 256, part)
        parts.append(part)
    return (offsets, part) if len(parts) == 1 else (prefix_sum(count), torch.cat(parts))


def prefix_sum(counts: torch.Tensor) -> torch.Tensor:
    """(n + 1,) int32 exclusive prefix sum."""
    offsets = torch.zeros(len(counts) + 1, dtype=torch.int32, device=counts.device)
    torch.cumsum(counts, 0, dtype=torch.int32, out=offsets[1:])
    return offsets


def check_loops(marks: torch.Tensor) -> None:
    """See that no thread has marked its loops as ended early by the driver; only Vulkan's do so."""
    if runtime.arch() == "vulkan" and bool((marks == kernels.CUT).any()):
        raise ValueError(
            "primitives: expected no more than this Vulkan driver lists, got too many for one thread, whose loops it "
            "ends early, as Mesa's lavapipe does after 65535 rounds; use the 'cpu' arch"
        )


def _check_total(overlaps: int, where: str) -> None:
    if overlaps >= kernels.INT32_MAX:
        raise ValueError(f"primitives: expected fewer than 2^31 - 1 overlaps {where}, got {overlaps}")


def _groups(max_overlaps: torch.Tensor, grid: TileGrid) -> list[tuple[int, int]]:
    """Runs of rows of tiles with at most ``SCRATCH_RECORDS`` overlaps, unless one row has more."""
    loads = max_overlaps.view(-1, grid.shape[1]).sum(1, dtype=torch.int64).tolist()
    _check_total(max(loads), "in a band of rows")
    groups, first, load = [], 0, 0
    for row, extra in enumerate(loads):
        if row > first and load + extra > SCRATCH_RECORDS:
            groups.append((first, row))
            first, load = row, 0
        load += extra
    return [*groups, (first, len(loads))]
