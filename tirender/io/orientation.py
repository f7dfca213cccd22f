"""Which way up the content of a file stands, and which way it faces."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tirender.checks import fail

Vector = tuple[float, float, float]

Z_UP_SUFFIXES = (".stl", ".3mf")  # files for printers
_NUMBERS = r" ([-+.\deE]{1,30})" * 3
_COMMENT = re.compile(rf"tirender: up{_NUMBERS}, front{_NUMBERS}".encode())
_COMMENT_BYTES = 1 << 12  # of a file's beginning, where a comment is looked for


@dataclass(frozen=True)
class Orientation:
    """How an object stands in the coordinates of its file; by default as glTF has it.

    Attributes:
        up: unit vector from its feet to its head.
        front: unit vector, perpendicular to ``up``, from its middle to who looks it in the face.
    """

    up: Vector = (0.0, 1.0, 0.0)
    front: Vector = (0.0, 0.0, 1.0)


def oriented(up: str | Sequence[float], front: Sequence[float] | None = None) -> Orientation:
    """The orientation with this axis up.

    Args:
        up: x, y, z, -x, -y or -z; or a vector of any length above 0.
        front: where its front is, about; None, or a front along ``up``: what turns from +Z as +Y is turned ``up``.
    Raises:
        ValueError: not an axis, or a vector that is not finite or of length 0.
    """
    if isinstance(up, str):
        if up.removeprefix("-") not in ("x", "y", "z"):
            fail("up", "x, y, z, -x, -y or -z", repr(up))
        sign = -1.0 if up.startswith("-") else 1.0
        up = [sign * float(axis == up[-1]) for axis in "xyz"]
    u = _unit("up", up)
    if front is not None:
        along = sum(a * b for a, b in zip(_unit("front", front), u))
        if abs(along) < 0.99:
            return Orientation(u, _unit("front", [a - along * b for a, b in zip(_unit("front", front), u)]))
    # z, turned as the shortest way from y to up turns
    share = u[2] / (1 + u[1]) if u[1] > -1 + 1e-6 else 0.0
    return Orientation(u, _unit("front", (-share * u[0], -share * (1 + u[1]), 1 - share * u[2])))


def orientation_of_format(suffix: str) -> Orientation:
    """How files of an ending stand: with +Z up and the front at -Y for .stl and .3mf; else +Y up, the front at +Z."""
    return oriented("z") if suffix.lower() in Z_UP_SUFFIXES else Orientation()


def to_comment(orientation: Orientation) -> str:
    """A comment for a file, which :func:`from_comment` finds."""
    up, front = (" ".join(f"{x:.6g}" for x in axis) for axis in (orientation.up, orientation.front))
    return f"tirender: up {up}, front {front}"


def from_comment(data: bytes) -> Orientation | None:
    """The orientation that a comment near the beginning of a file names; None where there is no such comment."""
    found = _COMMENT.search(data[:_COMMENT_BYTES])
    if found is None:
        return None
    try:
        numbers = [float(number) for number in found.groups()]
        return oriented(numbers[:3], numbers[3:])
    except ValueError:  # a damaged comment is a comment
        return None


def _unit(name: str, vector: Sequence[float]) -> Vector:
    try:
        numbers = [float(value) for value in vector]
    except (TypeError, ValueError):
        numbers = []
    length = math.hypot(*numbers)
    if len(numbers) != 3 or not 0 < length < math.inf:
        fail(name, "three finite numbers that are not all 0", repr(vector))
    x, y, z = (value / length + 0.0 for value in numbers)
    return x, y, z
