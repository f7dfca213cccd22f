"""Phases of coordinates at frequencies that double, accurate at every frequency.

A phase is counted in turns, in fixed point: the 24 bits of a float32 times the bits of 1 / (2 pi) (Payne and Hanek,
"Radian reduction for trigonometric functions", 1983). Whole turns are dropped, and doubling is a shift.
"""

import math
from typing import Any, NamedTuple

import taichi as ti

from tirender.engine.kernels.types import F32Array, F32Array2D, I64Array

WORD = 32
MASK = (1 << WORD) - 1
LEADING_ZEROS = 6  # words of 0 in front of the bits of 2 / pi, for the smallest coordinates
TURN = 2 * math.pi / (1 << WORD)


@ti.kernel
def harmonic_phases(
    lowest: F32Array,  # (coordinates,) finite, radians
    two_over_pi: I64Array,  # (words,) the bits of 2 / pi behind words of 0, 32 a word
    phases: F32Array2D,  # (coordinates, n)
):
    """The phases ``lowest`` times 2^k, minus the nearest whole turns."""
    for i in range(phases.shape[0]):
        n_words = (phases.shape[1] + WORD - 1) // WORD
        product = ti.static(product_of(lowest[i]))
        below, carry = ti.u64(0), ti.u64(0)
        for back in range(n_words + 2):
            j = n_words + 1 - back
            place, carry_ = next_word(product, two_over_pi, j, carry)
            carry = carry_
            if j < n_words:
                pair = place << WORD | below
                for k in range(ti.min(WORD, phases.shape[1] - WORD * j)):
                    # the highest 32 bits, read as signed, are the distance from the nearest whole turn
                    turns = ti.cast(pair << k >> WORD, ti.i32)
                    phases[i, WORD * j + k] = ti.cast(turns, ti.f32) * TURN
            below = place


class Product(NamedTuple):
    """A number in front of the bits of 1 / (2 pi).

    Attributes:
        mantissa: 24 bits.
        word, digit: the first bit by which it is multiplied.
        inverted: ones where the number is negative: inverting all bits negates.
    """

    mantissa: Any
    word: Any
    digit: Any
    inverted: Any


@ti.func
def product_of(x):
    bits = ti.bit_cast(x, ti.u32)
    exponent = ti.cast(bits >> 23 & 255, ti.i32)
    mantissa = ti.cast(bits & ((1 << 23) - 1), ti.u64)
    if exponent > 0:
        mantissa += 1 << 23
    # times 1 / (2 pi), which is 2 / pi shifted by two bits
    first = ti.max(exponent, 1) - 150 - 2 + WORD * LEADING_ZEROS
    inverted = ti.select(x < 0, ti.u64(MASK), ti.u64(0))
    return ti.static(Product(mantissa, first // WORD, ti.cast(first % WORD, ti.u64), inverted))


@ti.func
def next_word(product: ti.template(), two_over_pi: ti.template(), j, carry):
    """Word j of the turns, and what is carried to the word before it."""
    at = product.word + j
    pair = ti.cast(two_over_pi[at], ti.u64) << WORD | ti.cast(two_over_pi[at + 1], ti.u64)
    whole = (pair >> (WORD - product.digit) & ti.u64(MASK)) * product.mantissa + carry
    return whole & ti.u64(MASK) ^ product.inverted, whole >> WORD
