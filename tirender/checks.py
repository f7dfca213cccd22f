"""Checks of arguments, with one wording for all errors: ``ValueError("name: expected X, got Y")``."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from numbers import Number, Real
from typing import Any, NoReturn

import numpy as np
import torch

FLOATS = (torch.float32, torch.float64)
INTEGERS = (torch.int32, torch.int64)


def fail(name: str, expected: str, got: object) -> NoReturn:
    """Raise ``ValueError("name: expected X, got Y")``."""
    raise ValueError(f"{name}: expected {expected}, got {got}")


def check_kind(name: str, value: Any, *kinds: type) -> None:
    """Raise ``ValueError`` if ``value`` is not an instance of one of these classes."""
    if not isinstance(value, kinds):
        fail(name, " or ".join(kind.__name__ for kind in kinds), type(value).__name__)


def check_tensor(
    name: str,
    value: Any,
    shape: Sequence[int | str | None] | None = None,
    dtype: torch.dtype | tuple[torch.dtype, ...] | None = None,
    like: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return ``value`` if it is a dense tensor of this shape and dtype, else raise.

    Args:
        name: the argument's name, for the message.
        value: the argument.
        shape: one entry a dimension. An int must match. A string (shown in the message) or None matches any size. A
            leading ``"..."`` matches any number of dimensions.
        dtype: the allowed dtype or dtypes.
        like: a tensor with the same dtype and device.
    Raises:
        ValueError: if ``value`` does not fit.
    """
    if not isinstance(value, torch.Tensor):
        fail(name, "a tensor", type(value).__name__)
    if value.layout != torch.strided or value.is_meta:
        fail(name, "a dense tensor", "one on the meta device" if value.is_meta else value.layout)
    if shape is not None:
        tail = tuple(shape[1:]) if shape and shape[0] == "..." else tuple(shape)
        rank_fits = value.dim() >= len(tail) if len(tail) < len(shape) else value.dim() == len(tail)
        sizes = tuple(value.shape[value.dim() - len(tail) :]) if rank_fits else ()
        if not rank_fits or any(isinstance(want, int) and want != has for want, has in zip(tail, sizes)):
            fail(name, f"shape ({', '.join('?' if s is None else str(s) for s in shape)})", tuple(value.shape))
    if dtype is not None:
        allowed = dtype if isinstance(dtype, tuple) else (dtype,)
        if value.dtype not in allowed:
            fail(name, " or ".join(str(d).removeprefix("torch.") for d in allowed), value.dtype)
    if like is not None and (value.dtype != like.dtype or value.device != like.device):
        fail(name, f"{like.dtype} on {like.device}", f"{value.dtype} on {value.device}")
    return value


def as_floats(name: str, value: Any) -> torch.Tensor:
    """Return a tensor of float32 or float64 as it is, and one of half floats or integers as float32; else raise."""
    if check_tensor(name, value).dtype in FLOATS:
        return value
    if value.is_complex() or value.dtype == torch.bool:
        fail(name, "real numbers", value.dtype)
    return value.float()


def as_indices(name: str, value: Any) -> torch.Tensor:
    """Return a tensor of whole numbers, of any integer or float dtype, as int64; else raise."""
    if check_tensor(name, value).is_complex() or value.dtype == torch.bool:
        fail(name, "whole numbers", value.dtype)
    indices = value.long()
    if value.is_floating_point() and not bool((indices == value).all()):
        fail(name, "whole numbers", f"{value.dtype} with others")
    return indices


def all_finite(values: torch.Tensor) -> bool:
    """Whether no number is NaN or infinite."""
    # a sum is ten times faster; it may overflow, so only then each number is tested
    return math.isfinite(values.detach().sum()) or bool(values.isfinite().all())


def check_range(name: str, indices: torch.Tensor, n: int, what: str) -> None:
    """Raise ``ValueError`` if an index is negative or not below n; ``what`` names the indexed items in the message."""
    if indices.numel():
        low, high = (int(bound) for bound in torch.aminmax(indices))
        if low < 0 or high >= n:
            fail(name, f"indices of the {n} {what}", low if low < 0 else high)


def check_broadcast(name: str, value: torch.Tensor, other: torch.Tensor) -> None:
    """Raise ``ValueError`` if the shapes of two tensors do not broadcast."""
    for has, want in zip(reversed(value.shape), reversed(other.shape)):
        if has != want and 1 not in (has, want):
            fail(name, f"a shape that broadcasts with {tuple(other.shape)}", tuple(value.shape))


