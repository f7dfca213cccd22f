"""Emission and absorption along rays through volumes: sampled and composited sample by sample, none of them stored.

A voxel's density and features lie together, four numbers at a time, which a CPU loads as one. Around every volume is a
border of zeros, one voxel wide, so that no corner of a sample needs a check and values fade to 0 as ``grid_sample``
with zero padding has it; positions count voxels of the volume with its border. Samples outside are skipped.

With sample i's opacity d_i and features f_i, and s the surface's thickness, a ray shows sum_i d_i f_i T_{i-s+1}, where
T_k = prod_{j<k} (1 + eps - d_j), and its opacity is 1 - prod_j (1 - d_j) (Max 1995). The adjoint marches again: forth
to find all T_k, and back with what lies behind a sample, B_k = d_{k+s-1} c_{k+s-1} + (1 + eps - d_k) B_{k+1}, where c
is the gradient's product with f. So it divides by nothing, and a sample with d = 1 has its gradient.
"""

import taichi as ti

from tirender.engine.kernels.partial_sums import accumulate
from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.types import FloatArray2D, Vec3Array, Vec4Array2D

BLOCK = 64  # rays that a part takes at a time, in turn with the others
NEGLIGIBLE = 1e-10  # a ray ends where less than this is left of it


@ti.kernel
def volume_march_forward(
    values: Vec4Array2D,
    depth: ti.i32,
    height: ti.i32,
    width: ti.i32,
    rays_per_volume: ti.i32,
    origins: Vec3Array,
    directions: Vec3Array,
    lengths: FloatArray2D,
    eps: ti.f32,
    fours: ti.template(),
    thickness: ti.template(),
    image: Vec4Array2D,
):
    """values: (volume * z * y * x, fours), the density first, then features; depth, height, width: with the border;
    lengths: (rays or 1, samples); image: (ray, fours), the opacity first.
    """
    sizes = ti.math.ivec3(depth, height, width)
    for ray in range(image.shape[0]):
        origin, direction = origins[ray], directions[ray]
        first = ray // rays_per_volume * depth * height * width
        row = ti.min(ray, lengths.shape[0] - 1)
        near, far = inside_range(origin, direction, sizes)
        one = cast_like(1, origin.x)
        unit = one + eps
        sums = ti.Vector([0 * one for _ in ti.static(range(4 * fours))])
        transmittances = ti.Vector([one for _ in ti.static(range(thickness))])  # the last few, oldest first
        clear = one
        for k in range(lengths.shape[1] if near <= far else 0):
            t = lengths[row, k]
            step = unit
            if t >= near and t <= far:
                base, weights = corners(origin + t * direction, first, sizes)
                value = interpolate(values, base, weights, sizes, fours)
                sums += transmittances[0] * value[0] * value
                step = unit - value[0]
                clear *= 1 - value[0]
            latest = transmittances[thickness - 1] * step
            for j in ti.static(range(thickness - 1)):
                transmittances[j] = transmittances[j + 1]
            transmittances[thickness - 1] = latest
            if ti.abs(transmittances[0]) < NEGLIGIBLE and ti.abs(clear) < NEGLIGIBLE:
                break
        sums[0] = 1 - clear
        for j in ti.static(range(fours)):
            image[ray, j] = four(sums, j)


