"""Gathers and sums of rows along fixed indices, differentiable, with sums in a fixed order.

A gather is the adjoint of a sum, and a sum that of a gather. The indices of both directions are therefore sorted once
and kept. Nothing uses atomics or ``index_add``, so gradients repeat to the bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F


class Bags(NamedTuple):
    """One list of indices per owner, concatenated: owner i has ``indices[offsets[i]:offsets[i + 1]]``."""

    indices: torch.Tensor  # (n,) int32
    offsets: torch.Tensor  # (n_owners + 1,) int32


class Gather(NamedTuple):
    """The indices of k rows for each owner, and those of the adjoint.

    The result is (k, n_owners, C), so that splitting it copies nothing.
    """

    indices: torch.Tensor  # (k * n_owners,) int32, the first row of each owner, then the second of each, ...
    users: Bags  # for each source row, its positions in ``indices``, ascending

    @classmethod
    def of(cls, indices: torch.Tensor, n_rows: int) -> Gather:
        """The gather of ``indices`` (n_owners, k) int64 from n_rows rows."""
        flat = indices.t().reshape(-1)
        return cls(flat.int(), group_by_owner(flat, n_rows))


def gather_rows(values: torch.Tensor, gather: Gather, k: int) -> torch.Tensor:
    """The k rows of each owner: (n, C) to (k, n_owners, C); twice differentiable."""
    rows = values.index_select(0, gather.indices) if _in_transform() else _Gather.apply(values, gather)
    return rows.reshape(k, len(gather.indices) // k, values.shape[1])


def scatter_rows(values: torch.Tensor, gather: Gather) -> torch.Tensor:
    """The sum over the users of each source row: (k, n_owners, C) to (n, C); the adjoint of ``gather_rows``."""
    values = values.flatten(0, 1)
    return _sum_in_transform(values, gather.users) if _in_transform() else _Scatter.apply(values, gather)


def sum_bags(values: torch.Tensor, bags: Bags, transposed: Bags, weights: torch.Tensor | None = None) -> torch.Tensor:
    """The sum over each owner's bag, in its order: (n, C) to (n_owners, C); twice differentiable.

    Args:
        values: (n, C), the rows that the bags index.
        bags: the rows of each owner.
        transposed: the owners of each row.
        weights: (len(bags.indices),) factors, not differentiable; allowed only if ``bags`` is ``transposed``.
    """
    if _in_transform():
        return _sum_in_transform(values, bags, weights)
    return _BagSum.apply(values, bags, transposed, weights)


def _in_transform() -> bool:
    """Whether ``torch.func`` is at work, which takes operations of torch, but not the functions below."""
    return torch._C._are_functorch_transforms_active()


def _sum_in_transform(values: torch.Tensor, bags: Bags, weights: torch.Tensor | None = None) -> torch.Tensor:
    """The sum over each owner's bag, by operations of torch alone."""
    rows = values.index_select(0, bags.indices)
    if weights is not None:
        rows = rows * weights[:, None]
    n_owners = len(bags.offsets) - 1
    owners = torch.arange(n_owners, device=values.device).repeat_interleave(bags.offsets.diff(), output_size=len(rows))
    return rows.new_zeros(n_owners, values.shape[1]).index_add(0, owners, rows)


class _Gather(torch.autograd.Function):
    """y[i] = x[gather.indices[i]]; the adjoint is ``_Scatter``."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, gather: Gather) -> torch.Tensor:
        ctx.gather = gather
        return x.index_select(0, gather.indices)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        return _Scatter.apply(grad, ctx.gather), None


class _Scatter(torch.autograd.Function):
    """y[j] = sum of x[i] where gather.indices[i] is j, in ascending order of i."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, gather: Gather) -> torch.Tensor:
        ctx.gather = gather
        return _sum_bags(x, gather.users)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        return _Gather.apply(grad, ctx.gather), None


class _BagSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, bags: Bags, transposed: Bags, weights: torch.Tensor | None) -> torch.Tensor:
        ctx.bags, ctx.transposed, ctx.weights = bags, transposed, weights
        return _sum_bags(x, bags, weights)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:  # type: ignore[override]
        return _BagSum.apply(grad, ctx.transposed, ctx.bags, ctx.weights), None, None, None


def _sum_bags(x: torch.Tensor, bags: Bags, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Gather and sum in one pass: 3 to 4 times faster than ``index_add`` on the CPU, and no atomics on CUDA."""
    sums = F.embedding_bag(
        bags.indices, x.contiguous(), bags.offsets, mode="sum", include_last_offset=True, per_sample_weights=weights
    )
    return sums.reshape(len(bags.offsets) - 1, x.shape[1])  # torch returns another shape if there is no owner or no row


def partners(pairs: torch.Tensor, n_owners: int) -> tuple[torch.Tensor, Bags]:
    """The partners of each item, given pairs (n, 2).

    Args:
        pairs: (n, 2) int64 item indices.
        n_owners: the number of items.
    Returns:
        the order that sorts the (2 n,) ends of the pairs by item, and the partners of each item.
    """
    order, offsets = group_by_owner(pairs.t().reshape(-1), n_owners)
    return order, Bags(pairs.flip(1).t().reshape(-1).index_select(0, order).int(), offsets)


def group_by_owner(owners: torch.Tensor, n_owners: int) -> Bags:
    """The items of each owner, ascending, where item i belongs to ``owners[i]`` (int64)."""
    offsets = F.pad(owners.bincount(minlength=n_owners).cumsum(0), (1, 0))
    return Bags(owners.argsort(stable=True).int(), offsets.int())
