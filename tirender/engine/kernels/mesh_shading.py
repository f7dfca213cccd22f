"""Fused shading of packed mesh fragments: interpolate, texture, light and blend, one pass a pixel, and its adjoint.

Soft blending is the softmax of SoftRas (Liu et al. 2019) over depth and coverage. Fragments come sorted by depth, so
the largest inverse depth is that of the first (of the last where zfar is below znear), and one pass from there
suffices. The factor exp(-zmax / gamma) cancels in the
ratio; the gradient in zmax is that of the background's bounded weight alone. The forward pass keeps the coverage, the
weight and the nearest edge of each fragment. Most fragments are hidden by others, and the adjoint needs no more of
them. Those that are seen it computes again from the geometry.
"""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.lighting import BACKGROUND, N_PARAMS, ZFAR, ZNEAR, vector
from tirender.engine.kernels.partial_sums import Sums, add_row
from tirender.engine.kernels.scalars import cast_like, sigmoid
from tirender.engine.kernels.surface import (
    Mode,
    OwnersStruct,
    Place,
    ShadingStruct,
    Surface,
    level_of,
    shade,
    shade_vjp,
)
from tirender.engine.kernels.tasks import round_pixels, task_block
from tirender.engine.kernels.texture import SamplingStruct, Texture
from tirender.engine.kernels.triangle import (
    RasterStruct,
    centre_of,
    encode_edge,
    encoded_edge_vjp,
    is_inside,
    nearest_edge,
    surface_coords,
    surface_coords_vjp,
)
from tirender.engine.kernels.types import (
    FloatArray2D,
    I32Array,
    IVec3Array,
    IVec4Array,
    Vec2Array,
    Vec3Array,
    Vec4Array,
)

BLEND_EPS = 1e-10  # the background's least weight, and the least inverse depth
NEGLIGIBLE = 1e-12  # fragments with a smaller share of the weight add nothing that a float32 could hold


class ShadingInputs(NamedTuple):
    """What is shaded.

    Attributes:
        offsets: (pixels + 1,) int32 where the fragments of each pixel begin.
        triangles: (M,) int32 sorted by depth within a pixel.
        faces: (T, 3) int32 rows of verts and positions.
        verts: (V, 3) in NDC.
        positions: (V, 3) in world space; (T, 3) where flat.
        normal_faces: (T, 3) int32 rows of normals; unused where flat.
        normals: (n, 3) of any length; (T, 3) where flat.
        texture_faces, coords, map_index, layout, texels: see Texture.
        params: (N, N_PARAMS) see kernels/lighting.py.
    """

    offsets: Any
    triangles: Any
    faces: Any
    verts: Any
    positions: Any
    normal_faces: Any
    normals: Any
    texture_faces: Any
    coords: Any
    map_index: Any
    layout: Any
    texels: Any
    params: Any


class Kept(NamedTuple):
    """What the forward pass keeps for the adjoint of soft blending.

    Attributes:
        pixels: (pixels, 5) colour, transmittance (product of 1 - coverage) and total weight.
        weights: (M, 2) coverage and weight.
        edges: (M,) int32 nearest edge, see encode_edge.
    """

    pixels: Any
    weights: Any
    edges: Any


