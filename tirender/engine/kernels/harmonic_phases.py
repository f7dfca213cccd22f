"""Phases of coordinates at frequencies that double, accurate at every frequency.

A phase is counted in turns, in fixed point: the 24 bits of a float32 times the bits of 1 / (2 pi) (Payne and Hanek,
"Radian reduction for trigonometric functions", 1983). Whole turns are dropped, and doubling is a shift.
"""

import math

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
        bits = ti.bit_cast(lowest[i], ti.u32)
        exponent = ti.cast(bits >> 23 & 255, ti.i32)
        mantissa = ti.cast(bits & ((1 << 23) - 1), ti.u64)
        if exponent > 0:
            mantissa += 1 << 23
        # times 1 / (2 pi), which is 2 / pi shifted by two bits
        first = ti.max(exponent, 1) - 150 - 2 + WORD * LEADING_ZEROS
        word, digit = first // WORD, ti.cast(first % WORD, ti.u64)
        negative = ti.select(lowest[i] < 0, ti.u64(MASK), ti.u64(0))  # inverting all bits negates
        n_words = (phases.shape[1] + WORD - 1) // WORD
        below, carry = ti.u64(0), ti.u64(0)
        for back in range(n_words + 2):
            j = n_words + 1 - back
            pair = ti.cast(two_over_pi[word + j], ti.u64) << WORD | ti.cast(two_over_pi[word + j + 1], ti.u64)
            product = (pair >> (WORD - digit) & ti.u64(MASK)) * mantissa + carry
            carry = product >> WORD
            place = product & ti.u64(MASK) ^ negative
            if j < n_words:
                pair = place << WORD | below
                for k in range(ti.min(WORD, phases.shape[1] - WORD * j)):
                    # the highest 32 bits, read as signed, are the distance from the nearest whole turn
                    turns = ti.cast(pair << k >> WORD, ti.i32)
                    phases[i, WORD * j + k] = ti.cast(turns, ti.f32) * TURN
            below = place
