"""Packed tensors of ragged batches: how the rows are divided among the items, and conversions to and from lists."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch

from tirender.checks import check_tensor, fail
from tirender.structures.utils import list_to_padded

PartsOrPadded = Sequence[torch.Tensor] | torch.Tensor


class Partition:
    """The division of a packed tensor's R rows among the N items of a batch, in order.

    Args:
        counts: the number of rows of each item.
        device: where the index maps live; each is computed once.
    """

    def __init__(self, counts: Sequence[int], device: torch.device) -> None:
        self.counts = list(counts)
        self.device = device
        self.n_items, self.n_rows, self.largest = len(self.counts), sum(self.counts), max(self.counts, default=0)

    @property
    def is_even(self) -> bool:
        """Whether all items have equally many rows, so that padded and packed differ only in shape."""
        return len(set(self.counts)) <= 1

    @cached_property
    def sizes(self) -> torch.Tensor:
        """(N,) int64: the number of rows of each item."""
        return torch.tensor(self.counts, dtype=torch.int64, device=self.device)

    @cached_property
    def first(self) -> torch.Tensor:
        """(N,) int64: the first row of each item."""
        return self.sizes.cumsum(0) - self.sizes

    @cached_property
    def owner(self) -> torch.Tensor:
        """(R,) int64: the item of each row."""
        items = torch.arange(self.n_items, device=self.device)
        return items.repeat_interleave(self.sizes, output_size=self.n_rows)

    @cached_property
    def padded_to_packed(self) -> torch.Tensor:
        """(R,) int64: the index of each row in the flattened padded tensor."""
        shift = torch.arange(self.n_items, device=self.device) * self.largest - self.first
        return torch.arange(self.n_rows, device=self.device) + shift.index_select(0, self.owner)

    def split(self, packed: torch.Tensor) -> list[torch.Tensor]:
        """(R, ...) to N views, one an item."""
        return list(packed.split(self.counts))

    def pad(self, packed: torch.Tensor, value: float = 0) -> torch.Tensor:
        """(R, ...) to (N, largest, ...), padded with ``value``."""
        if self.is_even:
            return packed.reshape(self.n_items, self.largest, *packed.shape[1:])
        return list_to_padded(self.split(packed), (self.largest, *packed.shape[1:]), value)

    def unpad(self, padded: torch.Tensor) -> torch.Tensor:
        """(N, largest, ...) to (R, ...), without the padding."""
        rows = padded.reshape(-1, *padded.shape[2:])
        return rows if self.is_even else rows.index_select(0, self.padded_to_packed)


def bounding_boxes(rows: Partition, points: torch.Tensor) -> torch.Tensor:
    """(N, 3, 2): the least and greatest x, y, z of each item's points (R, 3); (inf, -inf) without points."""
    boxes = [_bounding_box(part) for part in rows.split(points)]
    return torch.stack(boxes) if boxes else points.new_zeros(0, 3, 2)


def _bounding_box(points: torch.Tensor) -> torch.Tensor:
    if not len(points):
        return points.new_tensor([torch.inf, -torch.inf]).expand(3, 2)
    return torch.stack([points.min(dim=0).values, points.max(dim=0).values], dim=1)


def repeat_rows(values: torch.Tensor, counts: Sequence[int], n: int) -> torch.Tensor:
    """Repeat each item of a packed tensor n times in a row, where ``counts`` has the number of rows of each item."""
    if len(counts) == 1:
        return values.expand(n, *values.shape).flatten(0, 1)
    return torch.cat([part for part in values.split(list(counts)) for _ in range(n)]) if counts else values


def repeat_counts(counts: Sequence[int], n: int) -> list[int]:
    """Repeat each count n times in a row."""
    return [count for count in counts for _ in range(n)]


def pack_parts(
    name: str,
    value: PartsOrPadded,
    dtype: torch.dtype | tuple[torch.dtype, ...] | None,
    n_columns: int | None = 3,
) -> tuple[torch.Tensor, list[int]]:
    """Check a list of (n_i, C) tensors or a padded (N, n, C) tensor, and pack it.

    Args:
        name: the argument's name, for messages.
        value: the list or the padded tensor. An empty tensor in a list may have shape (0,).
        dtype: the allowed dtype or dtypes; None for any.
        n_columns: C; None for any number that all parts share.
    Returns:
        the packed tensor (sum n_i, C), and the n_i.
    Raises:
        ValueError: if a shape, dtype or device does not fit.
    """
    if isinstance(value, torch.Tensor):
        check_tensor(name, value, ("N", "n", n_columns or "C"), dtype)
        return value.reshape(-1, value.shape[2]), [value.shape[1]] * len(value)
    if not isinstance(value, (list, tuple)):
        fail(name, "a list of tensors or a padded tensor", type(value).__name__)
    tensors = [part for part in value if isinstance(part, torch.Tensor)]
    like = next((part for part in tensors if part.dim() and len(part)), tensors[0] if tensors else torch.zeros(0, 3))
    n_columns = n_columns or (like.shape[1] if like.dim() == 2 else None)
    parts = []
    for i, part in enumerate(value):
        if not (isinstance(part, torch.Tensor) and part.shape == (0,)):
            check_tensor(f"{name}[{i}]", part, ("n", n_columns or "C"))
        parts.append(part if len(part) else like.new_zeros(0, n_columns or 0))
        check_tensor(f"{name}[{i}]", parts[-1], dtype=dtype, like=like)
    return concatenate(parts, like), [len(part) for part in parts]


def concatenate(parts: Sequence[torch.Tensor], like: torch.Tensor) -> torch.Tensor:
    """Concatenate the parts; without any, return an empty tensor with the columns of ``like``."""
    if len(parts) == 1:
        return parts[0].contiguous()
    return torch.cat(list(parts)) if parts else like.new_zeros(0, *like.shape[1:])
