"""The kernels of ``composite_gaussians.py`` for a CPU: a row of a tile is one vector of lanes.

A Gaussian is blended into all rows of a tile that it reaches before the next one is looked at, so that what depends on
the Gaussian alone is computed once, and the gradients of all rows are added up in registers.
"""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.composite_gaussians import (
    COLOR,
    MOMENTS,
    NEVER,
    ROWS,
    Lists,
    Pixels,
    SizesStruct,
    shape_of,
    tile_at,
)
from tirender.engine.kernels.lanes import (
    EXP_SCALE,
    EXP_SHIFT,
    LANES,
    IntLanesArray,
    LanesArray,
    exp_of_scaled,
    greatest_lane,
    sum_of_lanes,
    whole_vectors,
)
from tirender.engine.kernels.types import FloatArray, FloatArray2D, I32Array, I32Array2D

BATCH = 32  # entries between two looks at which rows are still open
DY, SIDE, HEIGHT, SLOPE, TERMS = range(5)  # rows of scratch memory for each entry of a batch, see write_terms
ALPHAS = BATCH * TERMS  # then follow the alphas of each row
STATE = ALPHAS + ROWS  # then its sums, or its state


def scratch_size(per_row: int) -> int:
    """Vectors of scratch memory of a task whose sums or state have so many for each row."""
    return STATE + ROWS * per_row


