"""Phong reflection at one surface point, and its adjoint (Phong 1975; PyTorch3D's convention of the two factors).

A surface colour is ``texel * albedo_factor + specular``. The parameters of an image are one row of numbers, light and
material colours already multiplied. COLUMNS has their names and widths, in order; the constants below it name the first
column of each.

A kind of light is a constant below, what ``to_light_of`` returns for it, and in ``phong_vjp`` the part that
``grad_point`` has of it. Where it needs other numbers, COLUMNS names them and ``fused_shading.kernel_params`` gives
them.
"""

import taichi as ti

from tirender.engine.kernels.scalars import cast_like

COLUMNS = {
    "ambient": 3,
    "diffuse": 3,
    "specular": 3,
    "shininess": 1,
    "camera": 3,  # its centre in world space
    "light": 3,  # its location (point) or direction (directional) in world space
    "znear": 1,  # from here on, not of the reflection
    "zfar": 1,
    "background": 3,
}
AMBIENT, DIFFUSE, SPECULAR, SHININESS, CAMERA, LIGHT, ZNEAR, ZFAR, BACKGROUND = (
    sum([*COLUMNS.values()][:i]) for i in range(len(COLUMNS))
)
N_LIGHTING = ZNEAR
N_PARAMS = sum(COLUMNS.values())

UNLIT, DIRECTIONAL, POINT = 0, 1, 2  # kinds of light
NORMALIZE_EPS = 1e-6
R_DOT_V_MIN = 1e-6


@ti.func
def vector(params: ti.template(), n: ti.i32, column: ti.template()):
    """Three columns of image n's row; params: (images, N_PARAMS)."""
    return ti.Vector([params[n, column], params[n, column + 1], params[n, column + 2]])


@ti.func
def unit(v):
    return v / ti.max(v.norm(), NORMALIZE_EPS)


@ti.func
def unit_vjp(v, g):
    """Gradient of ``g . unit(v)``; 0 where v is too short to have a direction."""
    length = v.norm()
    out = 0 * g
    if length > NORMALIZE_EPS:
        y = v / length
        out = (g - y * y.dot(g)) / length
    return out


@ti.func
def power(base, exponent):
    """``base ** exponent``, and 1 for an exponent of 0, whatever the base.

    Else it is 0 below R_DOT_V_MIN, where the gradient for an exponent under 1 grows without bound.
    """
    out = 0 * base
    if exponent == 0:
        out += 1
    elif base > R_DOT_V_MIN:
        out = ti.exp(exponent * ti.log(base))
    return out


@ti.func
def to_light_of(params: ti.template(), n: ti.i32, kind: ti.i32, point):
    """The vector from a surface point towards the light, of any length."""
    to_light = vector(params, n, LIGHT)
    if kind == POINT:
        to_light -= point
    return to_light


@ti.func
def phong(params: ti.template(), n: ti.i32, kind: ti.i32, point, normal, shininess):
    """The factor on the albedo, and the specular light (0 ** 0 is 1: a shininess of 0 lights unlit sides too)."""
    albedo_factor, specular = vector(params, n, AMBIENT), 0 * point
    if kind != UNLIT:
        light = unit(to_light_of(params, n, kind, point))
        normal_unit = unit(normal)
        cosine, r_dot_v = normal_unit.dot(light), 0 * light.x
        if cosine > 0:
            albedo_factor += vector(params, n, DIFFUSE) * cosine
            view = unit(vector(params, n, CAMERA) - point)
            r_dot_v = view.dot(2 * cosine * normal_unit - light)
        specular = vector(params, n, SPECULAR) * power(r_dot_v, shininess)
    return albedo_factor, specular


@ti.func
def phong_vjp(params: ti.template(), n: ti.i32, kind: ti.i32, point, normal, grad_albedo_factor, grad_specular):
    """Gradients of :func:`phong` in the point, the normal and the first N_LIGHTING columns of image n's row."""
    zero = cast_like(0, point.x)
    grad_point, grad_normal, grad_camera, grad_light = 0 * point, 0 * point, 0 * point, 0 * point
    cosine_factor, specular_factor, grad_shininess = zero, zero, zero
    if kind != UNLIT:
        to_light = to_light_of(params, n, kind, point)
        light = unit(to_light)
        normal_unit = unit(normal)
        cosine, shininess = normal_unit.dot(light), params[n, SHININESS]
        specular_factor = power(zero, shininess)
        if cosine > 0:
            cosine_factor = cosine
            grad_cosine = grad_albedo_factor.dot(vector(params, n, DIFFUSE))
            grad_light_unit, grad_normal_unit = 0 * point, 0 * point
            to_camera = vector(params, n, CAMERA) - point
            view = unit(to_camera)
            mirrored = 2 * cosine * normal_unit - light
            r_dot_v = view.dot(mirrored)
            if r_dot_v > R_DOT_V_MIN:
                specular_factor = power(r_dot_v, shininess)
                grad_power = grad_specular.dot(vector(params, n, SPECULAR))
                grad_shininess = grad_power * specular_factor * ti.log(r_dot_v)
                grad_r_dot_v = grad_power * shininess * (specular_factor / r_dot_v)
                grad_camera = unit_vjp(to_camera, grad_r_dot_v * mirrored)
                grad_mirrored = grad_r_dot_v * view
                grad_cosine += 2 * grad_mirrored.dot(normal_unit)
                grad_normal_unit += 2 * cosine * grad_mirrored
                grad_light_unit -= grad_mirrored
            grad_normal_unit += grad_cosine * light
            grad_light_unit += grad_cosine * normal_unit
            grad_normal = unit_vjp(normal, grad_normal_unit)
            grad_light = unit_vjp(to_light, grad_light_unit)
            grad_point = -grad_camera
            if kind == POINT:
                grad_point -= grad_light
    grad_row = ti.Vector([zero] * N_LIGHTING)
    for c in ti.static(range(3)):
        grad_row[AMBIENT + c] = grad_albedo_factor[c]
        grad_row[DIFFUSE + c] = grad_albedo_factor[c] * cosine_factor
        grad_row[SPECULAR + c] = grad_specular[c] * specular_factor
        grad_row[CAMERA + c] = grad_camera[c]
        grad_row[LIGHT + c] = grad_light[c]
    grad_row[SHININESS] = grad_shininess
    return grad_point, grad_normal, grad_row
