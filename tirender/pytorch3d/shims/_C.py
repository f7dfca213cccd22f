"""Of PyTorch3D's compiled functions, those that published code calls by itself: nearest pairs of points and faces.

Points are (P, 3), triangles (T, 3, 3) and segments (S, 2, 3), each packed, with the first index of each item (N,). The
forward functions return squared distances and the packed index of the nearest element, (P,) for the points or (T,) for
the others, without gradients. The backward functions take gradients of these distances and return those of the points
and of the corners, for given pairs.
"""

from __future__ import annotations

import torch

from tirender.checks import check_range, check_tensor
from tirender.engine.point_mesh import PairDistances, Pairs, Scene, nearest_pairs
from tirender.loss.point_mesh_distance import MIN_TRIANGLE_AREA, check_packed

Pair = tuple[torch.Tensor, torch.Tensor]


def point_face_dist_forward(
    points: torch.Tensor,
    points_first_idx: torch.Tensor,
    tris: torch.Tensor,
    tris_first_idx: torch.Tensor,
    max_points: int,
    min_triangle_area: float = MIN_TRIANGLE_AREA,
) -> Pair:
    """From each point to the nearest triangle; ``max_points`` is ignored."""
    return _nearest(points, points_first_idx, "tris", tris, tris_first_idx, min_triangle_area, from_points=True)


def face_point_dist_forward(
    points: torch.Tensor,
    points_first_idx: torch.Tensor,
    tris: torch.Tensor,
    tris_first_idx: torch.Tensor,
    max_tris: int,
    min_triangle_area: float = MIN_TRIANGLE_AREA,
) -> Pair:
    """From each triangle to the nearest point; ``max_tris`` is ignored."""
    return _nearest(points, points_first_idx, "tris", tris, tris_first_idx, min_triangle_area, from_points=False)


def point_edge_dist_forward(
    points: torch.Tensor,
    points_first_idx: torch.Tensor,
    segms: torch.Tensor,
    segms_first_idx: torch.Tensor,
    max_points: int,
) -> Pair:
    """From each point to the nearest segment; ``max_points`` is ignored."""
    return _nearest(points, points_first_idx, "segms", segms, segms_first_idx, 0.0, from_points=True)


def edge_point_dist_forward(
    points: torch.Tensor,
    points_first_idx: torch.Tensor,
    segms: torch.Tensor,
    segms_first_idx: torch.Tensor,
    max_segms: int,
) -> Pair:
    """From each segment to the nearest point; ``max_segms`` is ignored."""
    return _nearest(points, points_first_idx, "segms", segms, segms_first_idx, 0.0, from_points=False)


def point_face_dist_backward(
    points: torch.Tensor,
    tris: torch.Tensor,
    idxs: torch.Tensor,
    grad_dists: torch.Tensor,
    min_triangle_area: float = MIN_TRIANGLE_AREA,
) -> Pair:
    """Gradients of the points and the triangles, from those of the points' distances."""
    return _gradients(points, tris, idxs, grad_dists, min_triangle_area, from_points=True)


def face_point_dist_backward(
    points: torch.Tensor,
    tris: torch.Tensor,
    idxs: torch.Tensor,
    grad_dists: torch.Tensor,
    min_triangle_area: float = MIN_TRIANGLE_AREA,
) -> Pair:
    """Gradients of the points and the triangles, from those of the triangles' distances."""
    return _gradients(points, tris, idxs, grad_dists, min_triangle_area, from_points=False)


def point_edge_dist_backward(
    points: torch.Tensor, segms: torch.Tensor, idxs: torch.Tensor, grad_dists: torch.Tensor
) -> Pair:
    """Gradients of the points and the segments, from those of the points' distances."""
    return _gradients(points, segms, idxs, grad_dists, 0.0, from_points=True)


def edge_point_dist_backward(
    points: torch.Tensor, segms: torch.Tensor, idxs: torch.Tensor, grad_dists: torch.Tensor
) -> Pair:
    """Gradients of the points and the segments, from those of the segments' distances."""
    return _gradients(points, segms, idxs, grad_dists, 0.0, from_points=False)


def _nearest(
    points: torch.Tensor,
    points_first: torch.Tensor,
    name: str,
    elements: torch.Tensor,
    first: torch.Tensor,
    min_area: float,
    from_points: bool,
) -> Pair:
    n_corners = 2 if name == "segms" else 3
    check_packed(points, points_first, name, elements, first, n_corners)
    corners = _as_triangles(elements.detach())
    scene = Scene(points.detach(), points_first, corners, first, min_area, n_corners == 2)
    (pairs,) = nearest_pairs(scene, from_points, not from_points)
    return pairs.dists, (pairs.triangles if from_points else pairs.points).long()


def _gradients(
    points: torch.Tensor,
    elements: torch.Tensor,
    idxs: torch.Tensor,
    grad_dists: torch.Tensor,
    min_area: float,
    from_points: bool,
) -> Pair:
    owners, others = (points, elements) if from_points else (elements, points)
    check_tensor("idxs", idxs, (len(owners),))
    check_tensor("grad_dists", grad_dists, (len(owners),), like=points)
    check_range("idxs", idxs, len(others), "elements")
    own, other = torch.arange(len(owners), dtype=torch.int32, device=points.device), idxs.int()
    pairs = Pairs(points.new_zeros(len(owners)), *((own, other) if from_points else (other, own)))
    leaves = points.detach().requires_grad_(), elements.detach().requires_grad_()
    with torch.enable_grad():
        dists = PairDistances.apply(leaves[0], _as_triangles(leaves[1]), pairs, min_area, elements.shape[1] == 2)
        grad_points, grad_elements = torch.autograd.grad(dists, leaves, grad_dists)
    return grad_points, grad_elements


def _as_triangles(elements: torch.Tensor) -> torch.Tensor:
    """Corners (n, 3, 3), of segments with the second point twice."""
    return torch.cat([elements, elements[:, 1:]], 1) if elements.shape[1] == 2 else elements
