"""Geometry of one Gaussian, and its adjoints: how a camera sees a point, axes and covariance, blur in the image."""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.scalars import cast_like

PINHOLE, ORTHO, FISHEYE = 0, 1, 2
FISHEYE_EPS = 1e-7  # keeps the axis of a fisheye camera regular


class Camera(NamedTuple):
    """A camera; its space has x to the right, y down, z forward.

    Attributes:
        row0, row1, row2: the rotation that takes the world there.
        translation: what is added after it.
        focal: (2,) in pixels.
        centre: (2,) the principal point in pixels.
        size: (2,) width and height in pixels.
    """

    row0: Any
    row1: Any
    row2: Any
    translation: Any
    focal: Any
    centre: Any
    size: Any


@ti.func
def read_camera(viewmats: ti.template(), intrinsics: ti.template(), i, width, height):
    """Camera i of view matrices (I, 4, 4) and intrinsics (I, 3, 3)."""
    row0 = ti.Vector([viewmats[i, 0, k] for k in ti.static(range(3))])
    row1 = ti.Vector([viewmats[i, 1, k] for k in ti.static(range(3))])
    row2 = ti.Vector([viewmats[i, 2, k] for k in ti.static(range(3))])
    translation = ti.Vector([viewmats[i, k, 3] for k in ti.static(range(3))])
    focal = ti.Vector([intrinsics[i, 0, 0], intrinsics[i, 1, 1]])
    centre = ti.Vector([intrinsics[i, 0, 2], intrinsics[i, 1, 2]])
    size = ti.Vector([cast_like(width, focal.x), cast_like(height, focal.x)])
    return ti.static(Camera(row0, row1, row2, translation, focal, centre, size))


@ti.func
def rotate(camera: ti.template(), v):
    return ti.Vector([camera.row0.dot(v), camera.row1.dot(v), camera.row2.dot(v)])


@ti.func
def rotate_back(camera: ti.template(), v):
    return v[0] * camera.row0 + v[1] * camera.row1 + v[2] * camera.row2


@ti.func
def project(camera: ti.template(), p, model: ti.template()):
    """The pixel position of a point in camera space, and the two rows of its Jacobian."""
    x, y, z = p.x, p.y, p.z
    zero = 0 * x
    at = camera.centre
    j0, j1 = ti.Vector([camera.focal.x, zero, zero]), ti.Vector([zero, camera.focal.y, zero])
    if ti.static(model == PINHOLE):
        at += camera.focal * ti.Vector([x, y]) / z
        t, _ = clamp_to_view(camera, ti.Vector([x, y]) / z)
        j0, j1 = ti.Vector([j0.x, zero, -camera.focal.x * t.x]) / z, ti.Vector([zero, j1.y, -camera.focal.y * t.y]) / z
    if ti.static(model == ORTHO):
        at += camera.focal * ti.Vector([x, y])
    if ti.static(model == FISHEYE):
        radius = ti.sqrt(x * x + y * y) + FISHEYE_EPS
        at += camera.focal * ti.Vector([x, y]) * (ti.atan2(radius, z + FISHEYE_EPS) / radius)
        xx, yy, xy = x * x + FISHEYE_EPS, y * y, x * y
        q = 1 / (xx + yy + z * z)
        a = z * q / (xx + yy)
        b = ti.atan2(radius, z) / (radius * (xx + yy))
        j0 = camera.focal.x * ti.Vector([xx * a + yy * b, xy * (a - b), -x * q])
        j1 = camera.focal.y * ti.Vector([xy * (a - b), yy * a + xx * b, -y * q])
    return at, j0, j1


