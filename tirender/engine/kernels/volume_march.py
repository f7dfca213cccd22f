"""Emission and absorption along rays through volumes: sampled and composited sample by sample, none of them stored.

A voxel's density and features lie together, four numbers at a time, which a CPU loads as one. Around every volume is a
border of zeros, one voxel wide. So no corner of a sample needs a check, and values fade to 0 as ``grid_sample`` with
zero padding has it. Positions count voxels of the volume with its border. Samples outside are skipped.

With sample i's opacity d_i and features f_i, and s the surface's thickness, a ray shows sum_i d_i f_i T_{i-s+1}, where
T_k = prod_{j<k} (1 + eps - d_j), and its opacity is 1 - prod_j (1 - d_j) (Max 1995).

The adjoint marches twice: forth to find all T_k, and back with what lies behind a sample, B_k = d_{k+s-1} c_{k+s-1}
+ (1 + eps - d_k) B_{k+1}, where c is the gradient's product with f. It divides by nothing, so that a sample with d = 1
has its gradient.
"""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.partial_sums import accumulate
from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.types import FloatArray2D, Vec3Array, Vec4Array2D, struct_of

BLOCK = 64  # rays that a part takes at a time, in turn with the others
NEGLIGIBLE = 1e-10  # a ray ends where less than this is left of it


class MarchSettings(NamedTuple):
    """Numbers of a march."""

    depth: int  # voxels of a volume, with its border
    height: int
    width: int
    rays_per_volume: int
    eps: float


class Variant(NamedTuple):
    """What the kernels are compiled for."""

    n_vec4: int  # vectors of four numbers a voxel
    thickness: int  # of the surface, in samples
    rays_wanted: bool = False  # whether the adjoint has gradients in the rays
    atomic: bool = False  # whether all parts share one sum


class MarchRays(NamedTuple):
    """Rays in voxel coordinates: torch's tensors at a launch, Taichi's arrays in a kernel."""

    origins: Any  # (rays, 3)
    directions: Any  # (rays, 3)
    lengths: Any  # (rays or 1, samples)


class Ray(NamedTuple):
    """A ray, and the volume that it passes through."""

    origin: Any
    direction: Any
    lengths: Any  # of all rays
    row: Any  # of the lengths that belong to this one
    near: Any  # the least length inside the volume
    far: Any  # the greatest
    values: Any  # of all volumes
    first_voxel: Any  # of this volume
    sizes: Any  # depth, height and width
    one: Any  # in the type of the ray
    one_eps: Any  # 1 + eps


@ti.kernel
def volume_march_forward(
    settings: struct_of(MarchSettings),
    variant: ti.template(),
    values: Vec4Array2D,  # (volumes * depth * height * width, n_vec4) density first, then features
    origins: Vec3Array,  # (rays,)
    directions: Vec3Array,  # (rays,)
    lengths: FloatArray2D,  # (rays or 1, samples)
    image: Vec4Array2D,  # (rays, n_vec4) opacity first
):
    """Features and opacity of each ray."""
    rays = ti.static(MarchRays(origins, directions, lengths))
    for i in range(image.shape[0]):
        ray = ti.static(enter_volume(settings, values, rays, i))
        sums = ti.Vector([0 * ray.one for _ in ti.static(range(4 * variant.n_vec4))])
        transmittances = ti.Vector([ray.one for _ in ti.static(range(variant.thickness))])  # the last few, oldest first
        transparency = ray.one  # the product of 1 - density
        for k in range(sample_count(ray)):
            t = ray.lengths[ray.row, k]
            factor = ray.one_eps
            if is_inside(ray, t):
                base, weights = corners(ray, t)
                value = interpolate(ray, base, weights, variant)
                sums += transmittances[0] * value[0] * value
                factor = ray.one_eps - value[0]
                transparency *= 1 - value[0]
            latest = transmittances[variant.thickness - 1] * factor
            for j in ti.static(range(variant.thickness - 1)):
                transmittances[j] = transmittances[j + 1]
            transmittances[variant.thickness - 1] = latest
            if ti.abs(transmittances[0]) < NEGLIGIBLE and ti.abs(transparency) < NEGLIGIBLE:
                break
        sums[0] = 1 - transparency
        for j in ti.static(range(variant.n_vec4)):
            image[i, j] = get_vec4(sums, j)


