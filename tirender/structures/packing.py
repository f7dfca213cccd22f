"""Rows of the items of a ragged batch: how they are divided among the items, and their three layouts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from itertools import accumulate
from typing import Any, Literal, NamedTuple

import torch

from tirender.checks import as_floats, check_number, check_tensor, fail
from tirender.structures.keeping import compute_to_keep, kept_property, version_of
from tirender.structures.utils import list_to_padded

PartsOrPadded = Sequence[torch.Tensor] | torch.Tensor
Layout = Literal["list", "padded", "packed"]


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

    @kept_property
    def sizes(self) -> torch.Tensor:
        """(N,) int64: the number of rows of each item."""
        return torch.tensor(self.counts, dtype=torch.int64, device=self.device)

    @kept_property
    def first(self) -> torch.Tensor:
        """(N,) int64: the first row of each item."""
        return self.sizes.cumsum(0) - self.sizes

    @kept_property
    def owner(self) -> torch.Tensor:
        """(R,) int64: the item of each row."""
        items = torch.arange(self.n_items, device=self.device)
        return items.repeat_interleave(self.sizes, output_size=self.n_rows)

    @kept_property
    def padded_to_packed(self) -> torch.Tensor:
        """(R,) int64: the index of each row in the flattened padded tensor."""
        shift = torch.arange(self.n_items, device=self.device) * self.largest - self.first
        return torch.arange(self.n_rows, device=self.device) + shift.index_select(0, self.owner)

    def split(self, packed: torch.Tensor) -> list[torch.Tensor]:
        """(R, ...) to N views, one an item."""
        return list(packed.split(self.counts))

    def pad(self, packed: torch.Tensor, value: float = 0) -> torch.Tensor:
        """(R, ...) to (N, largest, ...), padded with ``value``, in storage of its own."""
        return self.pad_view(packed).clone() if self.is_even else self.pad_view(packed, value)

    def pad_view(self, packed: torch.Tensor, value: float = 0) -> torch.Tensor:
        """As :meth:`pad`, but a view where all items have equally many rows."""
        if self.is_even:
            return packed.reshape(self.n_items, self.largest, *packed.shape[1:])
        return list_to_padded(self.split(packed), (self.largest, *packed.shape[1:]), value)

    def unpad(self, padded: torch.Tensor) -> torch.Tensor:
        """(N, largest, ...) to (R, ...), without the padding; a view where there is none."""
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
        return values.repeat(n, *[1] * (values.dim() - 1))
    return torch.cat([part for part in values.split(list(counts)) for _ in range(n)]) if counts else values


def repeat_counts(counts: Sequence[int], n: int) -> list[int]:
    """Repeat each count n times in a row."""
    return [count for count in counts for _ in range(n)]


class Ragged:
    """The rows of N items, (n_i, ...) each: as a list, padded to (N, largest, ...), and packed to (sum n_i, ...).

    The layout that was given is handed back, the very tensors. The others are derived once, when first asked for. A
    derived packed or padded tensor has its own storage; the parts of a derived list are views. It is derived again
    after the given tensors were written to in place (an optimiser's step), or where it lacks a gradient that they need
    by now.

    Args:
        rows: the number of rows of each item.
        given: the tensors: a list of N > 0, or one alone; on one device, of one dtype.
        layout: which of the three layouts this is.
    """

    def __init__(self, rows: Partition, given: Sequence[torch.Tensor], layout: Layout = "packed") -> None:
        self.rows, self.layout = rows, layout
        self._given = tuple(given)
        self._derived: dict[str, _Derived] = {}

    @classmethod
    def of_parts(cls, parts: Sequence[torch.Tensor], like: torch.Tensor) -> Ragged:
        """From a list, which may be empty; ``like`` (n, ...) then tells the columns, the dtype and the device."""
        rows = Partition([len(part) for part in parts], like.device)
        return cls(rows, parts, "list") if parts else cls(rows, [like.new_zeros(0, *like.shape[1:])])

    def list(self) -> list[torch.Tensor]:
        """N tensors (n_i, ...)."""
        return list(self._given if self.layout == "list" else self._derive("list", self._to_list))

    def packed(self) -> torch.Tensor:
        """(sum n_i, ...)."""
        return self._given[0] if self.layout == "packed" else self._derive("packed", self._to_packed)[0]

    def padded(self) -> torch.Tensor:
        """(N, largest, ...), padded with 0."""
        return self._given[0] if self.layout == "padded" else self._derive("padded", self._to_padded)[0]

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Ragged:
        """The same rows after a function of the given tensors, in the same layout."""
        changed = [function(tensor) for tensor in self._given]
        rows = self.rows if changed[0].device == self.rows.device else Partition(self.rows.counts, changed[0].device)
        return Ragged(rows, changed, self.layout)

    @property
    def like(self) -> torch.Tensor:
        """A tensor with the columns, the dtype and the device of the rows."""
        return self._given[0]

    @property
    def version(self) -> tuple[int, int]:
        """What changes when the packed tensor is derived again or written to in place."""
        packed = self.packed()
        return self._derived["packed"].times if "packed" in self._derived else 0, version_of(packed)

    def __getstate__(self) -> dict[str, Any]:
        """Without what is derived, which may be part of a graph and then cannot be copied."""
        return {**self.__dict__, "_derived": {}}

    def _derive(self, layout: str, compute: Callable[[], Sequence[torch.Tensor]]) -> Sequence[torch.Tensor]:
        versions = tuple(map(version_of, self._given))
        needs_grad = tuple(torch.is_grad_enabled() and tensor.requires_grad for tensor in self._given)
        kept = self._derived.get(layout)
        if kept is None or kept.versions != versions or any(n and not h for n, h in zip(needs_grad, kept.has_grad)):
            times = 1 if kept is None else kept.times + 1
            kept = self._derived[layout] = _Derived(compute_to_keep(compute), versions, needs_grad, times)
        return kept.tensors

    def _to_list(self) -> Sequence[torch.Tensor]:
        if self.layout == "packed":
            return self.rows.split(self._given[0])
        return [part[:n] for part, n in zip(self._given[0].unbind(0), self.rows.counts)]

    def _to_packed(self) -> Sequence[torch.Tensor]:
        if self.layout == "list" and len(self._given) > 1:
            return [torch.cat(self._given)]
        rows = self._given[0] if self.layout == "list" else self.rows.unpad(self._given[0])
        return [rows.clone(memory_format=torch.contiguous_format)]

    def _to_padded(self) -> Sequence[torch.Tensor]:
        if self.layout == "packed":
            return [self.rows.pad(self._given[0])]
        return [list_to_padded(self._given, (self.rows.largest, *self.like.shape[1:]))]


class _Derived(NamedTuple):
    """A derived layout; of each given tensor the version it was derived from, and whether with a gradient.

    ``times`` counts the derivations.
    """

    tensors: Sequence[torch.Tensor]
    versions: tuple[int, ...]
    has_grad: tuple[bool, ...]
    times: int


def check_ragged(
    name: str,
    value: PartsOrPadded,
    cast: Callable[[str, torch.Tensor], torch.Tensor] | None,
    n_columns: int | None = 3,
) -> Ragged:
    """Check a list of (n_i, C) tensors or a padded (N, n, C) tensor.

    Args:
        name: the argument's name, for messages.
        value: the list or the padded tensor. An empty tensor in a list may have shape (0,).
        cast: checks and converts the dtype of a tensor of this name; None for any dtype. Parts of different dtypes are
            then promoted to one.
        n_columns: C; None for any number that all parts share.
    Returns:
        the rows. Tensors that need no conversion are kept, not copied.
    Raises:
        ValueError: if a shape, dtype or device does not fit.
    """
    if isinstance(value, torch.Tensor):
        check_tensor(name, value, ("N", "n", n_columns or "C"))
        padded = value if cast is None else cast(name, value)
        if not len(padded):
            return Ragged.of_parts([], padded.flatten(0, 1))
        return Ragged(Partition([padded.shape[1]] * len(padded), padded.device), [padded], "padded")
    if not isinstance(value, list | tuple):
        fail(name, "a list of tensors or a padded tensor", type(value).__name__)
    parts = [check_tensor(f"{name}[{i}]", part) for i, part in enumerate(value)]
    like = next((part for part in parts if part.dim() and len(part)), parts[0] if parts else torch.zeros(0, 3))
    n_columns = n_columns or (like.shape[1] if like.dim() == 2 else None)
    for i, part in enumerate(parts):
        if part.shape == (0,):
            part = part.new_zeros(0, n_columns or 0)
        check_tensor(f"{name}[{i}]", part, ("n", n_columns or "C"))
        if part.device != like.device:
            fail(f"{name}[{i}]", f"a tensor on {like.device} as the others", part.device)
        parts[i] = part if cast is None else cast(f"{name}[{i}]", part)
    if len({part.dtype for part in parts}) > 1:
        dtype = reduce(torch.promote_types, {part.dtype for part in parts if len(part)} or {parts[0].dtype})
        parts = [part.to(dtype) for part in parts]
    return Ragged.of_parts(parts, like)


def stored(state: dict[str, Any], name: str) -> Any:
    """What a pickle of PyTorch3D's keeps of a quantity: its list, else its padded tensor; None without it."""
    as_list = state.get(f"_{name}_list")
    return state.get(f"_{name}_padded") if as_list is None else as_list


def per_item(name: str, value: float | torch.Tensor, rows: Ragged) -> float | torch.Tensor:
    """A number, or a tensor whose row i holds a factor or D for item i, as what rows (sum n_i, D) are multiplied by."""
    if not isinstance(value, torch.Tensor) or not value.dim():
        return check_number(name, value) if not isinstance(value, torch.Tensor) else as_floats(name, value)
    n, width = rows.rows.n_items, rows.like.shape[-1]
    if value.dim() > 2 or len(value) < n or value.shape[1:] not in ((), (1,), (width,)):
        fail(name, f"a number, or shape ({n},), ({n}, 1) or ({n}, {width})", tuple(value.shape))
    if value.device != rows.like.device:
        fail(name, f"a tensor on {rows.like.device}", value.device)
    return as_floats(name, value)[:n].reshape(n, -1).index_select(0, rows.rows.owner)


def split_slices(sizes: Sequence[int], n: int) -> list[slice]:
    """The consecutive parts of a batch of ``n`` that have these sizes; else raise ``ValueError``."""
    sizes = list(sizes)
    if not all(isinstance(size, int) and size >= 0 for size in sizes) or sum(sizes) > n:
        fail("split_sizes", f"non-negative integers that sum to at most {n}", sizes)
    ends = list(accumulate(sizes))
    return [slice(end - size, end) for size, end in zip(sizes, ends)]


def concatenate(parts: Sequence[torch.Tensor], like: torch.Tensor) -> torch.Tensor:
    """Concatenate the parts; without any, return an empty tensor with the columns of ``like``."""
    return torch.cat(list(parts)) if parts else like.new_zeros(0, *like.shape[1:])
