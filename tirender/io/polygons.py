"""Polygons to triangles: fans where a fan is right, ear clipping where it is not.

mapbox-earcut was judged and not used: it drops repeated corners and those on a straight line, so that a neighbour which
keeps them is left with a gap; here every corner is part of a triangle, and n corners make n - 2 of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

MAX_CLIPPED = 1 << 14
"""Corners of the largest polygon whose ears are clipped, which takes quadratic time; a larger one stays a fan."""

_FLAT = 1e-6
"""What a fan's triangle may turn against its polygon, as a part of the polygon's area."""
_FEW = 48


def triangulate(
    counts: np.ndarray, corners: np.ndarray, verts: np.ndarray, by_corner: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Cut polygons into triangles.

    A polygon that the fan around its first corner covers exactly is cut so. Any other (a concave one) is turned into
    the plane of its mean normal (Newell's) and its ears are
    clipped. What has no area, or crosses itself, has no right answer and gets n - 2 triangles as well.

    Args:
        counts: (P,) corners of each polygon, 3 or more.
        corners: (C,) int64 vertices of all corners, one polygon after the other.
        verts: (V, 3) float positions.
        by_corner: with P polygons of one size above 3, list the first triangle of each, then the second of each, as
            PyTorch3D's readers of PLY and OFF do; otherwise all of one polygon follow each other.
    Returns:
        (T, 3) int64 into ``corners``, and (T,) which polygon each triangle is part of.
    """
    if not len(counts) or counts.max() == 3:
        return np.arange(3 * len(counts)).reshape(-1, 3), np.arange(len(counts))
    triangles, polygon = fan_triangles(counts)
    ends = np.cumsum(counts - 2)
    wrong, planes = _wrong_fans(counts, corners, verts)
    for i, plane in zip(wrong, planes):
        n, first = int(counts[i]), int(triangles[ends[i] - 1, 0])
        if n <= MAX_CLIPPED:
            points = verts[corners[first : first + n]].astype(np.float64)
            x, y = plane @ (points - points[0]).T
            triangles[ends[i] - n + 2 : ends[i]] = first + np.array(_clip_ears(x, y))
    if by_corner and counts.min() == counts.max():
        order = np.arange(len(triangles)).reshape(len(counts), -1).T.reshape(-1)
        return triangles[order], polygon[order]
    return triangles, polygon


def fan_triangles(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut polygons into fans around their first corner; arguments and results as for :func:`triangulate`."""
    triangles = counts - 2
    polygon = np.repeat(np.arange(len(counts)), triangles)
    first = (np.cumsum(counts) - counts)[polygon]
    step = np.arange(len(polygon)) - (np.cumsum(triangles) - triangles)[polygon]
    return np.stack([first, first + step + 1, first + step + 2], axis=1), polygon


def _wrong_fans(counts: np.ndarray, corners: np.ndarray, verts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the polygons of which a fan's triangle faces away from the whole; the others are covered exactly.

    Returns:
        (W,) which, and (W, 2, 3) the two axes of each one's plane, seen from which it runs counter-clockwise.
    """
    first = np.cumsum(counts) - counts
    points = verts.T.astype(np.float64)[:, corners]
    points -= np.repeat(points[:, first], counts, axis=1)
    x, y, z = points[0], points[1], points[2]
    # Of each corner and the next: the fan's triangle, or nothing where one of them is a first corner, which is 0.
    cross = np.zeros_like(points)
    cross[0, :-1] = y[:-1] * z[1:] - z[:-1] * y[1:]
    cross[1, :-1] = z[:-1] * x[1:] - x[:-1] * z[1:]
    cross[2, :-1] = x[:-1] * y[1:] - y[:-1] * x[1:]
    newell: Any = np.add.reduceat(cross, first, axis=1)
    facing = (cross * np.repeat(newell, counts, axis=1)).sum(axis=0)
    is_wrong = np.minimum.reduceat(facing, first) < -_FLAT * (newell**2).sum(axis=0)
    normal = newell[:, is_wrong].T
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    right = np.cross(np.eye(3)[np.abs(normal).argmin(axis=1)], normal)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    return np.flatnonzero(is_wrong), np.stack([right, np.cross(normal, right)], axis=1)


def _clip_ears(xs: np.ndarray, ys: np.ndarray) -> list[tuple[int, int, int]]:
    """Cut a counter-clockwise polygon of n corners into n - 2 triangles.

    Ears are corners that turn left and whose triangle holds no other corner
    (https://www.geometrictools.com/Documentation/TriangulationByEarClipping.pdf). Where a polygon touches or crosses
    itself so that none is left, the demands are dropped one by one: corners on the triangle's edges are let in,
    straight corners are cut, any corner is cut.
    """
    x, y, n = xs.tolist(), ys.tolist(), len(xs)
    before, after = [n - 1, *range(n - 1)], [*range(1, n), 0]

    def turn_at(i: int) -> float:
        """Twice the area of the corner's triangle."""
        a, c = before[i], after[i]
        return (x[i] - x[a]) * (y[c] - y[a]) - (x[c] - x[a]) * (y[i] - y[a])

    turns = [turn_at(i) for i in range(n)]
    flat = 1e-12 * abs(sum(x[i] * y[after[i]] - x[after[i]] * y[i] for i in range(n)))
    blocking = {i for i in range(n) if turns[i] <= flat}  # only such corners can be the first to enter an ear

    def is_blocked(a: int, b: int, c: int, least: float) -> bool:
        corners = (x[a], y[a], x[b], y[b], x[c], y[c])
        if len(blocking) > _FEW:
            others = np.fromiter(blocking, np.int64, len(blocking))
            return bool(_inside(xs[others], ys[others], corners, least).any())
        return any(_inside(x[q], y[q], corners, least) for q in blocking)

    triangles = []
    i, tried, demands, left = 0, 0, 3, n
    while left > 3:
        a, c = before[i], after[i]
        if demands >= 2:
            is_ear = turns[i] > flat and not is_blocked(a, i, c, 0.0 if demands == 3 else flat)
        else:
            is_ear = demands == 0 or abs(turns[i]) <= flat
        if not is_ear:
            i, tried = c, tried + 1
            if tried == left:
                demands, tried = demands - 1, 0
            continue
        triangles.append((a, i, c))
        before[c], after[a] = a, c
        blocking.discard(i)
        for k in (a, c):
            turns[k] = turn_at(k)
            (blocking.add if turns[k] <= flat else blocking.discard)(k)
        i, tried, demands, left = after[c], 0, 3, left - 1
    triangles.append((before[i], i, after[i]))
    return triangles


def _inside(px: Any, py: Any, corners: tuple[float, ...], least: float) -> Any:
    """Whether points lie in a counter-clockwise triangle (x and y of three corners), and not on one of its corners."""
    ax, ay, bx, by, cx, cy = corners
    return (
        ((bx - ax) * (py - ay) - (px - ax) * (by - ay) >= least)
        & ((cx - bx) * (py - by) - (px - bx) * (cy - by) >= least)
        & ((ax - cx) * (py - cy) - (px - cx) * (ay - cy) >= least)
        & ((px != ax) | (py != ay))
        & ((px != bx) | (py != by))
        & ((px != cx) | (py != cy))
    )
