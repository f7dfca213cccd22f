"""Which triangles touch which pixels, and the differentiable values there, over ``kernels/rasterize_meshes.py``."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from tirender import runtime
from tirender.kernels import rasterize_meshes as kernels

SCRATCH_RECORDS = 4 << 20  # overlaps listed at once (20 bytes each), unless one band of rows has more


@dataclass(frozen=True)
class Triangles:
    """What the rasterizer draws: the faces of a batch in image order, cut where they cross the near plane.

    Args:
        verts_ndc: (V, 3) float32 or float64, (x_ndc, y_ndc, z_view); carries the gradient.
        faces: (T, 3) int32.
        image: (T,) int32, ascending, the image that each triangle is drawn in.
        n_images: N.
    """

    verts_ndc: torch.Tensor
    faces: torch.Tensor
    image: torch.Tensor
    n_images: int


@dataclass(frozen=True)
class RasterMode:
    """How pixels are matched with triangles: sizes in pixels, ``blur_radius`` in NDC units squared."""

    image_size: tuple[int, int]
    blur_radius: float = 0.0
    faces_per_pixel: int | None = None
    perspective_correct: bool = False
    clip_barycentric_coords: bool = False
    cull_backfaces: bool = False


@torch.compiler.disable
def select_triangles(
    triangles: Triangles, mode: RasterMode, by_depth: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """The nearest triangles of each pixel, packed.

    A triangle overlaps a pixel if the centre is strictly inside it, or closer to its outline than
    ``sqrt(blur_radius)``, at a depth >= 0. Ties in depth go to the lower index.

    Args:
        by_depth: whether each pixel's triangles are sorted by depth; else by index (unless some were dropped).
    Returns:
        offsets: (N * H * W + 1,) int32, where each pixel's triangles begin, and the total.
        index: (M,) int32 triangles.
    Raises:
        ValueError: where one band of rows overlaps more than 2^31 triangles.
    """
    verts = triangles.verts_ndc.detach().contiguous()
    height, width = mode.image_size
    n_pixels = triangles.n_images * height * width
    if n_pixels == 0 or len(triangles.faces) == 0:
        return verts.new_zeros(n_pixels + 1, dtype=torch.int32), verts.new_zeros(0, dtype=torch.int32)
    grid = (height, width, *_tile_size(height, width))
    boxes, bins, binned, room = _bin(triangles, verts, mode, grid)
    geometry = (verts, triangles.faces, boxes, bins, binned)
    flags = (int(mode.perspective_correct), int(mode.clip_barycentric_coords))
    if mode.faces_per_pixel == 1 and mode.blur_radius == 0:
        nearest = binned.new_empty(n_pixels)
        runtime.launch(kernels.select_nearest, *geometry, *flags, *grid, verts.new_empty(n_pixels), nearest)
        hit = nearest >= 0
        return _offsets(hit), nearest[hit]
    return _list(geometry, flags, mode, grid, room, n_pixels, by_depth)


def _tile_size(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of a tile: a CPU thread takes a band of rows, a GPU thread a few pixels."""
    return (4, 4) if runtime.is_parallel_device() else (8, width)


def _bin(
    triangles: Triangles, verts: torch.Tensor, mode: RasterMode, grid: tuple[int, int, int, int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pixel boxes of the triangles, the bins (offsets and members) and how many overlaps each can have."""
    height, width, tile_h, tile_w = grid
    n_tiles = triangles.n_images * math.ceil(height / tile_h) * math.ceil(width / tile_w)
    n_chunks = max(1, min(64, len(triangles.faces) // 64))
    boxes = triangles.faces.new_empty(len(triangles.faces), 4)
    counts = triangles.faces.new_zeros(2, n_tiles, n_chunks)
    margin = math.sqrt(mode.blur_radius)
    runtime.launch(
        kernels.count_bins,
        *(verts, triangles.faces, triangles.image, margin, int(mode.cull_backfaces), *grid, boxes, counts),
    )
    cursor = _offsets(counts[0].view(-1))
    binned = boxes.new_empty(int(cursor[-1]))
    bins = cursor[::n_chunks].clone()  # fill_bins moves the cursor
    runtime.launch(kernels.fill_bins, boxes, triangles.image, *grid, cursor[:-1].view(n_tiles, n_chunks), binned)
    return boxes, bins, binned, counts[1].sum(1)


def _list(
    geometry: tuple[torch.Tensor, ...],
    flags: tuple[int, int],
    mode: RasterMode,
    grid: tuple[int, int, int, int],
    room: torch.Tensor,
    n_pixels: int,
    by_depth: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """All overlaps, listed a few rows of tiles at a time so that scratch memory stays bounded."""
    verts, _, _, bins, _ = geometry
    height, width, tile_h, tile_w = grid
    limit = mode.faces_per_pixel or 2**31 - 1
    start, kept = bins.new_empty(n_pixels), bins.new_empty(n_pixels)
    parts: list[torch.Tensor] = []
    for first_tile, last_tile, first_pixel, last_pixel in _groups(room, grid):
        ends = _offsets(room[first_tile:last_tile])
        records = int(ends[-1])
        found, found_z = bins.new_empty(records, 2), verts.new_empty(records)
        chosen, chosen_z = bins.new_empty(records), verts.new_empty(records)
        runtime.launch(
            kernels.list_fragments,
            *(*geometry, ends, first_tile, mode.blur_radius, *flags, limit, int(by_depth), *grid),
            *(found, found_z, chosen, chosen_z, start, kept),
        )
        offsets = _offsets(kept[first_pixel:last_pixel])
        part = bins.new_empty(int(offsets[-1]))
        runtime.launch(kernels.compact_fragments, chosen, start, offsets, first_pixel, 256, part)
        parts.append(part)
    return _offsets(kept), parts[0] if len(parts) == 1 else torch.cat(parts)


def _groups(room: torch.Tensor, grid: tuple[int, int, int, int]) -> list[tuple[int, int, int, int]]:
    """Runs of whole rows of tiles with at most ``SCRATCH_RECORDS`` overlaps: first and last tile and pixel of each."""
    height, width, tile_h, tile_w = grid
    tiles_x, tiles_y = math.ceil(width / tile_w), math.ceil(height / tile_h)
    loads = room.view(-1, tiles_x).sum(1, dtype=torch.int64).tolist()
    if max(loads) >= 2**31:
        raise ValueError(f"triangles: expected fewer than 2^31 overlaps in a band of rows, got {max(loads)}")

    def pixel(row: int) -> int:
        return (row // tiles_y * height + min(row % tiles_y * tile_h, height)) * width

    groups, first, load = [], 0, 0
    for row, extra in enumerate(loads):
        if row > first and load + extra > SCRATCH_RECORDS:
            groups.append((first * tiles_x, row * tiles_x, pixel(first), pixel(row)))
            first, load = row, 0
        load += extra
    groups.append((first * tiles_x, len(loads) * tiles_x, pixel(first), pixel(len(loads))))
    return groups


def _offsets(counts: torch.Tensor) -> torch.Tensor:
    """(n + 1,) int32 exclusive prefix sum."""
    offsets = torch.zeros(len(counts) + 1, dtype=torch.int32, device=counts.device)
    torch.cumsum(counts, 0, dtype=torch.int32, out=offsets[1:])
    return offsets
