"""Gaussians of the world as Gaussians of the image, and the adjoint (EWA: Zwicker et al. 2001; Kerbl et al. 2023).

A camera with rotation W takes a mean to camera space and on to pixels, with the Jacobian J there. So it takes the
covariance M M^T, M = R diag(scales), to B B^T in the image, B = J W M. A blur is added on the diagonal. The conic
(a, b, c) is (yy, -xy, xx) / det of the sum.

det(B B^T) is the squared cross product of the two rows of B, which loses no digits, however long and thin the Gaussian.
The compensation of Mip-Splatting (Yu et al. 2024), by which the blur is to lower the opacity, is the square root of
the ratio of the determinants without and with the blur.
"""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.gaussian_geometry import (
    axes,
    axes_vjp,
    project,
    project_vjp,
    read_camera,
    rotate,
    rotate_back,
)
from tirender.engine.kernels.partial_sums import Sums, add_row
from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.types import (
    FloatArray,
    FloatArray2D,
    FloatArray3D,
    I32Array,
    I32Array3D,
    Vec2Array2D,
    Vec3Array,
    Vec3Array2D,
    Vec4Array,
    struct_of,
)

MAX_PIXELS = 1 << 24  # means and radii beyond are not drawn
VIEW = 12  # numbers of a view: its rotation, row by row, and its translation


class Settings(NamedTuple):
    """Numbers of the kernels."""

    width: int
    height: int
    compensated: bool = False  # whether the compensation will lower the opacities, and with it the radii
    views_wanted: bool = False  # whether the adjoint has a gradient in the views


class Variant(NamedTuple):
    """What kernels are compiled for."""

    model: int  # PINHOLE, ORTHO or FISHEYE
    covariances: bool  # whether shapes are covariances; else scales
    atomic: bool = False  # whether all parts share one sum


class World(NamedTuple):
    """Gaussians of the world: torch's tensors at a launch, Taichi's arrays in a kernel.

    Attributes:
        means: (N, 3).
        quats: (N, 4) rotations (w, x, y, z) of any length; not read with covariances.
        shapes: (N, 3) scales, or (N, 6) covariances: xx, xy, xz, yy, yz, zz.
    """

    means: Any
    quats: Any
    shapes: Any


class Spread(NamedTuple):
    """A covariance in the image with the blur on its diagonal, and its determinant without and with it."""

    xx: Any
    xy: Any
    yy: Any
    sharp: Any
    det: Any


SettingsStruct = struct_of(Settings)


@ti.kernel
def project_gaussians_forward(
    settings: SettingsStruct,
    variant: ti.template(),
    limits: FloatArray,  # (5,) blur in square pixels; least and greatest depth; radius not yet drawn; least alpha
    means: Vec3Array,  # these three as in World
    quats: Vec4Array,
    shapes: FloatArray2D,
    opacities: FloatArray,  # (N,)
    viewmats: FloatArray3D,  # (I, 4, 4) from the world to camera space
    intrinsics: FloatArray3D,  # (I, 3, 3)
    means2d: Vec2Array2D,  # (I, N, 2) in pixels; as all that follows 0 for what is not drawn
    depths: FloatArray2D,  # (I, N)
    conics: Vec3Array2D,  # (I, N, 3)
    compensations: FloatArray2D,  # (I, N)
    radii: I32Array3D,  # (I, N, 2) half the width and height of the box that it may reach, in pixels
):
    world = ti.static(World(means, quats, shapes))
    for n in means:
        for i in range(viewmats.shape[0]):
            camera = ti.static(read_camera(viewmats, intrinsics, i, settings.width, settings.height))
            p = rotate(camera, means[n]) + camera.translation
            zero = cast_like(0, p.x)
            at, conic, radius = ti.Vector([zero, zero]), ti.Vector([zero, zero, zero]), ti.Vector([0, 0])
            depth, compensation = zero, zero
            if p.z >= limits[1] and p.z <= limits[2]:
                position, j0, j1 = project(camera, p, variant.model)
                spread = ti.static(
                    image_spread(world, n, rotate_back(camera, j0), rotate_back(camera, j1), limits[0], variant)
                )
                ratio = ti.sqrt(ti.max(spread.sharp / spread.det, 0))
                opacity = opacities[n] * (ratio if settings.compensated else cast_like(1, ratio))
                radius = box_radius(spread, opacity, position, camera.size, limits)
                if radius.x > 0:
                    at, depth, compensation = position, p.z, ratio
                    conic = ti.Vector([spread.yy, -spread.xy, spread.xx]) / spread.det
            means2d[i, n] = at
            depths[i, n] = depth
            conics[i, n] = conic
            compensations[i, n] = compensation
            for k in ti.static(range(2)):
                radii[i, n, k] = radius[k]


