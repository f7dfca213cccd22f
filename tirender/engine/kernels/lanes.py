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

from tirender.engine.kernels.scalars import cast_like

LANES = 16
EXP_SCALE, EXP_SHIFT = 0.06679546905106895, 0.5005953496174356  # of what exp_of_scaled takes
LEAST = 87.0  # exp(-87) is about the least number that is not denormal

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
def product_of_lanes(values):
    """The product, of the lanes in turn."""
    product = values[0]
    for i in ti.static(range(1, LANES)):
        product *= values[i]
    return product


@ti.func
def lane_numbers(like):
    """0, 1, 2, ... in the float type of ``like``."""
    return ti.Vector([cast_like(i, like) for i in ti.static(range(LANES))])


@ti.func
def read_lanes(values: ti.template(), rows: ti.template(), column: ti.template()):
    """One column of as many rows as there are lanes."""
    return ti.Vector([values[rows[lane], column] for lane in ti.static(range(LANES))])


@ti.func
def greater(a, b):
    """The greater one, b where a is NaN."""
    return ti.select(a > b, a, b)


@ti.func
def less(a, b):
    """The lesser one, b where a is NaN."""
    return ti.select(a < b, a, b)


@ti.func
def dot(a, b):
    """The products of vectors in space, each a list of three coordinates."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@ti.func
def log_of_lanes(x):
    return ti.Vector([ti.log(x[lane]) for lane in ti.static(range(LANES))])


@ti.func
def exp_of_lanes(x, exact: ti.template()):
    """exp(x).

    Unless ``exact``, relative errors reach 3e-7, and it is 0 below -87 and infinite above 87. The whole part of the
    exponent in base 2 is taken out (by Cody and Waite), and multiplied bit by bit to the series of the rest.
    """
    out = x
    if ti.static(exact):
        out = ti.Vector([ti.exp(x[i]) for i in ti.static(range(LANES))])
    else:
        t = ti.select(x > 0.0, 0.0 - x, x)
        whole, more = exp_parts(ti.select(t < -LEAST, -LEAST, t))
        out = more + 1.0
        for bit in ti.static([64, 32, 16, 8, 4, 2, 1]):
            has_bit = whole < 0.5 - bit
            out = ti.select(has_bit, out * 0.5**bit, out)
            whole = ti.select(has_bit, whole + bit, whole)
        out = ti.select(t < -LEAST, 0.0, out)
        out = ti.select(x > 0.0, 1.0 / out, out)
    return out


@ti.func
def exp_parts(x):
    """Whole n, and m, by which exp(x) is 2^n (1 + m), for x from -LEAST to 0 (Cody and Waite)."""
    whole = ti.floor(x * 1.44269504 + 0.5)
    rest = (x - whole * 0.693359375) - whole * -2.12194440e-4
    series = ((rest * 1.9875691500e-4 + 1.3981999507e-3) * rest + 8.3334519073e-3) * rest + 4.1665795894e-2
    series = (series * rest + 1.6666665459e-1) * rest + 5.0000001201e-1
    return whole, series * (rest * rest) + rest


@ti.func
def exp_of_scaled(s, exact: ti.template()):
    """exp((s - EXP_SHIFT) / EXP_SCALE) from exp(-5.6) to 1; any number for others, unless ``exact``.

    Relative errors reach 2e-6, unless exact. It is the 4th power of a polynomial of degree 7, whose roots are one
    number and three pairs: so it is the product of a sum and of three squares plus numbers. Scale and shift leave
    nothing to do for the first square.
    """
    out = s
    if ti.static(exact):
        out = ti.Vector([ti.exp((s[i] - EXP_SHIFT) / EXP_SCALE) for i in ti.static(range(LANES))])
    else:
        v, w = s - 0.6880457335425614, s + 0.33527152745510436
        p = (s * s + 0.6814291619471878) * (v * v + 1.2586123913127767)
        p = p * ((w * w + 0.18394038304679022) * (s + 0.4390228009975873))
        p = p * p
        out = p * p
    return out
