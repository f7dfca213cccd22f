"""Emission and absorption along rays through volumes: sampled and composited sample by sample, none of them stored.

A voxel's density and features lie together, four numbers at a time, which a CPU loads as one. Around every volume is a
border of zeros, one voxel wide. So no corner of a sample needs a check, and values fade to 0 as ``grid_sample`` with
zero padding has it. Positions count voxels of the volume with its border. Samples outside are skipped.

A CPU finds the places of several samples of a ray at once, a lane each, and then reads their voxels one by one.

With sample i's opacity d_i and features f_i, and s the surface's thickness, a ray shows sum_i d_i f_i T_{i-s+1}, where
T_k = prod_{j<k} (1 + eps - d_j), and its opacity is 1 - prod_j (1 - d_j) (Max 1995).

The adjoint marches twice: forth to find all T_k, and back with what lies behind a sample, B_k = d_{k+s-1} c_{k+s-1}
+ (1 + eps - d_k) B_{k+1}, where c is the gradient's product with f. It divides by nothing, so that a sample with d = 1
has its gradient.
"""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.lanes import whole_vectors
from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.tasks import task_block
from tirender.engine.kernels.types import FloatArray2D, Vec4Array, Vec4Array2D, struct_of

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
    lanes: int  # samples of a ray whose places are found at once; divides the number of lengths
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
    sizes: Any  # width, height and depth
    one: Any  # in the type of the ray
    one_eps: Any  # 1 + eps


class Samples(NamedTuple):
    """A few samples of a ray that follow each other, a lane each."""

    lengths: Any
    base: Any  # the first voxel of the eight around each, or -1 outside
    x: Any  # the place between these voxels, [0, 1]
    y: Any
    z: Any
    weights: Any  # of the voxels: x fastest, then y, then z


@whole_vectors
def volume_march_forward(
    settings: struct_of(MarchSettings),
    variant: ti.template(),
    values: Vec4Array,  # (volumes * depth * height * width * n_vec4,) density first, then features
    origins: FloatArray2D,  # (rays, 3)
    directions: FloatArray2D,  # (rays, 3)
    lengths: FloatArray2D,  # (rays or 1, samples)
    image: Vec4Array2D,  # (rays, n_vec4) opacity first
):
    """Features and opacity of each ray."""
    rays = ti.static(MarchRays(origins, directions, lengths))
    for i in range(image.shape[0]):
        ray = ti.static(enter_volume(settings, values, rays, i))
        sums = [zero_vec4(ray) for _ in ti.static(range(variant.n_vec4))]
        transmittances = [ray.one for _ in ti.static(range(variant.thickness))]  # the last few, oldest first
        transparency = ray.one  # the product of 1 - density
        for group in range(group_count(ray, variant)):
            samples = ti.static(place_samples(ray, variant, group))
            for lane in range(variant.lanes):
                factor = ray.one_eps
                if samples.base[lane] >= 0:
                    value = [interpolate(ray, variant, samples, lane, j) for j in ti.static(range(variant.n_vec4))]
                    density = value[0][0]
                    weight = transmittances[0] * density
                    for j in ti.static(range(variant.n_vec4)):
                        sums[j] += weight * value[j]
                    factor -= density
                    transparency *= 1 - density
                latest = transmittances[variant.thickness - 1] * factor
                for j in ti.static(range(variant.thickness - 1)):
                    transmittances[j] = transmittances[j + 1]
                transmittances[variant.thickness - 1] = latest
            if ti.abs(transmittances[0]) < NEGLIGIBLE and ti.abs(transparency) < NEGLIGIBLE:
                break
        sums[0][0] = 1 - transparency
        for j in ti.static(range(variant.n_vec4)):
            image[i, j] = sums[j]


