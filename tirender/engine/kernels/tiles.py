"""Lists of the primitives (triangles, points) that overlap each pixel, whatever the primitive is.

The image is cut into tiles; on a CPU a tile is a band of whole rows. ``count_bins`` and ``fill_bins`` list the
primitives of each tile in ascending order from their pixel boxes: a counting sort whose chunks of primitives each own a
column of the counts, so that the order never depends on the threads. Then each tile is the work of one thread: it
finds all overlaps, ``group_by_pixel`` and ``keep_nearest`` order them, and ``compact_fragments`` writes the kept
ones out.
"""

import taichi as ti

from tirender.engine.kernels.scalars import comes_before
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.types import I32Array, I32Array2D, I32Array3D, IVec4Array

MOST = 2**31 - 1  # that int32 can count


@ti.kernel
def count_bins(
    boxes: IVec4Array,
    image: I32Array,
    height: ti.i32,
    width: ti.i32,
    tile_h: ti.i32,
    tile_w: ti.i32,
    counts: I32Array3D,
):
    """counts: (2, tile, chunk) primitives, and pixels of their boxes, at most MOST; zero before."""
    n_chunks = counts.shape[2]
    tiles_x = (width + tile_w - 1) // tile_w
    tiles_y = (height + tile_h - 1) // tile_h
    chunk_len = (boxes.shape[0] + n_chunks - 1) // n_chunks
    ti.loop_config(block_dim=ti.static(task_block()))
    for chunk in range(n_chunks):
        for t in range(chunk * chunk_len, ti.min((chunk + 1) * chunk_len, boxes.shape[0])):
            box = boxes[t]
            if box[0] <= box[1] and box[2] <= box[3]:
                for ty in range(box[2] // tile_h, box[3] // tile_h + 1):
                    rows = ti.min(box[3], (ty + 1) * tile_h - 1) - ti.max(box[2], ty * tile_h) + 1
                    for tx in range(box[0] // tile_w, box[1] // tile_w + 1):
                        columns = ti.min(box[1], (tx + 1) * tile_w - 1) - ti.max(box[0], tx * tile_w) + 1
                        tile = (image[t] * tiles_y + ty) * tiles_x + tx
                        # not +=, which would be atomic: the chunk owns its column
                        counts[0, tile, chunk] = counts[0, tile, chunk] + 1
                        pixels = rows * columns
                        counts[1, tile, chunk] = ti.min(counts[1, tile, chunk], MOST - pixels) + pixels


@ti.kernel
def fill_bins(
    boxes: IVec4Array,
    image: I32Array,
    height: ti.i32,
    width: ti.i32,
    tile_h: ti.i32,
    tile_w: ti.i32,
    cursor: I32Array2D,
    binned: I32Array,
):
    """binned: the primitives of each tile; cursor: (tile, chunk) where they begin, moved to where they end."""
    n_chunks = cursor.shape[1]
    tiles_x = (width + tile_w - 1) // tile_w
    tiles_y = (height + tile_h - 1) // tile_h
    chunk_len = (boxes.shape[0] + n_chunks - 1) // n_chunks
    ti.loop_config(block_dim=ti.static(task_block()))
    for chunk in range(n_chunks):
        for t in range(chunk * chunk_len, ti.min((chunk + 1) * chunk_len, boxes.shape[0])):
            box = boxes[t]
            if box[0] <= box[1] and box[2] <= box[3]:
                for ty in range(box[2] // tile_h, box[3] // tile_h + 1):
                    for tx in range(box[0] // tile_w, box[1] // tile_w + 1):
                        tile = (image[t] * tiles_y + ty) * tiles_x + tx
                        at = cursor[tile, chunk]
                        binned[at] = t
                        cursor[tile, chunk] = at + 1


@ti.kernel
def compact_fragments(
    chosen: I32Array, start: I32Array, offsets: I32Array, first_pixel: ti.i32, block: ti.i32, packed: I32Array
):
    """packed: the kept primitives of the pixels from first_pixel on; offsets: theirs, from 0."""
    n_pixels = offsets.shape[0] - 1
    ti.loop_config(block_dim=ti.static(task_block()))
    for i in range((n_pixels + block - 1) // block):
        for pixel in range(i * block, ti.min((i + 1) * block, n_pixels)):
            begin = offsets[pixel]
            for k in range(offsets[pixel + 1] - begin):
                packed[begin + k] = chosen[start[first_pixel + pixel] + k]


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
def tile_window(tile, tiles_x, tiles_y, tile_h, tile_w, height, width):
    x = tile % tiles_x * tile_w
    y = tile // tiles_x % tiles_y * tile_h
    return ti.math.ivec4(x, ti.min(x + tile_w, width) - 1, y, ti.min(y + tile_h, height) - 1)


@ti.func
def overlap_box(a, b):
    return ti.math.ivec4(ti.max(a[0], b[0]), ti.min(a[1], b[1]), ti.max(a[2], b[2]), ti.min(a[3], b[3]))


@ti.func
def first_pixel_of(tile: ti.i32, tiles_x: ti.i32, tiles_y: ti.i32, height: ti.i32, width: ti.i32):
    """The first pixel of the tile's image."""
    return tile // (tiles_x * tiles_y) * height * width


@ti.func
def clear_counts(kept: ti.template(), base: ti.i32, window, width: ti.i32):
    for y in range(window[2], window[3] + 1):
        for x in range(window[0], window[1] + 1):
            kept[base + y * width + x] = 0


@ti.func
def record(
    found: ti.template(), found_z: ti.template(), kept: ti.template(), at: ti.i32, pixel: ti.i32, primitive: ti.i32, z
):
    """Notes one overlap of the tile."""
    found[at, 0] = pixel
    found[at, 1] = primitive
    found_z[at] = z
    kept[pixel] = kept[pixel] + 1


@ti.func
def group_by_pixel(
    found: ti.template(),
    found_z: ti.template(),
    begin: ti.i32,
    end: ti.i32,
    base: ti.i32,
    window,
    width: ti.i32,
    chosen: ti.template(),
    chosen_z: ti.template(),
    start: ti.template(),
    kept: ti.template(),
):
    """chosen: the overlaps recorded from begin to end, grouped by pixel; start: the first place of each pixel in it."""
    at = begin
    for y in range(window[2], window[3] + 1):
        for x in range(window[0], window[1] + 1):
            pixel = base + y * width + x
            start[pixel] = at
            at += kept[pixel]
    for i in range(begin, end):  # start moves to the end of each pixel's group ...
        pixel = found[i, 0]
        at = start[pixel]
        chosen[at] = found[i, 1]
        chosen_z[at] = found_z[i]
        start[pixel] = at + 1
    for y in range(window[2], window[3] + 1):
        for x in range(window[0], window[1] + 1):
            pixel = base + y * width + x
            start[pixel] = start[pixel] - kept[pixel]  # ... and back


@ti.func
def keep_nearest(
    base: ti.i32,
    window,
    width: ti.i32,
    limit: ti.i32,
    by_depth: ti.i32,
    chosen: ti.template(),
    chosen_z: ti.template(),
    start: ti.template(),
    kept: ti.template(),
):
    """Moves the nearest of each pixel to the front and lowers kept to the limit; sorts them by depth where asked."""
    for y in range(window[2], window[3] + 1):
        for x in range(window[0], window[1] + 1):
            pixel = base + y * width + x
            if kept[pixel] > limit:
                nearest_first(chosen, chosen_z, start[pixel], kept[pixel], limit)
                kept[pixel] = limit
            if by_depth:
                sort_by_depth(chosen, chosen_z, start[pixel], kept[pixel])


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
            while hole >= begin + gap and comes_before(zi, ti_, z[hole - gap], index[hole - gap]):
                z[hole], index[hole] = z[hole - gap], index[hole - gap]
                hole -= gap
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
