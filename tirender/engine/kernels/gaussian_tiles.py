"""Which Gaussians each tile of an image may show, nearest first.

Gaussians come sorted by image and depth. ``write_records`` puts what tiles read of each into one place, and finds the
columns of tiles that it reaches. In a column, the rows that its ellipse alpha = least alpha reaches are known exactly;
``count_entries`` finds them. It and ``fill_entries`` list the Gaussians of each tile: a counting sort, in which a chunk
of Gaussians owns a row of the counts, so that the order never depends on the threads.
"""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.composite_gaussians import COLOR, LOG, ROWS, SHEAR, TALL, WIDE, Sizes, X, Y
from tirender.engine.kernels.lanes import LANES, greater, less
from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.tiles import CUT, loops_were_cut
from tirender.engine.kernels.types import (
    FloatArray,
    FloatArray2D,
    I32Array,
    I32Array2D,
    IVec3Array,
    Vec2Array,
    Vec3Array,
    struct_of,
)

SLACK = 0.01  # pixels around an ellipse, against rounding
TINY = 1e-30


class Ellipse(NamedTuple):
    """Where wide (u + shear v)^2 + tall v^2 <= level, (u, v) from (x, y).

    Attributes:
        peak: the greatest v, at u = -shear peak; the least is opposite.
        slope, square: the ellipse is square v^2 + 2 slope u v + wide u^2 <= level.
    """

    x: Any
    y: Any
    shear: Any
    wide: Any
    tall: Any
    level: Any
    peak: Any
    slope: Any
    square: Any


SizesStruct = struct_of(Sizes)


@ti.kernel
def write_records(
    sizes: SizesStruct,
    limits: FloatArray,  # (3,) greatest and least alpha, least transmittance
    order: I32Array,  # (n,) the Gaussians that are drawn, by image and depth
    image: I32Array,  # (E,) the image of each Gaussian, as what follows
    means2d: Vec2Array,  # (E, 2)
    conics: Vec3Array,  # (E, 3)
    colors: FloatArray2D,  # (E, C)
    opacities: FloatArray,  # (E,)
    records: FloatArray2D,  # (n, COLOR + C)
    spans: IVec3Array,  # (n, 3) first and last column of tiles, none where last < first; image
):
    for r in order:
        e, log_least = order[r], ti.log(limits[1])
        mean, conic, opacity = means2d[e], conics[e], opacities[e]
        span = ti.math.ivec3(0, -1, image[e])
        is_ellipse = conic.x > 0 and conic.z > 0 and conic.norm_sqr() * 0 == 0 and mean.norm_sqr() * 0 == 0
        if is_ellipse and opacity >= limits[1]:
            records[r, X], records[r, Y] = mean.x, mean.y
            records[r, SHEAR] = conic.y / conic.x
            records[r, WIDE] = conic.x / 2
            records[r, TALL] = ti.max(conic.z - conic.y * records[r, SHEAR], 0) / 2
            records[r, LOG] = ti.log(opacity)
            ellipse = ti.static(ellipse_of(records, r, log_least))
            spread = 1 / ellipse.wide + ellipse.shear * ellipse.shear / ellipse.tall
            reach = ti.sqrt(ellipse.level * spread) + SLACK
            # the pixel centres in reach, limited before they are cast to int
            width = sizes.width
            left = ti.max(ti.ceil(mean.x - reach - 0.5), 0)
            right = ti.min(ti.floor(mean.x + reach - 0.5), width - 1)
            if left <= right:
                span[0], span[1] = ti.cast(left, ti.i32) // LANES, ti.cast(right, ti.i32) // LANES
        spans[r] = span
        for c in range(colors.shape[1]):
            records[r, COLOR + c] = colors[e, c]


