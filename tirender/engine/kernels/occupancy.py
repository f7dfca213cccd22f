"""Samples of rays through the unit cube in the occupied cells of a grid, packed by ray.

The grid has ``resolution`` cells a side; bit i of word w says whether cell 32 w + i, x running fastest, is occupied.
A ray is sampled at equal steps from where it enters the cube.
"""

from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.types import FloatArray, I32Array, Vec3Array, struct_of

FAR = 1e30  # the length at which a ray ends that the cube does not bound


class OccupancySettings(NamedTuple):
    """Numbers of the kernels."""

    resolution: int  # cells a side
    nearest: float  # the least length
    step: float  # between samples


class OccupancyRays(NamedTuple):
    """Rays, as the kernels take them."""

    origins: Any  # (R, 3)
    directions: Any  # (R, 3) of length 1
    shifts: Any  # (R,) of the samples, in [0, 1) steps


@ti.kernel
def count_occupied(
    settings: struct_of(OccupancySettings),
    origins: Vec3Array,  # (R,) of the rays, as the next two
    directions: Vec3Array,  # (R,)
    shifts: FloatArray,  # (R,)
    words: I32Array,  # (cells / 32,)
    counts: I32Array,  # (R,)
):
    """How many samples of each ray lie in occupied cells."""
    for ray in origins:
        origin, direction, step = origins[ray], directions[ray], settings.step
        enter, n_steps = steps_within(origin, direction, shifts[ray], settings)
        count = 0
        for k in range(n_steps):
            length = enter + (k + shifts[ray]) * step
            count += is_occupied(words, settings.resolution, origin + length * direction)
        counts[ray] = count


@ti.kernel
def list_occupied(
    settings: struct_of(OccupancySettings),
    origins: Vec3Array,  # (R,) of the rays, as the next two
    directions: Vec3Array,  # (R,)
    shifts: FloatArray,  # (R,)
    words: I32Array,  # (cells / 32,)
    offsets: I32Array,  # (R + 1,) where each ray's samples begin
    lengths: FloatArray,  # (M,) of each sample, zero before
    ray_index: I32Array,  # (M,) the ray of each sample, zero before
):
    """The samples in occupied cells."""
    for ray in origins:
        origin, direction, step = origins[ray], directions[ray], settings.step
        enter, n_steps = steps_within(origin, direction, shifts[ray], settings)
        m, end = offsets[ray], offsets[ray + 1]
        for k in range(n_steps):
            length = enter + (k + shifts[ray]) * step
            # a GPU may round otherwise than when it counted
            if is_occupied(words, settings.resolution, origin + length * direction) and m < end:
                lengths[m] = length
                ray_index[m] = ray
                m += 1


@ti.func
def steps_within(origin, direction, shift, settings: ti.template()):
    """Where a ray enters the unit cube, not before ``nearest``, and how many samples lie within; none for NaN."""
    enter, leave = cast_like(settings.nearest, shift), cast_like(FAR, shift)
    n_steps = 0
    if direction.dot(direction) > 0 and origin.dot(origin) < FAR:
        for axis in ti.static(range(3)):
            if direction[axis] != 0:
                a, b = -origin[axis] / direction[axis], (1 - origin[axis]) / direction[axis]
                enter, leave = ti.max(enter, ti.min(a, b)), ti.min(leave, ti.max(a, b))
            elif origin[axis] < 0 or origin[axis] > 1:
                leave = enter
        if enter < leave:
            n_steps = ti.max(ti.cast(ti.ceil((leave - enter) / settings.step - shift), ti.i32), 0)
    return enter, n_steps


@ti.func
def is_occupied(words: ti.template(), resolution: ti.i32, position) -> ti.i32:
    """Whether a position in the unit cube is in an occupied cell."""
    cell = ti.min(ti.max(ti.cast(ti.floor(position * resolution), ti.i32), 0), resolution - 1)
    i = (cell.z * resolution + cell.y) * resolution + cell.x
    return words[i >> 5] >> (i & 31) & 1
