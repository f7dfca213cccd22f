"""Squared distances between points and the triangles or segments of meshes, over ``kernels/point_mesh.py``."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from tirender.engine import runtime
from tirender.engine.bvh import Forest, build_forest
from tirender.engine.first_order import FirstOrder
from tirender.engine.kernels import knn
from tirender.engine.kernels import point_mesh as kernels
from tirender.engine.knn import queries_per_task
from tirender.engine.partial_sums import part_bounds, part_count


@runtime.not_compiled
def point_triangle_distances(
    points: torch.Tensor,
    points_first: torch.Tensor,
    triangles: torch.Tensor,
    triangles_first: torch.Tensor,
    min_area: float,
    from_points: bool = True,
    from_triangles: bool = True,
) -> list[torch.Tensor]:
    """Squared distance from each point to the nearest triangle of its item of the batch, and from each triangle to the
    nearest point, to within rounding; in time close to n log n.

    Args:
        points: (P, 3) float32 or float64, packed.
        points_first: (N,) where each item's points begin.
        triangles: (T, 3, 3) corners, or (T, 2, 3) for segments; packed.
        triangles_first: (N,) where each item's triangles begin.
        min_area: of a triangle with less, only the outline counts.
        from_points, from_triangles: which of the two to compute.
    Returns:
        (P,) for the points and (T,) for the triangles, or the one of them that was asked for. Differentiable in points
        and triangles, the pairs held fixed. 0 where an item has nothing to be near to; NaN for a point with a NaN
        coordinate, or where all else is NaN.
    """
    segments = triangles.shape[1] == 2
    corners = torch.cat([triangles, triangles[:, 1:]], 1) if segments else triangles
    with torch.autocast(points.device.type, enabled=False):
        scene = Scene(points.detach(), points_first, corners.detach(), triangles_first, min_area, segments)
        pairs = nearest_pairs(scene, from_points, from_triangles)
        return [PairDistances.apply(points, corners, p, min_area, segments) for p in pairs]


class Scene(NamedTuple):
    """What is searched, as :func:`point_triangle_distances` has it; ``triangles`` (T, 3, 3) for segments too."""

    points: torch.Tensor
    points_first: torch.Tensor
    triangles: torch.Tensor
    triangles_first: torch.Tensor
    min_area: float
    segments: bool


class Pairs(NamedTuple):
    """Pairs of points and triangles, and their squared distances."""

    dists: torch.Tensor  # (n,)
    points: torch.Tensor  # (n,) int32, -1 where there is no pair
    triangles: torch.Tensor  # (n,) int32, likewise


def nearest_pairs(scene: Scene, from_points: bool, from_triangles: bool) -> list[Pairs]:
    """Of each point and the triangle nearest to it, and of each triangle and its point."""
    points, triangles = scene.points, scene.triangles
    own_point, own_triangle = (
        torch.arange(len(x), dtype=torch.int32, device=points.device) for x in (points, triangles)
    )
    of_points = Pairs(points.new_zeros(len(points)), own_point, torch.full_like(own_point, -1))
    of_triangles = Pairs(points.new_zeros(len(triangles)), torch.full_like(own_triangle, -1), own_triangle)
    if len(points) and len(triangles):
        columns = points.t().contiguous()
        cloud, sorted_points = _forest(columns, columns, scene.points_first, knn.LEAF_BITS)
        lower, upper = triangles.amin(1).t().contiguous(), triangles.amax(1).t().contiguous()
        mesh, _lower = _forest(lower, upper, scene.triangles_first, kernels.TRIANGLE_LEAF_BITS)
        corners = triangles.reshape(-1, 9).index_select(0, mesh.order).view(-1, 3)
        settings = kernels.PointMeshSettings(chunk=queries_per_task(), min_area=scene.min_area)
        if from_points:
            runtime.launch(
                kernels.nearest_triangles,
                settings,
                scene.segments,
                sorted_points,
                cloud.order,
                cloud.first,
                corners,
                *mesh,
                of_points.dists,
                of_points.triangles,
            )
        if from_triangles:
            runtime.launch(
                kernels.nearest_points_of_triangles,
                settings,
                scene.segments,
                corners,
                mesh.order,
                mesh.first,
                sorted_points,
                *cloud,
                of_triangles.dists,
                of_triangles.points,
            )
    return [of_points] * from_points + [of_triangles] * from_triangles


def _forest(
    lower: torch.Tensor, upper: torch.Tensor, starts: torch.Tensor, leaf_bits: int
) -> tuple[Forest, torch.Tensor]:
    """Of the boxes (3, n) of items that begin at ``starts`` (N,)."""
    first = F.pad(starts, (0, 1), value=lower.shape[1])
    item = torch.arange(len(starts), device=lower.device).repeat_interleave(first.diff(), output_size=lower.shape[1])
    return build_forest(lower, upper, first.int(), item, leaf_bits)


class PairDistances(FirstOrder):
    """The squared distances of pairs of points and triangles."""

    @staticmethod
    def forward(ctx: Any, points: Any, triangles: Any, pairs: Pairs, min_area: float, segments: bool) -> torch.Tensor:
        ctx.save_for_backward(points, triangles, pairs.points, pairs.triangles)
        ctx.min_area, ctx.segments = min_area, segments
        return pairs.dists

    @staticmethod
    def backward(ctx: Any, grad_dists: torch.Tensor) -> Any:
        points, triangles, point_index, triangle_index = ctx.saved_tensors
        n_pairs = len(grad_dists)
        n_parts = part_count(points.numel() + triangles.numel(), n_pairs)
        grad_points = points.new_zeros(n_parts, len(points), 3)
        grad_corners = points.new_zeros(n_parts, 3 * len(triangles), 3)
        if n_pairs:
            runtime.launch(
                kernels.point_triangle_adjoint,
                ctx.min_area,
                ctx.segments,
                runtime.is_parallel_device(),
                points.contiguous(),
                triangles.reshape(-1, 3).contiguous(),
                point_index,
                triangle_index,
                grad_dists.contiguous(),
                part_bounds(n_pairs, n_parts, points.device),
                grad_points,
                grad_corners,
            )
        return grad_points.sum(0), grad_corners.sum(0).view_as(triangles), None, None, None