@ti.kernel
def volume_march_adjoint(
    values: Vec4Array2D,
    depth: ti.i32,
    height: ti.i32,
    width: ti.i32,
    rays_per_volume: ti.i32,
    origins: Vec3Array,
    directions: Vec3Array,
    lengths: FloatArray2D,
    eps: ti.f32,
    fours: ti.template(),
    thickness: ti.template(),
    grad_image: Vec4Array2D,
    rays_wanted: ti.template(),
    atomic: ti.template(),
    tape: Vec4Array2D,
    grad_values: Vec4Array2D,
    grad_origins: Vec3Array,
    grad_directions: Vec3Array,
):
    """tape: (task, sample), scratch memory; grad_values: (part, voxel * fours), zero before."""
    sizes = ti.math.ivec3(depth, height, width)
    n_rays, n_tasks = grad_image.shape[0], tape.shape[0]
    n_blocks = (n_rays + BLOCK - 1) // BLOCK
    ti.loop_config(block_dim=ti.static(task_block()))
    for task in range(n_tasks):
        for turn in range((n_blocks - task + n_tasks - 1) // n_tasks):
            begin = (task + turn * n_tasks) * BLOCK
            for ray in range(begin, ti.min(begin + BLOCK, n_rays)):
                origin, direction = origins[ray], directions[ray]
                first = ray // rays_per_volume * depth * height * width
                row = ti.min(ray, lengths.shape[0] - 1)
                near, far = inside_range(origin, direction, sizes)
                one = cast_like(1, origin.x)
                unit = one + eps
                grad_features = ti.Vector([0 * one for _ in ti.static(range(4 * fours))])
                for j in ti.static(range(fours)):
                    put_four(grad_features, j, grad_image[ray, j])
                grad_opacity = grad_features[0]
                grad_features[0] = 0 * one

                start, end = lengths.shape[1], 0  # the samples inside lie between these
                transmittance, clear = one, one  # the products before a sample, with and without eps
                rest, least = one, one  # the product of all factors but the least, and that
                spare = thickness  # how many more samples count
                for k in range(lengths.shape[1] if near <= far else 0):
                    t = lengths[row, k]
                    density, color = 0 * one, 0 * one
                    if t >= near and t <= far:
                        base, weights = corners(origin + t * direction, first, sizes)
                        value = interpolate(values, base, weights, sizes, fours)
                        density, color = value[0], value.dot(grad_features)
                        start, end = ti.min(start, k), k + 1
                    tape[task, k] = ti.Vector([density, color, transmittance, clear])
                    factor = unit - density
                    transmittance *= factor
                    clear *= 1 - density
                    rest *= ti.max(ti.abs(factor), least)
                    least = ti.min(ti.abs(factor), least)
                    if rest < NEGLIGIBLE:
                        spare -= 1
                        if spare == 0:
                            break

                behind, clear_behind = 0 * one, one
                grad_origin = ti.Vector([0 * one, 0 * one, 0 * one])
                grad_direction = grad_origin
                for back in range(ti.max(end - start, 0)):
                    k = end - 1 - back
                    sample = tape[task, k]
                    density, color = sample[0], sample[1]
                    t = lengths[row, k]
                    if t >= near and t <= far:
                        seen = sample[2]
                        if ti.static(thickness > 1):
                            seen = tape[task, ti.max(k - (thickness - 1), 0)][2]
                        grad = density * seen * grad_features
                        grad[0] = color * seen - sample[2] * behind + grad_opacity * sample[3] * clear_behind
                        position = origin + t * direction
                        base, weights = corners(position, first, sizes)
                        spread(grad_values, task, base, weights, sizes, grad, fours, atomic)
                        if ti.static(rays_wanted):
                            slope = interpolate_vjp(values, base, position, sizes, grad, fours)
                            grad_origin += slope
                            grad_direction += t * slope
                    added = density * color
                    if ti.static(thickness > 1):
                        added = 0 * one
                        if k + thickness - 1 < end:
                            ahead = tape[task, k + thickness - 1]
                            added = ahead[0] * ahead[1]
                    behind = added + (unit - density) * behind
                    clear_behind *= 1 - density
                if ti.static(rays_wanted):
                    grad_origins[ray] = grad_origin
                    grad_directions[ray] = grad_direction


@ti.func
def inside_range(origin, direction, sizes):
    """The least and greatest t at which origin + t * direction is in the volume with its border; empty if never."""
    near, far = -cast_like(1e30, origin.x), cast_like(1e30, origin.x)
    for axis in ti.static(range(3)):
        o, d = origin[axis], direction[axis]
        last = cast_like(sizes[2 - axis] - 1, o)
        if d != 0:
            a, b = -o / d, (last - o) / d
            near = ti.max(near, ti.min(a, b))
            far = ti.min(far, ti.max(a, b))
        elif not (o >= 0 and o <= last):
            far = near - 1
    if not (origin.sum() * 0 == 0 and direction.sum() * 0 == 0):  # rays of NaN or infinity see nothing
        far = near - 1
    return near, far


@ti.func
def place(position, sizes):
    """The cell of a position, x first, and where in it, [0, 1]; held inside the volume against rounding."""
    cell = ti.Vector([0, 0, 0])
    at = 0 * position
    for axis in ti.static(range(3)):
        last = sizes[2 - axis] - 1
        p = ti.math.clamp(position[axis], 0 * position.x, cast_like(last, position.x))
        cell[axis] = ti.min(ti.cast(p, ti.i32), last - 1)
        at[axis] = p - cell[axis]
    return cell, at


@ti.func
def corners(position, first: ti.i32, sizes):
    """The first voxel of the eight around a position, and their weights: x fastest, then y, then z."""
    cell, at = place(position, sizes)
    x1, y1, z1 = at.x, at.y, at.z
    x0, y0, z0 = 1 - x1, 1 - y1, 1 - z1
    base = first + (cell.z * sizes[1] + cell.y) * sizes[2] + cell.x
    a, b, c, d = y0 * z0, y1 * z0, y0 * z1, y1 * z1
    return base, ti.Vector([x0 * a, x1 * a, x0 * b, x1 * b, x0 * c, x1 * c, x0 * d, x1 * d])


@ti.func
def corner(base: ti.i32, i: ti.template(), sizes):
    return base + ti.static(i % 2) + ti.static(i // 2 % 2) * sizes[2] + ti.static(i // 4) * sizes[1] * sizes[2]


@ti.func
def interpolate(values: ti.template(), base: ti.i32, weights, sizes, fours: ti.template()):
    out = ti.Vector([0 * weights[0] for _ in ti.static(range(4 * fours))])
    for i in ti.static(range(8)):
        voxel = corner(base, i, sizes)
        for j in ti.static(range(fours)):
            put_four(out, j, four(out, j) + weights[i] * values[voxel, j])
    return out


@ti.func
def spread(
    sums: ti.template(), part: ti.i32, base: ti.i32, weights, sizes, grad, fours: ti.template(), atomic: ti.template()
):
    """The adjoint of :func:`interpolate` in the values."""
    for i in ti.static(range(8)):
        voxel = corner(base, i, sizes)
        for j in ti.static(range(fours)):
            accumulate(sums, part, voxel * fours + j, weights[i] * four(grad, j), atomic)


@ti.func
def interpolate_vjp(values: ti.template(), base: ti.i32, position, sizes, grad, fours: ti.template()):
    """The adjoint of interpolation in the position."""
    _cell, at = place(position, sizes)
    out = 0 * position
    for i in ti.static(range(8)):
        voxel = corner(base, i, sizes)
        g = 0 * at.x
        for j in ti.static(range(fours)):
            g += four(grad, j).dot(values[voxel, j])
        x, y, z = ti.static(i % 2, i // 2 % 2, i // 4)
        wx, wy, wz = at.x if x else 1 - at.x, at.y if y else 1 - at.y, at.z if z else 1 - at.z
        out += g * ti.Vector([(2 * x - 1) * wy * wz, (2 * y - 1) * wx * wz, (2 * z - 1) * wx * wy])
    return out


@ti.func
def four(v, j: ti.template()):
    return ti.Vector([v[4 * j], v[4 * j + 1], v[4 * j + 2], v[4 * j + 3]])


@ti.func
def put_four(v: ti.template(), j: ti.template(), four_values):
    for c in ti.static(range(4)):
        v[4 * j + c] = four_values[c]
