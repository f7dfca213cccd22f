"""The K nearest neighbours of points, over ``kernels/knn.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from tirender import runtime
from tirender.checks import FLOATS, INTEGERS, check_choice, check_integer, check_range, check_tensor, fail
from tirender.kernels import knn as kernels
from tirender.ops.bvh import Forest, build_forest
from tirender.ops.slabs import slab_bounds, slab_count


class KNN(NamedTuple):
    """Neighbours: (N, P1, K) ``dists`` and ``idx``, and (N, P1, K, D) ``knn`` or None."""

    dists: torch.Tensor
    idx: torch.Tensor
    knn: torch.Tensor | None


def knn_points(
    p1: torch.Tensor,
    p2: torch.Tensor,
    lengths1: torch.Tensor | None = None,
    lengths2: torch.Tensor | None = None,
    norm: int = 2,
    K: int = 1,
    version: int = -1,
    return_nn: bool = False,
    return_sorted: bool = True,
) -> KNN:
    """The K nearest neighbours in ``p2`` of each point of ``p1``: exact, in time close to n log n.

    Args:
        p1: (N, P1, D) float32 or float64.
        p2: (N, P2, D), same dtype, device and space.
        lengths1: (N,) integers, how many points of each cloud of ``p1`` count; the others are padding. None: all.
        lengths2: (N,) the same for ``p2``.
        norm: 2 for squared Euclidean distances, 1 for sums of absolute differences.
        K: how many neighbours.
        version: ignored (PyTorch3D's choice of implementation).
        return_nn: whether to return the neighbours themselves too.
        return_sorted: ignored: the neighbours always come in ascending order of distance, ties by index.
    Returns:
        dists: (N, P1, K), differentiable in ``p1`` and ``p2`` with the choice of neighbours held fixed.
        idx: (N, P1, K) int64 into the points of the cloud of ``p2``.
        knn: (N, P1, K, D) the neighbours, or None.
        All are 0 in padded rows, and where the cloud of ``p2`` has fewer than K points. A point with a NaN coordinate
        is at distance NaN from every other: as a query it gets NaN and index 0, as a neighbour it is never chosen
        (where that leaves fewer than K, NaN and index 0).
    Raises:
        ValueError: where shapes, dtypes, devices or lengths do not fit, for another norm, or K < 1.
    """
    lengths1, lengths2 = check_clouds(p1, p2, lengths1, lengths2)
    check_choice("norm", norm, (1, 2))
    K = check_integer("K", K, 1)
    with torch.autocast(p1.device.type, enabled=False):
        ((dists, idx),) = select_nearest(p1, p2, lengths1, lengths2, K, norm)
        (dists,) = neighbour_distances(p1, p2, lengths1, lengths2, [idx], norm, [dists])
    return KNN(dists, idx, knn_gather(p2, idx, lengths2) if return_nn else None)


def knn_gather(x: torch.Tensor, idx: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
    """What belongs to each neighbour that ``knn_points`` found.

    Args:
        x: (N, M, U) values of the points ``p2``, any dtype.
        idx: (N, L, K) int64, from ``knn_points``.
        lengths: (N,) how many points of each cloud count. None: all M.
    Returns:
        (N, L, K, U); 0 where the cloud has fewer than K points. Differentiable in ``x``.
    Raises:
        ValueError: where shapes do not fit.
    """
    check_tensor("x", x, ("N", "M", "U"))
    check_tensor("idx", idx, (len(x), "L", "K"), torch.int64)
    lengths = check_lengths("lengths", lengths, x)
    n, l, k = idx.shape
    if idx.numel() and x.shape[1] == 0:
        return x.new_zeros(n, l, k, x.shape[2])
    check_range("idx", idx, x.shape[1], "points")
    picked = x.gather(1, idx.reshape(n, l * k, 1).expand(-1, -1, x.shape[2])).reshape(n, l, k, x.shape[2])
    if n and int(lengths.min()) < k:
        missing = torch.arange(k, device=x.device) >= lengths[:, None]
        picked = picked.masked_fill(missing[:, None, :, None], 0)
    return picked


def check_clouds(
    p1: torch.Tensor, p2: torch.Tensor, lengths1: torch.Tensor | None, lengths2: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Validate two batches of padded clouds and return their lengths, (N,) int64 each."""
    check_tensor("p1", p1, ("N", "P1", "D"), FLOATS)
    check_tensor("p2", p2, (len(p1), "P2", p1.shape[2]), like=p1)
    if p1.shape[2] == 0:
        fail("p1", "points with at least one coordinate", tuple(p1.shape))
    return check_lengths("lengths1", lengths1, p1), check_lengths("lengths2", lengths2, p2)


def check_lengths(name: str, lengths: torch.Tensor | None, points: torch.Tensor) -> torch.Tensor:
    """(N,) int64 lengths of padded clouds (N, P, ...): those given, if they fit, or all P."""
    n, size = points.shape[:2]
    if lengths is None:
        return torch.full((n,), size, dtype=torch.int64, device=points.device)
    check_tensor(name, lengths, (n,), INTEGERS)
    if n and (int(lengths.min()) < 0 or int(lengths.max()) > size):
        fail(name, f"between 0 and {size}", lengths.tolist())
    return lengths.to(points.device, torch.int64)


# --- selection: which neighbours ---


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
        forest = point_forest(p1, p2, lengths1, lengths2)
        runtime.launch(
            kernels.nearest_points,
            *(forest.lower, forest.order, forest.first, forest.boxes, forest.lowest, sum(n_queries), len(p1)),
            *(queries_per_task(), k, norm, k == 1 and len(forest.lower) == 3, dists, index),
        )
    parts = zip(clouds, dists.view(-1, k).split(n_queries), index.view(-1, k).split(n_queries))
    return [(pad_rows(d, *cloud), pad_rows(i, *cloud)) for cloud, d, i in parts]


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


def point_forest(p1: torch.Tensor, p2: torch.Tensor, lengths1: torch.Tensor, lengths2: torch.Tensor) -> Forest:
    """The forest of the N clouds of p1 and then the N of p2, without their padding."""
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


# --- evaluation: how far they are ---


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
        idx: (N, P1, K), neighbours in ``p2`` of ``p1``; then, if wanted, (N, P2, K), those in ``p1`` of ``p2``.
        dists: the results, where they are known, as with both they must be.
    """
    distances: tuple[torch.Tensor, ...] = _Distances.apply(p1, p2, lengths1, lengths2, norm, tuple(dists), *idx)
    return distances


class _Distances(torch.autograd.Function):
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
            runtime.launch(kernels.distances_forward, *_pairs(p1, p2, lengths1, lengths2, idx, norm), dists.view(-1))
        return (dists,)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_dists: torch.Tensor) -> Any:
        p1, p2, lengths1, lengths2, *idx = ctx.saved_tensors
        rows = [p1, p2][: len(idx)]  # those that have neighbours
        neighbours = [p1, p2] if len(idx) == 2 else [p2]
        n_rows, n_neighbours = (sum(p.shape[0] * p.shape[1] for p in points) for points in (rows, neighbours))
        grad_rows = p1.new_zeros(n_rows, p1.shape[2])
        # a pair is little work
        n_slabs = slab_count(n_neighbours * p1.shape[2], sum(i.numel() for i in idx) // 8)
        slabs = p1.new_zeros(n_slabs, n_neighbours, p1.shape[2])
        if p1.numel() and p2.numel():
            runtime.launch(
                kernels.distances_adjoint,
                *(*_pairs(p1, p2, lengths1, lengths2, idx, ctx.norm), _end_to_end(grad_dists)),
                *(slab_bounds(n_rows, n_slabs, p1.device), runtime.is_parallel_device(), grad_rows, slabs),
            )
        grad_neighbours = slabs.sum(0)
        if len(idx) == 2:
            grad_p1, grad_p2 = (grad_rows + grad_neighbours).split([p.shape[0] * p.shape[1] for p in rows])
        else:
            grad_p1, grad_p2 = grad_rows, grad_neighbours
        return grad_p1.view_as(p1), grad_p2.view_as(p2), None, None, None, None, *(None for _ in idx)


def _pairs(
    p1: torch.Tensor, p2: torch.Tensor, lengths1: torch.Tensor, lengths2: torch.Tensor, idx: Sequence[Any], norm: int
) -> tuple[Any, ...]:
    """The first arguments of the kernels on distances."""
    points = torch.cat([p.detach().reshape(-1, p.shape[2]) for p in (p1, p2)])
    lengths = torch.cat([lengths1, lengths2]).int()
    return points, lengths, p1.shape[1], p2.shape[1], _end_to_end(idx), idx[0].shape[2], norm


def _end_to_end(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    flat = [part.reshape(-1).contiguous() for part in parts]
    return flat[0] if len(flat) == 1 else torch.cat(flat)
