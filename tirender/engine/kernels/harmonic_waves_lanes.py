"""Sines and cosines of coordinates at frequencies that double, for a CPU: 64 points are one vector.

Phases are counted in turns, in fixed point, see ``harmonic_phases.py``. An eighth of a turn to both sides of the
nearest quarter is left for the polynomials.
"""

import taichi as ti

from tirender.engine.kernels.harmonic_phases import TURN, WORD, next_word, product_of
from tirender.engine.kernels.lanes import whole_vectors
from tirender.engine.kernels.types import F32Array2D, I32Array, I64Array
from tirender.engine.kernels.wide_lanes import SLOTS, TASKS, WIDTH, IntWideArray, WideArray, write_wide

MAX_WORDS = 5  # for 128 frequencies, and one behind them


@whole_vectors
def harmonic_waves(
    n: ti.i32,  # frequencies
    half: ti.template(),  # whether waves are bfloat16
    lowest: F32Array2D,  # (coordinates, points) finite, radians
    two_over_pi: I64Array,  # as for harmonic_phases
    words: I32Array,  # (TASKS * halves * MAX_WORDS * WIDTH,) scratch memory
    word_vectors: IntWideArray,  # the same memory
    floats: WideArray,  # (TASKS * SLOTS,) scratch memory
    ints: IntWideArray,  # the same memory
    waves: WideArray,  # (2 * coordinates * n, points) the sines of each coordinate by frequency, then the cosines
):
    halves = ti.static(2 if half else 1)
    ti.loop_config(block_dim=1)
    for task in range(TASKS):
        n_coordinates, n_blocks, at = lowest.shape[0], lowest.shape[1] // (WIDTH * halves), task * SLOTS
        n_words, first = (n + WORD - 1) // WORD, task * halves * MAX_WORDS
        for block in range(task * n_blocks // TASKS, (task + 1) * n_blocks // TASKS):
            for d in range(n_coordinates):
                for i in range(WIDTH * halves):
                    product = ti.static(product_of(lowest[d, block * WIDTH * halves + i]))
                    carry = ti.u64(0)
                    for back in range(n_words + 2):
                        j = n_words + 1 - back
                        word, carry_ = next_word(product, two_over_pi, j, carry)
                        carry = carry_
                        if j <= n_words:
                            vector = first + i % halves * MAX_WORDS + j
                            words[vector * WIDTH + i // halves] = ti.cast(word, ti.i32)
                for k in range(n):
                    pairs = [
                        sine_and_cosine(word_vectors, first + h * MAX_WORDS + k // WORD, k % WORD)
                        for h in ti.static(range(halves))
                    ]
                    for wave in ti.static(range(2)):
                        row = (wave * n_coordinates + d) * n + k
                        parts = [pairs[h][wave] for h in ti.static(range(halves))]
                        write_wide(waves, row * n_blocks + block, parts, half, floats, ints, at)


@ti.func
def sine_and_cosine(words: ti.template(), index, digit):
    """Of the turns whose 32 bits begin at a digit of a word."""
    rest = (words[index + 1] >> 1 & 0x7FFFFFFF) >> (WORD - 1 - digit)
    turns = words[index] << digit | rest
    quarter = turns + (1 << 29) >> 30
    x = ((turns - (quarter << 30)) + 0.0) * TURN
    xx = x * x
    sine = ((xx * -1.9515295891e-4 + 8.3321608736e-3) * xx - 1.6666654611e-1) * (xx * x) + x
    cosine = (xx * 2.443315711809948e-5 - 1.388731625493765e-3) * xx + 4.166664568298827e-2
    cosine = cosine * (xx * xx) + (1.0 - xx * 0.5)
    is_odd = (quarter & 1) == 1
    return [
        ti.select(is_odd, cosine, sine) * (1 - (quarter & 2)),
        ti.select(is_odd, sine, cosine) * (1 - (quarter + 1 & 2)),
    ]
