"""Faces with materials, lit and blended front to back: pictures without gradients, one pass a pixel.

The mathematics is that of its twin in torch, ``renderer/mesh/material_shading.py``, which also has gradients and near
clipping.
"""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.lighting import AMBIENT, BACKGROUND, CAMERA, phong, unit, vector
from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.tasks import round_pixels, task_block
from tirender.engine.kernels.texture import (
    NEAREST,
    levels_read,
    map_level,
    sample_map,
)
from tirender.engine.kernels.triangle import RasterStruct, centre_of, surface_coords, surface_slopes
from tirender.engine.kernels.types import (
    FloatArray2D,
    I32Array,
    I32Array2D,
    IVec3Array,
    IVec4Array,
    Vec3Array,
    Vec4Array,
    struct_of,
)

BASE_MAP, EMISSION_MAP, NORMAL_MAP, OCCLUSION_MAP, METALLIC_ROUGHNESS_MAP = range(5)  # columns of maps
N_SLOTS = 5  # the set of texture coordinates of each follows after so many columns

# columns of numbers
BASE, PLAIN, EMISSION, PHONG = 0, 4, 8, 11
ALPHA_MODE, CUTOFF, OCCLUSION_STRENGTH, DOUBLE_SIDED, UNLIT = 15, 16, 17, 18, 19
METALLIC, ROUGHNESS, NORMAL_SCALE, NORMAL_TURN = 20, 21, 22, 23
TRANSFORM = 27  # (slot, 2, 3)
N_NUMBERS = TRANSFORM + 6 * N_SLOTS
MASK, BLEND = 1, 2


class Lighting(NamedTuple):
    """How faces are lit.

    Attributes:
        light: a kind in kernels/lighting.py.
        flat: whether each face is lit by its own normal.
        n_sets: how many sets of texture coordinates there are.
        mipmapped: whether maps have smaller levels.
    """

    light: int
    flat: bool
    n_sets: int
    mipmapped: bool


class MaterialPlace(NamedTuple):
    """A place on a face: face, material, barycentric coordinates, and how they change to the next pixels."""

    t: Any
    k: Any
    b: Any
    right: Any
    down: Any


class MaterialInputs(NamedTuple):
    """What is drawn.

    Attributes:
        offsets: (pixels + 1,) int32 where the fragments of each pixel begin.
        triangles: (M,) int32 sorted by depth within a pixel.
        faces: (F, 3) int32 rows of verts and positions.
        verts: (V, 3) in NDC.
        positions: (V, 3) in world space.
        normal_faces: (F, 3) int32 rows of normals.
        normals: (n, 3) of any length.
        uvs: (T, 2).
        uv_rows: (F, 3 n_sets) int32 rows of uvs at the corners, set by set; -1 for none.
        colors: (C, 4).
        color_faces: (F, 3) int32 rows of colors; -1 for white.
        material: (F,) int32.
        numbers: (materials, N_NUMBERS).
        maps: (materials, 2 N_SLOTS) int32: the map in each slot, -1 for none, and its set of texture coordinates.
        layout: (maps, 4) int32 first texel, rows, columns and code, see texture.py.
        texels: (texels, 4) RGBA.
        params: (N, N_PARAMS) see kernels/lighting.py.
    """

    offsets: Any
    triangles: Any
    faces: Any
    verts: Any
    positions: Any
    normal_faces: Any
    normals: Any
    uvs: Any
    uv_rows: Any
    colors: Any
    color_faces: Any
    material: Any
    numbers: Any
    maps: Any
    layout: Any
    texels: Any
    params: Any


