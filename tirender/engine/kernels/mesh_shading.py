"""Fused shading of packed mesh fragments: interpolate, texture, light and blend, one pass a pixel, and its adjoint.

Soft blending is the softmax of SoftRas (Liu et al. 2019) over depth and coverage; since fragments come sorted by
depth, the largest inverse depth is that of the first, and one pass suffices. The factor exp(-zmax / gamma) cancels in
the ratio, so that the gradient in zmax is that of the background's bounded weight alone. Of a fragment are kept its
coverage, its weight and the segment of the outline it is nearest to: of most, which others hide, the adjoint needs no
more. Those that are seen it computes again from the geometry.
"""

import taichi as ti

from tirender.engine.kernels.lighting import (
    AMBIENT,
    BACKGROUND,
    CAMERA,
    DIFFUSE,
    LIGHT,
    SHININESS,
    SPECULAR,
    ZFAR,
    ZNEAR,
    reflect,
    reflect_vjp,
    vector,
)
from tirender.engine.kernels.partial_sums import accumulate, accumulate_at
from tirender.engine.kernels.scalars import cast_like, sigmoid
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.texture import VERTEX, corner, sample, sample_vjp
from tirender.engine.kernels.triangle import (
    is_inside,
    nearest_segment,
    pixel_ndc,
    segment_distance_vjp,
    segment_opposite,
    surface_coords,
    surface_coords_vjp,
)
from tirender.engine.kernels.types import (
    FloatArray,
    FloatArray2D,
    FloatArray3D,
    I32Array,
    IVec3Array,
    Vec2Array,
    Vec3Array,
    Vec3Array2D,
    Vec4Array,
)

# what the adjoint is asked for
VERTS, SURFACE, COORDS, TEXELS, PARAMS = 1, 2, 4, 8, 16

BLEND_EPS = 1e-10  # the background's least weight, and the least inverse depth
NEGLIGIBLE = 1e-12  # fragments with a smaller share of the weight add nothing that a float32 could hold


