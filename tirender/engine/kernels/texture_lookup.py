"""Textures and cube maps of any number of channels read at given coordinates, with mip levels, and the adjoint.

A level is read at four texels around a place; their weights are linear in it. ``footprint.py`` chooses the level. All
levels lie in one table, each with all textures of the batch, and each texture with its faces if it is a cube map. The
first row of a texture is at t = 0.
"""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.cube import cube_axes, cube_face, cube_texel
from tirender.engine.kernels.footprint import footprint_level
from tirender.engine.kernels.partial_sums import accumulate_at
from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.types import FloatArray, FloatArray2D, FloatArray3D, I32Array, IVec3Array, struct_of

NEAREST, LINEAR, LINEAR_MIPMAP_NEAREST, LINEAR_MIPMAP_LINEAR = 0, 1, 2, 3
WRAP, CLAMP, ZERO, CUBE = 0, 1, 2, 3
FAR = 1e15  # coordinates beyond, or that are no numbers, have no colour


class Lookup(NamedTuple):
    """How textures are read.

    Attributes:
        filtering: NEAREST ...
        boundary: WRAP ...
        image_pixels: pixels of an image.
        shared: whether all images have one texture.
    """

    filtering: int
    boundary: int
    image_pixels: int
    shared: bool


class Places(NamedTuple):
    """Where textures are read.

    Attributes:
        levels: (L, 3) int32 first texel, rows and columns of each mip level.
        texels: (texels, C).
        coords: (pixels, 2), or directions (pixels, 3) for a cube map.
        changes: (pixels, 4 or 6) of each coordinate with x and y of the pixel; (0, ...) for none.
        bias: (pixels,) added to the mip level; (0,) for none.
    """

    levels: Any
    texels: Any
    coords: Any
    changes: Any
    bias: Any


LookupStruct = struct_of(Lookup)


@ti.kernel
def texture_lookup_forward(
    look: LookupStruct,
    levels: IVec3Array,  # these five as in Places
    texels: FloatArray2D,
    coords: FloatArray2D,
    changes: FloatArray2D,
    bias: FloatArray,
    out: FloatArray2D,  # (pixels, C), zero before
):
    places = ti.static(Places(levels, texels, coords, changes, bias))
    for pixel in range(coords.shape[0]):
        found, face, st, j_s, j_t = place_of(places, look, pixel)
        if found:
            level, _gs, _gt = mip_level(places, look, pixel, j_s, j_t)
            fine, coarse, share, _moves = mip_pair(look, level, levels.shape[0])
            for k in range(2):
                part_share = 1 - share if k == 0 else share
                if part_share > 0:
                    index, w, _ws, _wt = four_texels(places, look, pixel, face, st, fine if k == 0 else coarse)
                    for c in range(texels.shape[1]):
                        out[pixel, c] = out[pixel, c] + part_share * mixed(texels, index, w, c)


