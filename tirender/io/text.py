"""Numbers from and to text, in bulk."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from tirender.checks import fail

_CHUNK = 4 << 20
_SPACE = np.zeros(256, dtype=bool)
_SPACE[list(b" \t\n\r\v\f")] = True


def is_space(characters: np.ndarray) -> np.ndarray:
    """Return which of these bytes are white space."""
    return _SPACE[characters]


def count_fields(body: np.ndarray, line_starts: np.ndarray) -> np.ndarray:
    """Return the number of blank-separated fields in each line of ``body`` (uint8, each line ends in a newline)."""
    if not len(line_starts):
        return np.zeros(0, dtype=np.int64)
    space = is_space(body)
    starts = ~space
    starts[1:] &= space[:-1]
    return np.add.reduceat(starts, line_starts, dtype=np.int64)


def parse_floats(text: bytes) -> np.ndarray:
    """Return all white-space separated numbers of ``text`` as float64; ValueError if one is none."""
    parts = []
    start = 0
    while start < len(text):
        end = min(start + _CHUNK, len(text))
        while end < len(text) and not _SPACE[text[end]]:
            end += 1
        parts.append(np.array(text[start:end].split(), dtype=np.float64))
        start = end
    return np.concatenate(parts) if parts else np.zeros(0)


def decode_text(data: bytes) -> str:
    """Decode UTF-8, or else Latin-1, which keeps all bytes of an older encoding apart."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def is_number(field: bytes) -> bool:
    """Whether one field is a number."""
    try:
        float(field)
    except ValueError:
        return False
    return True


def finite_float32(values: np.ndarray, what: str, where: Callable[[int], str]) -> np.ndarray:
    """Return ``values`` (rows, n) as float32; ValueError at ``where(row)`` for the first NaN, infinity or overflow."""
    with np.errstate(over="ignore"):
        result = values.astype(np.float32)
    finite = np.isfinite(result).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        fail(where(row), f"{what} finite in float32", values[row].tolist())
    return result


def number_format(values: torch.Tensor, decimal_places: int | None) -> str:
    """Return the ``%`` format of these numbers; without ``decimal_places`` with all digits that the floats need."""
    if not values.is_floating_point():
        return "%d"
    if decimal_places is not None:
        return f"%.{decimal_places}f"
    return "%r" if values.dtype == torch.float64 else "%.9g"  # as short as brings the same number back


def format_rows(line: str, *tables: torch.Tensor) -> Iterator[bytes]:
    """Yield a line for each row, in pieces.

    Args:
        line: its ``%`` format, newline included.
        tables: (N, C) each; a row's numbers are those of all tables, in this order.
    """
    arrays = [table.detach().cpu().numpy() for table in tables]
    for start in range(0, len(arrays[0]), 65536):
        columns = [column.tolist() for array in arrays for column in array[start : start + 65536].T]
        yield "".join([line % row for row in zip(*columns)]).encode()