def check_integer(name: str, value: Any, least: int) -> int:
    """Return ``value`` as an int if it is an integer, or an integer tensor of one element, >= ``least``; else raise."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except (TypeError, RuntimeError):
        number = None
    if number is None or number < least:
        fail(name, f"an integer of {least} or more", repr(value))
    return number


def check_number(name: str, value: Any) -> float:
    """Return ``value`` as a float if it is a finite real number, or a 0-d tensor or array of one; else raise."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    is_scalar = isinstance(value, torch.Tensor | np.ndarray) and value.ndim == 0
    try:
        number = float(value) if is_number or is_scalar else None
    except (TypeError, ValueError, RuntimeError):
        number = None
    if number is None or not math.isfinite(number):
        fail(name, "a finite number", repr(value))
    return number


def check_dims(name: str, value: Any, n_dims: int) -> tuple[int, ...]:
    """Return one or several dimensions of a tensor of ``n_dims`` as a tuple of ints; else raise."""
    try:
        dims = tuple(operator.index(d) for d in (value if isinstance(value, tuple | list) else (value,)))
    except TypeError:
        dims = (n_dims,)
    if not all(-n_dims <= d < n_dims for d in dims) or len({d % n_dims for d in dims}) < len(dims):
        fail(name, f"different dimensions from {-n_dims} to {n_dims - 1}", repr(value))
    return dims


def as_device(name: str, value: Any) -> torch.device:
    """Return a device, or the device of a name; None is the CPU; else raise ``ValueError``."""
    try:
        return torch.device("cpu" if value is None else value)
    except (RuntimeError, TypeError):
        return fail(name, "a device", repr(value))


def check_float_dtype(name: str, value: Any) -> torch.dtype | None:
    """Return ``value`` if it is a dtype of floats, or None; else raise ``ValueError``."""
    if value is not None and not (isinstance(value, torch.dtype) and value.is_floating_point):
        fail(name, "a dtype of floats", repr(value))
    return value


def as_tensor(
    name: str, value: Any, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> torch.Tensor:
    """Convert a number, an array or a nested list to a tensor, or a tensor by its method ``to``; else raise."""
    try:
        tensor = value if isinstance(value, torch.Tensor) else torch.tensor(value, dtype=dtype)
    except (TypeError, ValueError, RuntimeError) as error:
        fail(name, "a tensor, or numbers", f"{type(value).__name__} ({str(error).splitlines()[0]})")
    return check_tensor(name, tensor).to(device=device, dtype=dtype)


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """Return ``value`` if it is one of ``choices``, else raise ``ValueError``."""
    if not (value is None or isinstance(value, str | Number)) or value not in choices:
        fail(name, " or ".join(repr(c) for c in choices), repr(value))
    return value


def batch_index(index: Any, n: int, device: torch.device) -> torch.Tensor:
    """The positions in a batch of ``n`` that ``index`` selects, as an int64 tensor for ``index_select``.

    Args:
        index: an integer, a slice, a list of integers, a bool tensor (n,), or an integer tensor () or (m,); negative
            ones count from the end.
        n: the batch's size.
        device: the device of the result.
    Raises:
        IndexError: if the index has another type, or is out of range.
    """
    if isinstance(index, slice):
        return torch.tensor(range(n)[index], dtype=torch.int64, device=device)
    if isinstance(index, torch.Tensor) and index.dtype == torch.bool:
        if index.shape != (n,):
            raise IndexError(f"index: expected a mask ({n},), got shape {tuple(index.shape)}")
        return index.nonzero()[:, 0].to(device)
    if isinstance(index, torch.Tensor) and index.dim() == 1:
        index = index.tolist()
    items = list(index) if isinstance(index, list | tuple) else [index]
    try:
        ids = [operator.index(item) for item in items if not isinstance(item, bool)]
    except TypeError:
        ids = []
    if len(ids) < len(items):
        raise IndexError(f"index: expected an integer, a slice, a list of integers or a tensor of them, got {index!r}")
    for i in ids:
        if not -n <= i < n:
            raise IndexError(f"index: expected {-n} to {n - 1}, got {i}")
    return torch.tensor([i % n for i in ids], dtype=torch.int64, device=device)
