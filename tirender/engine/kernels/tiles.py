"""Lists of the primitives (triangles, points) that overlap each pixel, whatever the primitive is.

The image is cut into tiles; on a CPU a tile is a band of whole rows. ``count_bins`` and ``fill_bins`` list the
primitives of each tile in ascending order from their pixel boxes. This is a counting sort: each chunk of primitives
owns a row of the counts, so that the order never depends on the threads. Then each tile is the work of one thread.
It records all overlaps in ``Scratch``, ``group_by_pixel`` and ``keep_nearest`` order them, and ``compact_fragments``
writes out those that are kept.
"""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.scalars import comes_before
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.types import I32Array, I32Array2D, I32Array3D, IVec4Array, struct_of

INT32_MAX = 2**31 - 1
CUT = -2  # written for a thread whose loops the driver has ended early


class Grid(NamedTuple):
    """The size of an image and of a tile, in pixels."""

    height: int
    width: int
    tile_h: int
    tile_w: int


class Listing(NamedTuple):
    """What is listed: tiles from ``first_tile`` on; of each pixel the ``limit`` nearest, sorted if ``by_depth``."""

    first_tile: int
    limit: int
    by_depth: bool


class Scratch(NamedTuple):
    """The overlaps of some tiles.

    Attributes:
        pairs: (overlaps, 2) int32 pixel and primitive, as they are recorded.
        pair_depths: (overlaps,).
        members: (overlaps,) int32 the primitives grouped by pixel.
        member_depths: (overlaps,).
        begin: (pixels,) int32 where the members of each pixel begin.
        count: (pixels,) int32 how many there are, then how many are kept.
    """

    pairs: Any
    pair_depths: Any
    members: Any
    member_depths: Any
    begin: Any
    count: Any


GridStruct, ListingStruct = struct_of(Grid), struct_of(Listing)


