"""Metallic-roughness reflection of lamps and surroundings at one surface point, and tone mapping; without adjoints.

The mathematics, and where it comes from, is that of the twin in torch, ``renderer/reflectance.py``.
"""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.cube import cube_axes, cube_face
from tirender.engine.kernels.scalars import cast_like

LINEAR_TONES, SRGB_TONES, NEUTRAL_TONES = 0, 1, 2
N_LAMP = 7  # columns: where it is or in which direction, whether that is a place, and colour


class Surroundings(NamedTuple):
    """Light that comes from all around.

    Attributes:
        levels: (L, 3) int32 first texel, rows and columns of the cube maps: facets of roughness 0 to 1, Lambertian.
        texels: (texels, 3), each face in a frame of the texels that lie beyond its edges.
        turns: (N, 9) world to surroundings, row by row, for row vectors.
    """

    levels: Any
    texels: Any
    turns: Any


class Facets(NamedTuple):
    """A surface as light meets it; see the twin."""

    base: Any
    metallic: Any
    roughness: Any
    normal: Any
    view: Any


class Albedos(NamedTuple):
    """What it makes of even light; see the twin."""

    f0: Any
    single: Any
    repeated: Any
    base: Any
    boost: Any


@ti.func
def albedo_entry(table: ti.template(), cosine, roughness):
    """The factor on f0 and the offset; table: (side, side, 2) of roughness and of the square root of the cosine."""
    side = table.shape[0]
    x, y = (side - 1) * ti.sqrt(cosine), (side - 1) * roughness
    column = ti.math.clamp(ti.cast(ti.floor(x), ti.i32), 0, side - 2)
    row = ti.math.clamp(ti.cast(ti.floor(y), ti.i32), 0, side - 2)
    s, t = x - column, y - row
    upper = (1 - s) * table[row, column] + s * table[row, column + 1]
    lower = (1 - s) * table[row + 1, column] + s * table[row + 1, column + 1]
    return (1 - t) * upper + t * lower


@ti.func
def albedos_of(facets: ti.template(), table: ti.template(), compensated: ti.i32, limits: ti.template()):
    """The Albedos of a point, as five vectors."""
    one = 0 * facets.base + 1
    f0 = limits.dielectric * one + facets.metallic * (facets.base - limits.dielectric)
    cosine = ti.math.clamp(facets.normal.dot(facets.view), limits.least_cosine, one.x)
    entry = albedo_entry(table, cosine, facets.roughness)
    single = f0 * entry.x + entry.y
    lost = 1 - entry.x - entry.y
    repeated, boost = 0 * one, one
    if compensated:
        average = f0 + (1 - f0) / 21
        repeated = lost * single * average / (1 - average * lost)
        boost = 1 + f0 * lost / (1 - lost)
    base = facets.base * (1 - facets.metallic) * (1 - single - repeated)
    return f0, single, repeated, base, boost


@ti.func
def reflected_lamp(facets: ti.template(), albedos: ti.template(), towards, color, limits: ti.template()):
    """Light of a lamp in the direction ``towards``, a unit vector."""
    out = 0 * color
    cos_light = facets.normal.dot(towards)
    if cos_light > 0:
        one = cast_like(1, cos_light)
        cos_view = ti.math.clamp(facets.normal.dot(facets.view), limits.least_cosine, one)
        half = towards + facets.view
        half /= ti.sqrt(ti.max(half.norm_sqr(), limits.tiny))
        cos_half = ti.math.clamp(facets.normal.dot(half), 0 * one, one)
        cos_facet = ti.math.clamp(facets.view.dot(half), 0 * one, one)
        alpha = ti.math.clamp(facets.roughness, limits.least_roughness, one) ** 2
        square = alpha * alpha
        spread = 1 - cos_half * cos_half * (1 - square)
        masking = cos_light * ti.sqrt(cos_view * cos_view * (1 - square) + square)
        masking += cos_view * ti.sqrt(cos_light * cos_light * (1 - square) + square)
        fresnel = albedos.f0 + (1 - albedos.f0) * (1 - cos_facet) ** 5
        lobe = square / (2 * spread * spread * masking)  # the density's pi falls out
        out = color * cos_light * (albedos.base + lobe * fresnel * albedos.boost)
    return out


