"""The kernels of ``mesh_shading.py`` for a CPU, where vertex colours are softly blended: 16 fragments are one vector.

What is given at the corners of their triangles is gathered, a vector for each coordinate of each corner. The adjoint
leaves gradients in scratch memory, in the same places, and adds them to the sums lane by lane.
"""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.lanes import (
    LANES,
    LanesArray,
    dot,
    exp_of_lanes,
    greatest_lane,
    lane_numbers,
    product_of_lanes,
    sum_of_lanes,
    whole_vectors,
)
from tirender.engine.kernels.lighting import (
    AMBIENT,
    BACKGROUND,
    DIFFUSE,
    ZFAR,
    ZNEAR,
    vector,
)
from tirender.engine.kernels.mesh_shading import (
    BLEND_EPS,
    NEGLIGIBLE,
    background_vjp,
    background_weight,
    blending_order,
)
from tirender.engine.kernels.partial_sums import Sums, add_row
from tirender.engine.kernels.surface import OwnersStruct, ShadingStruct
from tirender.engine.kernels.surface_lanes import (
    blend,
    lit,
    nearest_on_edge,
    phong,
    phong_vjp,
    spread,
    surface_coords,
    surface_coords_vjp,
)
from tirender.engine.kernels.triangle import (
    RasterStruct,
    centre_of,
    edge_ends,
    nearest_on_edge_vjp,
)
from tirender.engine.kernels.types import FloatArray, FloatArray2D, I32Array, I32Array2D

VERTS, POSITIONS, NORMALS, COLORS = 0, 9, 18, 27  # rows of scratch memory: three axes for each of three corners
GRAD_WEIGHT = 36
ROWS = 37


class Inputs(NamedTuple):
    """What is shaded, as in ShadingInputs."""

    triangles: Any
    faces: Any
    verts: Any
    positions: Any
    normal_faces: Any
    normals: Any
    texture_faces: Any
    coords: Any
    params: Any


class Batch(NamedTuple):
    """Up to LANES fragments of a pixel.

    Attributes:
        n: the image.
        p: the centre of the pixel in NDC.
        first, step, size: the first fragment, the step from it to the next, and how many there are.
    """

    n: Any
    p: Any
    first: Any
    step: Any
    size: Any