@ti.kernel
def texture_lookup_adjoint(
    look: LookupStruct,
    levels: IVec3Array,  # these five as in Places
    texels: FloatArray2D,
    coords: FloatArray2D,
    changes: FloatArray2D,
    bias: FloatArray,
    grad_out: FloatArray2D,  # (pixels, C)
    bounds: I32Array,  # (parts + 1,) the pixels of each part
    atomic: ti.template(),
    grad_coords: FloatArray2D,  # (pixels, 2 or 3), zero before
    grad_changes: FloatArray2D,  # as changes
    grad_bias: FloatArray,  # as bias
    grad_texels: FloatArray3D,  # (part, texels, C), zero before; (part, 0, C) where not wanted
):
    places = ti.static(Places(levels, texels, coords, changes, bias))
    ti.loop_config(block_dim=ti.static(task_block()))
    for part in range(bounds.shape[0] - 1):
        for pixel in range(bounds[part], bounds[part + 1]):
            for i in range(changes.shape[1] if changes.shape[0] > 0 else 0):
                grad_changes[pixel, i] = 0
            if bias.shape[0] > 0:
                grad_bias[pixel] = 0
            found, face, st, j_s, j_t = place_of(places, look, pixel)
            if found:
                level, by_s, by_t = mip_level(places, look, pixel, j_s, j_t)
                fine, coarse, share, moves = mip_pair(look, level, levels.shape[0])
                g_st, g_share = 0 * st, 0 * share
                for k in range(2):
                    part_share = 1 - share if k == 0 else share
                    if k == 0 or share > 0 or moves:
                        index, w, ws, wt = four_texels(places, look, pixel, face, st, fine if k == 0 else coarse)
                        value, along_s, along_t = 0 * share, 0 * share, 0 * share
                        for c in range(texels.shape[1]):
                            g = grad_out[pixel, c]
                            value += g * mixed(texels, index, w, c)
                            along_s += g * mixed(texels, index, ws, c)
                            along_t += g * mixed(texels, index, wt, c)
                            if grad_texels.shape[1] > 0 and part_share > 0:
                                for corner in ti.static(range(4)):
                                    if index[corner] >= 0:
                                        term = part_share * w[corner] * g
                                        accumulate_at(grad_texels, part, index[corner], c, term, atomic)
                        g_st += part_share * ti.Vector([along_s, along_t])
                        g_share += value if k == 1 else -value
                place_vjp(places, look, pixel, face, g_st, grad_coords)
                if moves:  # else no footprint counts, and it may be infinite
                    if changes.shape[0] > 0:
                        changes_vjp(
                            places, look, pixel, face, g_share * by_s, g_share * by_t, grad_coords, grad_changes
                        )
                    if bias.shape[0] > 0:
                        grad_bias[pixel] = g_share


@ti.func
def place_of(places: ti.template(), look, pixel: ti.i32):
    """Where a pixel reads.

    Returns whether it reads anywhere; the face; the place (s, t), [0, 1] from edge to edge; and how s changes with x
    and y of the pixel, then t.
    """
    s, t = places.coords[pixel, 0], places.coords[pixel, 1]
    found = ti.abs(s) + ti.abs(t) < FAR
    face, j_s, j_t = 0, ti.Vector([0 * s, 0 * s]), ti.Vector([0 * s, 0 * s])
    if look.boundary == CUBE:
        d = direction(places, pixel)
        face = cube_face(d)
        axis_s, axis_t, axis_m = cube_axes(face)
        reach = axis_m.dot(d)
        found = ti.abs(d).sum() < FAR and reach > 1 / cast_like(FAR, s)
        if found:
            s, t = axis_s.dot(d) / reach, axis_t.dot(d) / reach
            if places.changes.shape[0] > 0:
                dx, dy = changes_of_direction(places, pixel)
                j_s = ti.Vector([(axis_s - s * axis_m).dot(dx), (axis_s - s * axis_m).dot(dy)]) / (2 * reach)
                j_t = ti.Vector([(axis_t - t * axis_m).dot(dx), (axis_t - t * axis_m).dot(dy)]) / (2 * reach)
            s, t = (s + 1) / 2, (t + 1) / 2
    elif found:
        if look.boundary == WRAP:
            s, t = s - ti.floor(s), t - ti.floor(t)
        if places.changes.shape[0] > 0:
            j_s = ti.Vector([places.changes[pixel, 0], places.changes[pixel, 1]])
            j_t = ti.Vector([places.changes[pixel, 2], places.changes[pixel, 3]])
    return found, face, ti.Vector([s, t]), j_s, j_t