@ti.kernel
def volume_march_adjoint(
    settings: struct_of(MarchSettings),
    variant: ti.template(),
    values: Vec4Array2D,  # (volumes * depth * height * width, n_vec4) as for the forward kernel, with the next three
    origins: Vec3Array,  # (rays,)
    directions: Vec3Array,  # (rays,)
    lengths: FloatArray2D,  # (rays or 1, samples)
    grad_image: Vec4Array2D,  # (rays, n_vec4)
    tape: Vec4Array2D,  # (tasks, samples) scratch memory
    grad_values: Vec4Array2D,  # (parts, volumes * depth * height * width * n_vec4) zero before
    grad_origins: Vec3Array,  # (rays,) written where wanted
    grad_directions: Vec3Array,  # (rays,) written where wanted
):
    """Gradients in the values, and where wanted in the rays."""
    rays = ti.static(MarchRays(origins, directions, lengths))
    n_rays, n_tasks = grad_image.shape[0], tape.shape[0]
    n_blocks = (n_rays + BLOCK - 1) // BLOCK
    ti.loop_config(block_dim=ti.static(task_block()))
    for task in range(n_tasks):
        for turn in range((n_blocks - task + n_tasks - 1) // n_tasks):
            begin = (task + turn * n_tasks) * BLOCK
            for i in range(begin, ti.min(begin + BLOCK, n_rays)):
                ray = ti.static(enter_volume(settings, values, rays, i))
                grad = ti.Vector([0 * ray.one for _ in ti.static(range(4 * variant.n_vec4))])
                for j in ti.static(range(variant.n_vec4)):
                    set_vec4(grad, j, grad_image[i, j])
                start, end = march_forth(ray, variant, grad, tape, task)
                grad_origin, grad_direction = march_back(ray, variant, grad, tape, task, start, end, grad_values)
                if ti.static(variant.rays_wanted):
                    grad_origins[i] = grad_origin
                    grad_directions[i] = grad_direction


@ti.func
def march_forth(ray: ti.template(), variant: ti.template(), grad, tape: ti.template(), task):
    """Fill the tape: a sample's density, its features' product with the gradient, and the transmittances before it.

    Returns the first and the end of the samples inside the volume that count.
    """
    grad[0] = 0 * ray.one
    start, end = ray.lengths.shape[1], 0
    transmittance, transparency = ray.one, ray.one  # the products before a sample, with and without eps
    rest, least = ray.one, ray.one  # the product of all factors but the least, and that
    samples_left = variant.thickness  # that count, once the rest is negligible
    for k in range(sample_count(ray)):
        t = ray.lengths[ray.row, k]
        density, product = 0 * ray.one, 0 * ray.one
        if is_inside(ray, t):
            base, weights = corners(ray, t)
            value = interpolate(ray, base, weights, variant)
            density, product = value[0], value.dot(grad)
            start, end = ti.min(start, k), k + 1
        tape[task, k] = ti.Vector([density, product, transmittance, transparency])
        factor = ray.one_eps - density
        transmittance *= factor
        transparency *= 1 - density
        rest *= ti.max(ti.abs(factor), least)
        least = ti.min(ti.abs(factor), least)
        if rest < NEGLIGIBLE:
            samples_left -= 1
            if samples_left == 0:
                break
    return start, end


@ti.func
def march_back(
    ray: ti.template(), variant: ti.template(), grad, tape: ti.template(), task, start, end, grad_values: ti.template()
):
    """Scatter the gradients of the samples on the tape; return those in the ray's origin and direction."""
    grad_opacity = grad[0]
    grad[0] = 0 * ray.one
    behind, transparency_behind = 0 * ray.one, ray.one
    grad_origin = ti.Vector([0 * ray.one, 0 * ray.one, 0 * ray.one])
    grad_direction = grad_origin
    for back in range(ti.max(end - start, 0)):
        k = end - 1 - back
        density, product, transmittance, transparency = tape[task, k]
        t = ray.lengths[ray.row, k]
        if is_inside(ray, t):
            seen = transmittance
            if ti.static(variant.thickness > 1):
                seen = tape[task, ti.max(k - (variant.thickness - 1), 0)][2]
            grad_value = density * seen * grad
            grad_value[0] = product * seen - transmittance * behind + grad_opacity * transparency * transparency_behind
            base, weights = corners(ray, t)
            scatter(grad_values, task, ray, base, weights, grad_value, variant)
            if ti.static(variant.rays_wanted):
                grad_position = interpolate_vjp(ray, t, base, grad_value, variant)
                grad_origin += grad_position
                grad_direction += t * grad_position
        added = density * product
        if ti.static(variant.thickness > 1):
            added = 0 * ray.one
            if k + variant.thickness - 1 < end:
                ahead = tape[task, k + variant.thickness - 1]
                added = ahead[0] * ahead[1]
        behind = added + (ray.one_eps - density) * behind
        transparency_behind *= 1 - density
    return grad_origin, grad_direction


@ti.func
def enter_volume(settings: ti.template(), values: ti.template(), rays: ti.template(), i):
    """Ray i and the volume that it passes through."""
    sizes = ti.math.ivec3(settings.depth, settings.height, settings.width)
    origin, direction = rays.origins[i], rays.directions[i]
    near, far = inside_range(origin, direction, sizes)
    first_voxel = i // settings.rays_per_volume * settings.depth * settings.height * settings.width
    row = ti.min(i, rays.lengths.shape[0] - 1)
    one = cast_like(1, origin.x)
    one_eps = one + settings.eps
    return ti.static(Ray(origin, direction, rays.lengths, row, near, far, values, first_voxel, sizes, one, one_eps))


@ti.func
def sample_count(ray: ti.template()):
    """Samples of a ray; none where it misses the volume."""
    return ray.lengths.shape[1] if ray.near <= ray.far else 0


@ti.func
def is_inside(ray: ti.template(), t):
    return t >= ray.near and t <= ray.far


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
def cell_of(ray: ti.template(), t):
    """The cell that holds a sample, x first, and where in it, [0, 1]; held inside the volume against rounding."""
    position = ray.origin + t * ray.direction
    cell = ti.Vector([0, 0, 0])
    fraction = 0 * position
    for axis in ti.static(range(3)):
        last = ray.sizes[2 - axis] - 1
        p = ti.math.clamp(position[axis], 0 * position.x, cast_like(last, position.x))
        cell[axis] = ti.min(ti.cast(p, ti.i32), last - 1)
        fraction[axis] = p - cell[axis]
    return cell, fraction


@ti.func
def corners(ray: ti.template(), t):
    """The first voxel of the eight around a sample, and their weights: x fastest, then y, then z."""
    cell, fraction = cell_of(ray, t)
    x1, y1, z1 = fraction.x, fraction.y, fraction.z
    x0, y0, z0 = 1 - x1, 1 - y1, 1 - z1
    base = ray.first_voxel + (cell.z * ray.sizes[1] + cell.y) * ray.sizes[2] + cell.x
    a, b, c, d = y0 * z0, y1 * z0, y0 * z1, y1 * z1
    return base, ti.Vector([x0 * a, x1 * a, x0 * b, x1 * b, x0 * c, x1 * c, x0 * d, x1 * d])


@ti.func
def corner(ray: ti.template(), base: ti.i32, i: ti.template()):
    """The voxel at one of the eight corners."""
    x, y, z = ti.static(i % 2, i // 2 % 2, i // 4)
    return base + x + y * ray.sizes[2] + z * ray.sizes[1] * ray.sizes[2]


@ti.func
def interpolate(ray: ti.template(), base: ti.i32, weights, variant: ti.template()):
    """Density and features of a sample."""
    out = ti.Vector([0 * weights[0] for _ in ti.static(range(4 * variant.n_vec4))])
    for i in ti.static(range(8)):
        voxel = corner(ray, base, i)
        for j in ti.static(range(variant.n_vec4)):
            set_vec4(out, j, get_vec4(out, j) + weights[i] * ray.values[voxel, j])
    return out


@ti.func
def scatter(sums: ti.template(), part, ray: ti.template(), base, weights, grad, variant: ti.template()):
    """The adjoint of :func:`interpolate` in the values."""
    for i in ti.static(range(8)):
        voxel = corner(ray, base, i)
        for j in ti.static(range(variant.n_vec4)):
            term = weights[i] * get_vec4(grad, j)
            accumulate(sums, part, voxel * variant.n_vec4 + j, term, variant.atomic)


@ti.func
def interpolate_vjp(ray: ti.template(), t, base: ti.i32, grad, variant: ti.template()):
    """The adjoint of :func:`interpolate` in the sample's position."""
    _cell, fraction = cell_of(ray, t)
    out = 0 * fraction
    for i in ti.static(range(8)):
        voxel = corner(ray, base, i)
        g = 0 * fraction.x
        for j in ti.static(range(variant.n_vec4)):
            g += get_vec4(grad, j).dot(ray.values[voxel, j])
        x, y, z = ti.static(i % 2, i // 2 % 2, i // 4)
        wx = fraction.x if x else 1 - fraction.x
        wy = fraction.y if y else 1 - fraction.y
        wz = fraction.z if z else 1 - fraction.z
        out += g * ti.Vector([(2 * x - 1) * wy * wz, (2 * y - 1) * wx * wz, (2 * z - 1) * wx * wy])
    return out


@ti.func
def get_vec4(v, j: ti.template()):
    return ti.Vector([v[4 * j], v[4 * j + 1], v[4 * j + 2], v[4 * j + 3]])


@ti.func
def set_vec4(v: ti.template(), j: ti.template(), values):
    for c in ti.static(range(4)):
        v[4 * j + c] = values[c]
