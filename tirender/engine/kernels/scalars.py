"""Small functions of numbers that several kernels share."""

import taichi as ti


@ti.func
def cast_like(value, like):
    """The value in the float type of ``like``, whatever that holds (0 * NaN would be NaN)."""
    return ti.select(False, like, value)


@ti.func
def sigmoid(x):
    """Logistic function without overflow."""
    e = ti.exp(-ti.abs(x))
    return (1 if x >= 0 else e) / (1 + e)


@ti.func
def comes_before(key, index, other_key, other_index):
    """Whether a pair sorts before another: by key, equal keys by index."""
    return key < other_key or (key == other_key and index < other_index)
