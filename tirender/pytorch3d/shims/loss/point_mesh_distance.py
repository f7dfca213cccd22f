"""The distances between points and triangles or segments, as functions with ``apply``."""

from __future__ import annotations

from tirender.loss.point_mesh_distance import (
    MIN_TRIANGLE_AREA,
    edge_point_distance,
    face_point_distance,
    point_edge_distance,
    point_face_distance,
)

_DEFAULT_MIN_TRIANGLE_AREA = MIN_TRIANGLE_AREA


class _PointFaceDistance:
    """From each point to the nearest triangle."""

    apply = staticmethod(point_face_distance)


class _FacePointDistance:
    """From each triangle to the nearest point."""

    apply = staticmethod(face_point_distance)


class _PointEdgeDistance:
    """From each point to the nearest segment."""

    apply = staticmethod(point_edge_distance)


class _EdgePointDistance:
    """From each segment to the nearest point."""

    apply = staticmethod(edge_point_distance)
