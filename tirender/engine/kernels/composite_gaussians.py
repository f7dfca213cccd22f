"""Colours of pixels from the Gaussians over them, nearest first, and the adjoint.

At a pixel a Gaussian has alpha = o exp(-sigma), sigma = (a dx^2 + c dy^2) / 2 + b dx dy, (dx, dy) from the pixel's
centre to its mean, (a, b, c) its conic. Alphas are cut at a greatest value; below a least one the Gaussian is left out.
A pixel ends before the Gaussian that would bring its transmittance T to a least value or below. Its colour is
sum_k T_k alpha_k f_k + T background, T_k the transmittance before Gaussian k.

sigma is computed as ``wide`` (dx + ``shear`` dy)^2 + ``tall`` dy^2, which is never negative, however long and thin the
Gaussian. Its gradients are moments of dL/dsigma over its pixels: sums of 1, dx, dy, dx^2, dx dy and dy^2.

The adjoint goes from back to front. With d_k = grad . f_k, b_k = alpha_k d_k + (1 - alpha_k) b_{k+1} is what is seen
from k on, and grad alpha_k = T_k (d_k - b_{k+1}).

On a CPU a thread takes whole tiles, and a row of a tile is one vector: ``composite_lanes.py``. Each entry of a tile
has its own place for moments; ``gather_moments`` adds those of a Gaussian in a fixed order. On a GPU a thread is a
pixel, and moments are added by atomics.
"""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.lanes import LANES
from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.tiles import CUT, loops_were_cut
from tirender.engine.kernels.types import (
    FloatArray,
    FloatArray2D,
    I32Array,
    I32Array2D,
    Vec2Array,
    Vec3Array,
    struct_of,
)

ROWS = 16  # of a tile, which is LANES wide; no more than LANES, since a lane is a row too
NEVER = 2**31 - 1
X, Y, SHEAR, WIDE, TALL, LOG, COLOR = range(7)  # columns of records; LOG is that of the opacity
MOMENTS = 6


class Sizes(NamedTuple):
    """The size of an image in pixels, and how many tiles are in a row and in an image."""

    height: int
    width: int
    tiles_x: int
    tiles_per_image: int


class Variant(NamedTuple):
    """What kernels are compiled for."""

    n_channels: int
    exact: bool  # with the library's exponential, which float64 needs
    kept: bool = True  # whether a CPU keeps what the adjoint needs
    absolute: bool = False  # whether the adjoint adds up |dL/dx| and |dL/dy| of each pixel too


class Lists(NamedTuple):
    """The Gaussians of each tile, nearest first.

    Attributes:
        records: (n, COLOR + C) the Gaussians, with columns as named above.
        offsets: (tiles + 1,) int32 where the entries of each tile begin.
        entries: (entries, 3) int32 the Gaussian; the first and last row of the tile that it may reach, 16 bits each;
            the place of its moments.
    """

    records: Any
    offsets: Any
    entries: Any


class Pixels(NamedTuple):
    """The state of pixels between the kernels: a row of a tile after the other on a CPU, of numbers on a GPU.

    Attributes:
        transmittances: after the last Gaussian.
        stops: int32 the entry before which a pixel ended, or NEVER; 0 outside of the image; CUT where the driver has
            ended its loop.
    """

    transmittances: Any
    stops: Any


class Shape(NamedTuple):
    """A Gaussian in the image."""

    x: Any  # the mean, from the edge of the tile
    y: Any
    shear: Any
    wide: Any
    tall: Any
    log: Any


class Tile(NamedTuple):
    """A tile at work."""

    height: Any  # of the image
    width: Any
    image: Any
    x0: Any  # its first pixel
    y0: Any
    row: Any  # its first row in the arrays of pixels
    scratch: Any  # its first row in scratch memory


SizesStruct = struct_of(Sizes)


