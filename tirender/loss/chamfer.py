"""The chamfer distance between point clouds."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

from tirender.checks import FLOATS, check_choice, check_tensor, fail
from tirender.engine.knn import neighbour_distances, select_nearest
from tirender.ops.knn import check_lengths, knn_gather
from tirender.ops.utils import is_pointclouds
from tirender.structures import Pointclouds

Reduced = torch.Tensor | tuple[torch.Tensor, torch.Tensor] | None


def chamfer_distance(
    x: torch.Tensor | Pointclouds,
    y: torch.Tensor | Pointclouds,
    x_lengths: torch.Tensor | None = None,
    y_lengths: torch.Tensor | None = None,
    x_normals: torch.Tensor | None = None,
    y_normals: torch.Tensor | None = None,
    weights: torch.Tensor | None = None,
    batch_reduction: str | None = "mean",
    point_reduction: str | None = "mean",
    norm: int = 2,
    single_directional: bool = False,
    abs_cosine: bool = True,
) -> tuple[Reduced, Reduced]:
    """The distance from each point of x to the nearest point of y, plus that from y to x (Fan, Su and Guibas 2017).

    Args:
        x: N clouds, or (N, P1, D) float32 or float64.
        y: N clouds, or (N, P2, D) of the same dtype and device.
        x_lengths: (N,) integers, the number of points in each cloud of a tensor ``x``; None for all.
        y_lengths: (N,), likewise for ``y``.
        x_normals: (N, P1, D'), the normals of a tensor ``x``; clouds bring their own.
        y_normals: (N, P2, D'), likewise for ``y``.
        weights: (N,), the non-negative weights of the clouds.
        batch_reduction: reduction over the clouds: ``"mean"`` (weighted), ``"sum"`` or None.
        point_reduction: reduction over the points of a cloud: ``"mean"``, ``"sum"``, ``"max"`` (the Hausdorff distance;
            not with normals) or None, which needs ``batch_reduction`` None.
        norm: 2 for squared Euclidean distances, 1 for sums of absolute differences.
        single_directional: leave out the distance from y to x.
        abs_cosine: take the absolute cosine between normals, so that opposite normals count as parallel.
    Returns:
        The distance, and 1 - (absolute) cosine between the normals of nearest points, which is None without normals.
        Each is a scalar; (N,) without batch reduction; and without point reduction the pair (N, P1), (N, P2), or only
        (N, P1) if ``single_directional``. Differentiable in points, normals and weights; the choice of nearest points
        is held fixed. An empty cloud has distance 0. A NaN coordinate gives NaN.
    Raises:
        ValueError: if a shape, dtype or option is wrong, or options contradict each other.
    """
    _check_reductions(batch_reduction, point_reduction)
    check_choice("norm", norm, (1, 2))
    cloud, other = _unpack("x", x, x_lengths, x_normals), _unpack("y", y, y_lengths, y_normals)
    check_tensor("y", other.points, (len(cloud.points), "P2", cloud.points.shape[2]), like=cloud.points)
    has_normals = cloud.normals is not None and other.normals is not None
    if has_normals and point_reduction == "max":
        fail("point_reduction", "'mean', 'sum' or None with normals", point_reduction)
    _check_weights(weights, cloud.points)

    with torch.autocast(cloud.points.device.type, enabled=False):
        distances, indices = _nearest(cloud, other, norm, both=not single_directional)
        directions = ((cloud, other), (other, cloud))[: len(indices)]
        distances = [_over_points(d, p, weights, point_reduction) for d, (p, _) in zip(distances, directions)]
        reduced = _over_batch(_over_directions(distances, point_reduction), weights, batch_reduction)
        if not has_normals:
            return reduced, None
        angles = [_normal_distance(p, q, idx, abs_cosine) for idx, (p, q) in zip(indices, directions)]
        angles = [_over_points(a, p, weights, point_reduction) for a, (p, _) in zip(angles, directions)]
        return reduced, _over_batch(_over_directions(angles, point_reduction), weights, batch_reduction)


class _Cloud(NamedTuple):
    """A batch of padded clouds."""

    points: torch.Tensor  # (N, P, D)
    lengths: torch.Tensor  # (N,)
    normals: torch.Tensor | None  # (N, P, D')


def _check_reductions(batch_reduction: str | None, point_reduction: str | None) -> None:
    check_choice("batch_reduction", batch_reduction, ("mean", "sum", None))
    check_choice("point_reduction", point_reduction, ("mean", "sum", "max", None))
    if point_reduction is None and batch_reduction is not None:
        fail("batch_reduction", "None, as point_reduction is None", repr(batch_reduction))


def _check_weights(weights: torch.Tensor | None, points: torch.Tensor) -> None:
    if weights is not None:
        check_tensor("weights", weights, (len(points),), like=points)
        if not bool((weights >= 0).all()):
            fail("weights", "numbers of 0 or more", weights.tolist())


def _unpack(
    name: str, points: torch.Tensor | Pointclouds, lengths: torch.Tensor | None, normals: torch.Tensor | None
) -> _Cloud:
    if is_pointclouds(points):
        return _Cloud(points.points_padded(), points.num_points_per_cloud(), points.normals_padded())
    padded = check_tensor(name, points, ("N", "P", "D"), FLOATS)
    if normals is not None:
        check_tensor(f"{name}_normals", normals, (*padded.shape[:2], "D"), like=padded)
    return _Cloud(padded, check_lengths(f"{name}_lengths", lengths, padded), normals)


def _nearest(x: _Cloud, y: _Cloud, norm: int, both: bool) -> tuple[list[torch.Tensor], tuple[torch.Tensor, ...]]:
    """The distances (N, P) and indices (N, P, 1) of nearest points, from x to y and, if ``both``, from y to x."""
    selected, indices = zip(*select_nearest(x.points, y.points, x.lengths, y.lengths, 1, norm, both=both))
    distances = neighbour_distances(x.points, y.points, x.lengths, y.lengths, indices, norm, selected)
    return [d[..., 0] for d in distances], indices


def _normal_distance(cloud: _Cloud, other: _Cloud, idx: torch.Tensor, abs_cosine: bool) -> torch.Tensor:
    """(N, P): 1 - cosine between the normals of points and of their nearest points; 0 in padded rows."""
    assert cloud.normals is not None
    assert other.normals is not None
    cosine = F.cosine_similarity(cloud.normals, knn_gather(other.normals, idx, other.lengths)[:, :, 0], dim=2, eps=1e-6)
    padding = torch.arange(cosine.shape[1], device=cosine.device) >= cloud.lengths[:, None]
    return (1 - (cosine.abs() if abs_cosine else cosine)).masked_fill(padding, 0)


def _over_points(
    values: torch.Tensor, cloud: _Cloud, weights: torch.Tensor | None, reduction: str | None
) -> torch.Tensor:
    """Weight values (N, P), which are 0 in padded rows, and reduce them to (N,)."""
    if weights is not None:
        values = values * weights[:, None]
    if reduction is None:
        return values
    if reduction == "max":
        return values.max(1).values if values.shape[1] else values.sum(1)
    total = values.sum(1)
    return total / cloud.lengths.clamp(min=1) if reduction == "mean" else total


def _over_directions(values: list[torch.Tensor], reduction: str | None) -> Reduced:
    """Add both directions, or take their maximum; without a reduction, keep them apart."""
    if len(values) == 1:
        return values[0]
    if reduction is None:
        return values[0], values[1]
    return torch.maximum(*values) if reduction == "max" else values[0] + values[1]


def _over_batch(values: Reduced, weights: torch.Tensor | None, reduction: str | None) -> Reduced:
    """Reduce (N,) to a scalar; the mean divides by the sum of the weights."""
    if reduction is None or not isinstance(values, torch.Tensor):
        return values
    if reduction == "sum":
        return values.sum()
    if weights is None:
        return values.sum() / max(len(values), 1)
    total = weights.sum()
    return values.sum() / torch.where(total > 0, total, 1)
