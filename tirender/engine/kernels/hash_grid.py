"""Multiresolution hash encoding of points in the unit cube, and its adjoints (Müller, Evans, Schied, Keller 2022).

At each level a grid of ``resolution`` cells a side spans the cube. The features at the eight corners of a point's cell
are interpolated trilinearly. Corners are looked up directly while the level's table has a row for each, and by a
spatial hash otherwise. On a CPU a level is one task of the table's adjoint, so that each row has one owner.
"""

import taichi as ti

from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.types import FloatArray, I32Array, IVec3Array, Vec3Array

PRIME_Y, PRIME_Z = -1640531535, 805459861  # 2654435761 as int32; the hash multiplies modulo 2^32


@ti.kernel
def hash_grid_forward(
    points: Vec3Array,
    levels: IVec3Array,
    table: FloatArray,
    bounds: I32Array,
    n_features: ti.template(),
    encoding: FloatArray,
):
    """levels: (first row, resolution, rows - 1 of a hashed level or -1); bounds: the points of each chunk."""
    n_chunks = bounds.shape[0] - 1
    ti.loop_config(block_dim=ti.static(task_block()))
    for task in range(levels.shape[0] * n_chunks):
        level, chunk = task // n_chunks, task % n_chunks
        for i in range(bounds[chunk], bounds[chunk + 1]):
            cell, at = cell_of(points[i], levels[level][1])
            rows = rows_of(cell, levels[level])
            out = ti.Vector([cast_like(0, at.x) for _ in ti.static(range(n_features))])
            for corner in ti.static(range(8)):
                w = weight(at, corner)
                for f in ti.static(range(n_features)):
                    out[f] += w * table[rows[corner] * n_features + f]
            for f in ti.static(range(n_features)):
                encoding[(i * levels.shape[0] + level) * n_features + f] = out[f]


@ti.kernel
def hash_grid_adjoint_table(
    points: Vec3Array,
    levels: IVec3Array,
    grad_encoding: FloatArray,
    bounds: I32Array,
    n_features: ti.template(),
    atomic: ti.template(),
    grad_table: FloatArray,
):
    """bounds: one chunk where there are no atomics; grad_table: zero before."""
    n_chunks = bounds.shape[0] - 1
    ti.loop_config(block_dim=ti.static(task_block()))
    for task in range(levels.shape[0] * n_chunks):
        level, chunk = task // n_chunks, task % n_chunks
        for i in range(bounds[chunk], bounds[chunk + 1]):
            cell, at = cell_of(points[i], levels[level][1])
            rows = rows_of(cell, levels[level])
            first = (i * levels.shape[0] + level) * n_features
            grad = ti.Vector([grad_encoding[first + f] for f in ti.static(range(n_features))])
            for corner in ti.static(range(8)):
                w = weight(at, corner)
                for f in ti.static(range(n_features)):
                    j = rows[corner] * n_features + f
                    if ti.static(atomic):
                        ti.atomic_add(grad_table[j], w * grad[f])
                    else:
                        grad_table[j] = grad_table[j] + w * grad[f]  # += would be atomic


@ti.kernel
def hash_grid_adjoint_points(
    points: Vec3Array,
    levels: IVec3Array,
    table: FloatArray,
    grad_encoding: FloatArray,
    n_features: ti.template(),
    grad_points: Vec3Array,
):
    """Outside the cube, where a point counts as the nearest one of its surface, that direction has no gradient."""
    for i in points:
        x = points[i]
        grad = ti.Vector([cast_like(0, x.x) for _ in ti.static(range(3))])
        for level in range(levels.shape[0]):
            resolution = levels[level][1]
            cell, at = cell_of(x, resolution)
            rows = rows_of(cell, levels[level])
            first = (i * levels.shape[0] + level) * n_features
            for corner in ti.static(range(8)):
                value = cast_like(0, x.x)
                for f in ti.static(range(n_features)):
                    value += grad_encoding[first + f] * table[rows[corner] * n_features + f]
                grad += value * resolution * weight_gradient(at, corner)
        for axis in ti.static(range(3)):
            is_within = x[axis] >= 0 and x[axis] <= 1
            grad_points[i][axis] = grad[axis] if is_within else cast_like(0, x.x)


@ti.func
def cell_of(x, resolution: ti.i32):
    """The cell that holds x, and where in it x lies, [0, 1] an axis; outside the cube the nearest."""
    scaled = ti.min(ti.max(x, cast_like(0, x.x)), cast_like(1, x.x)) * resolution
    cell = ti.min(ti.max(ti.cast(ti.floor(scaled), ti.i32), 0), resolution - 1)  # NaN too is somewhere
    return cell, scaled - cell


@ti.func
def rows_of(cell, level):
    """The table's rows of a cell's corners (bits x, y, z)."""
    side = level[1] + 1
    first = level[0] + (cell.z * side + cell.y) * side + cell.x
    rows = ti.Vector([first + (c & 1) + (c >> 1 & 1) * side + (c >> 2) * side * side for c in ti.static(range(8))])
    if level[2] >= 0:
        y, z = cell.y * PRIME_Y, cell.z * PRIME_Z
        for c in ti.static(range(8)):
            code = (cell.x + (c & 1)) ^ (y + (c >> 1 & 1) * PRIME_Y) ^ (z + (c >> 2) * PRIME_Z)
            rows[c] = level[0] + (code & level[2])
    return rows


@ti.func
def weight(at, corner: ti.template()):
    """The trilinear weight of a corner."""
    return along(at.x, corner & 1) * along(at.y, corner >> 1 & 1) * along(at.z, corner >> 2)


@ti.func
def weight_gradient(at, corner: ti.template()):
    """The gradient of :func:`weight` in ``at``."""
    wx, wy, wz = along(at.x, corner & 1), along(at.y, corner >> 1 & 1), along(at.z, corner >> 2)
    sx, sy, sz = 2 * (corner & 1) - 1, 2 * (corner >> 1 & 1) - 1, 2 * (corner >> 2) - 1
    return ti.Vector([sx * wy * wz, sy * wx * wz, sz * wx * wy])


@ti.func
def along(x, end: ti.template()):
    return x if ti.static(end) else 1 - x
