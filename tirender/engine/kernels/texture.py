"""Colour of a surface point from vertex colours, a UV map or a texture atlas, and the adjoint.

Every kind interpolates a table of corner coordinates with the barycentric coordinates first: the colours themselves
(VERTEX), texture coordinates (UV), or the barycentric coordinates of the corners (ATLAS, whose table is the unit
vectors). The maps lie in one row of texels, each with its first texel, rows, columns and code in ``layout``; the first
row of a map is at its top, and v points up. An atlas has a square map for each face. The smaller levels of a map with
mipmaps (Williams, "Pyramidal parametrics", 1983) follow it in ``layout``.
"""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.footprint import footprint_level
from tirender.engine.kernels.partial_sums import add_row
from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.types import struct_of

VERTEX, UV_BILINEAR, UV_NEAREST, ATLAS, UV_TRILINEAR = 0, 1, 2, 3, 4
ZEROS, BORDER, REFLECTION, REPEAT = 0, 1, 2, 3  # what lies beyond a map; along u, plus N_PADDINGS times that along v
N_PADDINGS = 4
NEAREST = N_PADDINGS * N_PADDINGS  # added to the padding where texels are not interpolated, whatever the kind says
LEVELS = 2 * NEAREST  # times the number of smaller levels that follow, added to it


class Sampling(NamedTuple):
    """How maps are read: VERTEX ..., and whether 0 and 1 are the centres of the outermost texels."""

    kind: int
    align_corners: bool


class Texture(NamedTuple):
    """Where colours come from.

    Attributes:
        faces: (T, 3) int32 rows of coords at each triangle's corners.
        coords: (n, 3) colours for VERTEX, else (n, 2) coordinates.
        map_index: (T,) int32 the map of each triangle; unused, like the next two, for VERTEX.
        layout: (maps, 4) int32 first texel, rows, columns and code of each map: padding, plus NEAREST and LEVELS.
        texels: (texels, 3).
        mipmaps: whether to read smaller levels, for UV_TRILINEAR; known when a kernel is compiled, as it takes code.
    """

    faces: Any
    coords: Any
    map_index: Any
    layout: Any
    texels: Any
    mipmaps: Any


SamplingStruct = struct_of(Sampling)


@ti.func
def texture_coord(texture: ti.template(), kind: ti.i32, t: ti.i32, b):
    """The coordinate, as three numbers, at barycentric coordinates b of triangle t."""
    f = texture.faces[t]
    return (
        b[0] * corner_coord(texture.coords, f[0], kind)
        + b[1] * corner_coord(texture.coords, f[1], kind)
        + b[2] * corner_coord(texture.coords, f[2], kind)
    )


@ti.func
def texture_coord_vjp(texture: ti.template(), kind: ti.i32, t: ti.i32, b, g, sums: ti.template(), first: ti.i32):
    """Gradient of ``g . texture_coord`` in b; that in coords is added to sums from column ``first`` on, if not -1."""
    f = texture.faces[t]
    out = 0 * b
    for i in ti.static(range(3)):
        out[i] = g.dot(corner_coord(texture.coords, f[i], kind))
        if first >= 0:
            if kind == VERTEX:
                add_row(sums, first + 3 * f[i], b[i] * g)
            else:
                add_row(sums, first + 2 * f[i], b[i] * g.xy)
    return out


@ti.func
def texture_level(texture: ti.template(), kind: ti.i32, t: ti.i32, slopes):
    """The level of triangle t's map that a pixel sees; ``slopes`` are a pair as of surface_slopes."""
    map_layout = texture.layout[texture.map_index[t]]
    right, down = texture_coord(texture, kind, t, slopes[0]), texture_coord(texture, kind, t, slopes[1])
    return map_level(right, down, map_layout)


@ti.func
def map_level(right, down, map_layout):
    """The level of a map for a pixel that moves the coordinate by ``right`` and ``down``; 0 where texels are larger."""
    s = map_layout[2] * ti.Vector([right[0], down[0]])
    t = map_layout[1] * ti.Vector([right[1], down[1]])
    level, _by_s, _by_t = footprint_level(s, t)
    return ti.max(level, 0 * right[0])


@ti.func
def corner_coord(coords: ti.template(), row: ti.i32, kind: ti.i32):
    third = cast_like(0, coords[row, 0])
    if kind == VERTEX:
        third = coords[row, 2]
    return ti.Vector([coords[row, 0], coords[row, 1], third])


