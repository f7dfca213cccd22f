"""Where a cell of a cube lies along the Hilbert curve."""

import taichi as ti


@ti.func
def hilbert_code(cell, bits: ti.i32):
    """The place of a cell with coordinates in [0, 2**bits), bits <= 20.

    After Skilling, "Programming the Hilbert curve", 2004.
    """
    x = cell
    for k in range(bits - 1):  # without branches, which would be random
        b = bits - 1 - k
        below = (1 << b) - 1
        for a in ti.static(range(3)):
            bit = (x[a] >> b) & 1
            swap = (x[0] ^ x[a]) & below & (bit - 1)
            x[0] ^= swap ^ (below & -bit)
            x[a] ^= swap
    x[1] ^= x[0]
    x[2] ^= x[1]
    t = 0
    for b in range(1, bits):
        t ^= ((1 << b) - 1) & -((x[2] >> b) & 1)
    return interleave(x ^ t)


@ti.func
def interleave(x):
    """The bits of three numbers below 2**20 in turn, those of the first highest."""
    low = (dilate(x[0] & 1023) << 2) | (dilate(x[1] & 1023) << 1) | dilate(x[2] & 1023)
    high = (dilate(x[0] >> 10) << 2) | (dilate(x[1] >> 10) << 1) | dilate(x[2] >> 10)
    return (ti.cast(high, ti.i64) << 30) | ti.cast(low, ti.i64)


@ti.func
def dilate(x):
    """The ten bits of x, three places apart."""
    x = (x | (x << 16)) & 0x30000FF
    x = (x | (x << 8)) & 0x300F00F
    x = (x | (x << 4)) & 0x30C30C3
    return (x | (x << 2)) & 0x9249249
