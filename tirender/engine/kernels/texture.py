"""Colour of a surface point from vertex colours, a UV map or a texture atlas, and the adjoint.

Every kind interpolates a table of corner coordinates with the barycentric coordinates first: the colours themselves
(VERTEX), texture coordinates (UV), or the barycentric coordinates of the corners (ATLAS, whose table is the unit
vectors). The maps lie in one row of texels, each with its first texel, rows and columns in ``layout``; the first row of
a map is at its top, and v points up. An atlas has a square map for each face.
"""

import taichi as ti

from tirender.engine.kernels.partial_sums import accumulate
from tirender.engine.kernels.scalars import cast_like

VERTEX, UV_BILINEAR, UV_NEAREST, ATLAS = 0, 1, 2, 3
ZEROS, BORDER, REFLECTION = 0, 1, 2


@ti.func
def corner(coords: ti.template(), i: ti.i32, kind: ti.i32):
    """A row of the table, as three numbers."""
    third = cast_like(0, coords[i, 0])
    if kind == VERTEX:
        third = coords[i, 2]
    return ti.Vector([coords[i, 0], coords[i, 1], third])


@ti.func
def reflected(x, low, high):
    """x mirrored at low and high until it lies between; and the sign of the mirroring."""
    span = high - low
    out, sign = low, 0 * x
    if span > 0:
        offset = ti.abs(x - low)
        turns = ti.floor(offset / span)
        rest = offset - turns * span
        odd = turns - 2 * ti.floor(turns / 2)
        out = low + (rest if odd == 0 else span - rest)
        sign = 0 * x + 1
        if (odd != 0) != (x < low):
            sign = -sign
    return out, sign


@ti.func
def padded(u, size: ti.i32, padding: ti.i32, align: ti.i32):
    """Position in texels of coordinate u in [0, 1], padded, and its derivative in u."""
    scale = 0 * u + size
    x = u * size - 0.5
    if align:
        scale = 0 * u + (size - 1)
        x = u * (size - 1)
    if padding == REFLECTION:
        low, high = 0 * x - 0.5, 0 * x + size - 0.5
        if align:
            low, high = 0 * x, 0 * x + (size - 1)
        x, sign = reflected(x, low, high)
        scale *= sign
    if padding != ZEROS:
        if x <= 0 or x >= size - 1:
            scale *= 0
        x = ti.math.clamp(x, 0 * x, 0 * x + (size - 1))
    # far outside all texels are zero: keep the cast to int in range
    return ti.math.clamp(x, 0 * x - 2, 0 * x + size + 1), scale


@ti.func
def atlas_cell(b0, b1, size: ti.i32):
    """Row and column of the cell in which barycentric coordinates fall (SoftRas surface texture)."""
    column = ti.math.clamp(ti.cast(b0 * size, ti.i32), 0, size - 1)
    row = ti.math.clamp(ti.cast(b1 * size, ti.i32), 0, size - 1)
    if (b0 + b1) * size - (column + row) > 1:
        column, row = size - 1 - column, size - 1 - row
    return row, column


@ti.func
def texel_index(map_layout, row_up: ti.i32, column: ti.i32):
    """Index of a texel counted from the map's lower left; -1 outside the map."""
    rows, columns = map_layout[1], map_layout[2]
    index = -1
    if row_up >= 0 and row_up < rows and column >= 0 and column < columns:
        index = map_layout[0] + (rows - 1 - row_up) * columns + column
    return index


@ti.func
def sample(texels: ti.template(), map_layout, kind: ti.i32, padding: ti.i32, align: ti.i32, at):
    """The colour at interpolated coordinates ``at``."""
    color = at
    if kind == ATLAS:
        row, column = atlas_cell(at[0], at[1], map_layout[2])
        color = texels[map_layout[0] + row * map_layout[2] + column]
    elif kind != VERTEX:
        color = 0 * at
        x, _dx = padded(at[0], map_layout[2], padding, align)
        y, _dy = padded(at[1], map_layout[1], padding, align)
        if kind == UV_NEAREST:
            index = texel_index(map_layout, ti.cast(ti.round(y), ti.i32), ti.cast(ti.round(x), ti.i32))
            if index >= 0:
                color = texels[index]
        else:
            x0, y0 = ti.floor(x), ti.floor(y)
            for j, i in ti.static(ti.ndrange(2, 2)):
                index = texel_index(map_layout, ti.cast(y0, ti.i32) + j, ti.cast(x0, ti.i32) + i)
                if index >= 0:
                    wx = x - x0 if ti.static(i == 1) else x0 + 1 - x
                    wy = y - y0 if ti.static(j == 1) else y0 + 1 - y
                    color += wx * wy * texels[index]
    return color


@ti.func
def sample_vjp(
    texels: ti.template(),
    map_layout,
    kind: ti.i32,
    padding: ti.i32,
    align: ti.i32,
    at,
    g,
    want_texels: ti.i32,
    part: ti.i32,
    grad_texels: ti.template(),
    atomic: ti.template(),
):
    """Gradient of ``g . sample`` in ``at``; that in the texels is added to their part."""
    out = g
    if kind == ATLAS:
        out = 0 * g
        if want_texels:
            row, column = atlas_cell(at[0], at[1], map_layout[2])
            accumulate(grad_texels, part, map_layout[0] + row * map_layout[2] + column, g, atomic)
    elif kind != VERTEX:
        out = 0 * g
        x, dx = padded(at[0], map_layout[2], padding, align)
        y, dy = padded(at[1], map_layout[1], padding, align)
        if kind == UV_NEAREST:
            index = texel_index(map_layout, ti.cast(ti.round(y), ti.i32), ti.cast(ti.round(x), ti.i32))
            if want_texels and index >= 0:
                accumulate(grad_texels, part, index, g, atomic)
        else:
            x0, y0 = ti.floor(x), ti.floor(y)
            for j, i in ti.static(ti.ndrange(2, 2)):
                index = texel_index(map_layout, ti.cast(y0, ti.i32) + j, ti.cast(x0, ti.i32) + i)
                if index >= 0:
                    wx = x - x0 if ti.static(i == 1) else x0 + 1 - x
                    wy = y - y0 if ti.static(j == 1) else y0 + 1 - y
                    if want_texels:
                        accumulate(grad_texels, part, index, wx * wy * g, atomic)
                    value = g.dot(texels[index])
                    out[0] += (2 * i - 1) * wy * value * dx
                    out[1] += (2 * j - 1) * wx * value * dy
    return out