@ti.func
def place_vjp(places: ti.template(), look, pixel: ti.i32, face: ti.i32, g_st, grad_coords: ti.template()):
    """Write the gradient of ``g_st . st`` of :func:`place_of` in the coordinates."""
    if look.boundary == CUBE:
        d = direction(places, pixel)
        axis_s, axis_t, axis_m = cube_axes(face)
        reach = axis_m.dot(d)
        g_s, g_t = g_st.x / (2 * reach), g_st.y / (2 * reach)
        g_reach = -(g_s * axis_s.dot(d) + g_t * axis_t.dot(d)) / reach
        g_d = g_s * axis_s + g_t * axis_t + g_reach * axis_m
        for i in ti.static(range(3)):
            grad_coords[pixel, i] = g_d[i]
    else:
        grad_coords[pixel, 0] = g_st.x
        grad_coords[pixel, 1] = g_st.y


@ti.func
def changes_vjp(
    places: ti.template(),
    look,
    pixel: ti.i32,
    face: ti.i32,
    g_js,
    g_jt,
    grad_coords: ti.template(),
    grad_changes: ti.template(),
):
    """Write the gradient of ``g_js . j_s + g_jt . j_t`` of :func:`place_of` in the changes; add the coordinates'."""
    if look.boundary == CUBE:
        d = direction(places, pixel)
        dx, dy = changes_of_direction(places, pixel)
        axis_s, axis_t, axis_m = cube_axes(face)
        reach = axis_m.dot(d)
        s, t = axis_s.dot(d) / reach, axis_t.dot(d) / reach
        half = 1 / (2 * reach)
        g_dx = half * (g_js.x * (axis_s - s * axis_m) + g_jt.x * (axis_t - t * axis_m))
        g_dy = half * (g_js.y * (axis_s - s * axis_m) + g_jt.y * (axis_t - t * axis_m))
        for i in ti.static(range(3)):
            grad_changes[pixel, 2 * i] = g_dx[i]
            grad_changes[pixel, 2 * i + 1] = g_dy[i]
        g_s = -half * (g_js.x * axis_m.dot(dx) + g_js.y * axis_m.dot(dy)) / reach
        g_t = -half * (g_jt.x * axis_m.dot(dx) + g_jt.y * axis_m.dot(dy)) / reach
        g_reach = -(g_dx.dot(dx) + g_dy.dot(dy)) / reach - g_s * s - g_t * t
        g_d = g_s * axis_s + g_t * axis_t + g_reach * axis_m
        for i in ti.static(range(3)):
            grad_coords[pixel, i] = grad_coords[pixel, i] + g_d[i]
    else:
        grad_changes[pixel, 0] = g_js.x
        grad_changes[pixel, 1] = g_js.y
        grad_changes[pixel, 2] = g_jt.x
        grad_changes[pixel, 3] = g_jt.y


@ti.func
def direction(places: ti.template(), pixel: ti.i32):
    return ti.Vector([places.coords[pixel, 0], places.coords[pixel, 1], places.coords[pixel, 2]])


@ti.func
def changes_of_direction(places: ti.template(), pixel: ti.i32):
    """How a direction changes with x and with y."""
    c = ti.static(places.changes)
    dx = ti.Vector([c[pixel, 0], c[pixel, 2], c[pixel, 4]])
    dy = ti.Vector([c[pixel, 1], c[pixel, 3], c[pixel, 5]])
    return dx, dy


@ti.func
def mip_level(places: ti.template(), look, pixel: ti.i32, j_s, j_t):
    """The level that suits a pixel, which may lie outside of those that there are; and its gradients in j_s and j_t."""
    zero = cast_like(0, j_s.x)
    level, by_s, by_t = zero, ti.Vector([zero, zero]), ti.Vector([zero, zero])
    if look.filtering >= LINEAR_MIPMAP_NEAREST:
        if places.changes.shape[0] > 0:
            rows, columns = places.levels[0][1], places.levels[0][2]
            level, by_s, by_t = footprint_level(columns * j_s, rows * j_t)
            by_s, by_t = columns * by_s, rows * by_t
        if places.bias.shape[0] > 0:
            level += places.bias[pixel]
    return level, by_s, by_t