@ti.func
def project_vjp(camera: ti.template(), p, grad_at, grad_j0, grad_j1, model: ti.template()):
    """The gradient in the point."""
    x, y, z = p.x, p.y, p.z
    g, h0, h1 = camera.focal * grad_at, camera.focal.x * grad_j0, camera.focal.y * grad_j1
    out = ti.Vector([g.x, g.y, 0 * x])
    if ti.static(model == PINHOLE):
        t, is_free = clamp_to_view(camera, ti.Vector([x, y]) / z)
        # at = f (x, y) / z + c; j = (f / z, -f t / z)
        grad_t = -ti.Vector([h0.z, h1.z]) / z
        grad_ratio = g + ti.select(is_free, grad_t, 0)
        grad_z = -(h0.x + h1.y - h0.z * t.x - h1.z * t.y) / z - (grad_ratio.x * x + grad_ratio.y * y) / z
        out = ti.Vector([grad_ratio.x, grad_ratio.y, grad_z]) / z
    if ti.static(model == FISHEYE):
        length = ti.sqrt(x * x + y * y)
        radius = length + FISHEYE_EPS
        xx, yy, xy = x * x + FISHEYE_EPS, y * y, x * y
        rr = xx + yy
        q = 1 / (rr + z * z)
        a = z * q / rr
        b = ti.atan2(radius, z) / (radius * rr)
        cross = h0.y + h1.x
        grad_a, grad_b = h0.x * xx + h1.y * yy + cross * xy, h0.x * yy + h1.y * xx - cross * xy
        grad_q = grad_a * z / rr - h0.z * x - h1.z * y
        grad_rr = -(grad_a * a + grad_b * b) / rr - grad_q * q * q
        grad_xx, grad_yy, grad_xy = h0.x * a + h1.y * b + grad_rr, h0.x * b + h1.y * a + grad_rr, cross * (a - b)
        # the angle in b, and the other one, of z + eps, in the position
        zz = z + FISHEYE_EPS
        scale = ti.atan2(radius, zz) / radius
        grad_scale = g.x * x + g.y * y
        grad_angle, grad_angle2 = grad_b / (radius * rr), grad_scale / radius
        over, over2 = 1 / (radius * radius + z * z), 1 / (radius * radius + zz * zz)
        grad_radius = grad_angle * z * over + grad_angle2 * zz * over2 - (grad_b * b + grad_scale * scale) / radius
        per_length = grad_radius / length if length > 0 else 0 * x
        out = ti.Vector(
            [
                g.x * scale + per_length * x + 2 * x * grad_xx + y * grad_xy - h0.z * q,
                g.y * scale + per_length * y + 2 * y * grad_yy + x * grad_xy - h1.z * q,
                grad_a * q / rr - 2 * z * grad_q * q * q - radius * (grad_angle * over + grad_angle2 * over2),
            ]
        )
    return out


@ti.func
def clamp_to_view(camera: ti.template(), ratio):
    """(x / z, y / z) held to the image and 15 % of its size around it, and whether each is inside.

    The Jacobian far outside would make Gaussians huge.
    """
    margin = camera.size * 3 / (20 * camera.focal)
    low, high = -camera.centre / camera.focal - margin, (camera.size - camera.centre) / camera.focal + margin
    return ti.max(ti.min(ratio, high), low), (ratio >= low) & (ratio <= high)


@ti.func
def axes(quat):
    """The columns of the rotation of a quaternion (w, x, y, z) of any length; the identity for 0."""
    q = quat * inverse_length(quat)
    w, x, y, z = q[0], q[1], q[2], q[3]
    return (
        ti.Vector([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)]),
        ti.Vector([2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)]),
        ti.Vector([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)]),
    )


@ti.func
def axes_vjp(quat, g0, g1, g2):
    """The gradient in the quaternion; 0 for 0."""
    scale = inverse_length(quat)
    q = quat * scale
    w, x, y, z = q[0], q[1], q[2], q[3]
    grad = 2 * ti.Vector(
        [
            x * (g1.z - g2.y) + y * (g2.x - g0.z) + z * (g0.y - g1.x),
            w * (g1.z - g2.y) + y * (g1.x + g0.y) + z * (g2.x + g0.z) - 2 * x * (g1.y + g2.z),
            w * (g2.x - g0.z) + x * (g1.x + g0.y) + z * (g2.y + g1.z) - 2 * y * (g0.x + g2.z),
            w * (g0.y - g1.x) + x * (g2.x + g0.z) + y * (g2.y + g1.z) - 2 * z * (g0.x + g1.y),
        ]
    )
    return (grad - grad.dot(q) * q) * scale


@ti.func
def inverse_length(v):
    squared = v.norm_sqr()
    return 1 / ti.sqrt(squared) if squared > 0 else 0 * squared
