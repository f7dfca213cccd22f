"""The K nearest neighbours of points, over ``kernels/knn.py``: which they are, and how far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from tirender.checks import fail
from tirender.engine import runtime
from tirender.engine.bvh import Forest, build_forest
from tirender.engine.first_order import FirstOrder
from tirender.engine.kernels import knn as kernels
from tirender.engine.partial_sums import part_bounds, part_count


@runtime.not_compiled
def select_nearest(
    p1: torch.Tensor,
    p2: torch.Tensor,
    lengths1: torch.Tensor,
    lengths2: torch.Tensor,
    k: int,
    norm: int,
    both: bool = False,
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Distances and indices (N, P1, k) of the neighbours in p2 of p1, and for ``both`` those in p1 of p2 (N, P2, k).

    Without gradient. Arguments as for ``knn_points``, validated. Searching both ways at once shares the sorting.
    """
    clouds = ((p1, lengths1), (p2, lengths2)) if both else ((p1, lengths1),)
    check_size(clouds, k)
    n_queries = [int(lengths.sum()) for _, lengths in clouds]
    dists = p1.new_empty(sum(n_queries) * k)
    index = torch.empty(len(dists), dtype=torch.int64, device=p1.device)
    if len(dists):
        forest, points = point_forest(p1, p2, lengths1, lengths2)
        queries = kernels.Queries(n_queries=sum(n_queries), shift=len(p1), chunk=queries_per_task(), k=k)
        single = k == 1 and len(points) == 3
        runtime.launch(kernels.nearest_points, queries, norm, single, points, *forest, dists, index)
    parts = zip(clouds, dists.view(-1, k).split(n_queries), index.view(-1, k).split(n_queries))
    return [(pad_rows(d, p, lengths), pad_rows(i, p, lengths)) for (p, lengths), d, i in parts]


def check_size(clouds: Sequence[tuple[torch.Tensor, torch.Tensor]], k: int) -> None:
    """Refuse more results than the kernels can count."""
    n_rows = sum(p.shape[0] * p.shape[1] for p, _ in clouds)
    if n_rows * k >= 2**31:
        fail("K", f"fewer than 2^31 distances, so below {2**31 // n_rows}", k)