@ti.kernel
def composite_pixels_forward(
    sizes: SizesStruct,
    variant: ti.template(),
    limits: FloatArray,  # these as for composite_forward
    records: FloatArray2D,
    offsets: I32Array,
    entries: I32Array2D,
    backgrounds: FloatArray2D,
    transmittances: FloatArray,  # (tiles * ROWS * LANES,) as in Pixels, as the next
    stops: I32Array,  # (tiles * ROWS * LANES,)
    colors: FloatArray2D,
    alphas: FloatArray,
):
    """Colours and opacities of pixels, on a GPU."""
    ti.loop_config(block_dim=ROWS * LANES)
    for i in range(transmittances.shape[0]):
        index, row, x = i // (ROWS * LANES), i // LANES % ROWS, i % LANES
        tile = ti.static(tile_at(sizes, index, 0))
        t, stop = cast_like(1, limits[0]), 0
        if tile.x0 + x < tile.width and tile.y0 + row < tile.height:
            stop = NEVER
            seen = ti.Vector([0 * t for _ in ti.static(range(variant.n_channels))])
            entry, end = offsets[index], offsets[index + 1]
            while entry < end and stop == NEVER:
                g, rows = entries[entry, 0], entries[entry, 1]
                if row >= rows & 0xFFFF and row <= rows >> 16:
                    shape = ti.static(shape_of(records, g, tile.x0, tile.y0))
                    alpha = ti.min(ti.exp(exponent(shape, shape.x - (x + 0.5), shape.y - (row + 0.5))), limits[0])
                    after = t * (1 - alpha)
                    if alpha >= limits[1]:
                        if after <= limits[2]:
                            stop = entry
                        else:
                            for c in ti.static(range(variant.n_channels)):
                                seen[c] += alpha * t * records[g, COLOR + c]
                            t = after
                entry += 1
            pixel = (tile.image * tile.height + tile.y0 + row) * tile.width + tile.x0 + x
            alphas[pixel] = 1 - t
            for c in ti.static(range(variant.n_channels)):
                colors[pixel, c] = seen[c] + t * backgrounds[tile.image, c]
            if loops_were_cut(sizes.tiles_x + 1):
                stop = CUT
        transmittances[i], stops[i] = t, stop


@ti.kernel
def composite_pixels_adjoint(
    sizes: SizesStruct,
    variant: ti.template(),
    limits: FloatArray,  # these as for composite_pixels_forward
    records: FloatArray2D,
    offsets: I32Array,
    entries: I32Array2D,
    backgrounds: FloatArray2D,
    transmittances: FloatArray,
    stops: I32Array,
    grad_colors: FloatArray2D,  # (pixels, C)
    grad_alphas: FloatArray,  # (pixels,)
    moments: FloatArray2D,  # (n, MOMENTS + C, or 2 more if absolute) of each record, zero before
    grad_backgrounds: FloatArray2D,  # (tiles, C) zero before
):
    """The moments of each record, and each tile's gradient in the background, on a GPU."""
    ti.loop_config(block_dim=ROWS * LANES)
    for i in range(transmittances.shape[0]):
        index, row, x = i // (ROWS * LANES), i // LANES % ROWS, i % LANES
        tile = ti.static(tile_at(sizes, index, 0))
        t, begin, end = transmittances[i], offsets[index], ti.min(stops[i], offsets[index + 1])
        pixel = (tile.image * tile.height + tile.y0 + row) * tile.width + tile.x0 + x
        if stops[i] > 0:
            g = ti.Vector([grad_colors[pixel, c] for c in ti.static(range(variant.n_channels))])
            behind = -grad_alphas[pixel]
            for c in ti.static(range(variant.n_channels)):
                behind += g[c] * backgrounds[tile.image, c]
                ti.atomic_add(grad_backgrounds[index, c], t * g[c])
            for back in range(end - begin):
                r, rows = entries[end - 1 - back, 0], entries[end - 1 - back, 1]
                if row >= rows & 0xFFFF and row <= rows >> 16:
                    shape = ti.static(shape_of(records, r, tile.x0, tile.y0))
                    dx, dy = shape.x - (x + 0.5), shape.y - (row + 0.5)
                    raw = ti.exp(exponent(shape, dx, dy))
                    alpha = ti.min(raw, limits[0])
                    if alpha >= limits[1]:
                        t /= 1 - alpha
                        nearer = -behind
                        for c in ti.static(range(variant.n_channels)):
                            nearer += g[c] * records[r, COLOR + c]
                            ti.atomic_add(moments[r, MOMENTS + c], alpha * t * g[c])
                        behind += alpha * nearer
                        if raw <= limits[0]:
                            add_moments(moments, r, shape, dx, dy, -alpha * t * nearer, variant)


