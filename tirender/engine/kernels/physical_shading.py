"""Faces with metallic-roughness materials, lit by lamps and surroundings, blended front to back and tone-mapped.

Pictures without gradients, one pass a pixel. The twin in torch, ``renderer/mesh/physical_shading.py``, has gradients.
"""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.lighting import AMBIENT, BACKGROUND, CAMERA, unit, vector
from tirender.engine.kernels.material_shading import (
    ALPHA_MODE,
    BLEND,
    CUTOFF,
    MASK,
    UNLIT,
    MaterialInputs,
    MaterialPlace,
    bent_normal,
    facing_point,
    place_on_face,
    surface_colors,
)
from tirender.engine.kernels.reflectance import (
    Albedos,
    Facets,
    Surroundings,
    albedos_of,
    light_from,
    reflected_lamp,
    tone_mapped,
)
from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.tasks import round_pixels, task_block
from tirender.engine.kernels.triangle import RasterStruct, centre_of
from tirender.engine.kernels.types import (
    FloatArray2D,
    I32Array,
    I32Array2D,
    IVec3Array,
    IVec4Array,
    Vec2Array2D,
    Vec3Array,
    Vec4Array,
    struct_of,
)


class PhysicalLighting(NamedTuple):
    """How faces are lit.

    Attributes:
        flat: whether each face is lit by its own normal.
        n_sets: how many sets of texture coordinates there are.
        mipmapped: whether maps have smaller levels.
        n_lamps: how many lamps there are.
        compensated: whether light that facets reflect more than once counts.
        tones: LINEAR_TONES ... of reflectance.py.
        exposure: multiplies the light before it is tone-mapped.
    """

    flat: bool
    n_sets: int
    mipmapped: bool
    n_lamps: int
    compensated: bool
    tones: int
    exposure: float


class Limits(NamedTuple):
    """Numbers of the model; see the twin."""

    dielectric: float
    least_roughness: float
    least_cosine: float
    shift: float
    shift_grazing: float
    tiny: float


class Curve(NamedTuple):
    """Numbers of the tone mapping: of sRGB's curve, and of the neutral compression."""

    slope: float
    knee: float
    scale: float
    gamma: float
    drop: float
    toe: float
    toe_square: float
    start: float
    desaturation: float


class PhysicalInputs(NamedTuple):
    """What is drawn, beside the MaterialInputs, whose colours and texels are linear.

    Attributes:
        tangents: (T, 4) the direction of u and the sign of v's at each row of uvs; (0, 4) without normal maps.
        lamps: (N n_lamps, N_LAMP) see reflectance.py.
        visibility: (M, n_lamps) the part of each lamp's light that reaches each fragment; (0, 0) where all does.
        albedo: (side, side, 2) see albedo_entry.
        levels, texels, turns: see Surroundings.
    """

    tangents: Any
    lamps: Any
    visibility: Any
    albedo: Any
    levels: Any
    texels: Any
    turns: Any


class Lit(NamedTuple):
    """All that a place is lit with."""

    inputs: Any
    tangents: Any
    lamps: Any
    visibility: Any
    albedo: Any
    surroundings: Any
    lighting: Any
    limits: Any


@ti.kernel
def physical_shading(
    raster: RasterStruct,
    lighting: struct_of(PhysicalLighting),
    limits: struct_of(Limits),
    curve: struct_of(Curve),
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
    tangents: Vec4Array,  # these seven as in PhysicalInputs
    lamps: FloatArray2D,
    visibility: FloatArray2D,
    albedo: Vec2Array2D,
    env_levels: IVec3Array,
    env_texels: Vec3Array,
    env_turns: FloatArray2D,
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
    surroundings = ti.static(Surroundings(env_levels, env_texels, env_turns))
    lit = ti.static(Lit(inputs, tangents, lamps, visibility, albedo, surroundings, lighting, limits))
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
                    rgb, alpha = shade_physical(lit, n, m, place)
                    color += transmittance * alpha * rgb
                    transmittance *= 1 - alpha
                    m += 1
            alpha = 1 - transmittance
            if alpha > 0:
                color = alpha * tone_mapped(lighting.exposure / alpha * color, lighting.tones, curve)
            color += transmittance * background
            image[pixel] = ti.Vector([color.x, color.y, color.z, alpha])


@ti.func
def shade_physical(lit: ti.template(), n: ti.i32, m: ti.i32, place: ti.template()):
    """The light of a place, fragment m of image n, and its opacity."""
    k = place.k
    base, emission, occlusion, metallic_roughness, bend, is_bent = surface_colors(
        lit.inputs, lit.lighting.n_sets, place, True, True
    )
    one = cast_like(1, base.w)
    mode, alpha = lit.inputs.numbers[k, ALPHA_MODE], one
    if mode == BLEND:
        alpha = ti.math.clamp(base.w, 0 * one, one)
    if mode == MASK and base.w < lit.inputs.numbers[k, CUTOFF]:
        alpha = 0 * one
    rgb = base.xyz
    if lit.inputs.numbers[k, UNLIT] == 0 and alpha > 0:
        point, normal, sign = facing_point(lit.inputs, lit.lighting.flat, n, place.t, k, place.b)
        if is_bent and not lit.lighting.flat:
            normal = sign * bent_normal(lit.inputs, lit.tangents, place, sign * normal, bend)
        view = unit(vector(lit.inputs.params, n, CAMERA) - point)
        metallic = ti.math.clamp(metallic_roughness.x, 0 * one, one)
        roughness = ti.math.clamp(metallic_roughness.y, 0 * one, one)
        facets = ti.static(Facets(base.xyz, metallic, roughness, normal, view))
        f0, single, repeated, scattering, boost = albedos_of(facets, lit.albedo, lit.lighting.compensated, lit.limits)
        albedos = ti.static(Albedos(f0, single, repeated, scattering, boost))
        of_lobe, of_hemisphere = light_from(lit.surroundings, n, facets, lit.limits)
        ambient = vector(lit.inputs.params, n, AMBIENT)
        rgb = single * (of_lobe + ambient) + (repeated + scattering) * (of_hemisphere + ambient)
        rgb *= occlusion
        for lamp in range(lit.lighting.n_lamps):
            row = n * lit.lighting.n_lamps + lamp
            towards = vector(lit.lamps, row, 0)
            if lit.lamps[row, 3] != 0:
                towards -= point
            color = vector(lit.lamps, row, 4)
            if lit.visibility.shape[0] > 0:
                color *= lit.visibility[m, lamp]
            rgb += reflected_lamp(facets, albedos, unit(towards), color, lit.limits)
    return rgb + emission, alpha