@ti.func
def mip_pair(look, level, n_levels: ti.i32):
    """The two levels that are mixed, the share of the second, and whether it changes with the level."""
    least, most = cast_like(0, level), cast_like(n_levels - 1, level)
    inside = ti.select(level > 0, ti.min(level, most), least)  # NaN is 0
    fine, share, moves = 0, 0 * inside, False
    if look.filtering == LINEAR_MIPMAP_NEAREST:
        fine = ti.cast(ti.floor(inside + cast_like(1, level) / 2), ti.i32)
    elif look.filtering == LINEAR_MIPMAP_LINEAR:
        fine = ti.cast(ti.floor(inside), ti.i32)
        share = inside - fine
        moves = level > 0 and level < most
    return fine, ti.min(fine + 1, n_levels - 1), share, moves


@ti.func
def four_texels(places: ti.template(), look, pixel: ti.i32, face: ti.i32, st, level: ti.i32):
    """The texels of a level around a place, -1 for none; their weights; and how these change with s and with t."""
    layout = places.levels[level]
    rows, columns = layout[1], layout[2]
    size = rows * columns * (6 if look.boundary == CUBE else 1)
    first = layout[0] + (0 if look.shared else pixel // look.image_pixels * size)
    x, dx = position(st.x, columns, look)
    y, dy = position(st.y, rows, look)
    x0, y0 = ti.floor(x), ti.floor(y)
    fx, fy = x - x0, y - y0
    if look.filtering == NEAREST:  # one texel has all the weight
        fx, fy = 0 * fx, 0 * fy
    column, row = ti.cast(x0, ti.i32), ti.cast(y0, ti.i32)
    index = ti.math.ivec4(-1)
    w = ti.Vector([(1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy])
    ws = dx * ti.Vector([fy - 1, 1 - fy, -fy, fy])
    wt = dy * ti.Vector([fx - 1, -fx, 1 - fx, fx])
    for i, j in ti.static(ti.ndrange(2, 2)):
        index[2 * i + j] = texel_at(look, face, row + i, column + j, rows, columns)
    for corner in ti.static(range(4)):
        if index[corner] >= 0:
            index[corner] = index[corner] + first
        elif look.boundary == CUBE:  # beyond a corner of the cube: the mean of the other three
            w, ws, wt = w + w[corner] / 3, ws + ws[corner] / 3, wt + wt[corner] / 3
    return index, w, ws, wt


@ti.func
def position(u, size: ti.i32, look):
    """Position in texels of coordinate u, and its derivative."""
    x, dx = u * size, 0 * u
    if look.filtering != NEAREST:
        x, dx = x - cast_like(1, u) / 2, dx + size
    if look.boundary == CLAMP or (look.boundary != ZERO and look.filtering == NEAREST):
        if x < 0 or x > size - 1:
            dx *= 0
        x = ti.math.clamp(x, 0 * x, 0 * x + size - 1)
    # far outside there is no texel: keep the cast to int in range
    return ti.math.clamp(x, 0 * x - 2, 0 * x + size + 1), dx


@ti.func
def texel_at(look, face: ti.i32, row: ti.i32, column: ti.i32, rows: ti.i32, columns: ti.i32):
    """Index of a texel, one beyond the ends at the most, within its texture; -1 where there is none."""
    index = -1
    if look.boundary == CUBE:
        index = cube_texel(face, row, column, rows)
    else:
        y, x = row, column
        if look.boundary == WRAP:
            y += rows if y < 0 else (-rows if y >= rows else 0)
            x += columns if x < 0 else (-columns if x >= columns else 0)
        elif look.boundary == CLAMP:
            y, x = ti.math.clamp(y, 0, rows - 1), ti.math.clamp(x, 0, columns - 1)
        if y >= 0 and y < rows and x >= 0 and x < columns:
            index = y * columns + x
    return index


@ti.func
def mixed(texels: ti.template(), index, w, c: ti.i32):
    """The weighted sum of channel c of four texels."""
    out = 0 * w[0]
    for corner in ti.static(range(4)):
        if index[corner] >= 0:
            out += w[corner] * texels[index[corner], c]
    return out