@ti.func
def box_radius(spread: ti.template(), opacity, position, size, limits: ti.template()):
    """Half the size of the box in which alpha may reach the least value; 0 where nothing is to be drawn."""
    radius = ti.Vector([0, 0])
    is_regular = spread.det > 0 and spread.det < 1e30 and ti.abs(position).max() < MAX_PIXELS
    if is_regular and opacity >= limits[4]:
        # 3.33 deviations: as far as an opacity of 1 reaches
        extent = ti.min(cast_like(333, opacity) / 100, ti.sqrt(2 * ti.log(opacity / limits[4])))
        r = ti.ceil(extent * ti.sqrt(ti.Vector([spread.xx, spread.yy])))
        is_near = (position + r > 0).all() and (position - r < size).all()
        if is_near and r.max() > limits[3] and r.max() < MAX_PIXELS:
            radius = ti.cast(r, ti.i32)
    return radius


@ti.func
def image_spread(world: ti.template(), n, a0, a1, blur, variant: ti.template()):
    """The spread of Gaussian n, for the rows of the linear map from the world to the image."""
    zero = 0 * blur
    xx, xy, yy, sharp = zero, zero, zero, zero
    if ti.static(variant.covariances):
        s0, s1 = covariance_times(world, n, a0), covariance_times(world, n, a1)
        xx, xy, yy = a0.dot(s0), a0.dot(s1), a1.dot(s1)
        sharp = xx * yy - xy * xy
    else:
        b0, b1 = half_spread(world, n, a0, a1)
        xx, xy, yy = b0.dot(b0), b0.dot(b1), b1.dot(b1)
        sharp = b0.cross(b1).norm_sqr()
    det = sharp + blur * (xx + yy) + blur * blur
    return ti.static(Spread(xx + blur, xy, yy + blur, sharp, det))


@ti.func
def half_spread(world: ti.template(), n, a0, a1):
    """The rows of B."""
    c0, c1, c2 = axes(world.quats[n])
    scale = ti.Vector([world.shapes[n, k] for k in ti.static(range(3))])
    b0 = ti.Vector([a0.dot(c0), a0.dot(c1), a0.dot(c2)]) * scale
    b1 = ti.Vector([a1.dot(c0), a1.dot(c1), a1.dot(c2)]) * scale
    return b0, b1


@ti.func
def covariance_times(world: ti.template(), n, v):
    s = ti.static([world.shapes[n, k] for k in range(6)])
    return ti.Vector(
        [
            s[0] * v.x + s[1] * v.y + s[2] * v.z,
            s[1] * v.x + s[3] * v.y + s[4] * v.z,
            s[2] * v.x + s[4] * v.y + s[5] * v.z,
        ]
    )


