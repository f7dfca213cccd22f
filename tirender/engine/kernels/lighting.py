"""Phong reflection at one surface point, and its adjoint (Phong 1975; PyTorch3D's convention of the two factors).

A surface colour is ``texel * (ambient + diffuse) + specular``. The parameters of an image are one row of numbers, light
and material colours already multiplied; the offsets below name its columns.
"""

import taichi as ti

AMBIENT, DIFFUSE, SPECULAR, SHININESS = 0, 3, 6, 9
CAMERA, LIGHT = 10, 13  # the camera centre; the light's location (point) or direction (directional), in world space
ZNEAR, ZFAR, BACKGROUND = 16, 17, 18
N_PARAMS = 21

UNLIT, DIRECTIONAL, POINT = 0, 1, 2
NORMALIZE_EPS = 1e-6
GLINT_MIN = 1e-6


@ti.func
def vector(params: ti.template(), n: ti.i32, at: ti.template()):
    return ti.Vector([params[n, at], params[n, at + 1], params[n, at + 2]])


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
    """``base ** exponent``, 0 below GLINT_MIN, where the gradient for an exponent under 1 would grow without bound."""
    out = 0 * base
    if base > GLINT_MIN:
        out = ti.exp(exponent * ti.log(base))
    return out


@ti.func
def reflect(params: ti.template(), n: ti.i32, kind: ti.i32, point, normal):
    """The factor on the texel and the light added to it."""
    factor, added = vector(params, n, AMBIENT), 0 * point
    if kind != UNLIT:
        light = vector(params, n, LIGHT)
        if kind == POINT:
            light -= point
        light = unit(light)
        normal_unit = unit(normal)
        cosine = normal_unit.dot(light)
        if cosine > 0:
            factor += vector(params, n, DIFFUSE) * cosine
            view = unit(vector(params, n, CAMERA) - point)
            mirrored = 2 * cosine * normal_unit - light
            added = vector(params, n, SPECULAR) * power(view.dot(mirrored), params[n, SHININESS])
    return factor, added


@ti.func
def reflect_vjp(params: ti.template(), n: ti.i32, kind: ti.i32, point, normal, grad_factor, grad_added):
    """Gradients of :func:`reflect` in the point and the normal, and in DIFFUSE's cosine, SPECULAR's factor, SHININESS,
    CAMERA and LIGHT; the gradient in AMBIENT is ``grad_factor``."""
    grad_point, grad_normal, grad_camera, grad_light = 0 * point, 0 * point, 0 * point, 0 * point
    diffuse_factor, specular_factor, grad_shininess = 0 * point.x, 0 * point.x, 0 * point.x
    if kind != UNLIT:
        to_light = vector(params, n, LIGHT)
        if kind == POINT:
            to_light -= point
        light = unit(to_light)
        normal_unit = unit(normal)
        cosine = normal_unit.dot(light)
        if cosine > 0:
            diffuse_factor = cosine
            grad_cosine = grad_factor.dot(vector(params, n, DIFFUSE))
            grad_light_unit, grad_normal_unit = 0 * point, 0 * point
            to_camera = vector(params, n, CAMERA) - point
            view = unit(to_camera)
            mirrored = 2 * cosine * normal_unit - light
            glint = view.dot(mirrored)
            if glint > GLINT_MIN:
                shininess = params[n, SHININESS]
                specular_factor = power(glint, shininess)
                grad_power = grad_added.dot(vector(params, n, SPECULAR))
                grad_shininess = grad_power * specular_factor * ti.log(glint)
                grad_glint = grad_power * shininess * (specular_factor / glint)
                grad_camera = unit_vjp(to_camera, grad_glint * mirrored)
                grad_mirrored = grad_glint * view
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
    return grad_point, grad_normal, diffuse_factor, specular_factor, grad_shininess, grad_camera, grad_light