@whole_vectors
def composite_lanes_forward(
    sizes: SizesStruct,
    variant: ti.template(),
    limits: FloatArray,  # (3,) greatest and least alpha, least transmittance
    records: FloatArray2D,  # these three as in Lists
    offsets: I32Array,
    entries: I32Array2D,
    backgrounds: FloatArray2D,  # (images, C)
    columns: LanesArray,  # (1,) the pixel centres of a row of a tile, from its edge
    scratch: LanesArray,  # (tasks, STATE + ROWS * C) scratch memory; in the last the colour of each row
    transmittances: LanesArray,  # (tiles * ROWS,) as in Pixels, as the next
    stops: IntLanesArray,  # (tiles * ROWS,); empty where not kept
    colors: FloatArray2D,  # (pixels, C)
    alphas: FloatArray,  # (pixels,)
):
    """Colours and opacities of pixels, on a CPU."""
    lists = ti.static(Lists(records, offsets, entries))
    pixels = ti.static(Pixels(transmittances, stops))
    ti.loop_config(block_dim=1)
    for task in range(scratch.shape[0] // ti.static(scratch_size(variant.n_channels))):
        per_task = ti.static(scratch_size(variant.n_channels))
        n_tiles, n_tasks = offsets.shape[0] - 1, scratch.shape[0] // per_task
        for turn in range((n_tiles - task + n_tasks - 1) // n_tasks):
            index = task + turn * n_tasks
            tile = ti.static(tile_at(sizes, index, task * per_task))
            open_rows(tile, variant, pixels, columns[0])
            for i in range(tile.scratch + STATE, tile.scratch + per_task):
                scratch[i] = columns[0] * 0
            blend_tile(tile, variant, limits, columns[0], lists, pixels, scratch, index)
            for row in range(ti.min(ROWS, tile.height - tile.y0)):
                t, sums = transmittances[tile.row + row], tile.scratch + STATE + row * variant.n_channels
                t = ti.select(t < 0, 0 - t, t)
                transmittances[tile.row + row] = t
                for c in ti.static(range(variant.n_channels)):
                    scratch[sums + c] = scratch[sums + c] + t * backgrounds[tile.image, c]
                first = (tile.image * tile.height + tile.y0 + row) * tile.width + tile.x0
                for lane in ti.static(range(LANES)):
                    if tile.x0 + lane < tile.width:
                        alphas[first + lane] = 1 - t[lane]
                        for c in ti.static(range(variant.n_channels)):
                            colors[first + lane, c] = scratch[sums + c][lane]


@ti.func
def write_terms(tile: ti.template(), lists: ti.template(), lane_x, scratch: ti.template(), first, n):
    """What all pixels of a row share, for all rows of a tile at once: a lane is a row.

    EXP_SCALE log(alpha) + EXP_SHIFT is height - (side - slope x)^2, x the pixel centres of a row. Records are read for
    several entries together, as a core waits longer for one that is far than it takes to read many.
    """
    for k in range(n):
        shape = ti.static(shape_of(lists.records, lists.entries[first + k, 0], tile.x0, tile.y0 + 0.5))
        at, slope = tile.scratch + k * TERMS, ti.sqrt(shape.wide * EXP_SCALE)
        dy = shape.y - (lane_x - 0.5)
        scratch[at + DY] = dy
        scratch[at + SIDE] = (shape.x + shape.shear * dy) * slope
        scratch[at + HEIGHT] = (shape.log - shape.tall * dy * dy) * EXP_SCALE + EXP_SHIFT
        scratch[at + SLOPE] = lane_x * slope


@ti.func
def alpha_of(scratch: ti.template(), at, slopes, row, least, exact: ti.template()):
    """The alpha of a row before it is cut at the greatest one, 0 below the least one, which is given as height."""
    u = scratch[at + SIDE][row] - slopes
    height = scratch[at + HEIGHT][row] - u * u
    return ti.select(height >= least, exp_of_scaled(height, exact), slopes * 0)


@ti.func
def height_of(alpha):
    """What ``write_terms`` calls the height of an alpha."""
    return ti.log(alpha) * EXP_SCALE + EXP_SHIFT


@ti.func
def open_rows(tile: ti.template(), variant: ti.template(), pixels: ti.template(), lane_x):
    """Start the pixels of a tile. While it is blended, what has ended has its transmittance with the other sign."""
    for row in range(ROWS):
        width = ti.select(tile.y0 + row < tile.height, tile.width, 0)
        pixels.transmittances[tile.row + row] = ti.select(lane_x + tile.x0 < width, lane_x * 0 + 1, lane_x * 0 - 1)
        if ti.static(variant.kept):
            pixels.stops[tile.row + row] = ti.select(lane_x + tile.x0 < width, NEVER, 0)


@ti.func
def blend_tile(
    tile: ti.template(),
    variant: ti.template(),
    limits: ti.template(),
    lane_x,
    lists: ti.template(),
    pixels: ti.template(),
    scratch: ti.template(),
    index,
):
    """Blend the entries of a tile, front to back, until all its pixels have ended."""
    alpha_max, least, transmittance_min = limits[0], height_of(limits[1]), limits[2]
    zero = lane_x * 0
    k, end = lists.offsets[index], lists.offsets[index + 1]
    first, last = 0, ti.min(ROWS, tile.height - tile.y0) - 1
    while k < end and first <= last:
        n = ti.min(BATCH, end - k)
        write_terms(tile, lists, lane_x, scratch, k, n)
        for entry in range(k, k + n):
            g, rows = lists.entries[entry, 0], lists.entries[entry, 1]
            begin, end_row = ti.max(first, rows & 0xFFFF), ti.min(last, rows >> 16) + 1
            terms = tile.scratch + (entry - k) * TERMS
            slopes = scratch[terms + SLOPE]
            # two loops: a core computes few rows at once if it has to wait for each from end to end
            for row in range(begin, end_row):
                alpha = alpha_of(scratch, terms, slopes, row, least, variant.exact)
                scratch[tile.scratch + ALPHAS + row] = ti.select(alpha < alpha_max, alpha, alpha_max)
            for row in range(begin, end_row):
                at = tile.row + row
                alpha, t = scratch[tile.scratch + ALPHAS + row], pixels.transmittances[at]
                after = t * (1 - alpha)
                drawn = after > transmittance_min
                weight = ti.select(drawn, alpha * t, zero)
                pixels.transmittances[at] = ti.select(drawn, after, ti.select(t < 0, t, 0 - t))
                if ti.static(variant.kept):
                    stop = pixels.stops[at]
                    pixels.stops[at] = ti.select(drawn, stop, ti.select(stop < entry, stop, entry))
                sums = tile.scratch + STATE + row * variant.n_channels
                for c in ti.static(range(variant.n_channels)):
                    scratch[sums + c] = scratch[sums + c] + weight * lists.records[g, COLOR + c]
        k += BATCH
        while first <= last and greatest_lane(pixels.transmittances[tile.row + first]) < 0:
            first += 1
        while first <= last and greatest_lane(pixels.transmittances[tile.row + last]) < 0:
            last -= 1


@whole_vectors
def composite_lanes_adjoint(
    sizes: SizesStruct,
    variant: ti.template(),
    limits: FloatArray,  # these as for the forward kernel
    records: FloatArray2D,
    offsets: I32Array,
    entries: I32Array2D,
    backgrounds: FloatArray2D,
    columns: LanesArray,
    state: LanesArray,  # (tasks, STATE + ROWS * (C + 2)) scratch memory; in the last of each row T, b, gradient
    row_ends: I32Array2D,  # (tasks, ROWS) scratch memory: the entry before which a row has ended
    transmittances: LanesArray,
    stops: IntLanesArray,
    grad_colors: FloatArray2D,  # (pixels, C)
    grad_alphas: FloatArray,  # (pixels,)
    moments: FloatArray2D,  # (entries, MOMENTS + C, or 2 more if absolute)
    grad_backgrounds: FloatArray2D,  # (tiles, C)
):
    """The moments of each entry, and each tile's gradient in the background, on a CPU."""
    lists = ti.static(Lists(records, offsets, entries))
    pixels = ti.static(Pixels(transmittances, stops))
    per_row = ti.static(variant.n_channels + 2)
    ti.loop_config(block_dim=1)
    for task in range(row_ends.shape[0]):
        n_tiles, n_tasks = offsets.shape[0] - 1, row_ends.shape[0]
        greatest, least = limits[0], height_of(limits[1])
        cuts = ti.static(Cuts(greatest, least))
        for turn in range((n_tiles - task + n_tasks - 1) // n_tasks):
            index = task + turn * n_tasks
            tile = ti.static(tile_at(sizes, index, task * ti.static(scratch_size(per_row))))
            load_gradients(tile, variant, backgrounds, grad_colors, grad_alphas, columns[0], state)
            for c in ti.static(range(variant.n_channels)):
                total = columns[0] * 0
                for row in range(ROWS):
                    grad = state[tile.scratch + STATE + row * per_row + 2 + c]
                    total += pixels.transmittances[tile.row + row] * grad
                grad_backgrounds[index, c] = sum_of_lanes(total)
            end = offsets[index]
            for row in range(ROWS):
                state[tile.scratch + STATE + row * per_row] = pixels.transmittances[tile.row + row]
                row_ends[task, row] = ti.min(greatest_lane(pixels.stops[tile.row + row]), offsets[index + 1])
                end = ti.max(end, row_ends[task, row])
            for entry in range(end, offsets[index + 1]):
                for m in range(moments.shape[1]):
                    moments[entries[entry, 2], m] = 0
            while end > offsets[index]:
                begin = ti.max(end - BATCH, offsets[index])
                write_terms(tile, lists, columns[0], state, begin, end - begin)
                first, last = 0, ROWS - 1
                while first < last and row_ends[task, first] <= begin:
                    first += 1
                while first < last and row_ends[task, last] <= begin:
                    last -= 1
                for back in range(end - begin):
                    entry = ti.static(Entry(end - 1 - back, end - 1 - back - begin, first, last))
                    entry_adjoint(tile, variant, cuts, columns[0], lists, pixels, state, moments, entry)
                end = begin


class Cuts(NamedTuple):
    """Where alphas are cut: the greatest one, and the height of the least."""

    greatest: Any
    least: Any


class Entry(NamedTuple):
    """A Gaussian of a tile that is taken off: its place in the lists and in a batch, the rows that are still open."""

    index: Any
    place: Any
    first: Any
    last: Any


@ti.func
def load_gradients(
    tile: ti.template(),
    variant: ti.template(),
    backgrounds: ti.template(),
    grad_colors: ti.template(),
    grad_alphas: ti.template(),
    lane_x,
    state: ti.template(),
):
    """Fill the state of a tile's rows with their gradients, and b behind the last Gaussian; 0 outside of the image."""
    per_row = ti.static(variant.n_channels + 2)
    zero = lane_x * 0
    for row in range(ROWS):
        at = tile.scratch + STATE + row * per_row
        y = ti.min(tile.y0 + row, tile.height - 1)
        first = (tile.image * tile.height + y) * tile.width
        last = tile.width - 1
        behind = zero - ti.Vector([grad_alphas[first + ti.min(tile.x0 + i, last)] for i in ti.static(range(LANES))])
        width = ti.select(tile.y0 + row < tile.height, tile.width, 0)
        is_inside = lane_x + tile.x0 < width
        for c in ti.static(range(variant.n_channels)):
            g = ti.Vector([grad_colors[first + ti.min(tile.x0 + i, last), c] for i in ti.static(range(LANES))])
            state[at + 2 + c] = ti.select(is_inside, g, zero)
            behind += g * backgrounds[tile.image, c]
        state[at + 1] = ti.select(is_inside, behind, zero)


@ti.func
def entry_adjoint(
    tile: ti.template(),
    variant: ti.template(),
    cuts: ti.template(),
    lane_x,
    lists: ti.template(),
    pixels: ti.template(),
    state: ti.template(),
    moments: ti.template(),
    entry: ti.template(),
):
    """Take a Gaussian off the tile's pixels, and write down its moments."""
    per_row = ti.static(variant.n_channels + 2)
    g, rows, place = lists.entries[entry.index, 0], lists.entries[entry.index, 1], lists.entries[entry.index, 2]
    first, last = ti.max(entry.first, rows & 0xFFFF), ti.min(entry.last, rows >> 16)
    terms, zero = tile.scratch + entry.place * TERMS, lane_x * 0
    slopes = state[terms + SLOPE]
    m, m_y, m_yy, abs_x, abs_y = zero, zero, zero, zero, zero
    grads = [zero for _ in ti.static(range(variant.n_channels))]
    shape = ti.static(shape_of(lists.records, g, tile.x0, tile.y0 + 0.5))
    dx = shape.x - lane_x
    for row in range(first, last + 1):
        raw = alpha_of(state, terms, slopes, row, cuts.least, variant.exact)
        state[tile.scratch + ALPHAS + row] = ti.select(pixels.stops[tile.row + row] > entry.index, raw, zero)
    for row in range(first, last + 1):
        at = tile.scratch + STATE + row * per_row
        raw, dy = state[tile.scratch + ALPHAS + row], state[terms + DY][row]
        alpha = ti.select(raw < cuts.greatest, raw, cuts.greatest)
        t = state[at] / (1 - alpha)
        weight = alpha * t
        nearer = zero - state[at + 1]
        for c in ti.static(range(variant.n_channels)):
            nearer += state[at + 2 + c] * lists.records[g, COLOR + c]
            grads[c] += weight * state[at + 2 + c]
        state[at], state[at + 1] = t, state[at + 1] + alpha * nearer
        v = ti.select(raw <= cuts.greatest, zero - weight * nearer, zero)  # dL/dsigma
        m += v
        m_y += v * dy
        m_yy += v * (dy * dy)
        if ti.static(variant.absolute):
            slope = v * (dx + shape.shear * dy) * (2 * shape.wide)
            abs_x += ti.select(slope < 0, 0 - slope, slope)
            slope = shape.shear * slope + v * (2 * shape.tall * dy)
            abs_y += ti.select(slope < 0, 0 - slope, slope)
    moments[place, 0] = sum_of_lanes(m)
    moments[place, 1] = sum_of_lanes(m * dx)
    moments[place, 2] = sum_of_lanes(m_y)
    moments[place, 3] = sum_of_lanes(m * dx * dx)
    moments[place, 4] = sum_of_lanes(m_y * dx)
    moments[place, 5] = sum_of_lanes(m_yy)
    for c in ti.static(range(variant.n_channels)):
        moments[place, MOMENTS + c] = sum_of_lanes(grads[c])
    if ti.static(variant.absolute):
        moments[place, MOMENTS + variant.n_channels] = sum_of_lanes(abs_x)
        moments[place, MOMENTS + variant.n_channels + 1] = sum_of_lanes(abs_y)
