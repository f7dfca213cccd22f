"""The forward kernel of ``project_gaussians.py`` for a CPU, with a pinhole or an orthographic camera: 16 Gaussians are
one vector.

What has three coordinates is a list of three vectors here.
"""

import taichi as ti

from tirender.engine.kernels.gaussian_geometry import ORTHO, PINHOLE, read_camera
from tirender.engine.kernels.lanes import LANES, dot, greater, less, log_of_lanes, read_lanes, whole_vectors
from tirender.engine.kernels.project_gaussians import MAX_PIXELS, SettingsStruct, Spread, World
from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.types import FloatArray, FloatArray2D, FloatArray3D, I32Array3D


@whole_vectors
def project_gaussians_lanes_forward(
    settings: SettingsStruct,
    variant: ti.template(),
    limits: FloatArray,  # all as for project_gaussians_forward
    means: FloatArray2D,
    quats: FloatArray2D,
    shapes: FloatArray2D,
    opacities: FloatArray,
    viewmats: FloatArray3D,
    intrinsics: FloatArray3D,
    means2d: FloatArray3D,
    depths: FloatArray2D,
    conics: FloatArray3D,
    compensations: FloatArray2D,
    radii: I32Array3D,
):
    world = ti.static(World(means, quats, shapes))
    for block in range((means.shape[0] + LANES - 1) // LANES):
        first, n = block * LANES, means.shape[0]
        rows = [ti.min(first + lane, n - 1) for lane in ti.static(range(LANES))]
        mean = [read_lanes(means, rows, k) for k in ti.static(range(3))]
        alpha = ti.Vector([opacities[rows[lane]] for lane in ti.static(range(LANES))])
        for i in range(viewmats.shape[0]):
            camera = ti.static(read_camera(viewmats, intrinsics, i, settings.width, settings.height))
            turn = ti.static([camera.row0, camera.row1, camera.row2])
            p = [dot(turn[k], mean) + camera.translation[k] for k in ti.static(range(3))]
            at, j0, j1 = project(camera, p, variant.model)
            a0 = [j0[0] * turn[0][k] + j0[1] * turn[1][k] + j0[2] * turn[2][k] for k in ti.static(range(3))]
            a1 = [j1[0] * turn[0][k] + j1[1] * turn[1][k] + j1[2] * turn[2][k] for k in ti.static(range(3))]
            spread = ti.static(image_spread(world, rows, a0, a1, limits[0], variant))
            compensation = ti.sqrt(greater(spread.sharp / spread.det, 0))
            opacity = alpha
            if settings.compensated:
                opacity = alpha * compensation
            is_drawn, r = box_radius(spread, opacity, at, camera.size, limits)
            is_drawn = is_drawn & (p[2] >= limits[1]) & (p[2] <= limits[2])
            conic = [spread.yy / spread.det, 0 - spread.xy / spread.det, spread.xx / spread.det]
            numbers = [at[0], at[1], p[2], conic[0], conic[1], conic[2], compensation, r[0], r[1]]
            values = [ti.select(is_drawn, numbers[k], 0) for k in ti.static(range(9))]
            for lane in ti.static(range(LANES)):
                if first + lane < n:
                    for k in ti.static(range(2)):
                        means2d[i, first + lane, k] = values[k][lane]
                        radii[i, first + lane, k] = ti.cast(values[7 + k][lane], ti.i32)
                    depths[i, first + lane] = values[2][lane]
                    for k in ti.static(range(3)):
                        conics[i, first + lane, k] = values[3 + k][lane]
                    compensations[i, first + lane] = values[6][lane]


@ti.func
def project(camera: ti.template(), p, model: ti.template()):
    """The pixel positions of points in camera space, and the two rows of their Jacobians."""
    at, ratio = [p[0], p[1]], [p[0], p[1]]
    none = p[2] * 0
    j0, j1 = [none + camera.focal[0], none, none], [none, none + camera.focal[1], none]
    if ti.static(model == PINHOLE):
        for k in ti.static(range(2)):
            at[k] = p[k] / p[2]
            # held to the view, see clamp_to_view
            margin = camera.size[k] * 3 / (20 * camera.focal[k])
            low, high = -camera.centre[k] / camera.focal[k], (camera.size[k] - camera.centre[k]) / camera.focal[k]
            ratio[k] = greater(less(at[k], high + margin), low - margin)
        j0[0], j0[2] = camera.focal[0] / p[2], (0 - camera.focal[0]) * ratio[0] / p[2]
        j1[1], j1[2] = camera.focal[1] / p[2], (0 - camera.focal[1]) * ratio[1] / p[2]
    else:
        ti.static_assert(model == ORTHO)
    for k in ti.static(range(2)):
        at[k] = camera.focal[k] * at[k] + camera.centre[k]
    return at, j0, j1


@ti.func
def image_spread(world: ti.template(), rows: ti.template(), a0, a1, blur, variant: ti.template()):
    """The spreads of Gaussians, for the rows of the linear maps from the world to the image."""
    xx, xy, yy, sharp = a0[0] * 0, a0[0] * 0, a0[0] * 0, a0[0] * 0
    if ti.static(variant.covariances):
        s = [read_lanes(world.shapes, rows, k) for k in ti.static(range(6))]
        columns = [[s[0], s[1], s[2]], [s[1], s[3], s[4]], [s[2], s[4], s[5]]]
        s0 = [dot(columns[k], a0) for k in ti.static(range(3))]
        s1 = [dot(columns[k], a1) for k in ti.static(range(3))]
        xx, xy, yy = dot(a0, s0), dot(a0, s1), dot(a1, s1)
        sharp = xx * yy - xy * xy
    else:
        columns = axes([read_lanes(world.quats, rows, k) for k in ti.static(range(4))])
        scales = [read_lanes(world.shapes, rows, k) for k in ti.static(range(3))]
        b0 = [dot(a0, columns[k]) * scales[k] for k in ti.static(range(3))]
        b1 = [dot(a1, columns[k]) * scales[k] for k in ti.static(range(3))]
        xx, xy, yy = dot(b0, b0), dot(b0, b1), dot(b1, b1)
        for k in ti.static(range(3)):
            cross = b0[k] * b1[(k + 1) % 3] - b0[(k + 1) % 3] * b1[k]
            sharp += cross * cross
    det = sharp + blur * (xx + yy) + blur * blur
    return ti.static(Spread(xx + blur, xy, yy + blur, sharp, det))


@ti.func
def axes(quat):
    """The columns of the rotations of quaternions (w, x, y, z) of any length; the identity for 0."""
    squared = quat[0] * quat[0] + quat[1] * quat[1] + quat[2] * quat[2] + quat[3] * quat[3]
    inverse = ti.select(squared > 0, 1 / ti.sqrt(squared), 0)
    w, x, y, z = quat[0] * inverse, quat[1] * inverse, quat[2] * inverse, quat[3] * inverse
    return [
        [1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)],
        [2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)],
        [2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)],
    ]


@ti.func
def box_radius(spread: ti.template(), opacity, at, size, limits: ti.template()):
    """Which Gaussians are to be drawn, and half the sizes of their boxes, see the function of ``project_gaussians``."""
    extent = ti.sqrt(2 * log_of_lanes(opacity / limits[4]))
    extent = less(extent, cast_like(333, limits[4]) / 100)
    r = [ti.ceil(extent * ti.sqrt(spread.xx)), ti.ceil(extent * ti.sqrt(spread.yy))]
    is_drawn = (spread.det > 0) & (spread.det < 1e30) & (opacity >= limits[4]) & (greater(r[0], r[1]) > limits[3])
    for k in ti.static(range(2)):
        is_drawn = is_drawn & (at[k] > -MAX_PIXELS) & (at[k] < MAX_PIXELS) & (r[k] < MAX_PIXELS)
        is_drawn = is_drawn & (at[k] + r[k] > 0) & (at[k] - r[k] < size[k])
    return is_drawn, r
