"""The kernels of ``composite_gaussians.py`` for a CPU: a row of a tile is one vector of lanes.

A Gaussian is blended into all rows of a tile that it reaches before the next one is looked at, so that what depends on
the Gaussian alone is computed once, and the gradients of all rows are added up in registers.
"""

import taichi as ti

from tirender.engine.kernels.composite_gaussians import (
    COLOR,
    MOMENTS,
    NEVER,
    ROWS,
    Lists,
    Pixels,
    SizesStruct,
    exponent,
    shape_of,
    tile_at,
)
from tirender.engine.kernels.lanes import (
    LANES,
    IntLanesArray,
    LanesArray,
    exp_of_lanes,
    greatest_lane,
    sum_of_lanes,
    whole_vectors,
)
from tirender.engine.kernels.types import FloatArray, FloatArray2D, I32Array, I32Array2D

BATCH = 32  # entries between two looks at which rows are still open


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
    sums: LanesArray,  # (tasks * ROWS * C,) scratch memory
    transmittances: LanesArray,  # (tiles * ROWS,) as in Pixels, as the next
    stops: IntLanesArray,  # (tiles * ROWS,)
    colors: FloatArray2D,  # (pixels, C)
    alphas: FloatArray,  # (pixels,)
):
    """Colours and opacities of pixels, on a CPU."""
    lists = ti.static(Lists(records, offsets, entries))
    pixels = ti.static(Pixels(transmittances, stops))
    per_task = ti.static(ROWS * variant.n_channels)
    ti.loop_config(block_dim=1)
    for task in range(sums.shape[0] // per_task):
        n_tiles, n_tasks = offsets.shape[0] - 1, sums.shape[0] // per_task
        for turn in range((n_tiles - task + n_tasks - 1) // n_tasks):
            index = task + turn * n_tasks
            tile = ti.static(tile_at(sizes, index, task * per_task))
            open_rows(tile, pixels, columns[0])
            for i in range(tile.scratch, tile.scratch + per_task):
                sums[i] = columns[0] * 0
            blend_tile(tile, variant, limits, columns[0], lists, pixels, sums, index)
            for row in range(ti.min(ROWS, tile.height - tile.y0)):
                t = transmittances[tile.row + row]
                for c in ti.static(range(variant.n_channels)):
                    i = tile.scratch + row * variant.n_channels + c
                    sums[i] = sums[i] + t * backgrounds[tile.image, c]
                first = (tile.image * tile.height + tile.y0 + row) * tile.width + tile.x0
                for lane in ti.static(range(LANES)):
                    if tile.x0 + lane < tile.width:
                        alphas[first + lane] = 1 - t[lane]
                        for c in ti.static(range(variant.n_channels)):
                            colors[first + lane, c] = sums[tile.scratch + row * variant.n_channels + c][lane]


@ti.func
def open_rows(tile: ti.template(), pixels: ti.template(), lane_x):
    for row in range(ROWS):
        pixels.transmittances[tile.row + row] = lane_x * 0 + 1
        width = ti.select(tile.y0 + row < tile.height, tile.width, 0)
        pixels.stops[tile.row + row] = ti.select(lane_x + tile.x0 < width, NEVER, 0)


@ti.func
def blend_tile(
    tile: ti.template(),
    variant: ti.template(),
    limits: ti.template(),
    lane_x,
    lists: ti.template(),
    pixels: ti.template(),
    sums: ti.template(),
    index,
):
    """Blend the entries of a tile, front to back, until all its pixels have ended."""
    alpha_max, alpha_min, transmittance_min = limits[0], limits[1], limits[2]
    k, end = lists.offsets[index], lists.offsets[index + 1]
    first, last = 0, ti.min(ROWS, tile.height - tile.y0) - 1
    while k < end and first <= last:
        for entry in range(k, ti.min(k + BATCH, end)):
            g, rows = lists.entries[entry, 0], lists.entries[entry, 1]
            shape = ti.static(shape_of(lists.records, g, tile.x0, tile.y0))
            dx = shape.x - lane_x
            for row in range(ti.max(first, rows & 0xFFFF), ti.min(last, rows >> 16) + 1):
                at = tile.row + row
                alpha = exp_of_lanes(exponent(shape, dx, shape.y - (row + 0.5)), variant.exact)
                alpha = ti.select(alpha < alpha_max, alpha, alpha_max)
                t, stop = pixels.transmittances[at], pixels.stops[at]
                after = t * (1 - alpha)
                reached = (alpha >= alpha_min) & (stop == NEVER)
                pixels.stops[at] = ti.select(reached & (after <= transmittance_min), entry, stop)
                drawn = reached & (after > transmittance_min)
                pixels.transmittances[at] = ti.select(drawn, after, t)
                weight = ti.select(drawn, alpha * t, 0)
                for c in ti.static(range(variant.n_channels)):
                    i = tile.scratch + row * variant.n_channels + c
                    sums[i] = sums[i] + weight * lists.records[g, COLOR + c]
        k += BATCH
        while first <= last and greatest_lane(pixels.stops[tile.row + first]) < NEVER:
            first += 1
        while first <= last and greatest_lane(pixels.stops[tile.row + last]) < NEVER:
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
    state: LanesArray,  # (tasks * ROWS * (C + 3),) scratch memory: of each row T, b, the weight, the gradient
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
    per_row = ti.static(variant.n_channels + 3)
    ti.loop_config(block_dim=1)
    for task in range(row_ends.shape[0]):
        n_tiles, n_tasks = offsets.shape[0] - 1, row_ends.shape[0]
        for turn in range((n_tiles - task + n_tasks - 1) // n_tasks):
            index = task + turn * n_tasks
            tile = ti.static(tile_at(sizes, index, task * ROWS * per_row))
            load_gradients(tile, variant, backgrounds, grad_colors, grad_alphas, columns[0], state)
            for c in ti.static(range(variant.n_channels)):
                total = columns[0] * 0
                for row in range(ROWS):
                    total += pixels.transmittances[tile.row + row] * state[tile.scratch + row * per_row + 3 + c]
                grad_backgrounds[index, c] = sum_of_lanes(total)
            end = 0
            for row in range(ROWS):
                state[tile.scratch + row * per_row] = pixels.transmittances[tile.row + row]
                row_ends[task, row] = ti.min(greatest_lane(pixels.stops[tile.row + row]), offsets[index + 1])
                end = ti.max(end, row_ends[task, row])
            end = ti.max(end, offsets[index])
            for entry in range(end, offsets[index + 1]):
                for m in range(moments.shape[1]):
                    moments[entries[entry, 2], m] = 0
            for back in range(end - offsets[index]):
                entry = end - 1 - back
                entry_adjoint(tile, variant, limits, columns[0], lists, pixels, state, row_ends, moments, entry, task)


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
    per_row = ti.static(variant.n_channels + 3)
    zero = lane_x * 0
    for row in range(ROWS):
        at = tile.scratch + row * per_row
        y = ti.min(tile.y0 + row, tile.height - 1)
        first = (tile.image * tile.height + y) * tile.width
        last = tile.width - 1
        behind = zero - ti.Vector([grad_alphas[first + ti.min(tile.x0 + i, last)] for i in ti.static(range(LANES))])
        width = ti.select(tile.y0 + row < tile.height, tile.width, 0)
        is_inside = lane_x + tile.x0 < width
        for c in ti.static(range(variant.n_channels)):
            g = ti.Vector([grad_colors[first + ti.min(tile.x0 + i, last), c] for i in ti.static(range(LANES))])
            state[at + 3 + c] = ti.select(is_inside, g, zero)
            behind += g * backgrounds[tile.image, c]
        state[at + 1] = ti.select(is_inside, behind, zero)


@ti.func
def entry_adjoint(
    tile: ti.template(),
    variant: ti.template(),
    limits: ti.template(),
    lane_x,
    lists: ti.template(),
    pixels: ti.template(),
    state: ti.template(),
    row_ends: ti.template(),
    moments: ti.template(),
    entry,
    task,
):
    """Take a Gaussian off the tile's pixels, and write down its moments."""
    per_row = ti.static(variant.n_channels + 3)
    alpha_max, alpha_min = limits[0], limits[1]
    g, rows, place = lists.entries[entry, 0], lists.entries[entry, 1], lists.entries[entry, 2]
    first, last = rows & 0xFFFF, rows >> 16
    shape = ti.static(shape_of(lists.records, g, tile.x0, tile.y0))
    dx = shape.x - lane_x
    zero = lane_x * 0
    m, m_y, m_yy, abs_x, abs_y = zero, zero, zero, zero, zero
    for row in range(first, last + 1):
        at = tile.scratch + row * per_row
        weight = zero
        if row_ends[task, row] > entry:
            dy = shape.y - (row + 0.5)
            raw = exp_of_lanes(exponent(shape, dx, dy), variant.exact)
            alpha = ti.select(raw < alpha_max, raw, alpha_max)
            alpha = ti.select((alpha >= alpha_min) & (pixels.stops[tile.row + row] > entry), alpha, 0)
            t = state[at] / (1 - alpha)
            weight = alpha * t
            nearer = zero - state[at + 1]
            for c in ti.static(range(variant.n_channels)):
                nearer += state[at + 3 + c] * lists.records[g, COLOR + c]
            state[at], state[at + 1] = t, state[at + 1] + alpha * nearer
            v = ti.select(raw <= alpha_max, zero - weight * nearer, 0)  # dL/dsigma
            m += v
            m_y += v * dy
            m_yy += v * (dy * dy)
            if ti.static(variant.absolute):
                slope = v * (dx + shape.shear * dy) * (2 * shape.wide)
                abs_x += ti.select(slope < 0, 0 - slope, slope)
                slope = shape.shear * slope + v * (2 * shape.tall * dy)
                abs_y += ti.select(slope < 0, 0 - slope, slope)
        state[at + 2] = weight
    moments[place, 0] = sum_of_lanes(m)
    moments[place, 1] = sum_of_lanes(m * dx)
    moments[place, 2] = sum_of_lanes(m_y)
    moments[place, 3] = sum_of_lanes(m * dx * dx)
    moments[place, 4] = sum_of_lanes(m_y * dx)
    moments[place, 5] = sum_of_lanes(m_yy)
    for c in ti.static(range(variant.n_channels)):
        grad = zero
        for row in range(first, last + 1):
            at = tile.scratch + row * per_row
            grad += state[at + 2] * state[at + 3 + c]
        moments[place, MOMENTS + c] = sum_of_lanes(grad)
    if ti.static(variant.absolute):
        moments[place, MOMENTS + variant.n_channels] = sum_of_lanes(abs_x)
        moments[place, MOMENTS + variant.n_channels + 1] = sum_of_lanes(abs_y)
