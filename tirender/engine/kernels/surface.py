"""The lit colour of a surface point from what is given at the corners of its triangle; and the adjoint."""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.lighting import N_PARAMS, SHININESS, phong, phong_vjp
from tirender.engine.kernels.partial_sums import add_row
from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.texture import (
    sample,
    sample_vjp,
    texture_coord,
    texture_coord_vjp,
    texture_level,
)
from tirender.engine.kernels.triangle import surface_slopes
from tirender.engine.kernels.types import struct_of


class Shading(NamedTuple):
    """How fragments become a pixel's colour.

    Attributes:
        light: a kind of light in kernels/lighting.py.
        flat: each triangle has one position and one normal.
        soft: all fragments of a pixel are blended; else the nearest alone is seen.
        inv_sigma, inv_gamma: inverse softness of edges (NDC units squared) and of depth.
    """

    light: int
    flat: bool
    soft: bool
    inv_sigma: float
    inv_gamma: float


class Surface(NamedTuple):
    """What light falls on, and the light.

    Attributes:
        faces: (T, 3) int32 rows of positions.
        positions: (V, 3) in world space; (T, 3) where flat.
        normal_faces: (T, 3) int32 rows of normals; unused where flat.
        normals: (n, 3) of any length; (T, 3) where flat.
        params: (N, N_PARAMS) see kernels/lighting.py.
    """

    faces: Any
    positions: Any
    normal_faces: Any
    normals: Any
    params: Any


class Owners(NamedTuple):
    """The first column of each input's gradient in partial sums; -1 where it is not wanted."""

    verts: int
    positions: int
    normals: int
    coords: int
    texels: int
    params: int


class Mode(NamedTuple):
    """The numbers that an adjoint reads."""

    raster: Any
    shading: Any
    sampling: Any
    owners: Any


class Place(NamedTuple):
    """A place on a triangle: the image, the triangle, barycentric coordinates, and the level of its map."""

    n: Any
    t: Any
    b: Any
    level: Any


ShadingStruct, OwnersStruct = struct_of(Shading), struct_of(Owners)


@ti.func
def level_of(texture: ti.template(), kind: ti.i32, t: ti.i32, p, v0, v1, v2, raster):
    """The level of triangle t's map that a pixel with centre p sees."""
    level = cast_like(0, p.x)
    if ti.static(texture.mipmaps):
        level = texture_level(texture, kind, t, surface_slopes(p, v0, v1, v2, raster))
    return level


@ti.func
def shade(surface: ti.template(), texture: ti.template(), place: ti.template(), shading, sampling):
    """The lit colour of a place."""
    n, t, b = place.n, place.t, place.b
    coord = texture_coord(texture, sampling.kind, t, b)
    texel = sample(texture, sampling, t, coord, place.level)
    point, normal = surface_point(surface, t, b, shading)
    albedo_factor, specular = phong(surface.params, n, shading.light, point, normal, surface.params[n, SHININESS])
    return albedo_factor * texel + specular


@ti.func
def shade_vjp(
    surface: ti.template(), texture: ti.template(), sums: ti.template(), mode: ti.template(), place: ti.template(), g
):
    """The lit colour, and the gradient of ``g . shade`` in the barycentric coordinates; others are added to sums."""
    owners, sampling, light = mode.owners, mode.sampling, mode.shading.light
    n, t, b = place.n, place.t, place.b
    coord = texture_coord(texture, sampling.kind, t, b)
    point, normal = surface_point(surface, t, b, mode.shading)
    albedo_factor, specular = phong(surface.params, n, light, point, normal, surface.params[n, SHININESS])
    texel, grad_coord = sample_vjp(texture, sampling, t, coord, place.level, g * albedo_factor, sums, owners.texels)
    grad_b = texture_coord_vjp(texture, sampling.kind, t, b, grad_coord, sums, owners.coords)
    if light and (owners.verts >= 0 or owners.positions >= 0) or owners.params >= 0:
        point, normal = surface_point(surface, t, b, mode.shading)  # again: a GPU need not hold them while it samples
        grad_point, grad_normal, grad_row = phong_vjp(surface.params, n, light, point, normal, g * texel, g)
        if light:
            grad_b += surface_point_vjp(surface, sums, mode, t, b, grad_point, grad_normal)
        if owners.params >= 0:
            add_row(sums, owners.params + n * N_PARAMS, grad_row)
    return albedo_factor * texel + specular, grad_b


@ti.func
def surface_point(surface: ti.template(), t: ti.i32, b, shading):
    """Position and normal; flat shading has one of each a triangle."""
    point, normal = 0 * b, 0 * b
    if shading.light:
        if shading.flat:
            point, normal = surface.positions[t], surface.normals[t]
        else:
            f, h = surface.faces[t], surface.normal_faces[t]
            for i in ti.static(range(3)):
                point += b[i] * surface.positions[f[i]]
                normal += b[i] * surface.normals[h[i]]
    return point, normal


@ti.func
def surface_point_vjp(
    surface: ti.template(), sums: ti.template(), mode: ti.template(), t: ti.i32, b, grad_point, grad_normal
):
    """The gradient of :func:`surface_point` in b; those in positions and normals are added to sums."""
    owners = mode.owners
    out = 0 * b
    if mode.shading.flat:
        if owners.positions >= 0:
            add_row(sums, owners.positions + 3 * t, grad_point)
            add_row(sums, owners.normals + 3 * t, grad_normal)
    else:
        f, h = surface.faces[t], surface.normal_faces[t]
        for i in ti.static(range(3)):
            out[i] = grad_point.dot(surface.positions[f[i]]) + grad_normal.dot(surface.normals[h[i]])
            if owners.positions >= 0:
                add_row(sums, owners.positions + 3 * f[i], b[i] * grad_point)
                add_row(sums, owners.normals + 3 * h[i], b[i] * grad_normal)
    return out