@ti.kernel
def mesh_shading_forward(
    offsets: I32Array,
    triangles: I32Array,
    faces: IVec3Array,
    verts: Vec3Array,
    surface_faces: IVec3Array,
    positions: Vec3Array,
    normals: Vec3Array,
    coord_faces: IVec3Array,
    coords: FloatArray2D,
    map_index: I32Array,
    layout: IVec3Array,
    texels: Vec3Array,
    params: FloatArray2D,
    perspective: ti.i32,
    clip: ti.i32,
    height: ti.i32,
    width: ti.i32,
    light: ti.i32,
    flat: ti.i32,
    texture: ti.i32,
    padding: ti.i32,
    align: ti.i32,
    soft: ti.i32,
    inv_sigma: ti.f32,
    inv_gamma: ti.f32,
    image: Vec4Array,
    blend: Vec2Array,
    coverage: FloatArray,
    weights: FloatArray,
    segments: I32Array,
):
    """image: RGBA of each pixel; blend: its transmittance (product of 1 - coverage) and its total weight; of each
    fragment, or empty where not wanted or not soft: coverage, weight, and the corner opposite the nearest segment, plus
    3 inside."""
    for pixel in image:
        n = pixel // (height * width)
        background = vector(params, n, BACKGROUND)
        zero = cast_like(0, background.x)
        begin, end = offsets[pixel], offsets[pixel + 1]
        if begin == end:
            image[pixel] = ti.Vector([background.x, background.y, background.z, zero])
            blend[pixel] = ti.Vector([zero + 1, zero + 1])
        else:
            p = pixel_ndc(pixel % width, pixel // width % height, height, width, zero)
            znear, zfar = params[n, ZNEAR], params[n, ZFAR]
            transmittance, weight_sum, color, zmax = zero + 1, zero, 0 * background, zero
            for m in range(begin, end if soft else begin + 1):
                t = triangles[m]
                f = faces[t]
                v0, v1, v2 = verts[f[0]], verts[f[1]], verts[f[2]]
                unclipped, b = surface_coords(p, v0, v1, v2, perspective, clip)
                weight = zero + 1
                if soft:
                    z = b[0] * v0.z + b[1] * v1.z + b[2] * v2.z
                    inverse_depth = (zfar - z) / (zfar - znear)
                    if m == begin:
                        zmax = ti.max(inverse_depth, BLEND_EPS)
                        weight_sum = background_weight(zmax, inv_gamma)
                        color = weight_sum * background
                    opposite, d = nearest_segment(p, v0, v1, v2)
                    inside = is_inside(unclipped)
                    covered = sigmoid((d if inside else -d) * inv_sigma)
                    transmittance *= 1 - covered
                    weight = covered * ti.exp((inverse_depth - zmax) * inv_gamma)
                    if coverage.shape[0] > 0:
                        coverage[m], weights[m], segments[m] = covered, weight, opposite + (3 if inside else 0)
                if weight > NEGLIGIBLE * weight_sum:
                    at, point, normal = interpolate(
                        t, b, flat, light, texture, surface_faces, positions, normals, coord_faces, coords
                    )
                    factor, added = reflect(params, n, light, point, normal)
                    texel = sample(texels, map_of(map_index, layout, t, texture), texture, padding, align, at)
                    color += weight * (factor * texel + added)
                    weight_sum += weight
            color /= weight_sum
            image[pixel] = ti.Vector([color.x, color.y, color.z, 1 - transmittance if soft else zero + 1])
            blend[pixel] = ti.Vector([transmittance, weight_sum])


@ti.kernel
def mesh_shading_adjoint(
    offsets: I32Array,
    triangles: I32Array,
    faces: IVec3Array,
    verts: Vec3Array,
    surface_faces: IVec3Array,
    positions: Vec3Array,
    normals: Vec3Array,
    coord_faces: IVec3Array,
    coords: FloatArray2D,
    map_index: I32Array,
    layout: IVec3Array,
    texels: Vec3Array,
    params: FloatArray2D,
    perspective: ti.i32,
    clip: ti.i32,
    height: ti.i32,
    width: ti.i32,
    light: ti.i32,
    flat: ti.i32,
    texture: ti.i32,
    padding: ti.i32,
    align: ti.i32,
    soft: ti.i32,
    inv_sigma: ti.f32,
    inv_gamma: ti.f32,
    image: Vec4Array,
    blend: Vec2Array,
    coverage: FloatArray,
    weights: FloatArray,
    segments: I32Array,
    grad_image: Vec4Array,
    bounds: I32Array,
    wanted: ti.i32,
    atomic: ti.template(),
    grad_verts: Vec3Array2D,
    grad_positions: Vec3Array2D,
    grad_normals: Vec3Array2D,
    grad_coords: FloatArray3D,
    grad_texels: Vec3Array2D,
    grad_params: FloatArray3D,
):
    """bounds: the pixels of each part; wanted: a sum of VERTS, SURFACE ...; gradients have a leading part and are zero
    before, or empty where not wanted."""
    ti.loop_config(block_dim=ti.static(task_block()))
    for s in range(bounds.shape[0] - 1):
        for pixel in range(bounds[s], bounds[s + 1]):
            begin, end = offsets[pixel], offsets[pixel + 1]
            if begin == end:
                if wanted & PARAMS:
                    n = pixel // (height * width)
                    for c in ti.static(range(3)):
                        accumulate_at(grad_params, s, n, BACKGROUND + c, grad_image[pixel][c], atomic)
            else:
                n = pixel // (height * width)
                background = vector(params, n, BACKGROUND)
                zero = cast_like(0, background.x)
                p = pixel_ndc(pixel % width, pixel // width % height, height, width, zero)
                znear, zfar = params[n, ZNEAR], params[n, ZFAR]
                color = image[pixel].xyz
                transmittance, weight_sum = blend[pixel].x, blend[pixel].y
                grad_alpha = grad_image[pixel].w
                grad_color = grad_image[pixel].xyz / weight_sum
                for m in range(begin, end if soft else begin + 1):
                    t = triangles[m]
                    f = faces[t]
                    weight, covered, grad_d = zero + 1, zero, zero
                    if soft:
                        weight, covered = weights[m], coverage[m]
                        grad_d = -grad_alpha * transmittance * covered * inv_sigma
                    if m == begin or weight > NEGLIGIBLE * weight_sum:
                        v0, v1, v2 = verts[f[0]], verts[f[1]], verts[f[2]]
                        unclipped, b = surface_coords(p, v0, v1, v2, perspective, clip)
                        inverse_depth, grad_inverse_depth, grad_b = zero, zero, 0 * b
                        if soft:
                            z = b[0] * v0.z + b[1] * v1.z + b[2] * v2.z
                            inverse_depth = (zfar - z) / (zfar - znear)
                        if soft and m == begin:
                            share = background_weight(ti.max(inverse_depth, BLEND_EPS), inv_gamma)
                            if inverse_depth > BLEND_EPS and share <= BLEND_EPS:
                                grad_inverse_depth -= share * inv_gamma * grad_color.dot(color - background)
                            if wanted & PARAMS:
                                for c in ti.static(range(3)):
                                    accumulate_at(grad_params, s, n, BACKGROUND + c, share * grad_color[c], atomic)
                        if weight > NEGLIGIBLE * weight_sum:
                            at, point, normal = interpolate(
                                t, b, flat, light, texture, surface_faces, positions, normals, coord_faces, coords
                            )
                            k = map_of(map_index, layout, t, texture)
                            factor, added = reflect(params, n, light, point, normal)
                            texel = sample(texels, k, texture, padding, align, at)
                            if soft:
                                grad_weight = weight * grad_color.dot(factor * texel + added - color)
                                grad_d -= grad_weight * (1 - covered) * inv_sigma
                                grad_inverse_depth += grad_weight * inv_gamma
                            g = weight * grad_color
                            grad_at = sample_vjp(
                                *(texels, k, texture, padding, align, at, g * factor),
                                *(wanted & TEXELS, s, grad_texels, atomic),
                            )
                            grad_b += spread_coords(
                                t, b, grad_at, texture, coord_faces, coords, wanted & COORDS, s, grad_coords, atomic
                            )
                            if light and wanted & (VERTS | SURFACE) or wanted & PARAMS:
                                grad_point, grad_normal, cosine, glint, grad_shininess, grad_camera, grad_light = (
                                    reflect_vjp(params, n, light, point, normal, g * texel, g)
                                )
                                if light:
                                    grad_b += spread_surface(
                                        *(t, b, flat, grad_point, grad_normal, surface_faces, positions, normals),
                                        *(wanted & SURFACE, s, grad_positions, grad_normals, atomic),
                                    )
                                if wanted & PARAMS:
                                    for c in ti.static(range(3)):
                                        gc = g[c] * texel[c]
                                        accumulate_at(grad_params, s, n, AMBIENT + c, gc, atomic)
                                        accumulate_at(grad_params, s, n, DIFFUSE + c, gc * cosine, atomic)
                                        accumulate_at(grad_params, s, n, SPECULAR + c, g[c] * glint, atomic)
                                        accumulate_at(grad_params, s, n, CAMERA + c, grad_camera[c], atomic)
                                        accumulate_at(grad_params, s, n, LIGHT + c, grad_light[c], atomic)
                                    accumulate_at(grad_params, s, n, SHININESS, grad_shininess, atomic)
                        span = zfar - znear
                        if wanted & PARAMS and soft:
                            g_span = grad_inverse_depth / span
                            accumulate_at(grad_params, s, n, ZFAR, g_span * (1 - inverse_depth), atomic)
                            accumulate_at(grad_params, s, n, ZNEAR, g_span * inverse_depth, atomic)
                        grad_z = -grad_inverse_depth / span
                        if wanted & VERTS and not (grad_z == 0 and (grad_b == 0).all()):  # NaN is not 0
                            g0, g1, g2 = surface_coords_vjp(p, v0, v1, v2, perspective, clip, grad_b, grad_z)
                            accumulate(grad_verts, s, f[0], g0, atomic)
                            accumulate(grad_verts, s, f[1], g1, atomic)
                            accumulate(grad_verts, s, f[2], g2, atomic)
                    if wanted & VERTS and not grad_d == 0:
                        i, j = segment_opposite(f, segments[m] % 3)
                        # inside the signed distance is negative
                        ga, gb = segment_distance_vjp(p, verts[i], verts[j], grad_d if segments[m] < 3 else -grad_d)
                        accumulate(grad_verts, s, i, ti.Vector([ga.x, ga.y, zero]), atomic)
                        accumulate(grad_verts, s, j, ti.Vector([gb.x, gb.y, zero]), atomic)


@ti.func
def background_weight(zmax, inv_gamma):
    return ti.max(ti.exp((BLEND_EPS - zmax) * inv_gamma), BLEND_EPS)


@ti.func
def map_of(map_index: ti.template(), layout: ti.template(), t: ti.i32, texture: ti.i32):
    out = ti.math.ivec3(0, 0, 0)
    if texture != VERTEX:
        out = layout[map_index[t]]
    return out


@ti.func
def interpolate(
    t: ti.i32,
    b,
    flat: ti.i32,
    light: ti.i32,
    texture: ti.i32,
    surface_faces: ti.template(),
    positions: ti.template(),
    normals: ti.template(),
    coord_faces: ti.template(),
    coords: ti.template(),
):
    """Texture coordinates, position and normal; flat shading takes the last two from the face alone."""
    c = coord_faces[t]
    at = (
        b[0] * corner(coords, c[0], texture)
        + b[1] * corner(coords, c[1], texture)
        + b[2] * corner(coords, c[2], texture)
    )
    point, normal = 0 * b, 0 * b
    if light:
        f = surface_faces[t]
        if flat:
            point, normal = positions[f[0]], normals[f[0]]
        else:
            point = b[0] * positions[f[0]] + b[1] * positions[f[1]] + b[2] * positions[f[2]]
            normal = b[0] * normals[f[0]] + b[1] * normals[f[1]] + b[2] * normals[f[2]]
    return at, point, normal


@ti.func
def spread_coords(
    t: ti.i32,
    b,
    g,
    texture: ti.i32,
    coord_faces: ti.template(),
    coords: ti.template(),
    wanted: ti.i32,
    s: ti.i32,
    grad_coords: ti.template(),
    atomic: ti.template(),
):
    """Adds the gradient of the interpolated coordinates to the corners; returns that in b."""
    f = coord_faces[t]
    out = 0 * b
    for i in ti.static(range(3)):
        out[i] = g.dot(corner(coords, f[i], texture))
        if wanted:
            accumulate_at(grad_coords, s, f[i], 0, b[i] * g[0], atomic)
            accumulate_at(grad_coords, s, f[i], 1, b[i] * g[1], atomic)
            if texture == VERTEX:
                accumulate_at(grad_coords, s, f[i], 2, b[i] * g[2], atomic)
    return out


@ti.func
def spread_surface(
    t: ti.i32,
    b,
    flat: ti.i32,
    grad_point,
    grad_normal,
    surface_faces: ti.template(),
    positions: ti.template(),
    normals: ti.template(),
    wanted: ti.i32,
    s: ti.i32,
    grad_positions: ti.template(),
    grad_normals: ti.template(),
    atomic: ti.template(),
):
    """Adds the gradients of position and normal to the corners; returns that in b."""
    f = surface_faces[t]
    out = 0 * b
    if flat:
        if wanted:
            accumulate(grad_positions, s, f[0], grad_point, atomic)
            accumulate(grad_normals, s, f[0], grad_normal, atomic)
    else:
        for i in ti.static(range(3)):
            out[i] = grad_point.dot(positions[f[i]]) + grad_normal.dot(normals[f[i]])
            if wanted:
                accumulate(grad_positions, s, f[i], b[i] * grad_point, atomic)
                accumulate(grad_normals, s, f[i], b[i] * grad_normal, atomic)
    return out