@ti.kernel
def mesh_shading_forward(
    raster: RasterStruct,
    shading: ShadingStruct,
    sampling: SamplingStruct,
    mipmaps: ti.template(),
    offsets: I32Array,  # these thirteen as in ShadingInputs
    triangles: I32Array,
    faces: IVec3Array,
    verts: Vec3Array,
    positions: Vec3Array,
    normal_faces: IVec3Array,
    normals: Vec3Array,
    texture_faces: IVec3Array,
    coords: FloatArray2D,
    map_index: I32Array,
    layout: IVec4Array,
    texels: Vec3Array,
    params: FloatArray2D,
    image: Vec4Array,  # (pixels, 4) RGBA
    kept_pixels: FloatArray2D,  # these three as in Kept; empty where not wanted or not soft
    kept_weights: Vec2Array,
    kept_edges: I32Array,
):
    surface = ti.static(Surface(faces, positions, normal_faces, normals, params))
    texture = ti.static(Texture(texture_faces, coords, map_index, layout, texels, mipmaps))
    run = round_pixels(raster.width)
    ti.loop_config(block_dim=ti.static(task_block()))
    for i in range(image.shape[0] // run):
        n = i * run // (raster.height * raster.width)
        background = vector(params, n, BACKGROUND)
        for pixel in range(i * run, (i + 1) * run):
            zero = cast_like(0, background.x)
            begin, end = offsets[pixel], offsets[pixel + 1]
            color, transmittance, weight_sum = background, zero + 1, zero + 1
            if begin < end:
                p = centre_of(pixel, raster, zero)
                znear, zfar = params[n, ZNEAR], params[n, ZFAR]
                color, weight_sum, zmax = 0 * background, zero, zero
                first, step = blending_order(begin, end, shading.soft, znear, zfar)
                for k in range(end - begin if shading.soft else 1):
                    m = first + step * k
                    t = triangles[m]
                    f = faces[t]
                    v0, v1, v2 = verts[f[0]], verts[f[1]], verts[f[2]]
                    unclipped, b = surface_coords(p, v0, v1, v2, raster)
                    weight = zero + 1
                    if shading.soft:
                        inverse_depth = (zfar - (b[0] * v0.z + b[1] * v1.z + b[2] * v2.z)) / (zfar - znear)
                        if k == 0:
                            zmax = ti.max(inverse_depth, BLEND_EPS)
                            weight_sum = background_weight(zmax, shading.inv_gamma)
                            color = weight_sum * background
                        corner, d = nearest_edge(p, v0, v1, v2)
                        inside = is_inside(unclipped)
                        coverage = sigmoid((d if inside else -d) * shading.inv_sigma)
                        transmittance *= 1 - coverage
                        weight = coverage * ti.exp((inverse_depth - zmax) * shading.inv_gamma)
                        if kept_edges.shape[0] > 0:
                            kept_weights[m] = ti.Vector([coverage, weight])
                            kept_edges[m] = encode_edge(corner, inside)
                    if weight > NEGLIGIBLE * weight_sum:
                        level = level_of(texture, sampling.kind, t, p, v0, v1, v2, raster)
                        place = ti.static(Place(n, t, b, level))
                        color += weight * shade(surface, texture, place, shading, sampling)
                        weight_sum += weight
                color /= weight_sum
            alpha = zero + 1
            if shading.soft or begin == end:
                alpha = 1 - transmittance
            image[pixel] = ti.Vector([color.x, color.y, color.z, alpha])
            if kept_pixels.shape[0] > 0:
                for c in ti.static(range(3)):
                    kept_pixels[pixel, c] = color[c]
                kept_pixels[pixel, 3] = transmittance
                kept_pixels[pixel, 4] = weight_sum


@ti.kernel
def mesh_shading_adjoint(
    raster: RasterStruct,
    shading: ShadingStruct,
    sampling: SamplingStruct,
    mipmaps: ti.template(),
    owners: OwnersStruct,
    offsets: I32Array,  # these thirteen as in ShadingInputs
    triangles: I32Array,
    faces: IVec3Array,
    verts: Vec3Array,
    positions: Vec3Array,
    normal_faces: IVec3Array,
    normals: Vec3Array,
    texture_faces: IVec3Array,
    coords: FloatArray2D,
    map_index: I32Array,
    layout: IVec4Array,
    texels: Vec3Array,
    params: FloatArray2D,
    kept_pixels: FloatArray2D,  # these three as in Kept
    kept_weights: Vec2Array,
    kept_edges: I32Array,
    grad_image: Vec4Array,  # (pixels, 4)
    bounds: I32Array,  # (parts + 1,) the pixels of each part
    atomic: ti.template(),
    grads: FloatArray2D,  # (part, columns) zero before; owners says which column is whose
):
    surface = ti.static(Surface(faces, positions, normal_faces, normals, params))
    texture = ti.static(Texture(texture_faces, coords, map_index, layout, texels, mipmaps))
    fragments = ti.static(FragmentInputs(triangles, verts, surface, texture, kept_pixels, kept_weights, kept_edges))
    mode = ti.static(Mode(raster, shading, sampling, owners))
    ti.loop_config(block_dim=ti.static(task_block()))
    for part in range(bounds.shape[0] - 1):
        sums = ti.static(Sums(grads, part, atomic))
        for index in range(bounds[part], bounds[part + 1]):
            n = index // (raster.height * raster.width)
            begin, end = offsets[index], offsets[index + 1]
            grad_color, grad_alpha = grad_image[index].xyz, grad_image[index].w
            if begin == end:
                if owners.params >= 0:
                    add_row(sums, owners.params + n * N_PARAMS + BACKGROUND, grad_color)
            else:
                weight_sum = 1 + 0 * grad_alpha
                if shading.soft:
                    weight_sum = kept_pixels[index, 4]
                grad_color /= weight_sum
                centre = centre_of(index, raster, weight_sum)
                first, _ = blending_order(begin, end, shading.soft, params[n, ZNEAR], params[n, ZFAR])
                pixel = ti.static(Pixel(n, index, first, centre, weight_sum, grad_color, grad_alpha))
                for m in range(begin, end if shading.soft else begin + 1):
                    fragment_adjoint(fragments, sums, mode, pixel, m)


@ti.func
def blending_order(begin, end, soft, znear, zfar):
    """The fragment of the largest inverse depth, and the step from it to the next."""
    first, step = begin, 1
    if soft and zfar < znear:
        first, step = end - 1, -1
    return first, step


@ti.func
def background_weight(zmax, inv_gamma):
    return ti.max(ti.exp((BLEND_EPS - zmax) * inv_gamma), BLEND_EPS)


class FragmentInputs(NamedTuple):
    """What the adjoint reads of a fragment; as in ShadingInputs and Kept."""

    triangles: Any
    verts: Any
    surface: Any
    texture: Any
    pixels: Any
    weights: Any
    edges: Any


class Pixel(NamedTuple):
    """A pixel in the adjoint: its image, its index, the first fragment in blending order, its centre in NDC, its total
    weight, its gradient."""

    n: Any
    index: Any
    first: Any
    centre: Any
    weight_sum: Any
    grad_color: Any
    grad_alpha: Any


@ti.func
def fragment_adjoint(
    fragments: ti.template(), sums: ti.template(), mode: ti.template(), pixel: ti.template(), m: ti.i32
):
    """Add what fragment m gives to all gradients."""
    soft, inv_sigma, inv_gamma = mode.shading.soft, mode.shading.inv_sigma, mode.shading.inv_gamma
    t = fragments.triangles[m]
    f = fragments.surface.faces[t]
    weight, grad_weight = 1 + 0 * pixel.weight_sum, 0 * pixel.weight_sum
    if soft:
        weight = fragments.weights[m].y
    is_seen = weight > NEGLIGIBLE * pixel.weight_sum
    if is_seen or m == pixel.first:
        v0, v1, v2 = fragments.verts[f[0]], fragments.verts[f[1]], fragments.verts[f[2]]
        _unclipped, b = surface_coords(pixel.centre, v0, v1, v2, mode.raster)
        grad_b, grad_inverse_depth = 0 * b, 0 * weight
        inverse_depth = 0 * weight
        znear, zfar = fragments.surface.params[pixel.n, ZNEAR], fragments.surface.params[pixel.n, ZFAR]
        if soft:
            inverse_depth = (zfar - (b[0] * v0.z + b[1] * v1.z + b[2] * v2.z)) / (zfar - znear)
            if m == pixel.first:
                grad_inverse_depth = background_adjoint(fragments, sums, mode, pixel, inverse_depth)
        if is_seen:
            level = level_of(fragments.texture, mode.sampling.kind, t, pixel.centre, v0, v1, v2, mode.raster)
            place = ti.static(Place(pixel.n, t, b, level))
            shaded, grad_b_shaded = shade_vjp(
                fragments.surface, fragments.texture, sums, mode, place, weight * pixel.grad_color
            )
            grad_b = grad_b_shaded
            if soft:
                grad_weight = fragments.weights[m].y * pixel.grad_color.dot(shaded - blended(fragments, pixel))
                grad_inverse_depth += grad_weight * inv_gamma
        g = grad_inverse_depth / (zfar - znear)
        if soft and mode.owners.params >= 0:
            column = mode.owners.params + pixel.n * N_PARAMS
            add_row(sums, column + ZNEAR, ti.Vector([g * inverse_depth, g * (1 - inverse_depth)]))
        if mode.owners.verts >= 0 and not (g == 0 and (grad_b == 0).all()):  # NaN is not 0
            # read again, so that a GPU need not hold them in registers while it shades
            v0, v1, v2 = fragments.verts[f[0]], fragments.verts[f[1]], fragments.verts[f[2]]
            g0, g1, g2 = surface_coords_vjp(pixel.centre, v0, v1, v2, mode.raster, grad_b, -g)
            add_row(sums, mode.owners.verts + 3 * f[0], g0)
            add_row(sums, mode.owners.verts + 3 * f[1], g1)
            add_row(sums, mode.owners.verts + 3 * f[2], g2)
    grad_d = 0 * weight
    if soft:
        coverage, transmittance = fragments.weights[m].x, fragments.pixels[pixel.index, 3]
        grad_d = -(pixel.grad_alpha * transmittance * coverage + grad_weight * (1 - coverage)) * inv_sigma
    if mode.owners.verts >= 0 and not grad_d == 0:
        i, j, gi, gj = encoded_edge_vjp(pixel.centre, f, fragments.edges[m], fragments.verts, grad_d)
        add_row(sums, mode.owners.verts + 3 * i, gi)
        add_row(sums, mode.owners.verts + 3 * j, gj)


@ti.func
def blended(fragments: ti.template(), pixel: ti.template()):
    """The colour of a pixel, read where it is used: a GPU need not hold it in registers while it shades."""
    return ti.Vector([fragments.pixels[pixel.index, c] for c in ti.static(range(3))])


@ti.func
def background_adjoint(fragments: ti.template(), sums: ti.template(), mode: ti.template(), pixel: ti.template(), zmax):
    """The gradient in the nearest fragment's inverse depth through the background's weight; that in the background's
    colour is added to sums."""
    behind = blended(fragments, pixel) - vector(fragments.surface.params, pixel.n, BACKGROUND)
    share, grad_zmax = background_vjp(zmax, mode.shading.inv_gamma, pixel.grad_color.dot(behind))
    if mode.owners.params >= 0:
        add_row(sums, mode.owners.params + pixel.n * N_PARAMS + BACKGROUND, share * pixel.grad_color)
    return grad_zmax


@ti.func
def background_vjp(zmax, inv_gamma, grad):
    """The background's weight, and the gradient in the nearest fragment's inverse depth through it; ``grad`` is that in
    the nearness of the blend to the background's colour, with its sign turned."""
    share, grad_zmax = background_weight(ti.max(zmax, BLEND_EPS), inv_gamma), 0 * zmax
    if zmax > BLEND_EPS and share <= BLEND_EPS:
        grad_zmax = -share * inv_gamma * grad
    return share, grad_zmax
