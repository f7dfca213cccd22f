"""Lists of the Gaussians that each tile of an image may show, over ``kernels/gaussian_tiles.py`` and
``kernels/gaussian_tiles_lanes.py``."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch

from tirender.engine import runtime
from tirender.engine.kernels import gaussian_tiles as kernels
from tirender.engine.kernels.composite_gaussians import COLOR, ROWS, Lists, Sizes
from tirender.engine.kernels.gaussian_tiles_lanes import count_entries_lanes, write_records_lanes
from tirender.engine.kernels.lanes import LANES
from tirender.engine.tiles import check_loops, prefix_sum

MAX_ENTRIES = 2**31 - 1
CHUNKS = 64  # of Gaussians, on a CPU
COUNTS = 1 << 24  # counts of Gaussians, for each tile and chunk, that a GPU may use


@dataclass(frozen=True)
class Gaussians2D:
    """Gaussians in images.

    Args:
        means2d: (E, 2) in pixels.
        conics: (E, 3).
        colors: (E, C).
        opacities: (E,).
        image: (E,) int32 the image of each.
        depths: (E,) by which they are sorted.
        drawn: (E, any) int32, the first positive for those that are drawn.
    """

    means2d: torch.Tensor
    conics: torch.Tensor
    colors: torch.Tensor
    opacities: torch.Tensor
    image: torch.Tensor
    depths: torch.Tensor
    drawn: torch.Tensor


@dataclass(frozen=True)
class TileLists:
    """The Gaussians of each tile, nearest first; equal depths by index.

    Args:
        sizes: of the images and tiles.
        order: (n,) int32 the Gaussians that are drawn, by image and depth.
        places: (n + 1,) int32 where the moments of each of these begin.
        lists: records, offsets and entries, see ``kernels.Lists``.
    """

    sizes: Sizes
    order: torch.Tensor
    places: torch.Tensor
    lists: Lists

    def with_channels(self, channels: slice) -> TileLists:
        """The same lists with some of the channels of colours."""
        records = self.lists.records
        if records[:, COLOR:][:, channels].shape[1] == records.shape[1] - COLOR:
            return self
        records = torch.cat([records[:, :COLOR], records[:, COLOR:][:, channels]], 1)
        return replace(self, lists=self.lists._replace(records=records))


def image_sizes(height: int, width: int) -> Sizes:
    """The sizes of an image and its tiles."""
    tiles_x = math.ceil(width / LANES)
    return Sizes(height, width, tiles_x, tiles_x * math.ceil(height / ROWS))


def list_tiles(gaussians: Gaussians2D, height: int, width: int, n_images: int, limits: torch.Tensor) -> TileLists:
    """The Gaussians of each tile.

    Args:
        limits: (3,) greatest and least alpha, least transmittance.
    Raises:
        ValueError: where tiles list 2^31 Gaussians or more, or the driver has ended loops early.
    """
    g, sizes = gaussians, image_sizes(height, width)
    n_tiles = n_images * sizes.tiles_per_image
    order = depth_order(g.depths, g.image, g.drawn)
    n = len(order)
    records, spans = g.colors.new_empty(n, COLOR + g.colors.shape[1]), order.new_empty(n, 3)
    if n * n_tiles == 0:
        order, records = order[:0], records[:0]
        offsets = order.new_zeros(n_tiles + 1)
        return TileLists(sizes, order, order.new_zeros(1), Lists(records, offsets, order.new_empty(0, 3)))
    _write_records(g, sizes, limits, order, records, spans)
    n_chunks = min(CHUNKS, n // 64)
    if runtime.is_parallel_device():  # short ones: on lavapipe eight threads share 65,535 rounds
        n_chunks = min(max(min(n, 1024), n // 256), COUNTS // n_tiles)
    counts = order.new_zeros(max(1, n_chunks), n_tiles)
    widths = spans[:, 1] - spans[:, 0] + 1
    strips, begins, per_gaussian = order.new_empty(_total(widths), 2), prefix_sum(widths), order.new_empty(n)
    count_kernel: Any = kernels.count_entries if runtime.is_parallel_device() else count_entries_lanes
    runtime.launch(count_kernel, sizes, limits, records, spans, begins, strips, counts, per_gaussian)
    check_loops(counts[:, 0])
    per_tile = counts.sum(0)  # int64
    entries = order.new_empty(_total(per_tile), 3)
    offsets, places = prefix_sum(per_tile), prefix_sum(per_gaussian)
    cursor = (offsets[:-1] + counts.cumsum(0) - counts).int()
    runtime.launch(kernels.fill_entries, sizes, spans, begins, strips, cursor, places, entries)
    return TileLists(sizes, order, places, Lists(records, offsets, entries))


def _write_records(gaussians: Gaussians2D, sizes: Sizes, limits: torch.Tensor, order: torch.Tensor, *out: Any) -> None:
    """Fill the records and spans of the Gaussians that are drawn."""
    kernel: Any = kernels.write_records if runtime.is_parallel_device() else write_records_lanes
    g = gaussians
    gaussian = (x.detach().contiguous() for x in (g.image, g.means2d, g.conics, g.colors, g.opacities))
    runtime.launch(kernel, sizes, limits, order, *gaussian, *out)


def _total(counts: torch.Tensor) -> int:
    """How many there are in all, fewer than int32 can count."""
    if (total := int(counts.sum())) >= MAX_ENTRIES:
        raise ValueError(f"means: expected fewer than 2^31 - 1 Gaussians in all tiles, got {total}")
    return total


def given_tiles(
    gaussians: Gaussians2D,
    height: int,
    width: int,
    offsets: torch.Tensor,
    members: torch.Tensor,
    limits: torch.Tensor,
) -> TileLists:
    """Lists of tiles that are known already.

    Args:
        offsets: (tiles + 1,) int32 where the members of each tile begin.
        members: (n,) int32 Gaussians, nearest first within a tile.
    """
    g, sizes = gaussians, image_sizes(height, width)
    order = torch.arange(len(g.means2d), dtype=torch.int32, device=members.device)
    records, spans = g.colors.new_empty(len(order), COLOR + g.colors.shape[1]), order.new_empty(len(order), 3)
    if len(order):
        _write_records(g, sizes, limits, order, records, spans)
    is_drawn = (spans[:, 1] >= spans[:, 0]).index_select(0, members.long())
    kept = prefix_sum(is_drawn.int())
    offsets, members = kept.index_select(0, offsets.long()), members[is_drawn]
    entries = members.new_empty(len(members), 3)
    entries[:, 0], entries[:, 1] = members, (ROWS - 1) << 16
    entries[members.argsort(stable=True), 2] = torch.arange(len(members), dtype=torch.int32, device=members.device)
    places = prefix_sum(torch.bincount(members, minlength=len(order)))
    return TileLists(sizes, order, places, Lists(records, offsets, entries))


def depth_order(depths: torch.Tensor, image: torch.Tensor, drawn: torch.Tensor) -> torch.Tensor:
    """(n,) int32: what is drawn by image, by depth, and by index."""
    index = drawn[:, 0].nonzero()[:, 0]
    depths, image = depths.index_select(0, index), image.index_select(0, index)
    index_bits = max(len(index) - 1, 1).bit_length()
    image_bits = int(image.max()).bit_length() if len(image) else 0
    if depths.dtype == torch.float32 and not depths.is_cuda and 32 + index_bits + image_bits < 64:
        # image, depth and index in one number, which numpy sorts several times faster than torch sorts any keys
        bits = depths.view(torch.int32)
        bits = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # ordered as the numbers are
        keys = (image.long() << 32) + (bits.long() + 2**31)
        keys = (keys << index_bits) + torch.arange(len(index))
        keys.numpy().sort()
        order = keys & ((1 << index_bits) - 1)
    else:
        order = depths.argsort(stable=True)
        order = order.index_select(0, image.index_select(0, order).argsort(stable=True))
    return index.index_select(0, order).int()
