"""Samples of rays through the unit cube in the occupied cells of a grid, packed by ray.

The grid has ``resolution`` cells a side; bit i of word w says whether cell 32 w + i, x running fastest, is occupied.
A ray is sampled at equal steps from where it enters the cube.
"""

import taichi as ti

from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.types import FloatArray, I32Array, Vec3Array

FAR = 1e30  # where rays end that the cube does not


@ti.kernel
def count_occupied(
    origins: Vec3Array,
    directions: Vec3Array,
    shifts: FloatArray,
    words: I32Array,
    resolution: ti.i32,
    nearest: ti.f32,
    step: ti.f32,
    counts: I32Array,
):
    """directions: of length 1; shifts: of each ray's samples, in [0, 1) steps; nearest: the least length."""
    for ray in origins:
        origin, direction = origins[ray], directions[ray]
        enter, n_steps = steps_within(origin, direction, shifts[ray], nearest, step)
        count = 0
        for k in range(n_steps):
            length = enter + (k + shifts[ray]) * step
            count += is_occupied(words, resolution, origin + length * direction)
        counts[ray] = count


@ti.kernel
def list_occupied(
    origins: Vec3Array,
    directions: Vec3Array,
    shifts: FloatArray,
    words: I32Array,
    resolution: ti.i32,
    nearest: ti.f32,
    step: ti.f32,
    offsets: I32Array,
    lengths: FloatArray,
    rays: I32Array,
):
    """offsets: where each ray's samples begin; lengths, rays: of each sample, zero before."""
    for ray in origins:
        origin, direction = origins[ray], directions[ray]
        enter, n_steps = steps_within(origin, direction, shifts[ray], nearest, step)
        m, end = offsets[ray], offsets[ray + 1]
        for k in range(n_steps):
            length = enter + (k + shifts[ray]) * step
            # a GPU may round otherwise than when it counted
            if is_occupied(words, resolution, origin + length * direction) and m < end:
                lengths[m] = length
                rays[m] = ray
                m += 1


@ti.func
def steps_within(origin, direction, shift, nearest, step):
    """Where a ray enters the unit cube, not before ``nearest``, and how many samples lie within; none for NaN."""
    enter, leave = cast_like(nearest, shift), cast_like(FAR, shift)
    n_steps = 0
    if direction.dot(direction) > 0 and origin.dot(origin) < FAR:
        for axis in ti.static(range(3)):
            if direction[axis] != 0:
                a, b = -origin[axis] / direction[axis], (1 - origin[axis]) / direction[axis]
                enter, leave = ti.max(enter, ti.min(a, b)), ti.min(leave, ti.max(a, b))
            elif origin[axis] < 0 or origin[axis] > 1:
                leave = enter
        if enter < leave:
            n_steps = ti.max(ti.cast(ti.ceil((leave - enter) / step - shift), ti.i32), 0)
    return enter, n_steps


@ti.func
def is_occupied(words: ti.template(), resolution: ti.i32, at) -> ti.i32:
    """Whether a place in the unit cube is in an occupied cell."""
    cell = ti.min(ti.max(ti.cast(ti.floor(at * resolution), ti.i32), 0), resolution - 1)
    i = (cell.z * resolution + cell.y) * resolution + cell.x
    return words[i >> 5] >> (i & 31) & 1
