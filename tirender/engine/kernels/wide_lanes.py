"""Vectors of 64 numbers on a CPU: at each step a core has several instructions that need not wait for each other.

They are for long formulas of few numbers. They may be float32 or bfloat16. Two of the latter lie in the memory of one
float32: a vector of such memories is taken apart into the lower and the upper halves. Taichi cannot read the bits of a
vector, so it is written to scratch memory, which a kernel has as float32 and as int32.
"""

import taichi as ti

WIDTH = 64
TASKS, SLOTS = 64, 2  # vectors of scratch memory for each task

WideArray = ti.types.ndarray(dtype=ti.types.vector(WIDTH, ti.f32), ndim=1)  # torch (n, WIDTH) float32
IntWideArray = ti.types.ndarray(dtype=ti.types.vector(WIDTH, ti.i32), ndim=1)  # torch (n, WIDTH) int32


@ti.func
def read_wide(values: ti.template(), index, half: ti.template(), floats: ti.template(), ints: ti.template(), at):
    """A vector, or the vectors of its lower and upper halves."""
    if ti.static(not half):
        return [values[index]]
    floats[at] = values[index]
    bits = ints[at]
    ints[at], ints[at + 1] = bits << 16, bits & -65536
    return [floats[at], floats[at + 1]]


@ti.func
def write_wide(
    values: ti.template(), index, parts, half: ti.template(), floats: ti.template(), ints: ti.template(), at
):
    """What :func:`read_wide` would give, rounded to the nearest."""
    if ti.static(half):
        floats[at], floats[at + 1] = parts[0], parts[1]
        low, high = ints[at], ints[at + 1]
        low, high = low + ((low >> 16 & 1) + 32767), high + ((high >> 16 & 1) + 32767)
        ints[at] = (low >> 16 & 65535) | (high & -65536)
        values[index] = floats[at]
    else:
        values[index] = parts[0]
