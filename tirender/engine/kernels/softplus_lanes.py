"""Softplus with beta = 10 after a shift, and its adjoint, for a CPU.

Numbers are float32 or bfloat16, see ``wide_lanes.py``.
"""

from typing import NamedTuple

import taichi as ti

from tirender.engine.kernels.lanes import LEAST, exp_parts, whole_vectors
from tirender.engine.kernels.types import I32Array, struct_of
from tirender.engine.kernels.wide_lanes import SLOTS, TASKS, IntWideArray, WideArray, read_wide, write_wide

BETA = 10.0
EXPONENT = float(127 + (1 << 23))  # added to a whole number n, it leaves the exponent of 2^n in the lowest bits


class Sizes(NamedTuple):
    """Numbers of the kernels.

    Attributes:
        vectors: how many hold a row.
        shared: whether all groups of rows have the first shift; else each has its own.
    """

    vectors: int
    shared: bool


SizesStruct = struct_of(Sizes)


@whole_vectors
def softplus_forward(
    sizes: SizesStruct,
    half: ti.template(),  # whether numbers are bfloat16
    bounds: I32Array,  # (groups + 1,) the rows of each group
    shifts: WideArray,  # (groups or 1, vectors)
    values: WideArray,  # (rows, vectors); what is written replaces what was read
    floats: WideArray,  # (TASKS * SLOTS,) scratch memory
    ints: IntWideArray,  # the same memory
):
    ti.loop_config(block_dim=1)
    for task in range(TASKS):
        n_groups, n, at = bounds.shape[0] - 1, sizes.vectors, task * SLOTS
        for group in range(task * n_groups // TASKS, (task + 1) * n_groups // TASKS):
            first = ti.select(sizes.shared, 0, group * n)
            for row in range(bounds[group], bounds[group + 1]):
                for v in range(n):
                    shift = read_wide(shifts, first + v, half, floats, ints, at)
                    z = read_wide(values, row * n + v, half, floats, ints, at)
                    for k in ti.static(range(ti.static(2 if half else 1))):
                        z[k] = softplus(z[k] + shift[k], floats, ints, at)
                    write_wide(values, row * n + v, z, half, floats, ints, at)


@whole_vectors
def softplus_adjoint(
    sizes: SizesStruct,
    half: ti.template(),  # these two as for the forward kernel
    bounds: I32Array,
    outputs: WideArray,  # (rows, vectors)
    grads: WideArray,  # (rows, vectors) in the outputs
    grad_sums: WideArray,  # (rows, vectors) in what was read and shifted
    grad_shifts: WideArray,  # (groups, vectors, halves) float32; empty where not wanted
    floats: WideArray,  # as for the forward kernel
    ints: IntWideArray,
):
    halves = ti.static(2 if half else 1)
    ti.loop_config(block_dim=1)
    for task in range(TASKS):
        n_groups, n, at = bounds.shape[0] - 1, sizes.vectors, task * SLOTS
        for group in range(task * n_groups // TASKS, (task + 1) * n_groups // TASKS):
            for row in range(bounds[group], bounds[group + 1]):
                for v in range(n):
                    y = read_wide(outputs, row * n + v, half, floats, ints, at)
                    g = read_wide(grads, row * n + v, half, floats, ints, at)
                    for k in ti.static(range(halves)):
                        power, rest = exp_of_negative(y[k] * BETA, floats, ints, at)
                        g[k] = g[k] * ((1 - power) - power * rest)  # softplus' = 1 - exp(-softplus)
                    write_wide(grad_sums, row * n + v, g, half, floats, ints, at)
                    if grad_shifts.shape[0] > 0:
                        for k in ti.static(range(halves)):
                            place = (group * n + v) * halves + k
                            if row > bounds[group]:
                                g[k] = grad_shifts[place] + g[k]
                            grad_shifts[place] = g[k]


@ti.func
def softplus(z, floats: ti.template(), ints: ti.template(), at):
    s = z * BETA
    power, rest = exp_of_negative(ti.select(s > 0, s, 0 - s), floats, ints, at)
    e = power + power * rest
    # log(1 + e) = 2 artanh(w), its series fitted for w to 1/3 with errors of 4e-9
    w = e / (e + 2)
    series = (w * w) * 0.28178334 + 0.27960603
    series = ((series * (w * w) + 0.40024910) * (w * w) + 0.66666315) * (w * w) + 2.0
    return (ti.select(s > 0, s, 0) + w * series) * (1 / BETA)


@ti.func
def exp_of_negative(t, floats: ti.template(), ints: ti.template(), at):
    """A power of 2, and how much more than one times it is exp(-t), t not negative."""
    whole, more = exp_parts(0 - ti.select(t > LEAST, LEAST, t))
    floats[at] = whole + EXPONENT
    ints[at] = ints[at] << 23
    return floats[at], more