@ti.kernel
def project_gaussians_adjoint(
    settings: SettingsStruct,
    variant: ti.template(),
    limits: FloatArray,  # these as for the forward kernel
    means: Vec3Array,
    quats: Vec4Array,
    shapes: FloatArray2D,
    viewmats: FloatArray3D,
    intrinsics: FloatArray3D,
    radii: I32Array3D,
    grad_means2d: Vec2Array2D,
    grad_depths: FloatArray2D,
    grad_conics: Vec3Array2D,
    grad_compensations: FloatArray2D,
    bounds: I32Array,  # (parts + 1,) the Gaussians of each part
    grad_means: Vec3Array,  # (N, 3) zero before, as what follows
    grad_quats: Vec4Array,
    grad_shapes: FloatArray2D,
    grad_views: FloatArray2D,  # (parts, I * VIEW) written where wanted
):
    world = ti.static(World(means, quats, shapes))
    grads = ti.static(World(grad_means, grad_quats, grad_shapes))
    ti.loop_config(block_dim=ti.static(task_block()))
    for part in range(bounds.shape[0] - 1):
        for n in range(bounds[part], bounds[part + 1]):
            for i in range(viewmats.shape[0]):
                if radii[i, n, 0] > 0:
                    camera = ti.static(read_camera(viewmats, intrinsics, i, settings.width, settings.height))
                    p = rotate(camera, means[n]) + camera.translation
                    at, j0, j1 = project(camera, p, variant.model)
                    a0, a1 = rotate_back(camera, j0), rotate_back(camera, j1)
                    spread = ti.static(image_spread(world, n, a0, a1, limits[0], variant))
                    g = spread_gradient(spread, limits[0], grad_conics[i, n], grad_compensations[i, n])
                    grad_a0, grad_a1 = spread_vjp(world, n, a0, a1, g, grads, variant)
                    grad_j0, grad_j1 = rotate(camera, grad_a0), rotate(camera, grad_a1)
                    grad_p = project_vjp(camera, p, grad_means2d[i, n], grad_j0, grad_j1, variant.model)
                    grad_p.z += grad_depths[i, n]
                    grad_means[n] = grad_means[n] + rotate_back(camera, grad_p)
                    if settings.views_wanted:
                        sums = ti.static(Sums(grad_views, part, variant.atomic))
                        for k in ti.static(range(3)):
                            add_row(sums, i * VIEW + 3 * k, grad_p[k] * means[n] + j0[k] * grad_a0 + j1[k] * grad_a1)
                        add_row(sums, i * VIEW + 9, grad_p)


@ti.func
def spread_gradient(s: ti.template(), blur, grad_conic, grad_compensation):
    """The gradient in the covariance in the image: in xx, in xy, in yy."""
    a, b, c = s.yy / s.det, -s.xy / s.det, s.xx / s.det
    # the inverse P of a matrix, with a gradient G, has the gradient -P G P
    g0, g1, g2 = grad_conic.x, grad_conic.y / 2, grad_conic.z
    p0, p1, p2, p3 = a * g0 + b * g1, a * g1 + b * g2, b * g0 + c * g1, b * g1 + c * g2
    grad = -ti.Vector([p0 * a + p1 * b, 2 * (p0 * b + p1 * c), p2 * b + p3 * c])
    ratio = ti.max(s.sharp / s.det, 0)
    if ratio > 0:
        h = grad_compensation / (2 * ti.sqrt(ratio) * s.det)
        grad += h * ti.Vector([s.yy - blur - ratio * s.yy, 2 * (ratio - 1) * s.xy, s.xx - blur - ratio * s.xx])
    return grad


@ti.func
def spread_vjp(world: ti.template(), n, a0, a1, g, grads: ti.template(), variant: ti.template()):
    """Add the gradients in the Gaussian's shape; return those in the two rows."""
    grad_a0, grad_a1 = 0 * a0, 0 * a1
    if ti.static(variant.covariances):
        s0, s1 = covariance_times(world, n, a0), covariance_times(world, n, a1)
        grad_a0, grad_a1 = 2 * g[0] * s0 + g[1] * s1, 2 * g[2] * s1 + g[1] * s0
        for k in ti.static(range(6)):
            i, j = ti.static([(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)][k])
            outer = g[0] * a0[i] * a0[j] + g[2] * a1[i] * a1[j] + g[1] * (a0[i] * a1[j] + a1[i] * a0[j]) / 2
            grads.shapes[n, k] = grads.shapes[n, k] + outer * ti.static(1 if i == j else 2)
    else:
        b0, b1 = half_spread(world, n, a0, a1)
        h0, h1 = 2 * g[0] * b0 + g[1] * b1, 2 * g[2] * b1 + g[1] * b0
        columns = axes(world.quats[n])
        scale = ti.Vector([world.shapes[n, k] for k in ti.static(range(3))])
        for k in ti.static(range(3)):
            grad_a0 += h0[k] * scale[k] * columns[k]
            grad_a1 += h1[k] * scale[k] * columns[k]
            along = h0[k] * a0.dot(columns[k]) + h1[k] * a1.dot(columns[k])
            grads.shapes[n, k] = grads.shapes[n, k] + along
        turned = [scale[k] * (h0[k] * a0 + h1[k] * a1) for k in ti.static(range(3))]
        grads.quats[n] = grads.quats[n] + axes_vjp(world.quats[n], turned[0], turned[1], turned[2])
    return grad_a0, grad_a1