@ti.kernel
def count_entries(
    sizes: SizesStruct,
    limits: FloatArray,  # as for write_records, as the next two
    records: FloatArray2D,
    spans: IVec3Array,
    begins: I32Array,  # (n + 1,) where the strips of each Gaussian begin
    strips: I32Array2D,  # (strips, 2) first and last row of pixels in each column of its span; 0 and -1 for none
    counts: I32Array2D,  # (chunks, tiles) zero before; CUT for a chunk's first where the driver has ended its loops
    places: I32Array,  # (n,) in how many tiles each Gaussian is listed
):
    ti.loop_config(block_dim=ti.static(task_block()))
    for chunk in range(counts.shape[0]):
        tiles_x, tiles_per_image, height = sizes.tiles_x, sizes.tiles_per_image, sizes.height
        log_least = ti.log(limits[1])
        begin, end = chunk_range(chunk, counts.shape[0], spans.shape[0])
        for r in range(begin, end):
            span, count = spans[r], 0
            ellipse = ti.static(ellipse_of(records, r, log_least))
            for column in range(span[0], span[1] + 1):
                top, bottom = reached_rows(ellipse, cast_like(column * LANES, ellipse.x), height)
                first, last = ti.cast(top, ti.i32), ti.cast(bottom, ti.i32)
                strip = begins[r] + column - span[0]
                strips[strip, 0], strips[strip, 1] = first, last
                for row in range(first // ROWS, last // ROWS + 1):
                    tile = span[2] * tiles_per_image + row * tiles_x + column
                    counts[chunk, tile] = counts[chunk, tile] + 1  # not +=, which would be atomic
                    count += 1
            places[r] = count
        if loops_were_cut(tiles_x + 1):
            counts[chunk, 0] = CUT


@ti.kernel
def fill_entries(
    sizes: SizesStruct,
    spans: IVec3Array,  # these three as for count_entries
    begins: I32Array,
    strips: I32Array2D,
    cursor: I32Array2D,  # (chunks, tiles) where the entries of a chunk begin in a tile, moved to where they end
    places: I32Array,  # (n,) where the places of each Gaussian's moments begin
    entries: IVec3Array,  # (entries, 3) as in Lists
):
    ti.loop_config(block_dim=ti.static(task_block()))
    for chunk in range(cursor.shape[0]):
        tiles_x, tiles_per_image = sizes.tiles_x, sizes.tiles_per_image
        begin, end = chunk_range(chunk, cursor.shape[0], spans.shape[0])
        for r in range(begin, end):
            span, place = spans[r], places[r]
            for column in range(span[0], span[1] + 1):
                strip = begins[r] + column - span[0]
                first, last = strips[strip, 0], strips[strip, 1]
                for row in range(first // ROWS, last // ROWS + 1):
                    tile = span[2] * tiles_per_image + row * tiles_x + column
                    entry = cursor[chunk, tile]
                    cursor[chunk, tile] = entry + 1
                    top, bottom = ti.max(first - row * ROWS, 0), ti.min(last - row * ROWS, ROWS - 1)
                    entries[entry] = ti.math.ivec3(r, top | bottom << 16, place)
                    place += 1


@ti.func
def chunk_range(chunk, n_chunks, n):
    length = (n + n_chunks - 1) // n_chunks
    return chunk * length, ti.min((chunk + 1) * length, n)


@ti.func
def ellipse_of(records: ti.template(), r, log_least):
    """Where the alpha of a Gaussian is at least the least one, of which the logarithm is given."""
    x, y, shear, wide = records[r, X], records[r, Y], records[r, SHEAR], records[r, WIDE]
    tall = ti.max(records[r, TALL], cast_like(TINY, wide))
    level = records[r, LOG] - log_least
    slope = wide * shear
    square = slope * shear + tall
    return ti.static(Ellipse(x, y, shear, wide, tall, level, ti.sqrt(level / tall), slope, square))


@ti.func
def reached_rows(ellipse: ti.template(), column_x, height):
    """The first and the last row of pixels that an ellipse reaches in a column of tiles; 0 and -1 for none.

    The left edge of the column may be a vector of those of several, and rows are floats.
    """
    none = 0 * column_x
    left = column_x + (0.5 - SLACK - ellipse.x)
    right = left + (LANES - 1 + 2 * SLACK)
    # where the tips, which have the greatest and the least v, are not in the column, v ends at the side next to them
    tip = none + ellipse.shear * ellipse.peak
    u = greater(less(0 - tip, right), left)
    is_tip, root = u == 0 - tip, root_at(ellipse, u)
    is_met = is_tip | (root >= 0)
    high = ti.select(is_tip, ellipse.peak, (ti.sqrt(greater(root, 0)) - ellipse.slope * u) / ellipse.square)
    u = greater(less(tip, right), left)
    is_tip, root = u == tip, root_at(ellipse, u)
    is_met = is_met & (is_tip | (root >= 0))
    low = 0 - ti.select(is_tip, ellipse.peak, (ti.sqrt(greater(root, 0)) + ellipse.slope * u) / ellipse.square)
    top = greater(ti.ceil(ellipse.y + low - SLACK - 0.5), 0)
    bottom = less(ti.floor(ellipse.y + high + SLACK - 0.5), height - 1)
    is_met = is_met & (top <= bottom)
    return ti.select(is_met, top, 0), ti.select(is_met, bottom, -1)


@ti.func
def root_at(ellipse: ti.template(), u):
    """What is under the root in the v of an ellipse's edge at u; negative where it does not reach u."""
    return ellipse.level * ellipse.square - ellipse.wide * ellipse.tall * u * u
