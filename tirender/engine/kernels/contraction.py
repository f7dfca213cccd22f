"""Samples of rays through all of space, contracted into a cube, in the occupied cells of a grid (Barron et al. 2022).

The cube [-1, 1] stays as it is. A point outside, whose greatest coordinate is m, moves to the surface of the cube of
half side 2 - 1 / m, along the line to the centre. So all of space fits into [-2, 2], over which the grid spans. Samples
lie at equal steps along the contracted ray, a curve.
"""

import taichi as ti

from tirender.engine.kernels.occupancy import FAR, OccupancySettings, is_occupied
from tirender.engine.kernels.scalars import cast_like
from tirender.engine.kernels.types import FloatArray, I32Array, Vec3Array, struct_of

LONGEST = 16  # of a contracted ray: a bound on the number of steps


@ti.kernel
def count_contracted(
    settings: struct_of(OccupancySettings),
    origins: Vec3Array,  # (R,) of the rays, as the next two
    directions: Vec3Array,  # (R,)
    shifts: FloatArray,  # (R,)
    words: I32Array,  # (cells / 32,)
    counts: I32Array,  # (R,)
):
    """How many samples of each ray lie in occupied cells."""
    for ray in origins:
        origin, direction = origins[ray], directions[ray]
        start, count = cast_like(settings.nearest, shifts[ray]), 0
        left = most_steps(origin, direction, settings)
        while left > 0:
            gap, goes_on = step_at(origin + start * direction, direction, settings)
            left = left - 1 if goes_on else 0
            if left > 0:
                count += is_occupied(words, settings.resolution, in_grid(origin, start + shifts[ray] * gap, direction))
            start += gap
        counts[ray] = count


@ti.kernel
def list_contracted(
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
        origin, direction = origins[ray], directions[ray]
        start = cast_like(settings.nearest, shifts[ray])
        i, end = offsets[ray], offsets[ray + 1]
        left = most_steps(origin, direction, settings)
        while left > 0:
            gap, goes_on = step_at(origin + start * direction, direction, settings)
            left = left - 1 if goes_on and i < end else 0
            if left > 0:
                length = start + shifts[ray] * gap
                if is_occupied(words, settings.resolution, in_grid(origin, length, direction)) != 0:
                    lengths[i] = length
                    ray_index[i] = ray
                    i += 1
            start += gap


@ti.func
def most_steps(origin, direction, settings: ti.template()) -> ti.i32:
    """A bound on the number of steps along a ray; 0 for NaN."""
    is_ray = direction.dot(direction) > 0 and origin.dot(origin) < FAR
    return ti.cast(LONGEST / settings.step, ti.i32) if is_ray else 0


@ti.func
def step_at(at, direction, settings: ti.template()):
    """How far the next step goes, and whether it is taken: not one that leads away from the cube, 1 / step from it."""
    m = largest(at)
    return ti.min(settings.step / speed(at, direction), m / 4), m * settings.step < 1 or at.dot(direction) < 0


@ti.func
def in_grid(origin, length, direction):
    """Where a sample lies in the cube [0, 1] that the grid spans."""
    return contracted(origin + length * direction) / 4 + cast_like(0.5, length)


@ti.func
def largest(at):
    """The greatest absolute coordinate, at least 1."""
    return ti.max(ti.abs(at.x), ti.abs(at.y), ti.abs(at.z), cast_like(1, at.x))


@ti.func
def contracted(at):
    """Where contraction moves a point."""
    inverse = 1 / largest(at)
    return at * inverse * (2 - inverse)


@ti.func
def speed(at, direction):
    """The length of a contracted piece of a ray of length 1."""
    m = largest(at)
    inverse, growth = 1 / m, cast_like(0, m)
    if m > 1:
        for axis in ti.static(range(3)):
            if ti.abs(at[axis]) == m:
                growth = direction[axis] if at[axis] > 0 else -direction[axis]
    outwards = 2 * inverse * inverse * (inverse - 1) * growth  # of the factor of the point
    return (inverse * (2 - inverse) * direction + outwards * at).norm()
