"""Vector instructions on a CPU: a row of pixels is one value of ``LANES`` numbers.

Taichi takes vectors apart into numbers before it compiles, and what the compiler puts together again is narrower and
slower. A kernel under ``@whole_vectors`` keeps its vectors whole: each operation is one vector instruction, or a few
where the machine's are shorter.

A GPU has no vectors: there such a kernel is compiled like all others. Its arrays are of numbers, or of vectors of 2, 4,
8 or 16 numbers; the latter begin at multiples of 64 bytes, as torch places every tensor that is no view of another. It
is bound to what Taichi 1.7 can do with whole vectors: ``+ - * /``, comparisons, ``&``, ``ti.select``, ``ti.sqrt``, and
one lane by its index. At negation, casts, ``ti.exp`` or ``ti.abs`` of a vector the process stops while it compiles.
``ti.select(a < b, a, b)`` is one instruction, ``ti.min`` three.
"""

from typing import Any

import taichi as ti

LANES = 16

LanesArray = ti.types.ndarray(dtype=ti.types.vector(LANES, ti.f32), ndim=1)  # torch (n, LANES), f32 or f64
IntLanesArray = ti.types.ndarray(dtype=ti.types.vector(LANES, ti.i32), ndim=1)  # torch (n, LANES) int32


def whole_vectors(function: Any) -> Any:
    """Decorates a kernel whose vectors a CPU has as they are."""
    kernel = ti.kernel(function)
    kernel.whole_vectors = True
    return kernel


@ti.func
def sum_of_lanes(values):
    """The sum, added in halves."""
    four = sum_of_halves(sum_of_halves(values))
    return (four[0] + four[2]) + (four[1] + four[3])


@ti.func
def sum_of_halves(values):
    half = ti.static(values.n // 2)
    low = ti.Vector([values[i] for i in ti.static(range(half))])
    high = ti.Vector([values[half + i] for i in ti.static(range(half))])
    return low + high


@ti.func
def greatest_lane(values):
    greatest = values[0]
    for i in ti.static(range(1, LANES)):
        greatest = ti.max(greatest, values[i])
    return greatest


@ti.func
def exp_of_eighths(t, exact: ti.template()):
    """exp(8 t) for t of at most 0.

    Unless ``exact``, what lies below -0.7 is taken for about that, and relative errors reach 2e-6: it is the 8th power
    of a polynomial, whose terms are added in pairs, as a core waits longer for one result than it takes to compute
    several.
    """
    out = t
    if ti.static(exact):
        out = ti.Vector([ti.exp(8 * t[i]) for i in ti.static(range(LANES))])
    else:
        t = ti.select(t > -0.7, t, -0.7)
        t2 = t * t
        low = (t * 9.999997151679856e-1 + 1.0) + (t * 1.666176777025925e-1 + 4.99993957660696e-1) * t2
        high = (t * 7.937275942307614e-3 + 4.147426841338153e-2) + t2 * 9.687848908929179e-4
        p = low + high * (t2 * t2)
        p = p * p
        p = p * p
        out = p * p
    return out
