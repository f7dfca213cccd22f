"""Distances between point clouds and the faces or edges of meshes."""

from __future__ import annotations

import torch

from tirender.checks import FLOATS, INTEGERS, check_kind, check_tensor, fail
from tirender.engine.point_mesh import point_triangle_distances
from tirender.structures import Meshes, Pointclouds

MIN_TRIANGLE_AREA = 5e-3


def point_mesh_face_distance(
    meshes: Meshes, pcls: Pointclouds, min_triangle_area: float = MIN_TRIANGLE_AREA
) -> torch.Tensor:
    """The mean squared distance from points to the nearest face, plus that from faces to the nearest point.

    Args:
        meshes: a batch of N meshes.
        pcls: a batch of N clouds, of the same dtype and device.
        min_triangle_area: the least area of a face, in squared units; only the edges of a smaller face count.
    Returns:
        a scalar. Both means are over each item, then over the batch; an item without points or without faces adds 0.
        Differentiable in vertices and points, finite for degenerate faces; the choice of nearest pairs is held fixed.
    Raises:
        ValueError: if the batches differ in size, dtype or device.
    """
    check_kind("meshes", meshes, Meshes)
    check_kind("pcls", pcls, Pointclouds)
    _check_batches(meshes, pcls)
    topology = meshes.topology
    faces = topology.gather_corners(meshes.verts_packed()).transpose(0, 1)
    return _mean_both_ways(
        pcls, faces, topology.first_face, topology.face_to_mesh, topology.num_faces_per_mesh, min_triangle_area
    )


def point_mesh_edge_distance(meshes: Meshes, pcls: Pointclouds) -> torch.Tensor:
    """The mean squared distance from points to the nearest edge, plus that from edges to the nearest point.

    Arguments, result and errors are those of ``point_mesh_face_distance``.
    """
    check_kind("meshes", meshes, Meshes)
    check_kind("pcls", pcls, Pointclouds)
    _check_batches(meshes, pcls)
    topology = meshes.topology
    edges = topology.gather_ends(meshes.verts_packed()).transpose(0, 1)
    return _mean_both_ways(pcls, edges, topology.first_edge, topology.edge_to_mesh, topology.num_edges_per_mesh, 0.0)


def point_face_distance(
    points: torch.Tensor,
    points_first_idx: torch.Tensor,
    tris: torch.Tensor,
    tris_first_idx: torch.Tensor,
    max_points: int,
    min_triangle_area: float = MIN_TRIANGLE_AREA,
) -> torch.Tensor:
    """The squared distance from each point to the nearest triangle of its item of the batch.

    Args:
        points: (P, 3) float32 or float64, packed.
        points_first_idx: (N,) integers, the first point of each item.
        tris: (T, 3, 3) corners, packed.
        tris_first_idx: (N,) integers, the first triangle of each item.
        max_points: ignored.
        min_triangle_area: the least area of a triangle; only the edges of a smaller triangle count.
    Returns:
        (P,) squared distances; differentiable in points and corners. The choice of nearest pairs is held fixed.
    Raises:
        ValueError: if shapes, dtypes or devices do not fit.
    """
    check_packed(points, points_first_idx, "tris", tris, tris_first_idx, 3)
    return point_triangle_distances(
        points, points_first_idx, tris, tris_first_idx, min_triangle_area, from_triangles=False
    )[0]


def face_point_distance(
    points: torch.Tensor,
    points_first_idx: torch.Tensor,
    tris: torch.Tensor,
    tris_first_idx: torch.Tensor,
    max_tris: int,
    min_triangle_area: float = MIN_TRIANGLE_AREA,
) -> torch.Tensor:
    """The squared distance (T,) from each triangle to the nearest point; arguments as for ``point_face_distance``."""
    check_packed(points, points_first_idx, "tris", tris, tris_first_idx, 3)
    return point_triangle_distances(
        points, points_first_idx, tris, tris_first_idx, min_triangle_area, from_points=False
    )[0]


def point_edge_distance(
    points: torch.Tensor,
    points_first_idx: torch.Tensor,
    segms: torch.Tensor,
    segms_first_idx: torch.Tensor,
    max_points: int,
) -> torch.Tensor:
    """The squared distance (P,) from each point to the nearest line segment (S, 2, 3); see ``point_face_distance``."""
    check_packed(points, points_first_idx, "segms", segms, segms_first_idx, 2)
    return point_triangle_distances(points, points_first_idx, segms, segms_first_idx, 0.0, from_triangles=False)[0]


def edge_point_distance(
    points: torch.Tensor,
    points_first_idx: torch.Tensor,
    segms: torch.Tensor,
    segms_first_idx: torch.Tensor,
    max_segms: int,
) -> torch.Tensor:
    """The squared distance (S,) from each line segment (S, 2, 3) to the nearest point; see ``point_face_distance``."""
    check_packed(points, points_first_idx, "segms", segms, segms_first_idx, 2)
    return point_triangle_distances(points, points_first_idx, segms, segms_first_idx, 0.0, from_points=False)[0]


def _mean_both_ways(
    pcls: Pointclouds,
    elements: torch.Tensor,
    elements_first: torch.Tensor,
    element_to_mesh: torch.Tensor,
    num_elements: torch.Tensor,
    min_area: float,
) -> torch.Tensor:
    points, num_points = pcls.points_packed(), pcls.num_points_per_cloud()
    to_elements, to_points = point_triangle_distances(
        points, pcls.cloud_to_packed_first_idx(), elements, elements_first, min_area
    )
    shares = [
        (dists / counts.clamp(min=1).index_select(0, owner)).sum()
        for dists, counts, owner in (
            (to_elements, num_points, pcls.packed_to_cloud_idx()),
            (to_points, num_elements, element_to_mesh),
        )
    ]
    return (shares[0] + shares[1]) / max(len(pcls), 1)


def _check_batches(meshes: Meshes, pcls: Pointclouds) -> None:
    if len(meshes) != len(pcls):
        fail("pcls", f"as many clouds as meshes, {len(meshes)}", len(pcls))
    check_tensor("pcls", pcls.points_packed(), like=meshes.verts_packed())


def check_packed(
    points: torch.Tensor,
    points_first: torch.Tensor,
    name: str,
    elements: torch.Tensor,
    first: torch.Tensor,
    corners: int,
) -> None:
    check_tensor("points", points, ("P", 3), FLOATS)
    check_tensor(name, elements, ("n", corners, 3), like=points)
    for label, starts, total in (
        ("points_first_idx", points_first, len(points)),
        (f"{name}_first_idx", first, len(elements)),
    ):
        check_tensor(label, starts, (len(points_first),), INTEGERS)
        bounds = [*starts.tolist(), total]
        if bounds[0] != 0 or any(a > b for a, b in zip(bounds, bounds[1:])):
            fail(label, f"indices ascending from 0 to at most {total}", bounds[:-1])
