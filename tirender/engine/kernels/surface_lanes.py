"""Formulas of ``triangle.py`` and ``lighting.py`` for vectors of lanes, each of them a place on a triangle.

What has one value for each corner, or for each axis, is a list of three vectors here.
"""

import taichi as ti

from tirender.engine.kernels.lanes import LANES, dot, greater
from tirender.engine.kernels.lighting import (
    AMBIENT,
    CAMERA,
    DIFFUSE,
    LIGHT,
    NORMALIZE_EPS,
    POINT,
    R_DOT_V_MIN,
    SHININESS,
    SPECULAR,
    power,
)
from tirender.engine.kernels.triangle import AREA_EPS, CLIP_SUM_MIN, EDGE_EPS, PERSPECTIVE_BOUND


@ti.func
def blend(v, b):
    """What is given at the corners, at barycentric coordinates b."""
    return [dot(b, v[axis]) for axis in ti.static(range(3))]


@ti.func
def edge_function(px, py, ax, ay, bx, by):
    return (px - ax) * (by - ay) - (py - ay) * (bx - ax)


@ti.func
def affine_coords(p, x, y):
    """Barycentric coordinates in the image plane, and twice the signed area."""
    area = edge_function(x[2], y[2], x[0], y[0], x[1], y[1]) + AREA_EPS
    w0 = edge_function(p.x, p.y, x[1], y[1], x[2], y[2]) / area
    w1 = edge_function(p.x, p.y, x[2], y[2], x[0], y[0]) / area
    w2 = edge_function(p.x, p.y, x[0], y[0], x[1], y[1]) / area
    return [w0, w1, w2], area


@ti.func
def perspective_terms(w, z):
    """They, their sum, and the least denominator."""
    top = [w[0] * z[1] * z[2], z[0] * w[1] * z[2], z[0] * z[1] * w[2]]
    most = greater(greater(top[0], 0 - top[0]), greater(top[1], 0 - top[1]))
    bound = greater(PERSPECTIVE_BOUND * greater(most, greater(top[2], 0 - top[2])), 1e-30)
    return top, top[0] + top[1] + top[2], bound


@ti.func
def surface_coords(v, p, raster):
    """Coordinates in the triangle before clipping and after."""
    b, _area = affine_coords(p, v[0], v[1])
    if raster.perspective:
        top, total, bound = perspective_terms(b, v[2])
        for c in ti.static(range(3)):
            b[c] = top[c] / greater(total, bound)
    clipped = [b[c] for c in ti.static(range(3))]
    if raster.clip_bary:
        m = [greater(b[c], 0) for c in ti.static(range(3))]
        total = greater(m[0] + m[1] + m[2], CLIP_SUM_MIN)
        for c in ti.static(range(3)):
            clipped[c] = m[c] / total
    return b, clipped


@ti.func
def surface_coords_vjp(scratch: ti.template(), first_row: ti.i32, v, p, raster, grad_c, grad_z):
    """Write the gradients of ``grad_c . c + grad_z * (c . z)``, c the coordinates after clipping, over the corners."""
    x, y, z = ti.static(v[0], v[1], v[2])
    w, area = affine_coords(p, x, y)
    top, total, bound = perspective_terms(w, z)
    b, clipped = surface_coords(v, p, raster)
    g = [grad_c[c] + grad_z * z[c] for c in ti.static(range(3))]
    if raster.clip_bary:
        whole = greater(b[0], 0) + greater(b[1], 0) + greater(b[2], 0)
        along = ti.select(whole > CLIP_SUM_MIN, dot(g, clipped), 0)
        for c in ti.static(range(3)):
            g[c] = ti.select(b[c] > 0, (g[c] - along) / greater(whole, CLIP_SUM_MIN), 0)
    grad_depth = [grad_z * clipped[c] for c in ti.static(range(3))]
    if raster.perspective:
        is_free = total > bound
        along = dot(g, b)
        for c in ti.static(range(3)):
            g[c] = ti.select(is_free, (g[c] - along) / total, 0)
        grad_depth[0] += g[1] * w[1] * z[2] + g[2] * w[2] * z[1]
        grad_depth[1] += g[0] * w[0] * z[2] + g[2] * w[2] * z[0]
        grad_depth[2] += g[0] * w[0] * z[1] + g[1] * w[1] * z[0]
        grad_w, _total, _bound = perspective_terms(g, z)
        for c in ti.static(range(3)):
            g[c] = grad_w[c]
    grad_area = dot(g, w) / area
    for c in ti.static(range(3)):
        g[c] = g[c] / area
    for c in ti.static(range(3)):
        # corner c, the next and the one after: it is an end of the edges opposite these two, and of the area
        d, e = ti.static((c + 1) % 3, (c + 2) % 3)
        at = first_row + 3 * c
        scratch[at] = g[d] * (y[e] - p.y) + g[e] * (p.y - y[d]) - grad_area * (y[e] - y[d])
        scratch[at + 1] = g[d] * (p.x - x[e]) + g[e] * (x[d] - p.x) - grad_area * (x[d] - x[e])
        scratch[at + 2] = grad_depth[c]