@ti.func
def levels_read(map_code: ti.i32, level):
    """The first level that is read, how many are, and the share of the second."""
    top = cast_like(map_code // LEVELS, level)
    at = ti.min(level, top)
    first = ti.floor(at)
    return ti.cast(first, ti.i32), 2 if at > first else 1, at - first


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
    """Position in texels of coordinate u, [0, 1] from edge to edge, and its derivative in u."""
    scale = 0 * u + size
    if padding == REPEAT:
        u -= ti.floor(u)
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
    if padding == BORDER or padding == REFLECTION:
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
    y = wrapped(row_up, rows, map_layout[3] // N_PADDINGS % N_PADDINGS)
    x = wrapped(column, columns, map_layout[3] % N_PADDINGS)
    index = -1
    if y >= 0 and y < rows and x >= 0 and x < columns:
        index = map_layout[0] + (rows - 1 - y) * columns + x
    return index


@ti.func
def wrapped(i: ti.i32, size: ti.i32, padding: ti.i32):
    """The texel that a map which repeats has at i, one beyond its ends at the most."""
    return i + ((size if i < 0 else -size if i >= size else 0) if padding == REPEAT else 0)


@ti.func
def sample(texture: ti.template(), sampling, t: ti.i32, coord, level):
    """The colour of triangle t at a coordinate, and a level of its map."""
    color = coord
    if sampling.kind != VERTEX:
        row = texture.map_index[t]
        map_layout = texture.layout[row]
        if sampling.kind == ATLAS:
            y, x = atlas_cell(coord[0], coord[1], map_layout[2])
            color = texture.texels[map_layout[0] + y * map_layout[2] + x]
        else:
            nearest, align = sampling.kind == UV_NEAREST, sampling.align_corners
            if ti.static(texture.mipmaps):
                color = 0 * coord
                first, n_levels, rest = levels_read(map_layout[3], level)
                for k in range(n_levels):
                    share = rest if k == 1 else 1 - rest
                    color += share * sample_map(texture.texels, texture.layout[row + first + k], nearest, align, coord)
            else:
                color = sample_map(texture.texels, map_layout, nearest, align, coord)
    return color


@ti.func
def sample_map(texels: ti.template(), map_layout, nearest: ti.i32, align: ti.i32, coord):
    """The colour of a map at a coordinate, between four texels or at the nearest."""
    color = texels[map_layout[0]]  # for its kind: infinite texels times zero are no zeros
    for c in ti.static(range(color.n)):
        color[c] = 0
    x, _dx = padded(coord[0], map_layout[2], map_layout[3] % N_PADDINGS, align)
    y, _dy = padded(coord[1], map_layout[1], map_layout[3] // N_PADDINGS % N_PADDINGS, align)
    if nearest:
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
def sample_vjp(texture: ti.template(), sampling, t: ti.i32, coord, level, g, sums: ti.template(), first_column: ti.i32):
    """What :func:`sample` returns, and the gradient of ``g . sample`` in coord; that in texels is added to sums from a
    column on, if it is not -1.

    The level is held fixed.
    """
    color, out = coord, g
    if sampling.kind != VERTEX:
        row = texture.map_index[t]
        map_layout = texture.layout[row]
        out = 0 * g
        if sampling.kind == ATLAS:
            y, x = atlas_cell(coord[0], coord[1], map_layout[2])
            index = map_layout[0] + y * map_layout[2] + x
            color = texture.texels[index]
            if first_column >= 0:
                add_row(sums, first_column + 3 * index, g)
        else:
            if ti.static(texture.mipmaps):
                color = 0 * coord
                first, n_levels, rest = levels_read(map_layout[3], level)
                for k in range(n_levels):
                    share = rest if k == 1 else 1 - rest
                    smaller = texture.layout[row + first + k]
                    value, grad = sample_map_vjp(
                        texture.texels, smaller, sampling, coord, share * g, sums, first_column
                    )
                    color += share * value
                    out += grad
            else:
                color, out = sample_map_vjp(texture.texels, map_layout, sampling, coord, g, sums, first_column)
    return color, out


@ti.func
def sample_map_vjp(texels: ti.template(), map_layout, sampling, coord, g, sums: ti.template(), first_column: ti.i32):
    """The colour and the adjoint of :func:`sample_map`, as :func:`sample_vjp`."""
    color, out = texels[map_layout[0]], 0 * g
    for c in ti.static(range(color.n)):
        color[c] = 0
    x, dx = padded(coord[0], map_layout[2], map_layout[3] % N_PADDINGS, sampling.align_corners)
    y, dy = padded(coord[1], map_layout[1], map_layout[3] // N_PADDINGS % N_PADDINGS, sampling.align_corners)
    if sampling.kind == UV_NEAREST:
        index = texel_index(map_layout, ti.cast(ti.round(y), ti.i32), ti.cast(ti.round(x), ti.i32))
        if index >= 0:
            color = texels[index]
            if first_column >= 0:
                add_row(sums, first_column + 3 * index, g)
    else:
        x0, y0 = ti.floor(x), ti.floor(y)
        for j, i in ti.static(ti.ndrange(2, 2)):
            index = texel_index(map_layout, ti.cast(y0, ti.i32) + j, ti.cast(x0, ti.i32) + i)
            if index >= 0:
                wx = x - x0 if ti.static(i == 1) else x0 + 1 - x
                wy = y - y0 if ti.static(j == 1) else y0 + 1 - y
                color += wx * wy * texels[index]
                if first_column >= 0:
                    add_row(sums, first_column + 3 * index, wx * wy * g)
                value = g.dot(texels[index])
                out[0] += (2 * i - 1) * wy * value * dx
                out[1] += (2 * j - 1) * wx * value * dy
    return color, out