@ti.kernel
def count_bins(
    grid: GridStruct,
    boxes: IVec4Array,  # (primitives, 4) first and last column, first and last row; empty where last < first
    image: I32Array,  # (primitives,)
    counts: I32Array3D,  # (2, chunk, tile) primitives, and pixels of their boxes, at most INT32_MAX; zero before
    # counts[0, chunk, 0] is CUT where the driver has ended the chunk's loops
):
    n_chunks = counts.shape[1]
    chunk_len = (boxes.shape[0] + n_chunks - 1) // n_chunks
    tiles_x, tiles_y = tiles_of(grid)
    ti.loop_config(block_dim=ti.static(task_block()))
    for chunk in range(n_chunks):
        for t in range(chunk * chunk_len, ti.min((chunk + 1) * chunk_len, boxes.shape[0])):
            box = boxes[t]
            if box[0] <= box[1] and box[2] <= box[3]:
                for ty in range(box[2] // grid.tile_h, box[3] // grid.tile_h + 1):
                    rows = ti.min(box[3], (ty + 1) * grid.tile_h - 1) - ti.max(box[2], ty * grid.tile_h) + 1
                    for tx in range(box[0] // grid.tile_w, box[1] // grid.tile_w + 1):
                        columns = ti.min(box[1], (tx + 1) * grid.tile_w - 1) - ti.max(box[0], tx * grid.tile_w) + 1
                        tile = (image[t] * tiles_y + ty) * tiles_x + tx
                        # not +=, which would be atomic: the chunk owns its row
                        counts[0, chunk, tile] = counts[0, chunk, tile] + 1
                        pixels = rows * columns
                        counts[1, chunk, tile] = ti.min(counts[1, chunk, tile], INT32_MAX - pixels) + pixels
        if loops_were_cut(grid.tile_h):
            counts[0, chunk, 0] = CUT


@ti.kernel
def fill_bins(
    grid: GridStruct,
    boxes: IVec4Array,  # as for count_bins
    image: I32Array,
    cursor: I32Array2D,  # (chunk, tile) where its primitives begin, moved to where they end
    binned: I32Array,  # the primitives of each tile
):
    n_chunks = cursor.shape[0]
    chunk_len = (boxes.shape[0] + n_chunks - 1) // n_chunks
    tiles_x, tiles_y = tiles_of(grid)
    ti.loop_config(block_dim=ti.static(task_block()))
    for chunk in range(n_chunks):
        for t in range(chunk * chunk_len, ti.min((chunk + 1) * chunk_len, boxes.shape[0])):
            box = boxes[t]
            if box[0] <= box[1] and box[2] <= box[3]:
                for ty in range(box[2] // grid.tile_h, box[3] // grid.tile_h + 1):
                    for tx in range(box[0] // grid.tile_w, box[1] // grid.tile_w + 1):
                        tile = (image[t] * tiles_y + ty) * tiles_x + tx
                        place = cursor[chunk, tile]
                        binned[place] = t
                        cursor[chunk, tile] = place + 1


@ti.kernel
def compact_fragments(
    members: I32Array,  # as in Scratch
    begin: I32Array,
    offsets: I32Array,  # (n + 1,) where the fragments of n pixels begin in packed, and their total
    first_pixel: ti.i32,  # the first of these pixels
    block: ti.i32,  # pixels of a task
    packed: I32Array,  # the kept primitives
):
    n_pixels = offsets.shape[0] - 1
    ti.loop_config(block_dim=ti.static(task_block()))
    for i in range((n_pixels + block - 1) // block):
        for pixel in range(i * block, ti.min((i + 1) * block, n_pixels)):
            for k in range(offsets[pixel + 1] - offsets[pixel]):
                packed[offsets[pixel] + k] = members[begin[first_pixel + pixel] + k]


@ti.kernel
def compact_nearest(
    nearest: I32Array,  # (pixels,) a primitive, or less than 0
    offsets: I32Array,  # (pixels + 1,) how many pixels before each have one
    block: ti.i32,  # pixels of a task
    packed: I32Array,  # the primitives
):
    n_pixels = nearest.shape[0]
    ti.loop_config(block_dim=ti.static(task_block()))
    for i in range((n_pixels + block - 1) // block):
        for pixel in range(i * block, ti.min((i + 1) * block, n_pixels)):
            if nearest[pixel] >= 0:
                packed[offsets[pixel]] = nearest[pixel]


@ti.func
def loops_were_cut(n):
    """Whether the driver has ended loops of this thread early. It then ends one of n rounds, n > 1, after its first.

    Mesa's lavapipe does so after 65,535 rounds of all loops of a thread. Elsewhere the compiler knows the answer.
    """
    rounds = 0
    for _ in range(n):
        rounds += 1
    return rounds < n


@ti.func
def tiles_of(grid):
    """How many tiles an image has side by side, and one below the other; tiles are counted in row-major order."""
    return (grid.width + grid.tile_w - 1) // grid.tile_w, (grid.height + grid.tile_h - 1) // grid.tile_h


@ti.func
def tile_window(tile: ti.i32, grid):
    """First and last column, first and last row of a tile in its image; and the first pixel of that image."""
    tiles_x, tiles_y = tiles_of(grid)
    x = tile % tiles_x * grid.tile_w
    y = tile // tiles_x % tiles_y * grid.tile_h
    window = ti.math.ivec4(x, ti.min(x + grid.tile_w, grid.width) - 1, y, ti.min(y + grid.tile_h, grid.height) - 1)
    return window, tile // (tiles_x * tiles_y) * grid.height * grid.width


@ti.func
def pixel_box(low, high, height: ti.i32, width: ti.i32):
    """The pixels whose centres may lie between two corners (x_ndc, y_ndc); empty where there is none."""
    box = ti.math.ivec4(0, -1, 0, -1)
    short = ti.min(height, width)
    # x_ndc = (width - 2 column - 1) / short; a little wider against rounding, and clamped before the cast to int
    slack = 1e-5 * short * (ti.max(ti.abs(low.x), ti.abs(low.y), ti.abs(high.x), ti.abs(high.y)) + 1)
    left, right = width - short * high.x - slack, width - short * low.x + slack
    top, bottom = height - short * high.y - slack, height - short * low.y + slack
    if left <= 2 * width and right >= 0 and top <= 2 * height and bottom >= 0:
        box = ti.math.ivec4(
            ti.max(ti.cast(ti.ceil((ti.max(left, 0) - 1) / 2), ti.i32), 0),
            ti.min(ti.cast(ti.floor((ti.min(right, 2 * width) - 1) / 2), ti.i32), width - 1),
            ti.max(ti.cast(ti.ceil((ti.max(top, 0) - 1) / 2), ti.i32), 0),
            ti.min(ti.cast(ti.floor((ti.min(bottom, 2 * height) - 1) / 2), ti.i32), height - 1),
        )
    return box


@ti.func
def overlap_box(a, b):
    return ti.math.ivec4(ti.max(a[0], b[0]), ti.min(a[1], b[1]), ti.max(a[2], b[2]), ti.min(a[3], b[3]))


@ti.func
def clear_counts(scratch: ti.template(), window, base: ti.i32, width: ti.i32):
    """base: the first pixel of the image."""
    for y in range(window[2], window[3] + 1):
        for x in range(window[0], window[1] + 1):
            scratch.count[base + y * width + x] = 0


@ti.func
def record(scratch: ti.template(), place: ti.i32, pixel: ti.i32, primitive: ti.i32, z):
    """Note one overlap of the tile."""
    scratch.pairs[place, 0] = pixel
    scratch.pairs[place, 1] = primitive
    scratch.pair_depths[place] = z
    scratch.count[pixel] = scratch.count[pixel] + 1


@ti.func
def group_by_pixel(scratch: ti.template(), first: ti.i32, end: ti.i32, window, base: ti.i32, width: ti.i32):
    """Write the overlaps recorded from ``first`` to ``end`` to members, grouped by pixel, and where groups begin."""
    place = first
    for y in range(window[2], window[3] + 1):
        for x in range(window[0], window[1] + 1):
            pixel = base + y * width + x
            scratch.begin[pixel] = place
            place += scratch.count[pixel]
    for i in range(first, end):  # begin moves to the end of each pixel's group ...
        pixel = scratch.pairs[i, 0]
        place = scratch.begin[pixel]
        scratch.members[place] = scratch.pairs[i, 1]
        scratch.member_depths[place] = scratch.pair_depths[i]
        scratch.begin[pixel] = place + 1
    for y in range(window[2], window[3] + 1):
        for x in range(window[0], window[1] + 1):
            pixel = base + y * width + x
            scratch.begin[pixel] = scratch.begin[pixel] - scratch.count[pixel]  # ... and back


@ti.func
def keep_nearest(scratch: ti.template(), listing, window, base: ti.i32, width: ti.i32):
    """Move the nearest of each pixel to the front and lower count to the limit; sort them by depth where asked."""
    for y in range(window[2], window[3] + 1):
        for x in range(window[0], window[1] + 1):
            pixel = base + y * width + x
            begin = scratch.begin[pixel]
            if scratch.count[pixel] > listing.limit:
                nearest_first(scratch.members, scratch.member_depths, begin, scratch.count[pixel], listing.limit)
                scratch.count[pixel] = listing.limit
            if listing.by_depth:
                sort_by_depth(scratch.members, scratch.member_depths, begin, scratch.count[pixel])


@ti.func
def sort_by_depth(index: ti.template(), z: ti.template(), begin: ti.i32, n: ti.i32):
    """Sorts n entries by (z, index): Shell's sort with Knuth's gaps, which is insertion for the few of most pixels."""
    gap = 1
    while 9 * gap < n:
        gap = 3 * gap + 1
    while gap > 0:
        for i in range(begin + gap, begin + n):
            zi, ti_ = z[i], index[i]
            hole = i
            before = hole - gap
            while before >= begin and comes_before(zi, ti_, z[ti.max(before, begin)], index[ti.max(before, begin)]):
                z[hole], index[hole] = z[before], index[before]
                hole = before
                before = hole - gap
            z[hole], index[hole] = zi, ti_
        gap //= 3


@ti.func
def nearest_first(index: ti.template(), z: ti.template(), begin: ti.i32, n: ti.i32, k: ti.i32):
    """Moves the k least of n entries by (z, index) to the front, in any order (Hoare's selection)."""
    low, high, wanted = begin, begin + n - 1, begin + k - 1
    while low < high:
        zp, tp = z[(low + high) // 2], index[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while comes_before(z[i], index[i], zp, tp):
                i += 1
            while comes_before(zp, tp, z[j], index[j]):
                j -= 1
            if i <= j:
                zi, ti_ = z[i], index[i]
                z[i], index[i] = z[j], index[j]
                z[j], index[j] = zi, ti_
                i += 1
                j -= 1
        if wanted <= j:
            high = j
        elif wanted >= i:
            low = i
        else:
            low = high
