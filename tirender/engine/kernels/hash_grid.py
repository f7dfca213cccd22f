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
    n_features: ti.template(),
    points: Vec3Array,  # (n,)
    levels: IVec3Array,  # (L,) first row, resolution, and rows - 1 if the level is hashed, else -1
    table: FloatArray,  # (rows * n_features,)
    bounds: I32Array,  # (chunks + 1,) the points of each chunk
    encoding: FloatArray,  # (n * L * n_features,)
):
    """Features of each point at each level."""
    n_chunks = bounds.shape[0] - 1
    ti.loop_config(block_dim=ti.static(task_block()))
    for task in range(levels.shape[0] * n_chunks):
        level, chunk = task // n_chunks, task % n_chunks
        for i in range(bounds[chunk], bounds[chunk + 1]):
            cell, fraction = cell_of(points[i], levels[level][1])
            rows = rows_of(cell, levels[level])
            out = ti.Vector([cast_like(0, fraction.x) for _ in ti.static(range(n_features))])
            for corner in ti.static(range(8)):
                w = weight(fraction, corner)
                for f in ti.static(range(n_features)):
                    out[f] += w * table[rows[corner] * n_features + f]
            for f in ti.static(range(n_features)):
                encoding[(i * levels.shape[0] + level) * n_features + f] = out[f]


@ti.kernel
def hash_grid_adjoint_table(
    n_features: ti.template(),
    atomic: ti.template(),  # whether chunks share the table
    points: Vec3Array,  # (n,)
    levels: IVec3Array,  # (L,) as for the forward kernel
    grad_encoding: FloatArray,  # (n * L * n_features,)
    bounds: I32Array,  # (chunks + 1,) the points of each chunk; one chunk without atomics
    grad_table: FloatArray,  # (rows * n_features,) zero before
):
    """Gradient in the table."""
    n_chunks = bounds.shape[0] - 1
    ti.loop_config(block_dim=ti.static(task_block()))
    for task in range(levels.shape[0] * n_chunks):
        level, chunk = task // n_chunks, task % n_chunks
        for i in range(bounds[chunk], bounds[chunk + 1]):
            cell, fraction = cell_of(points[i], levels[level][1])
            rows = rows_of(cell, levels[level])
            offset = (i * levels.shape[0] + level) * n_features
            grad = ti.Vector([grad_encoding[offset + f] for f in ti.static(range(n_features))])
            for corner in ti.static(range(8)):
                w = weight(fraction, corner)
                for f in ti.static(range(n_features)):
                    j = rows[corner] * n_features + f
                    if ti.static(atomic):
                        ti.atomic_add(grad_table[j], w * grad[f])
                    else:
                        grad_table[j] = grad_table[j] + w * grad[f]  # += would be atomic


@ti.kernel
def hash_grid_adjoint_points(
    n_features: ti.template(),
    points: Vec3Array,  # (n,)
    levels: IVec3Array,  # (L,) as for the forward kernel
    table: FloatArray,  # (rows * n_features,)
    grad_encoding: FloatArray,  # (n * L * n_features,)
    grad_points: Vec3Array,  # (n,)
):
    """Gradient in the points.

    A point outside the cube counts as the nearest one of its surface. The axes along which it lies outside have no
    gradient.
    """
    for i in points:
        x = points[i]
        grad = ti.Vector([cast_like(0, x.x) for _ in ti.static(range(3))])
        for level in range(levels.shape[0]):
            resolution = levels[level][1]
            cell, fraction = cell_of(x, resolution)
            rows = rows_of(cell, levels[level])
            offset = (i * levels.shape[0] + level) * n_features
            for corner in ti.static(range(8)):
                value = cast_like(0, x.x)
                for f in ti.static(range(n_features)):
                    value += grad_encoding[offset + f] * table[rows[corner] * n_features + f]
                grad += value * resolution * weight_gradient(fraction, corner)
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
def weight(fraction, corner: ti.template()):
    """The trilinear weight of a corner."""
    w = axis_weights(fraction, corner)
    return w.x * w.y * w.z


@ti.func
def weight_gradient(fraction, corner: ti.template()):
    """The gradient of :func:`weight` in ``fraction``."""
    w = axis_weights(fraction, corner)
    sx, sy, sz = 2 * (corner & 1) - 1, 2 * (corner >> 1 & 1) - 1, 2 * (corner >> 2) - 1
    return ti.Vector([sx * w.y * w.z, sy * w.x * w.z, sz * w.x * w.y])


@ti.func
def axis_weights(fraction, corner: ti.template()):
    """The linear weight of a corner (bits x, y, z) along each axis."""
    return ti.Vector([fraction[a] if ti.static(corner >> a & 1) else 1 - fraction[a] for a in ti.static(range(3))])
