"""The chamfer distance between point clouds."""

from __future__ import annotations

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
    """How far the points of x are from the nearest of y, and back.

    Args:
        x: N clouds, or (N, P1, D) float32 or float64.
        y: N clouds, or (N, P2, D), same dtype and device.
        x_lengths: (N,) how many points of each cloud of ``x`` count, where ``x`` is a tensor. None: all.
        y_lengths: (N,) the same for ``y``.
        x_normals: (N, P1, D'), where ``x`` is a tensor.
        y_normals: (N, P2, D').
        weights: (N,) of the clouds, not negative.
        batch_reduction: over the clouds: ``"mean"`` (weighted), ``"sum"`` or None.
        point_reduction: over the points of a cloud: ``"mean"``, ``"sum"``, ``"max"`` (the Hausdorff distance; without
            normals) or None, then ``batch_reduction`` is None too.
        norm: 2 for squared Euclidean distances, 1 for sums of absolute differences.
        single_directional: only from x to y.
        abs_cosine: whether normals that are opposite count as parallel.
    Returns:
        The distance, and 1 - (absolute) cosine between the normals of neighbours, or None where there are none; each a
        scalar, (N,) without batch reduction, or without point reduction (N, P1) and (N, P2), as a pair unless
        ``single_directional``. Differentiable in points, normals and weights, the choice of neighbours held fixed. A
        cloud without points is at distance 0; a NaN coordinate gives NaN.
    Raises:
        ValueError: where arguments do not fit or go together.
    """
    _check_reductions(batch_reduction, point_reduction)
    check_choice("norm", norm, (1, 2))
    x, x_lengths, x_normals = _unpack("x", x, x_lengths, x_normals)
    y, y_lengths, y_normals = _unpack("y", y, y_lengths, y_normals)
    check_tensor("y", y, (len(x), "P2", x.shape[2]), like=x)
    has_normals = x_normals is not None and y_normals is not None
    if has_normals and point_reduction == "max":
        fail("point_reduction", "'mean', 'sum' or None with normals", point_reduction)
    if weights is not None:
        check_tensor("weights", weights, (len(x),), like=x)
        if not bool((weights >= 0).all()):
            fail("weights", "none below 0", weights.tolist())

    clouds = [(x_lengths, x_normals, y_lengths, y_normals), (y_lengths, y_normals, x_lengths, x_normals)]
    with torch.autocast(x.device.type, enabled=False):
        found, indices = zip(*select_nearest(x, y, x_lengths, y_lengths, 1, norm, both=not single_directional))
        found = neighbour_distances(x, y, x_lengths, y_lengths, indices, norm, found)
        distances, cosines = [], []
        for (p_lengths, p_normals, q_lengths, q_normals), dists, idx in zip(clouds, found, indices):
            distances.append(_over_points(dists[..., 0], p_lengths, weights, point_reduction))
            if p_normals is not None and q_normals is not None:
                c = _normal_distance(p_normals, knn_gather(q_normals, idx, q_lengths)[:, :, 0], p_lengths, abs_cosine)
                cosines.append(_over_points(c, p_lengths, weights, point_reduction))
        return (
            _over_batch(_over_directions(distances, point_reduction), weights, batch_reduction),
            _over_batch(_over_directions(cosines, point_reduction), weights, batch_reduction) if cosines else None,
        )


def _check_reductions(batch_reduction: str | None, point_reduction: str | None) -> None:
    check_choice("batch_reduction", batch_reduction, ("mean", "sum", None))
    check_choice("point_reduction", point_reduction, ("mean", "sum", "max", None))
    if point_reduction is None and batch_reduction is not None:
        fail("batch_reduction", "None, as point_reduction is None", repr(batch_reduction))


def _unpack(
    name: str, points: torch.Tensor | Pointclouds, lengths: torch.Tensor | None, normals: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Padded points, lengths and normals."""
    if is_pointclouds(points):
        return points.points_padded(), points.num_points_per_cloud(), points.normals_padded()
    padded = check_tensor(name, points, ("N", "P", "D"), FLOATS)
    if normals is not None:
        check_tensor(f"{name}_normals", normals, (*padded.shape[:2], "D"), like=padded)
    return padded, check_lengths(f"{name}_lengths", lengths, padded), normals


def _normal_distance(
    normals: torch.Tensor, others: torch.Tensor, lengths: torch.Tensor, abs_cosine: bool
) -> torch.Tensor:
    """(N, P), 0 in padded rows."""
    cosine = F.cosine_similarity(normals, others, dim=2, eps=1e-6)
    padding = torch.arange(normals.shape[1], device=normals.device) >= lengths[:, None]
    return (1 - (cosine.abs() if abs_cosine else cosine)).masked_fill(padding, 0)


def _over_points(
    values: torch.Tensor, lengths: torch.Tensor, weights: torch.Tensor | None, reduction: str | None
) -> torch.Tensor:
    """(N, P), 0 in padded rows, to (N,)."""
    if weights is not None:
        values = values * weights[:, None]
    if reduction is None:
        return values
    if reduction == "max":
        return values.max(1).values if values.shape[1] else values.sum(1)
    total = values.sum(1)
    return total / lengths.clamp(min=1) if reduction == "mean" else total


def _over_directions(values: list[torch.Tensor], reduction: str | None) -> Reduced:
    if len(values) == 1:
        return values[0]
    if reduction is None:
        return values[0], values[1]
    return torch.maximum(*values) if reduction == "max" else values[0] + values[1]


def _over_batch(values: Reduced, weights: torch.Tensor | None, reduction: str | None) -> Reduced:
    if reduction is None or not isinstance(values, torch.Tensor):
        return values
    if reduction == "sum":
        return values.sum()
    if weights is None:
        return values.sum() / max(len(values), 1)
    total = weights.sum()
    return values.sum() / torch.where(total > 0, total, 1)