@ti.func
def nearest_on_edge(p, ax, ay, bx, by):
    """Squared distance from p to an edge."""
    x, y = bx - ax, by - ay
    length_sqr = x * x + y * y
    t = (x * (p.x - ax) + y * (p.y - ay)) / length_sqr
    t = ti.select(t > 0, ti.select(t < 1, t, 1), 0)
    t = ti.select(length_sqr > EDGE_EPS, t, 1)
    dx, dy = ax + t * x - p.x, ay + t * y - p.y
    return dx * dx + dy * dy


@ti.func
def lit(params: ti.template(), n: ti.i32, i: ti.template(), texel, cosine, shine):
    """One channel of the lit colour."""
    factor = params[n, AMBIENT + i] + params[n, DIFFUSE + i] * cosine
    return factor * texel + params[n, SPECULAR + i] * shine


@ti.func
def unit(v):
    """A unit vector, and the inverse length, 0 where it is too short to have a direction."""
    length = ti.sqrt(dot(v, v))
    inverse = 1 / greater(length, NORMALIZE_EPS)
    return [v[0] * inverse, v[1] * inverse, v[2] * inverse], ti.select(length > NORMALIZE_EPS, inverse, 0)


@ti.func
def unit_vjp(direction, inverse, g):
    """The gradient of ``g . unit(v)``, from what unit returned."""
    along = dot(direction, g)
    return [(g[axis] - direction[axis] * along) * inverse for axis in ti.static(range(3))]


@ti.func
def phong(params: ti.template(), n: ti.i32, light: ti.i32, point, normal):
    """The units towards the light, of the normal and towards the camera with their inverse lengths; the cosine, 0 where
    unlit, the cosine between the mirrored light and the camera's direction, and its power."""
    to_light = [point[axis] * 0 + params[n, LIGHT + axis] for axis in ti.static(range(3))]
    if light == POINT:
        for axis in ti.static(range(3)):
            to_light[axis] = to_light[axis] - point[axis]
    to_camera = [params[n, CAMERA + axis] - point[axis] for axis in ti.static(range(3))]
    towards, facing, view = unit(to_light), unit(normal), unit(to_camera)
    cosine = dot(facing[0], towards[0])
    cosine = greater(cosine, 0)
    r_dot_v = 2 * cosine * dot(view[0], facing[0]) - dot(view[0], towards[0])
    r_dot_v = ti.select(cosine > 0, r_dot_v, 0)
    shininess = params[n, SHININESS]
    shine = ti.Vector([power(r_dot_v[i], shininess) for i in ti.static(range(LANES))])
    return [towards, facing, view], cosine, r_dot_v, shine


@ti.func
def phong_vjp(params: ti.template(), n: ti.i32, light: ti.i32, units, cosine, along, shine, texel, g):
    """Gradients in the point and the normal, from what :func:`phong` returned and the gradient g in the colour."""
    grad_cosine, grad_shine = cosine * 0, cosine * 0
    for i in ti.static(range(3)):
        grad_cosine += g[i] * texel[i] * params[n, DIFFUSE + i]
        grad_shine += g[i] * params[n, SPECULAR + i]
    l, m, v = ti.static(units[0][0], units[1][0], units[2][0])
    grad_along = params[n, SHININESS] * grad_shine * shine / greater(along, R_DOT_V_MIN)
    grad_along = ti.select(along > R_DOT_V_MIN, grad_along, 0)
    grad_cosine = ti.select(cosine > 0, grad_cosine, 0) + 2 * grad_along * dot(v, m)
    grad_l = [grad_cosine * m[axis] - grad_along * v[axis] for axis in ti.static(range(3))]
    grad_m = [grad_cosine * l[axis] + 2 * cosine * grad_along * v[axis] for axis in ti.static(range(3))]
    grad_v = [grad_along * (2 * cosine * m[axis] - l[axis]) for axis in ti.static(range(3))]
    grad_light, grad_normal = unit_vjp(l, units[0][1], grad_l), unit_vjp(m, units[1][1], grad_m)
    grad_camera = unit_vjp(v, units[2][1], grad_v)
    grad_point = [0 - grad_camera[axis] for axis in ti.static(range(3))]
    if light == POINT:
        for axis in ti.static(range(3)):
            grad_point[axis] = grad_point[axis] - grad_light[axis]
    return grad_point, grad_normal


@ti.func
def spread(scratch: ti.template(), at: ti.i32, v, b, grad, grad_b: ti.template()):
    """The adjoint of :func:`blend`: write the gradients of the corners, and add those in b to grad_b."""
    for axis, c in ti.static(ti.ndrange(3, 3)):
        grad_b[c] += grad[axis] * v[axis][c]
        scratch[at + 3 * c + axis] = b[c] * grad[axis]