def used_rows(points: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """(n,) which of the N P rows of padded clouds are points."""
    used = torch.arange(points.shape[1], device=points.device) < lengths[:, None]
    return used.reshape(-1).nonzero()[:, 0]


def pad_rows(values: torch.Tensor, points: torch.Tensor, lengths: torch.Tensor, fill: int = 0) -> torch.Tensor:
    """Rows (n, k) of the points of padded clouds to (N, P, k)."""
    n, size = points.shape[:2]
    if len(values) < n * size:
        values = values.new_full((n * size, values.shape[1]), fill).index_copy(0, used_rows(points, lengths), values)
    return values.view(n, size, values.shape[1])


def point_forest(
    p1: torch.Tensor, p2: torch.Tensor, lengths1: torch.Tensor, lengths2: torch.Tensor
) -> tuple[Forest, torch.Tensor]:
    """The forest of the N clouds of p1 and then the N of p2, without their padding, and its sorted points (D, n)."""
    n, _, dims = p1.shape
    lengths = torch.cat([lengths1, lengths2])
    first = F.pad(lengths.cumsum(0), (1, 0))
    n_points = int(first[-1])
    parts = [p.detach().reshape(-1, dims).t() for p in (p1, p2)]
    if n_points < parts[0].shape[1] + parts[1].shape[1]:
        parts = [part.index_select(1, used_rows(p, l)) for part, p, l in zip(parts, (p1, p2), (lengths1, lengths2))]
    points = torch.cat(parts, 1)
    if dims < 3:
        points = F.pad(points, (0, 0, 0, 3 - dims))
    elif dims > 3:  # the search is by the three widest
        extent = (points.amax(1) - points.amin(1)).nan_to_num()
        points = points.index_select(0, extent.argsort(descending=True, stable=True))
    cloud = torch.arange(2 * n, device=p1.device).repeat_interleave(lengths, output_size=n_points)
    return build_forest(points, points, first.int(), cloud, kernels.LEAF_BITS)


def queries_per_task() -> int:
    """Queries in a row that one thread answers, each beginning where the one before it ended."""
    return 1 if runtime.is_parallel_device() else 32


def gather_neighbours(x: torch.Tensor, idx: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """(N, L, K, U): the rows of x (N, M, U) that idx (N, L, K) names; 0 where the cloud has fewer than K points."""
    n, l, k = idx.shape
    picked = x.gather(1, idx.reshape(n, l * k, 1).expand(-1, -1, x.shape[2])).reshape(n, l, k, x.shape[2])
    if n and int(lengths.min()) < k:
        missing = torch.arange(k, device=x.device) >= lengths[:, None]
        picked = picked.masked_fill(missing[:, None, :, None], 0)
    return picked


@runtime.not_compiled
def neighbour_distances(
    p1: torch.Tensor,
    p2: torch.Tensor,
    lengths1: torch.Tensor,
    lengths2: torch.Tensor,
    idx: Sequence[torch.Tensor],
    norm: int,
    dists: Sequence[torch.Tensor] = (),
) -> tuple[torch.Tensor, ...]:
    """The distances of given neighbours, differentiable in p1 and p2; 0 where their index is -1 or padding.

    Gradients of norm 1 are 0 where coordinates are equal.

    Args:
        p1, p2, lengths1, lengths2, norm: as for ``knn_points``, validated.
        idx: (N, P1, K), neighbours in ``p2`` of ``p1``; to go both ways, also (N, P2, K), those in ``p1`` of ``p2``.
        dists: the distances, if they are known; needed where ``idx`` goes both ways.
    """
    distances: tuple[torch.Tensor, ...] = _Distances.apply(p1, p2, lengths1, lengths2, norm, tuple(dists), *idx)
    return distances


class _Distances(FirstOrder):
    @staticmethod
    def forward(
        ctx: Any, p1: torch.Tensor, p2: torch.Tensor, lengths1: Any, lengths2: Any, norm: int, given: Any, *idx: Any
    ) -> Any:
        ctx.save_for_backward(p1, p2, lengths1, lengths2, *idx)
        ctx.norm = norm
        if given:
            return tuple(dists.clone() for dists in given)  # no views, which users could not write to
        (only,) = idx
        dists = p1.new_zeros(only.shape)
        if p1.numel() and p2.numel():
            padding, pairs = _pairs(p1, p2, lengths1, lengths2, idx)
            runtime.launch(kernels.distances_forward, padding, norm, *pairs, dists.view(-1))
        return (dists,)

    @staticmethod
    def backward(ctx: Any, *grad_dists: torch.Tensor) -> Any:
        p1, p2, lengths1, lengths2, *idx = ctx.saved_tensors
        rows = [p1, p2][: len(idx)]  # those that have neighbours
        neighbours = [p1, p2] if len(idx) == 2 else [p2]
        n_rows, n_neighbours = (sum(p.shape[0] * p.shape[1] for p in points) for points in (rows, neighbours))
        grad_rows = p1.new_zeros(n_rows, p1.shape[2])
        # a pair is little work
        n_parts = part_count(n_neighbours * p1.shape[2], sum(i.numel() for i in idx) // 8)
        parts = p1.new_zeros(n_parts, n_neighbours, p1.shape[2])
        if p1.numel() and p2.numel():
            padding, pairs = _pairs(p1, p2, lengths1, lengths2, idx)
            runtime.launch(
                kernels.distances_adjoint,
                padding,
                ctx.norm,
                runtime.is_parallel_device(),
                *pairs,
                _end_to_end(grad_dists),
                part_bounds(n_rows, n_parts, p1.device),
                grad_rows,
                parts,
            )
        grad_neighbours = parts.sum(0)
        if len(idx) == 2:
            grad_p1, grad_p2 = (grad_rows + grad_neighbours).split([p.shape[0] * p.shape[1] for p in rows])
        else:
            grad_p1, grad_p2 = grad_rows, grad_neighbours
        return grad_p1.view_as(p1), grad_p2.view_as(p2), None, None, None, None, *(None for _ in idx)


def _pairs(
    p1: torch.Tensor, p2: torch.Tensor, lengths1: torch.Tensor, lengths2: torch.Tensor, idx: Sequence[torch.Tensor]
) -> tuple[kernels.Padding, kernels.Pairs]:
    points = torch.cat([p.detach().reshape(-1, p.shape[2]) for p in (p1, p2)])
    lengths = torch.cat([lengths1, lengths2]).int()
    padding = kernels.Padding(size1=p1.shape[1], size2=p2.shape[1], k=idx[0].shape[2])
    return padding, kernels.Pairs(points, lengths, _end_to_end(idx))


def _end_to_end(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    flat = [part.reshape(-1).contiguous() for part in parts]
    return flat[0] if len(flat) == 1 else torch.cat(flat)