@whole_vectors
def volume_march_adjoint(
    settings: struct_of(MarchSettings),
    variant: ti.template(),
    values: Vec4Array,  # (volumes * depth * height * width * n_vec4,) as for the forward kernel, with the next three
    origins: FloatArray2D,  # (rays, 3)
    directions: FloatArray2D,  # (rays, 3)
    lengths: FloatArray2D,  # (rays or 1, samples)
    grad_image: Vec4Array2D,  # (rays, n_vec4)
    tape: Vec4Array2D,  # (tasks, samples) scratch memory
    grad_values: Vec4Array,  # (parts * volumes * depth * height * width * n_vec4,) zero before
    grad_origins: FloatArray2D,  # (rays, 3) written where wanted
    grad_directions: FloatArray2D,  # (rays, 3) written where wanted
):
    """Gradients in the values, and where wanted in the rays."""
    rays = ti.static(MarchRays(origins, directions, lengths))
    n_rays, n_tasks = grad_image.shape[0], tape.shape[0]
    n_blocks = (n_rays + BLOCK - 1) // BLOCK
    ti.loop_config(block_dim=ti.static(task_block()))
    for task in range(n_tasks):
        first_sum = 0 if ti.static(variant.atomic) else task * values.shape[0]
        for turn in range((n_blocks - task + n_tasks - 1) // n_tasks):
            begin = (task + turn * n_tasks) * BLOCK
            for i in range(begin, ti.min(begin + BLOCK, n_rays)):
                ray = ti.static(enter_volume(settings, values, rays, i))
                grad = [grad_image[i, j] for j in ti.static(range(variant.n_vec4))]
                grad_opacity = grad[0][0]
                grad[0][0] = 0 * ray.one
                n_groups = march_forth(ray, variant, grad, tape, task)
                grad_origin, grad_direction = march_back(
                    ray, variant, grad, grad_opacity, tape, task, n_groups, grad_values, first_sum
                )
                if ti.static(variant.rays_wanted):
                    for axis in ti.static(range(3)):
                        grad_origins[i, axis] = grad_origin[axis]
                        grad_directions[i, axis] = grad_direction[axis]


@ti.func
def march_forth(ray: ti.template(), variant: ti.template(), grad: ti.template(), tape: ti.template(), task):
    """Fill the tape: a sample's density, its features' product with the gradient, and the transmittances before it.

    Returns how many groups of samples count.
    """
    n_groups = 0
    transmittance, transparency = ray.one, ray.one  # the products before a sample, with and without eps
    rest, least = ray.one, ray.one  # the product of all factors but the least, and that
    samples_left = variant.thickness  # that count, once the rest is negligible
    for group in range(group_count(ray, variant)):
        samples = ti.static(place_samples(ray, variant, group))
        for lane in range(variant.lanes):
            density, product = 0 * ray.one, 0 * ray.one
            if samples.base[lane] >= 0:
                value = [interpolate(ray, variant, samples, lane, j) for j in ti.static(range(variant.n_vec4))]
                density = value[0][0]
                for j in ti.static(range(variant.n_vec4)):
                    product += dot(value[j], grad[j])
            k = group * variant.lanes + lane
            tape[task, k] = ti.Vector([density, product, transmittance, transparency])
            factor = ray.one_eps - density
            transmittance *= factor
            transparency *= 1 - density
            size = ti.abs(factor)
            rest *= ti.select(size > least, size, least)
            least = ti.select(size < least, size, least)
            samples_left -= ti.select(rest < NEGLIGIBLE, 1, 0)
        n_groups += 1
        if samples_left <= 0:
            break
    return n_groups


@ti.func
def march_back(
    ray: ti.template(),
    variant: ti.template(),
    grad: ti.template(),
    grad_opacity,
    tape: ti.template(),
    task,
    n_groups,
    grad_values: ti.template(),
    first_sum,
):
    """Scatter the gradients of the samples on the tape; return those in the ray's origin and direction."""
    behind, transparency_behind = 0 * ray.one, ray.one
    grad_origin = ti.Vector([0 * ray.one, 0 * ray.one, 0 * ray.one])
    grad_direction = grad_origin
    for group_back in range(n_groups):
        group = n_groups - 1 - group_back
        samples = ti.static(place_samples(ray, variant, group))
        for lane_back in range(variant.lanes):
            lane = variant.lanes - 1 - lane_back
            k = group * variant.lanes + lane
            density, product, transmittance, transparency = tape[task, k]
            if samples.base[lane] >= 0:
                seen = transmittance
                if ti.static(variant.thickness > 1):
                    seen = tape[task, ti.max(k - (variant.thickness - 1), 0)][2]
                weight = density * seen
                grad_value = [weight * grad[j] for j in ti.static(range(variant.n_vec4))]
                grad_value[0][0] = (
                    product * seen - transmittance * behind + grad_opacity * transparency * transparency_behind
                )
                scatter(grad_values, first_sum, ray, variant, samples, lane, grad_value)
                if ti.static(variant.rays_wanted):
                    grad_position = interpolate_vjp(ray, variant, samples, lane, grad_value)
                    grad_origin += grad_position
                    grad_direction += samples.lengths[lane] * grad_position
            added = density * product
            if ti.static(variant.thickness > 1):
                added = 0 * ray.one
                if k + variant.thickness - 1 < n_groups * variant.lanes:
                    ahead = tape[task, k + variant.thickness - 1]
                    added = ahead[0] * ahead[1]
            behind = added + (ray.one_eps - density) * behind
            transparency_behind *= 1 - density
    return grad_origin, grad_direction


@ti.func
def enter_volume(settings: ti.template(), values: ti.template(), rays: ti.template(), i):
    """Ray i and the volume that it passes through."""
    sizes = ti.Vector([settings.width, settings.height, settings.depth])
    origin = ti.Vector([rays.origins[i, axis] for axis in ti.static(range(3))])
    direction = ti.Vector([rays.directions[i, axis] for axis in ti.static(range(3))])
    near, far = inside_range(origin, direction, sizes)
    first_voxel = i // settings.rays_per_volume * settings.depth * settings.height * settings.width
    row = ti.min(i, rays.lengths.shape[0] - 1)
    one = cast_like(1, origin[0])
    one_eps = one + settings.eps
    return ti.static(Ray(origin, direction, rays.lengths, row, near, far, values, first_voxel, sizes, one, one_eps))


@ti.func
def group_count(ray: ti.template(), variant: ti.template()):
    """Groups of a ray's samples; none where it misses the volume."""
    return ray.lengths.shape[1] // variant.lanes if ray.near <= ray.far else 0


@ti.func
def inside_range(origin, direction, sizes):
    """The least and greatest t at which origin + t * direction is in the volume with its border; empty if never."""
    near, far = -cast_like(1e30, origin[0]), cast_like(1e30, origin[0])
    for axis in ti.static(range(3)):
        o, d = origin[axis], direction[axis]
        last = cast_like(sizes[axis] - 1, o)
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
def place_samples(ray: ti.template(), variant: ti.template(), group):
    """The samples of a group."""
    lanes = ti.static(range(variant.lanes))
    lengths = ti.Vector([ray.lengths[ray.row, group * variant.lanes + lane] for lane in lanes])
    t = ti.select(lengths > ray.near, lengths, ray.near)
    t = ti.select(t < ray.far, t, ray.far)
    cell_x, x1 = place_along(ray, variant, t, 0)
    cell_y, y1 = place_along(ray, variant, t, 1)
    cell_z, z1 = place_along(ray, variant, t, 2)
    base = (cell_z * ray.sizes[1] + cell_y) * ray.sizes[0] + cell_x + ray.first_voxel
    base = ti.select((lengths >= ray.near) & (lengths <= ray.far), base, -1)
    x0, y0, z0 = 1 - x1, 1 - y1, 1 - z1
    a, b, c, d = y0 * z0, y1 * z0, y0 * z1, y1 * z1
    weights = [x0 * a, x1 * a, x0 * b, x1 * b, x0 * c, x1 * c, x0 * d, x1 * d]
    return ti.static(Samples(lengths, base, x1, y1, z1, weights))


@ti.func
def place_along(ray: ti.template(), variant: ti.template(), t, axis: ti.template()):
    """The cells that hold samples, and where in them, [0, 1]; held inside the volume against rounding."""
    lanes = ti.static(range(variant.lanes))
    last = ray.sizes[axis] - 1
    end = cast_like(last, ray.one)
    p = t * ray.direction[axis] + ray.origin[axis]
    p = ti.select(p > 0, p, 0 * ray.one)
    p = ti.select(p < end, p, end)
    cell = ti.Vector([ti.cast(p[lane], ti.i32) for lane in lanes])
    cell = ti.select(cell < last, cell, last - 1)
    return cell, p - ti.Vector([cast_like(cell[lane], ray.one) for lane in lanes])


@ti.func
def corner(ray: ti.template(), base, i: ti.template()):
    """The voxel at one of the eight corners."""
    x, y, z = ti.static(i % 2, i // 2 % 2, i // 4)
    return base + x + y * ray.sizes[0] + z * ray.sizes[1] * ray.sizes[0]


@ti.func
def interpolate(ray: ti.template(), variant: ti.template(), samples: ti.template(), lane, j: ti.template()):
    """Four numbers of a sample: density and features, or features alone."""
    out = samples.weights[0][lane] * ray.values[samples.base[lane] * variant.n_vec4 + j]
    for i in ti.static(range(1, 8)):
        voxel = corner(ray, samples.base[lane], i)
        out += samples.weights[i][lane] * ray.values[voxel * variant.n_vec4 + j]
    return out


@ti.func
def scatter(
    sums: ti.template(),
    first_sum,
    ray: ti.template(),
    variant: ti.template(),
    samples: ti.template(),
    lane,
    grad: ti.template(),
):
    """The adjoint of :func:`interpolate` in the values."""
    for i in ti.static(range(8)):
        voxel = corner(ray, samples.base[lane], i)
        for j in ti.static(range(variant.n_vec4)):
            at = first_sum + voxel * variant.n_vec4 + j
            term = samples.weights[i][lane] * grad[j]
            if ti.static(variant.atomic):
                ti.atomic_add(sums[at], term)
            else:
                sums[at] = sums[at] + term  # += would be atomic


@ti.func
def interpolate_vjp(ray: ti.template(), variant: ti.template(), samples: ti.template(), lane, grad: ti.template()):
    """The adjoint of :func:`interpolate` in the sample's position."""
    x1, y1, z1 = samples.x[lane], samples.y[lane], samples.z[lane]
    out = ti.Vector([0 * ray.one, 0 * ray.one, 0 * ray.one])
    for i in ti.static(range(8)):
        voxel = corner(ray, samples.base[lane], i)
        g = 0 * ray.one
        for j in ti.static(range(variant.n_vec4)):
            g += dot(grad[j], ray.values[voxel * variant.n_vec4 + j])
        x, y, z = ti.static(i % 2, i // 2 % 2, i // 4)
        wx = x1 if x else 1 - x1
        wy = y1 if y else 1 - y1
        wz = z1 if z else 1 - z1
        out += g * ti.Vector([(2 * x - 1) * wy * wz, (2 * y - 1) * wx * wz, (2 * z - 1) * wx * wy])
    return out


@ti.func
def zero_vec4(ray: ti.template()):
    return ti.Vector([0 * ray.one, 0 * ray.one, 0 * ray.one, 0 * ray.one])


@ti.func
def dot(a, b):
    """The scalar product of two vectors of four."""
    c = a * b
    return (c[0] + c[1]) + (c[2] + c[3])