@ti.func
def add_moments(moments: ti.template(), r, shape: ti.template(), dx, dy, v, variant: ti.template()):
    """Add the moments of a pixel with dL/dsigma = v."""
    terms = ti.Vector([v, v * dx, v * dy, v * dx * dx, v * dx * dy, v * dy * dy])
    for m in ti.static(range(MOMENTS)):
        ti.atomic_add(moments[r, m], terms[m])
    if ti.static(variant.absolute):
        slope = v * (dx + shape.shear * dy) * (2 * shape.wide)
        m = ti.static(MOMENTS + variant.n_channels)
        ti.atomic_add(moments[r, m], ti.abs(slope))
        ti.atomic_add(moments[r, m + 1], ti.abs(shape.shear * slope + v * (2 * shape.tall * dy)))


@ti.kernel
def gather_moments(
    variant: ti.template(),
    order: I32Array,  # (n,) the Gaussians of the records
    records: FloatArray2D,  # (n, COLOR + C)
    places: I32Array,  # (n + 1,) where the moments of each begin
    moments: FloatArray2D,  # (places, MOMENTS + C, or 2 more if absolute)
    conics: Vec3Array,  # (E, 3)
    opacities: FloatArray,  # (E,)
    grad_means2d: Vec2Array,  # (E, 2) these five zero before
    grad_conics: Vec3Array,  # (E, 3)
    grad_opacities: FloatArray,  # (E,)
    grad_colors: FloatArray2D,  # (E, C)
    abs_means2d: Vec2Array,  # (E, 2) written if absolute
):
    """Add the gradients of each Gaussian, from its moments.

    They are added, not written, since Vulkan would not send arrays that are only written: others would lose their 0.
    """
    for r in order:
        e = order[r]
        sums = ti.Vector([cast_like(0, records[r, X]) for _ in ti.static(range(MOMENTS))])
        for place in range(places[r], places[r + 1]):
            for m in ti.static(range(MOMENTS)):
                sums[m] += moments[place, m]
            for c in ti.static(range(variant.n_channels)):
                grad_colors[e, c] = grad_colors[e, c] + moments[place, MOMENTS + c]
            if ti.static(variant.absolute):
                m = ti.static(MOMENTS + variant.n_channels)
                abs_means2d[e] = abs_means2d[e] + ti.Vector([moments[place, m], moments[place, m + 1]])
        a, b, c = conics[e].x, conics[e].y, conics[e].z
        grad_means2d[e] = grad_means2d[e] + ti.Vector([a * sums[1] + b * sums[2], b * sums[1] + c * sums[2]])
        grad_conics[e] = grad_conics[e] + ti.Vector([sums[3] / 2, sums[4], sums[5] / 2])
        if opacities[e] > 0:
            grad_opacities[e] = grad_opacities[e] - sums[0] / opacities[e]


@ti.func
def tile_at(sizes: ti.template(), index, scratch):
    height, width, tiles_x, tiles_per_image = sizes.height, sizes.width, sizes.tiles_x, sizes.tiles_per_image
    x0, y0 = index % tiles_x * LANES, index % tiles_per_image // tiles_x * ROWS
    return ti.static(Tile(height, width, index // tiles_per_image, x0, y0, index * ROWS, scratch))


@ti.func
def shape_of(records: ti.template(), g, x0, y0):
    """The Gaussian of a record, seen from (x0, y0)."""
    x, y = records[g, X] - x0, records[g, Y] - y0
    shear, wide, tall, log = records[g, SHEAR], records[g, WIDE], records[g, TALL], records[g, LOG]
    return ti.static(Shape(x, y, shear, wide, tall, log))


@ti.func
def exponent(shape: ti.template(), dx, dy):
    """The logarithm of alpha."""
    u = dx + shape.shear * dy
    return (shape.log - shape.tall * dy * dy) - shape.wide * u * u