@whole_vectors
def mesh_shading_lanes_forward(
    raster: RasterStruct,
    shading: ShadingStruct,
    exact: ti.template(),
    offsets: I32Array,  # these ten as in ShadingInputs
    triangles: I32Array,
    faces: I32Array2D,
    verts: FloatArray2D,
    positions: FloatArray2D,
    normal_faces: I32Array2D,
    normals: FloatArray2D,
    texture_faces: I32Array2D,
    coords: FloatArray2D,
    params: FloatArray2D,
    n_tasks: ti.i32,
    image: FloatArray2D,  # (pixels, 4) RGBA
    kept_pixels: FloatArray2D,  # these three as in Kept; empty where not wanted
    kept_weights: FloatArray2D,
    kept_edges: I32Array,
):
    ti.loop_config(block_dim=1)
    for task in range(n_tasks):
        n_rows = image.shape[0] // raster.width
        for turn in range((n_rows - task + n_tasks - 1) // n_tasks):
            row = task + turn * n_tasks
            n = row // raster.height
            znear, zfar, background = params[n, ZNEAR], params[n, ZFAR], vector(params, n, BACKGROUND)
            for pixel in range(row * raster.width, (row + 1) * raster.width):
                begin, end = offsets[pixel], offsets[pixel + 1]
                first, step = blending_order(begin, end, True, znear, zfar)
                none, zmax, weight_sum = lane_numbers(znear) * 0, znear * 0, znear * 0 + 1
                through, color, rest = none + 1, [none, none, none], [background[i] for i in ti.static(range(3))]
                for k in range((end - begin + LANES - 1) // LANES):
                    size = ti.min(end - begin - k * LANES, LANES)
                    p = centre_of(pixel, raster, znear)
                    batch = ti.static(Batch(n, p, first + step * k * LANES, step, size))
                    v = at_corners(verts, faces, triangles, batch)
                    b, c = surface_coords(v, p, raster)
                    inverse_depth = (zfar - dot(c, v[2])) / (zfar - znear)
                    if k == 0:
                        zmax = ti.max(inverse_depth[0], BLEND_EPS)
                        weight_sum = background_weight(zmax, shading.inv_gamma)
                        for i in ti.static(range(3)):
                            rest[i] = weight_sum * background[i]
                    edge, coverage = coverage_of(v, b, batch, shading.inv_sigma, exact)
                    through *= 1 - coverage
                    weight = coverage * exp_of_lanes((inverse_depth - zmax) * shading.inv_gamma, exact)
                    if kept_edges.shape[0] > 0:
                        for i in ti.static(range(LANES)):
                            if i < size:
                                m = first + step * (k * LANES + i)
                                kept_weights[m, 0], kept_weights[m, 1] = coverage[i], weight[i]
                                kept_edges[m] = edge[i]
                    if greatest_lane(weight) > NEGLIGIBLE * weight_sum:
                        weight = ti.select(weight > NEGLIGIBLE * weight_sum, weight, none)
                        texel = blend(at_corners(coords, texture_faces, triangles, batch), c)
                        cosine, shine = none, none
                        if shading.light:
                            _units, cosine, _along, shine = phong(
                                params,
                                n,
                                shading.light,
                                blend(at_corners(positions, faces, triangles, batch), c),
                                blend(at_corners(normals, normal_faces, triangles, batch), c),
                            )
                        for i in ti.static(range(3)):
                            color[i] += weight * lit(params, n, i, texel[i], cosine, shine)
                        weight_sum += sum_of_lanes(weight)
                transmittance = product_of_lanes(through)
                for i in ti.static(range(3)):
                    image[pixel, i] = (rest[i] + sum_of_lanes(color[i])) / weight_sum
                image[pixel, 3] = 1 - transmittance
                if kept_pixels.shape[0] > 0:
                    for i in ti.static(range(3)):
                        kept_pixels[pixel, i] = image[pixel, i]
                    kept_pixels[pixel, 3], kept_pixels[pixel, 4] = transmittance, weight_sum


@whole_vectors
def mesh_shading_lanes_adjoint(
    raster: RasterStruct,
    shading: ShadingStruct,
    owners: OwnersStruct,
    offsets: I32Array,  # these ten as in ShadingInputs
    triangles: I32Array,
    faces: I32Array2D,
    verts: FloatArray2D,
    positions: FloatArray2D,
    normal_faces: I32Array2D,
    normals: FloatArray2D,
    texture_faces: I32Array2D,
    coords: FloatArray2D,
    params: FloatArray2D,
    kept_pixels: FloatArray2D,  # these three as in Kept
    kept_weights: FloatArray2D,
    kept_edges: I32Array,
    grad_image: FloatArray2D,  # (pixels, 4)
    bounds: I32Array,  # (parts + 1,) the pixels of each part
    scratch: LanesArray,  # (parts * ROWS,)
    numbers: FloatArray,  # the same memory
    grads: FloatArray2D,  # (part, columns) zero before; owners says which column is whose, and has none of params
):
    inputs = ti.static(Inputs(triangles, faces, verts, positions, normal_faces, normals, texture_faces, coords, params))
    ti.loop_config(block_dim=1)
    for part in range(bounds.shape[0] - 1):
        sums = ti.static(Sums(grads, part, False))
        at = part * ROWS
        for pixel in range(bounds[part], bounds[part + 1]):
            n = pixel // (raster.height * raster.width)
            begin, end = offsets[pixel], offsets[pixel + 1]
            first, step = blending_order(begin, end, True, params[n, ZNEAR], params[n, ZFAR])
            transmittance, weight_sum = kept_pixels[pixel, 3], kept_pixels[pixel, 4]
            least = NEGLIGIBLE * weight_sum
            for k in range((end - begin + LANES - 1) // LANES):
                size = ti.min(end - begin - k * LANES, LANES)
                p = centre_of(pixel, raster, weight_sum)
                batch = ti.static(Batch(n, p, first + step * k * LANES, step, size))
                weight = ti.Vector(
                    [kept_weights[batch.first + step * ti.min(i, size - 1), 1] for i in ti.static(range(LANES))]
                )
                scratch[at + GRAD_WEIGHT] = weight * 0
                is_seen = k == 0 or greatest_lane(weight) > least
                if is_seen:
                    weight = ti.select(weight > least, weight, weight * 0)
                    grad_color = [grad_image[pixel, i] / weight_sum for i in ti.static(range(3))]
                    color = [kept_pixels[pixel, i] for i in ti.static(range(3))]
                    surface_adjoint(scratch, at, inputs, raster, shading, batch, k, weight, grad_color, color)
                for i in range(size):
                    m = batch.first + step * i
                    t = triangles[m]
                    if is_seen and (kept_weights[m, 1] > least or k + i == 0):
                        if owners.verts >= 0:
                            add_corners(sums, owners.verts, numbers, VERTS, faces, t, at, i)
                        if owners.positions >= 0 and shading.light:
                            add_corners(sums, owners.positions, numbers, POSITIONS, faces, t, at, i)
                            add_corners(sums, owners.normals, numbers, NORMALS, normal_faces, t, at, i)
                        if owners.coords >= 0:
                            add_corners(sums, owners.coords, numbers, COLORS, texture_faces, t, at, i)
                    coverage = kept_weights[m, 0]
                    grad = grad_image[pixel, 3] * transmittance * coverage
                    grad += numbers[(at + GRAD_WEIGHT) * LANES + i] * (1 - coverage)
                    if owners.verts >= 0 and not grad == 0:
                        grad_d = -grad * shading.inv_sigma
                        j, h, sign = edge_ends(ti.Vector([faces[t, 0], faces[t, 1], faces[t, 2]]), kept_edges[m])
                        a, b = ti.Vector([verts[j, 0], verts[j, 1]]), ti.Vector([verts[h, 0], verts[h, 1]])
                        grad_a, grad_b = nearest_on_edge_vjp(p, a, b, sign * grad_d)
                        add_row(sums, owners.verts + 3 * j, grad_a)
                        add_row(sums, owners.verts + 3 * h, grad_b)


@ti.func
def at_corners(values: ti.template(), rows: ti.template(), triangles: ti.template(), batch: ti.template()):
    """Three axes of the three corners of each triangle of a batch; the last triangle fills the other lanes."""
    t = [triangles[batch.first + batch.step * ti.min(i, batch.size - 1)] for i in ti.static(range(LANES))]
    v = [[rows[t[i], c] for i in ti.static(range(LANES))] for c in ti.static(range(3))]
    return [
        [ti.Vector([values[v[c][i], axis] for i in ti.static(range(LANES))]) for c in ti.static(range(3))]
        for axis in ti.static(range(3))
    ]


@ti.func
def add_corners(
    sums: ti.template(),
    column: ti.i32,
    numbers: ti.template(),
    row: ti.template(),
    rows: ti.template(),
    t: ti.i32,
    at: ti.i32,
    i: ti.i32,
):
    """Add the gradients of lane i to those of the corners of its triangle t."""
    for c in ti.static(range(3)):
        place = (at + row + 3 * c) * LANES + i
        add_row(sums, column + 3 * rows[t, c], ti.Vector([numbers[place + k * LANES] for k in ti.static(range(3))]))


@ti.func
def coverage_of(v, b, batch: ti.template(), inv_sigma, exact: ti.template()):
    """The encoded nearest edge, and the coverage, 0 in lanes that are not used."""
    x, y = ti.static(v[0], v[1])
    s01 = nearest_on_edge(batch.p, x[0], y[0], x[1], y[1])
    s02 = nearest_on_edge(batch.p, x[0], y[0], x[2], y[2])
    s12 = nearest_on_edge(batch.p, x[1], y[1], x[2], y[2])
    corner, d = ti.select(s02 < s01, 1, 2), ti.select(s02 < s01, s02, s01)
    corner, d = ti.select(s12 < d, 0, corner), ti.select(s12 < d, s12, d)
    inside = (b[0] > 0) & (b[1] > 0) & (b[2] > 0)
    e = exp_of_lanes(d * -inv_sigma, exact)
    coverage = ti.select(inside, 1, e) / (1 + e)
    return ti.select(inside, corner + 3, corner), ti.select(lane_numbers(inv_sigma) < batch.size, coverage, 0)


@ti.func
def surface_adjoint(
    scratch: ti.template(),
    at: ti.i32,
    inputs: ti.template(),
    raster,
    shading,
    batch: ti.template(),
    k: ti.i32,
    weight,
    grad_color,
    color,
):
    """Write to scratch memory the gradients of what the k-th batch of a pixel adds to it, and those in the weights."""
    params = ti.static(inputs.params)
    n = batch.n
    v = at_corners(inputs.verts, inputs.faces, inputs.triangles, batch)
    _unclipped, b = surface_coords(v, batch.p, raster)
    colors = at_corners(inputs.coords, inputs.texture_faces, inputs.triangles, batch)
    texel, g = blend(colors, b), [weight * grad_color[i] for i in ti.static(range(3))]
    cosine, shine = weight * 0, weight * 0
    grad_b = [weight * 0 for _ in ti.static(range(3))]
    if shading.light:
        positions = at_corners(inputs.positions, inputs.faces, inputs.triangles, batch)
        normals = at_corners(inputs.normals, inputs.normal_faces, inputs.triangles, batch)
        units, cosine_, along, shine_ = phong(params, n, shading.light, blend(positions, b), blend(normals, b))
        cosine, shine = cosine_, shine_
        grad_point, grad_normal = phong_vjp(params, n, shading.light, units, cosine, along, shine, texel, g)
        spread(scratch, at + POSITIONS, positions, b, grad_point, grad_b)
        spread(scratch, at + NORMALS, normals, b, grad_normal, grad_b)
    grad_weight = weight * 0
    for i in ti.static(range(3)):
        grad_weight += g[i] * (lit(params, n, i, texel[i], cosine, shine) - color[i])
        g[i] = g[i] * (params[n, AMBIENT + i] + params[n, DIFFUSE + i] * cosine)
    spread(scratch, at + COLORS, colors, b, g, grad_b)
    scratch[at + GRAD_WEIGHT] = grad_weight
    znear, zfar = params[n, ZNEAR], params[n, ZFAR]
    grad_inverse_depth = grad_weight * shading.inv_gamma
    if k == 0:
        inverse_depth = (zfar - dot(b, v[2])) / (zfar - znear)
        behind = [color[i] - params[n, BACKGROUND + i] for i in ti.static(range(3))]
        _share, grad_zmax = background_vjp(inverse_depth[0], shading.inv_gamma, dot(grad_color, behind))
        grad_inverse_depth += ti.select(lane_numbers(grad_zmax) == 0, grad_zmax, 0)
    surface_coords_vjp(scratch, at + VERTS, v, batch.p, raster, grad_b, grad_inverse_depth / (znear - zfar))