@ti.func
def light_from(surroundings: ti.template(), n: ti.i32, facets: ti.template(), limits: ti.template()):
    """What the facets' lobe and the hemisphere send: two colours; as the twin's maps read them."""
    cosine = facets.normal.dot(facets.view)
    mirrored = 2 * cosine * facets.normal - facets.view
    share = facets.roughness**3 * (limits.shift + limits.shift_grazing * (1 - cosine))
    mirrored += ti.math.clamp(share, 0 * share, 0 * share + 1) * (facets.normal - mirrored)
    n_facets = surroundings.levels.shape[0] - 1
    level = facets.roughness * (n_facets - 1)
    fine = ti.min(ti.cast(ti.floor(level), ti.i32), n_facets - 1)
    rest = level - fine
    half = cast_like(1, level) / 2
    of_lobe, of_hemisphere = 0 * mirrored, 0 * mirrored
    for k in range(3):  # two maps of facets, then the Lambertian one
        share = rest if k == 1 else 1 - rest
        if k == 2 or share > 0:
            towards = turned_by(surroundings.turns, n, facets.normal if k == 2 else mirrored)
            face = cube_face(towards)
            axis_s, axis_t, axis_m = cube_axes(face)
            reach = axis_m.dot(towards)
            if not reach > 0:
                continue  # nowhere, as normals of length 0 look
            which = surroundings.levels[n_facets if k == 2 else ti.min(fine + k, n_facets - 1)]
            size, stride = which[1], which[1] + 2
            x = (axis_s.dot(towards) / reach + 1) * size / 2 + half  # from the centre of the frame's first texel
            y = (axis_t.dot(towards) / reach + 1) * size / 2 + half
            column = ti.math.clamp(ti.cast(ti.floor(x), ti.i32), 0, size)
            row = ti.math.clamp(ti.cast(ti.floor(y), ti.i32), 0, size)
            s, t = x - column, y - row
            first = which[0] + (face * stride + row) * stride + column
            upper = (1 - s) * surroundings.texels[first] + s * surroundings.texels[first + 1]
            first += stride
            lower = (1 - s) * surroundings.texels[first] + s * surroundings.texels[first + 1]
            light = (1 - t) * upper + t * lower
            if k == 2:
                of_hemisphere = light
            else:
                of_lobe += share * light
    return of_lobe, of_hemisphere


@ti.func
def turned_by(turns: ti.template(), n: ti.i32, v):
    """A row vector times the matrix of image n."""
    out = 0 * v
    for i, j in ti.static(ti.ndrange(3, 3)):
        out[j] += v[i] * turns[n, 3 * i + j]
    return out


@ti.func
def tone_mapped(color, tones: ti.i32, curve: ti.template()):
    """Linear light as a colour of the picture."""
    out = color
    if tones != LINEAR_TONES:
        if tones == NEUTRAL_TONES:
            out = compressed(out, curve)
        for c in ti.static(range(3)):
            x = ti.math.clamp(out[c], 0 * out[c], 0 * out[c] + 1)
            out[c] = curve.slope * x if x <= curve.knee else curve.scale * ti.exp(ti.log(x) / curve.gamma) - curve.drop
    return out


@ti.func
def compressed(color, curve: ti.template()):
    """Khronos's neutral tone mapping."""
    least = ti.min(color.x, color.y, color.z)
    out = color - (least - curve.toe_square * least * least if least < curve.toe else curve.toe / 2)
    peak = ti.max(out.x, out.y, out.z)
    if peak > curve.start:
        room = 1 - curve.start
        new_peak = 1 - room * room / (peak + room - curve.start)
        white = 1 - 1 / (curve.desaturation * (peak - new_peak) + 1)
        out *= new_peak / peak
        out += white * (new_peak - out)
    return out
