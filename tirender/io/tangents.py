"""Tangents of vertices, which normal maps are laid along."""

from __future__ import annotations

import numpy as np


def orientations(uvs: np.ndarray) -> np.ndarray:
    """(F,) 1 where texture coordinates (F, 3, 2) turn as their face does, -1 where they are mirrored."""
    first, second = (uvs[:, k].astype(np.float64) - uvs[:, 0] for k in (1, 2))
    return np.where(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0] < 0.0, -1, 1)


def tangents(verts: np.ndarray, normals: np.ndarray, uvs: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return the directions in which u grows, as glTF has them.

    A tangent is the mean over the faces of a vertex, weighted by their angles there, made perpendicular to the normal.
    Vertices may be shared by faces of one :func:`orientations` only.

    Args:
        verts, normals: (V, 3).
        uvs: (V, 2), v pointing up.
        faces: (F, 3).
    Returns:
        (V, 4) float32: a unit vector, and the sign with which normal x tangent points along v.
    """
    p, t = verts.astype(np.float64)[faces], uvs.astype(np.float64)[faces]
    sides, turns = p[:, 1:] - p[:, :1], t[:, 1:] - t[:, :1]
    determinant = turns[:, 0, 0] * turns[:, 1, 1] - turns[:, 0, 1] * turns[:, 1, 0]
    sign = np.where(determinant < 0.0, -1.0, 1.0)[:, None]
    along_u = sign * (sides[:, 0] * turns[:, 1, 1:] - sides[:, 1] * turns[:, 0, 1:])
    along_v = sign * (sides[:, 1] * turns[:, 0, :1] - sides[:, 0] * turns[:, 1, :1])
    sums = np.zeros((2, len(verts), 3))
    for corner in range(3):
        there = _unit(p[:, (corner + 1) % 3] - p[:, corner]), _unit(p[:, (corner + 2) % 3] - p[:, corner])
        angle = np.arccos((there[0] * there[1]).sum(1).clip(-1.0, 1.0))[:, None]
        for total, direction in zip(sums, (along_u, along_v)):
            for axis in range(3):
                weights = (angle * _unit(direction))[:, axis]
                total[:, axis] += np.bincount(faces[:, corner], weights, len(verts))
    n = normals.astype(np.float64)
    tangent = sums[0] - (sums[0] * n).sum(1, keepdims=True) * n
    is_lost = (np.linalg.norm(tangent, axis=1) < 1e-9)[:, None]  # where u does not change along the surface
    side = np.eye(3)[np.abs(n).argmin(axis=1)]
    tangent = _unit(np.where(is_lost, side - (side * n).sum(1, keepdims=True) * n, tangent))
    handedness = np.where((np.cross(n, tangent) * sums[1]).sum(1) < 0.0, -1.0, 1.0)
    return np.concatenate([tangent, handedness[:, None]], axis=1).astype(np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(length > 0.0, length, 1.0)  # type: ignore[no-any-return]
