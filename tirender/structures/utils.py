"""Conversions between the three layouts of ragged data: a list of tensors, one padded tensor, one packed tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from tirender.checks import check_tensor, fail


def list_to_padded(
    x: Sequence[torch.Tensor],
    pad_size: Sequence[int] | None = None,
    pad_value: float = 0.0,
    equisized: bool = False,
) -> torch.Tensor:
    """Stack tensors of different sizes, each padded at the end of every dimension.

    Args:
        x: N tensors of K dimensions each, N >= 1; a tensor of shape (0,) stands for an empty one of any rank.
        pad_size: the K sizes to pad to; None takes the largest size of each dimension.
        pad_value: the value of the padding.
        equisized: promise that all tensors have one shape; they are stacked and ``pad_size`` is ignored.
    Returns:
        (N, *pad_size), of the tensors' dtype; differentiable.
    Raises:
        ValueError: if x is empty, the ranks differ, or an item is larger than ``pad_size``.
    """
    if not x:
        fail("x", "at least one tensor", "none")
    if equisized:
        return torch.stack(list(x), dim=0)
    rank = max(item.dim() for item in x)
    items = [item.reshape(0, *[0] * (rank - 1)) if item.shape == (0,) else item for item in x]
    if any(item.dim() != rank for item in items):
        fail("x", "tensors of equally many dimensions", [item.dim() for item in x])
    largest = [max(item.shape[d] for item in items) for d in range(rank)]
    if pad_size is None:
        pad_size = largest
    elif len(pad_size) != rank:
        fail("pad_size", f"{rank} sizes", tuple(pad_size))
    elif any(size < needed for size, needed in zip(pad_size, largest)):
        fail("pad_size", f"at least {tuple(largest)}", tuple(pad_size))
    padded = []
    for item in items:
        missing = [size - has for size, has in zip(pad_size, item.shape)]
        padding = [n for gap in reversed(missing) for n in (0, gap)]
        padded.append(F.pad(item, padding, value=pad_value) if any(missing) else item)
    return torch.stack(padded, dim=0)


def padded_to_list(
    x: torch.Tensor, split_size: Sequence[int] | Sequence[Sequence[int]] | None = None
) -> list[torch.Tensor]:
    """Split a padded tensor into one tensor an item, without the padding.

    Args:
        x: (N, ...).
        split_size: one entry an item: its size in the first dimension after the batch, or a tuple of its sizes in the
            first few dimensions. None keeps the padding.
    Returns:
        N tensors, views of x; differentiable.
    Raises:
        ValueError: if ``split_size`` has another length than x.
    """
    items = list(x.unbind(0))
    if split_size is None:
        return items
    if len(split_size) != len(items):
        fail("split_size", f"{len(items)} entries as in x", len(split_size))
    sizes = [(size,) if isinstance(size, int) else tuple(size) for size in split_size]
    return [item[tuple(slice(n) for n in size)] for item, size in zip(items, sizes)]


def padded_to_packed(
    x: torch.Tensor, split_size: Sequence[int] | int | None = None, pad_value: float | None = None
) -> torch.Tensor:
    """Concatenate the items of a padded tensor.

    Args:
        x: (N, M, K).
        split_size: the number of rows of each item, or of all; None keeps all M.
        pad_value: leave out the rows that consist of this value; not together with ``split_size``.
    Returns:
        (sum of the sizes, K); differentiable.
    Raises:
        ValueError: if the shape or the sizes do not fit, or both ways are given.
    """
    check_tensor("x", x, ("N", "M", "K"))
    if split_size is not None and pad_value is not None:
        fail("split_size, pad_value", "at most one of them", (split_size, pad_value))
    rows = x.flatten(0, 1)
    if pad_value is not None:
        return rows[(rows != pad_value).any(-1)]
    if split_size is None:
        return rows
    sizes = [split_size] * len(x) if isinstance(split_size, int) else list(split_size)
    if len(sizes) != len(x) or any(not 0 <= size <= x.shape[1] for size in sizes):
        fail("split_size", f"{len(x)} sizes from 0 to {x.shape[1]}", split_size)
    return torch.cat([item[:size] for item, size in zip(x, sizes)]) if sizes else rows


def list_to_packed(x: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Concatenate tensors that differ only in their first dimension.

    Args:
        x: N tensors (M_i, ...), N >= 1.
    Returns:
        packed: (sum M_i, ...); differentiable.
        num_items: (N,) int64, the M_i.
        item_packed_first_idx: (N,) int64, the first row of each tensor.
        item_packed_to_list_idx: (sum M_i,) int64, the tensor that each row comes from.
    Raises:
        ValueError: if x is empty.
    """
    if not x:
        fail("x", "at least one tensor", "none")
    packed = torch.cat(list(x), dim=0)
    num_items = torch.tensor([len(item) for item in x], dtype=torch.int64, device=packed.device)
    owners = torch.arange(len(x), device=packed.device).repeat_interleave(num_items, output_size=len(packed))
    return packed, num_items, num_items.cumsum(0) - num_items, owners


def packed_to_list(x: torch.Tensor, split_size: int | Sequence[int]) -> list[torch.Tensor]:
    """Split a packed tensor along its first dimension.

    Args:
        x: (M, ...).
        split_size: the size of each part (they sum to M), or one size for all (the last part may be smaller).
    Returns:
        the parts, views of x; differentiable.
    Raises:
        ValueError: if the sizes do not sum to M.
    """
    if not isinstance(split_size, int) and sum(split_size) != len(x):
        fail("split_size", f"sizes that sum to {len(x)}", list(split_size))
    return list(x.split(split_size if isinstance(split_size, int) else list(split_size), dim=0))
