"""Kernels of ``gaussian_tiles.py`` for a CPU: 16 Gaussians, or four columns of tiles of one, are one vector."""

import taichi as ti

from tirender.engine.kernels.composite_gaussians import COLOR, LOG, ROWS, SHEAR, TALL, WIDE, X, Y
from tirender.engine.kernels.gaussian_tiles import SLACK, TINY, SizesStruct, chunk_range, ellipse_of, reached_rows
from tirender.engine.kernels.lanes import LANES, greater, less, log_of_lanes, read_lanes, whole_vectors
from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.types import FloatArray, FloatArray2D, I32Array, I32Array2D

COLUMNS = 4


@whole_vectors
def write_records_lanes(
    sizes: SizesStruct,
    limits: FloatArray,  # all as for write_records
    order: I32Array,
    image: I32Array,
    means2d: FloatArray2D,
    conics: FloatArray2D,
    colors: FloatArray2D,
    opacities: FloatArray,
    records: FloatArray2D,
    spans: I32Array2D,
):
    for block in range((order.shape[0] + LANES - 1) // LANES):
        first, n = block * LANES, order.shape[0]
        e = [order[ti.min(first + lane, n - 1)] for lane in ti.static(range(LANES))]
        x, y = read_lanes(means2d, e, 0), read_lanes(means2d, e, 1)
        a, b, c = read_lanes(conics, e, 0), read_lanes(conics, e, 1), read_lanes(conics, e, 2)
        opacity = ti.Vector([opacities[e[lane]] for lane in ti.static(range(LANES))])
        shear, wide, height = b / a, a / 2, log_of_lanes(opacity)
        tall = greater(c - b * shear, 0) / 2
        spread = 1 / wide + shear * shear / greater(tall, TINY)
        reach = ti.sqrt((height - ti.log(limits[1])) * spread) + SLACK
        # the pixel centres in reach
        left, right = greater(ti.ceil(x - reach - 0.5), 0), less(ti.floor(x + reach - 0.5), sizes.width - 1)
        is_finite = (a * a + b * b + c * c + x * x + y * y) * 0 == 0
        is_seen = is_finite & (a > 0) & (c > 0) & (opacity >= limits[1]) & (left <= right)
        left, right = ti.select(is_seen, ti.floor(left / LANES), 0), ti.select(is_seen, ti.floor(right / LANES), -1)
        for lane in ti.static(range(LANES)):
            r = first + lane
            if r < n:
                records[r, X], records[r, Y] = x[lane], y[lane]
                records[r, SHEAR], records[r, WIDE] = shear[lane], wide[lane]
                records[r, TALL], records[r, LOG] = tall[lane], height[lane]
                for k in range(colors.shape[1]):
                    records[r, COLOR + k] = colors[e[lane], k]
                spans[r, 0], spans[r, 1] = ti.cast(left[lane], ti.i32), ti.cast(right[lane], ti.i32)
                spans[r, 2] = image[e[lane]]


@whole_vectors
def count_entries_lanes(
    sizes: SizesStruct,
    limits: FloatArray,  # all as for count_entries
    records: FloatArray2D,
    spans: I32Array2D,
    begins: I32Array,
    strips: I32Array2D,
    counts: I32Array2D,
    places: I32Array,
):
    ti.loop_config(block_dim=1)
    for chunk in range(counts.shape[0]):
        tiles_x, tiles_per_image, height = sizes.tiles_x, sizes.tiles_per_image, sizes.height
        log_least = ti.log(limits[1])
        begin, end = chunk_range(chunk, counts.shape[0], spans.shape[0])
        for r in range(begin, end):
            column, last_column, image, count = spans[r, 0], spans[r, 1], spans[r, 2], 0
            ellipse = ti.static(ellipse_of(records, r, log_least))
            while column <= last_column:
                lefts = ti.Vector([cast_like((column + lane) * LANES, ellipse.x) for lane in ti.static(range(COLUMNS))])
                first, last = reached_rows(ellipse, lefts, height)
                row, last_row = ti.floor(first / ROWS), ti.floor(last / ROWS)
                for lane in ti.static(range(COLUMNS)):
                    if column + lane <= last_column:
                        strip = begins[r] + column + lane - spans[r, 0]
                        strips[strip, 0], strips[strip, 1] = ti.cast(first[lane], ti.i32), ti.cast(last[lane], ti.i32)
                        for y in range(ti.cast(row[lane], ti.i32), ti.cast(last_row[lane], ti.i32) + 1):
                            tile = image * tiles_per_image + y * tiles_x + column + lane
                            counts[chunk, tile] = counts[chunk, tile] + 1
                            count += 1
                column += COLUMNS
            places[r] = count