@ti.kernel
def material_shading(
    raster: RasterStruct,
    lighting: struct_of(Lighting),
    bent: ti.template(),  # whether there are normal maps
    offsets: I32Array,  # these seventeen as in MaterialInputs
    triangles: I32Array,
    faces: IVec3Array,
    verts: Vec3Array,
    positions: Vec3Array,
    normal_faces: IVec3Array,
    normals: Vec3Array,
    uvs: FloatArray2D,
    uv_rows: I32Array2D,
    colors: FloatArray2D,
    color_faces: IVec3Array,
    material: I32Array,
    numbers: FloatArray2D,
    maps: I32Array2D,
    layout: IVec4Array,
    texels: Vec4Array,
    params: FloatArray2D,
    tangents: Vec4Array,  # (T, 4) as in bent_normal; (0, 4) where not bent
    image: Vec4Array,  # (pixels, 4) RGBA
):
    inputs = ti.static(
        MaterialInputs(
            offsets=offsets,
            triangles=triangles,
            faces=faces,
            verts=verts,
            positions=positions,
            normal_faces=normal_faces,
            normals=normals,
            uvs=uvs,
            uv_rows=uv_rows,
            colors=colors,
            color_faces=color_faces,
            material=material,
            numbers=numbers,
            maps=maps,
            layout=layout,
            texels=texels,
            params=params,
        )
    )
    run = round_pixels(raster.width)
    ti.loop_config(block_dim=ti.static(task_block()))
    for i in range(image.shape[0] // run):
        n = i * run // (raster.height * raster.width)
        background = vector(params, n, BACKGROUND)
        for pixel in range(i * run, (i + 1) * run):
            color, transmittance = 0 * background, cast_like(1, background.x)
            m, end = offsets[pixel], offsets[pixel + 1]
            if m < end:
                p = centre_of(pixel, raster, background.x)
                while m < end and transmittance > 0:
                    t, b, right, down = place_on_face(inputs, raster, lighting.mipmapped, p, m)
                    place = ti.static(MaterialPlace(t, material[t], b, right, down))
                    rgb, alpha = shade_material(inputs, lighting, tangents, bent, n, place)
                    color += transmittance * alpha * rgb
                    transmittance *= 1 - alpha
                    m += 1
            color += transmittance * background
            image[pixel] = ti.Vector([color.x, color.y, color.z, 1 - transmittance])


@ti.func
def place_on_face(inputs: ti.template(), raster, mipmapped, p, m: ti.i32):
    """The face of fragment m, the barycentric coordinates of pixel centre p on it, and how these change there."""
    t = inputs.triangles[m]
    f = inputs.faces[t]
    v0, v1, v2 = inputs.verts[f[0]], inputs.verts[f[1]], inputs.verts[f[2]]
    _unclipped, b = surface_coords(p, v0, v1, v2, raster)
    right, down = 0 * b, 0 * b
    if mipmapped:
        right, down = surface_slopes(p, v0, v1, v2, raster)
    return t, b, right, down


@ti.func
def shade_material(
    inputs: ti.template(), lighting, tangents: ti.template(), bent: ti.template(), n: ti.i32, place: ti.template()
):
    """The lit colour of a place, and its opacity."""
    k = place.k
    base, emission, occlusion, _m_r, bend, is_bent = surface_colors(inputs, lighting.n_sets, place, False, bent)
    rgb = base.xyz
    if inputs.numbers[k, UNLIT] == 0:
        point, normal, sign = facing_point(inputs, lighting.flat, n, place.t, k, place.b)
        if ti.static(bent):
            if is_bent and not lighting.flat:
                normal = sign * bent_normal(inputs, tangents, place, sign * normal, bend)
        shininess = inputs.numbers[k, PHONG + 3]
        albedo_factor, specular = phong(inputs.params, n, lighting.light, point, normal, shininess)
        albedo_factor -= (1 - occlusion) * vector(inputs.params, n, AMBIENT)
        rgb = albedo_factor * base.xyz + specular * vector(inputs.numbers, k, PHONG)
    mode = inputs.numbers[k, ALPHA_MODE]
    alpha = cast_like(1, base.w)
    if mode == BLEND:
        alpha = ti.math.clamp(base.w, 0 * base.w, 0 * base.w + 1)
    if mode == MASK and base.w < inputs.numbers[k, CUTOFF]:
        alpha = 0 * alpha
    return rgb + emission, alpha


@ti.func
def surface_colors(
    inputs: ti.template(), n_sets: ti.i32, place: ti.template(), physical: ti.template(), bent: ti.template()
):
    """Base colour with alpha, emission, and the part of the ambient light that arrives.

    Also, where ``physical``, metallic and roughness; and, where ``bent``, the texel of the normal map as a vector, and
    whether there is one.
    """
    t, k, b = place.t, place.k, place.b
    one = cast_like(1, b.x)
    base, emission, occlusion = ti.Vector([one, one, one, one]), vector(inputs.numbers, k, EMISSION), one
    metallic_roughness, bend, is_bent = ti.Vector([one, one]), ti.Vector([one, one, one]), False
    if ti.static(physical):
        metallic_roughness = ti.Vector([inputs.numbers[k, METALLIC], inputs.numbers[k, ROUGHNESS]])
    for slot in range(N_SLOTS):
        is_read = (ti.static(physical) or slot != METALLIC_ROUGHNESS_MAP) and (ti.static(bent) or slot != NORMAL_MAP)
        if is_read:
            texel, found = read_map(inputs, n_sets, place, slot)
            if slot == BASE_MAP:
                for c in ti.static(range(4)):
                    base[c] = texel[c] * (inputs.numbers[k, BASE + c] if found else inputs.numbers[k, PLAIN + c])
            elif slot == EMISSION_MAP:
                emission *= texel.xyz
            elif slot == OCCLUSION_MAP and found:
                occlusion += inputs.numbers[k, OCCLUSION_STRENGTH] * (texel.x - 1)
            if ti.static(physical):
                if slot == METALLIC_ROUGHNESS_MAP:
                    metallic_roughness *= texel.zy
            if ti.static(bent):
                if slot == NORMAL_MAP:
                    bend, is_bent = 2 * texel.xyz - 1, found
    if inputs.colors.shape[0] > 0:
        f = inputs.color_faces[t]
        corner_colors = 0 * base
        for i in ti.static(range(3)):
            for c in ti.static(range(4)):
                corner_colors[c] += b[i] * (inputs.colors[f[i], c] if f[i] >= 0 else 1)
        base *= corner_colors
    return base, emission, occlusion, metallic_roughness, bend, is_bent


@ti.func
def facing_point(inputs: ti.template(), flat: ti.i32, n: ti.i32, t: ti.i32, k: ti.i32, b):
    """Position; the normal, turned to the camera where a double-sided face is seen from behind; -1 there, else 1.

    A face's front is where the normals of its corners point, whichever way it is wound.
    """
    f, h = inputs.faces[t], inputs.normal_faces[t]
    p0, p1, p2 = inputs.positions[f[0]], inputs.positions[f[1]], inputs.positions[f[2]]
    point = b[0] * p0 + b[1] * p1 + b[2] * p2
    n0, n1, n2 = inputs.normals[h[0]], inputs.normals[h[1]], inputs.normals[h[2]]
    of_face = (p1 - p0).cross(p2 - p0)
    if of_face.dot(n0 + n1 + n2) < 0:
        of_face = -of_face
    normal = unit(of_face if flat else b[0] * n0 + b[1] * n1 + b[2] * n2)
    sign = cast_like(1, point.x)
    if of_face.dot(vector(inputs.params, n, CAMERA) - point) < 0 and inputs.numbers[k, DOUBLE_SIDED] != 0:
        sign = -sign
    return point, sign * normal, sign


@ti.func
def bent_normal(inputs: ti.template(), tangents: ti.template(), place: ti.template(), normal, bend):
    """A unit normal, bent by the texel of a normal map.

    tangents: (T, 4) the direction of u and the sign of v's at each row of uvs.
    """
    k = place.k
    uv_set = inputs.maps[k, N_SLOTS + NORMAL_MAP]
    tangent = ti.Vector([0 * normal.x, 0 * normal.x, 0 * normal.x, 0 * normal.x])
    for i in ti.static(range(3)):
        tangent += place.b[i] * tangents[inputs.uv_rows[place.t, 3 * uv_set + i]]
    along_u = unit(tangent.xyz - normal * normal.dot(tangent.xyz))
    along_v = normal.cross(along_u) * (-1 if tangent.w < 0 else 1)
    scale, turn = inputs.numbers[k, NORMAL_SCALE], NORMAL_TURN
    u = scale * (bend.x * inputs.numbers[k, turn] + bend.y * inputs.numbers[k, turn + 1])
    v = scale * (bend.x * inputs.numbers[k, turn + 2] + bend.y * inputs.numbers[k, turn + 3])
    return unit(u * along_u + v * along_v + bend.z * normal)


@ti.func
def read_map(inputs: ti.template(), n_sets: ti.i32, place: ti.template(), slot: ti.i32):
    """The texel of a kind of map, RGBA, and whether there is one; white where there is none."""
    t, k, b = place.t, place.k, place.b
    one = cast_like(1, b.x)
    texel, found = ti.Vector([one, one, one, one]), False
    which, uv_set = inputs.maps[k, slot], inputs.maps[k, N_SLOTS + slot]
    if which >= 0 and uv_set < n_sets:
        uv, right, down = ti.Vector([0 * one, 0 * one]), ti.Vector([0 * one, 0 * one]), ti.Vector([0 * one, 0 * one])
        found = True
        for i in ti.static(range(3)):
            row = inputs.uv_rows[t, 3 * uv_set + i]
            if row < 0:
                found = False
            else:
                corner = ti.Vector([inputs.uvs[row, 0], inputs.uvs[row, 1]])
                uv += b[i] * corner
                right += place.right[i] * corner
                down += place.down[i] * corner
        if found:
            a = TRANSFORM + 6 * slot
            at = turned(inputs.numbers, k, a, uv) + ti.Vector([inputs.numbers[k, a + 2], inputs.numbers[k, a + 5]])
            right, down = turned(inputs.numbers, k, a, right), turned(inputs.numbers, k, a, down)
            map_layout = inputs.layout[which]
            level = map_level(right, down, map_layout)
            first, n_levels, rest = levels_read(map_layout[3], level)
            texel *= 0
            for i in range(n_levels):
                share = rest if i == 1 else 1 - rest
                map_layout = inputs.layout[which + first + i]
                nearest = map_layout[3] // NEAREST % 2
                texel += share * sample_map(inputs.texels, map_layout, nearest, False, at)
    return texel, found


@ti.func
def turned(numbers: ti.template(), k: ti.i32, a: ti.i32, uv):
    """Texture coordinates under the matrix that begins at column a of material k."""
    return ti.Vector(
        [
            numbers[k, a] * uv.x + numbers[k, a + 1] * uv.y,
            numbers[k, a + 3] * uv.x + numbers[k, a + 4] * uv.y,
        ]
    )
