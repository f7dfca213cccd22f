"""The triangles that separate the low corners of a cube from the high ones, for all 256 cases.

The table is derived, not listed. On each side of the cube, lines from edge to edge separate the low corners from the
high ones. These lines join to loops around the cube, and each loop is triangulated. The lines on a side depend only on
its four corners, so neighbouring cubes fit together.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import product

import torch

# Corner c has the coordinates x = c & 1, y = c >> 1 & 1, z = c >> 2. An edge is its axis and its lower corner; edges
# along x come first, then those along y and z.
EDGES = tuple((axis, corner) for axis in range(3) for corner in range(8) if not corner >> axis & 1)

Loop = list[int]  # indices into EDGES


@lru_cache(maxsize=1)
def triangle_table() -> tuple[torch.Tensor, torch.Tensor]:
    """The triangles of all cases, concatenated, and the first triangle of each case.

    Bit c of a case is set if corner c is low. Triangles face the high corners.

    Returns:
        triangles: (T, 3) int64, indices into ``EDGES``.
        offsets: (257,) int64.
    """
    triangles: list[tuple[int, int, int]] = []
    offsets = [0]
    for case in range(256):
        for loop in _loops(case):
            triangles += _triangulate(loop)
        offsets.append(len(triangles))
    return torch.tensor(triangles), torch.tensor(offsets)


def _loops(case: int) -> list[Loop]:
    """The loops of edges that separate low from high corners."""
    following: dict[int, int] = {}
    for side in _sides():
        following.update(_outlines(side, case))
    loops = []
    while following:
        loop = [min(following)]
        while (edge := following.pop(loop[-1])) != loop[0]:
            loop.append(edge)
        loops.append(loop)
    return loops


def _sides() -> Iterator[tuple[int, ...]]:
    """The corners of each side, counter-clockwise as seen from outside."""
    for axis, upper in product(range(3), (0, 1)):
        u, v = 1 << (axis + 1) % 3, 1 << (axis + 2) % 3
        base = upper << axis
        ring = (base, base + u, base + u + v, base + v)
        yield ring if upper else ring[::-1]


def _outlines(side: tuple[int, ...], case: int) -> dict[int, int]:
    """Maps the edge before each run of low corners around a side to the edge after it; every run has its own line."""
    is_low = [bool(case >> corner & 1) for corner in side]
    outlines = {}
    for i in range(4):
        if is_low[i] and not is_low[i - 1]:
            length = next(n for n in range(1, 4) if not is_low[(i + n) % 4])
            outlines[_edge(side[i - 1], side[i])] = _edge(side[(i + length - 1) % 4], side[(i + length) % 4])
    return outlines


def _edge(a: int, b: int) -> int:
    return EDGES.index(((a ^ b).bit_length() - 1, min(a, b)))


def _triangulate(loop: Loop) -> list[tuple[int, int, int]]:
    """Triangulate a loop without diagonals on a side of the cube, as the neighbouring cube may have the same ones."""
    if len(loop) == 3:
        return [(loop[0], loop[1], loop[2])]
    rings = (loop[start:] + loop[:start] for start in range(len(loop)))
    first, second, third, *others = next(ring for ring in rings if not _on_one_side(ring[0], ring[2]))
    return [(first, second, third), *_triangulate([first, third, *others])]


def _on_one_side(a: int, b: int) -> bool:
    (axis_a, corner_a), (axis_b, corner_b) = EDGES[a], EDGES[b]
    corners = (corner_a, corner_a | 1 << axis_a, corner_b, corner_b | 1 << axis_b)
    return any(len({corner >> axis & 1 for corner in corners}) == 1 for axis in range(3))
