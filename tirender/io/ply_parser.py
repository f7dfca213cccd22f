"""PLY files to arrays (http://paulbourke.net/dataformats/ply/): ascii and both binary byte orders, vectorised.

plyfile takes 5 to 30 s for a million faces, and allocates whatever a header claims; hence this reader.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from tirender.checks import fail
from tirender.io.files import Source
from tirender.io.text import decode_text, is_number, parse_floats

_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_MAX_HEADER_BYTES = 1 << 20
_FEW_BYTES = 1 << 20
"""Rows of lists of different lengths are found one after the other, so that millions of empty ones are refused."""


@dataclass(frozen=True)
class Property:
    """A property: its name and the numpy type of its values; for a list also that of its length."""

    name: str
    dtype: str
    length_dtype: str | None = None


@dataclass
class Element:
    """An element: how many rows, what properties, and once read its data.

    Attributes:
        scalars: property name -> (count,) values.
        lists: property name -> (count,) lengths, and all values one row after the other.
    """

    name: str
    count: int
    properties: list[Property] = field(default_factory=list)
    scalars: dict[str, np.ndarray] = field(default_factory=dict)
    lists: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    @property
    def has_lists(self) -> bool:
        return any(p.length_dtype for p in self.properties)

    def columns(self, *names: str) -> np.ndarray | None:
        """Return these scalar properties as (count, n) in their common type, or None if one is absent."""
        if not all(name in self.scalars for name in names):
            return None
        return np.stack([self.scalars[name] for name in names], axis=1)


def parse_ply(source: Source) -> tuple[dict[str, Element], list[str]]:
    """Parse a PLY file: the elements by name, and the header's comments.

    Raises:
        ValueError: naming the file and the line or row: a header that is malformed or claims more than the file holds,
            truncated data, a field that is no number.
    """
    elements, order, body_start, header_lines, comments = _parse_header(source)
    body = source.data[body_start:]
    for element in elements:
        row = [p.length_dtype or p.dtype for p in element.properties]
        least = 2 * len(row) if not order else sum(np.dtype(d).itemsize for d in row)
        if element.count * least > len(body) + (not order):
            fail(source.name, f"data for {element.count} rows of element {element.name!r}", f"{len(body)} bytes")
    if order:
        offset = 0
        for element in elements:
            offset = _read_binary(source.name, element, body, offset, order)
    else:
        _read_ascii(source.name, elements, body, header_lines)
    return {element.name: element for element in elements}, comments


def _parse_header(source: Source) -> tuple[list[Element], str, int, int, list[str]]:
    """Return the elements, the byte order ("" for ascii), where the data starts, the number of lines, the comments."""
    data, name = source.data, source.name
    match = re.compile(rb"ply[ \t]*(\r\n|\n|\r)").match(data)
    if match is None:
        fail(f"{name}, line 1", "'ply'", repr(data[:16]))
    newline = match[1]
    elements: list[Element] = []
    comments: list[str] = []
    order: str | None = None
    position, number = match.end(), 1
    while True:
        end = data.find(newline, position, _MAX_HEADER_BYTES)
        number += 1
        where = f"{name}, line {number}"
        if end < 0:
            fail(where, "an end_header line", "the end of the header's space")
        line = decode_text(data[position:end]).strip()
        position = end + len(newline)
        match line.split():
            case ["end_header"]:
                break
            case ["comment", *_]:
                comments.append(line.removeprefix("comment").strip())
            case [] | ["obj_info", *_]:
                continue
            case ["format", kind, *_] if kind in _ORDERS:
                order = _ORDERS[kind]
            case ["element", kind, count] if count.isascii() and count.isdigit() and len(count) < 16:
                elements.append(Element(kind, int(count)))
            case ["property", "list", length, values, prop] if elements and length in _TYPES and values in _TYPES:
                if _TYPES[length][0] == "f":
                    fail(where, "a list length of an integer type", repr(line))
                elements[-1].properties.append(Property(prop, _TYPES[values], _TYPES[length]))
            case ["property", values, prop] if elements and values in _TYPES:
                elements[-1].properties.append(Property(prop, _TYPES[values]))
            case [keyword, *_] if not elements and keyword not in ("format", "element", "property"):
                continue  # a comment that lost its keyword
            case _:
                fail(where, "a format, element, property, comment or end_header statement", repr(line))
    if order is None:
        fail(name, "a format line (ascii, binary_little_endian or binary_big_endian)", "none")
    for element in elements:
        if len({p.name for p in element.properties}) < len(element.properties):
            fail(name, f"properties of different names in element {element.name!r}", "the same name twice")
    if len({element.name for element in elements}) < len(elements):
        fail(name, "elements of different names", "the same name twice")
    return elements, order, position, number, comments


def _read_binary(name: str, element: Element, body: bytes, offset: int, order: str) -> int:
    """Fill ``element`` from ``body[offset:]`` and return where it ends."""
    if not element.count:
        for p in element.properties:
            if p.length_dtype:
                element.lists[p.name] = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=p.dtype)
            else:
                element.scalars[p.name] = np.zeros(0, dtype=p.dtype)
    if not element.count or not element.properties:
        return offset
    lengths = _first_lengths(name, element, body, offset, order)
    columns: list[tuple[str, str, tuple[int, ...]]] = []
    for i, p in enumerate(element.properties):
        if p.length_dtype:
            columns.append((f"length{i}", order + p.length_dtype, ()))
        columns.append((f"value{i}", order + p.dtype, (lengths[i],) if i in lengths else ()))
    row_size = sum(np.dtype(dtype).itemsize * math.prod(shape) for _, dtype, shape in columns)
    if row_size * element.count <= len(body) - offset:  # are all rows like the first?
        rows = np.frombuffer(body, np.dtype(columns), element.count, offset)
        if all((rows[f"length{i}"] == n).all() for i, n in lengths.items()):
            for i, p in enumerate(element.properties):
                values = _native(rows[f"value{i}"]).reshape(-1)
                if p.length_dtype:
                    element.lists[p.name] = rows[f"length{i}"].astype(np.int64), values
                else:
                    element.scalars[p.name] = values
            return offset + row_size * element.count
    if not lengths:
        rows_left = (len(body) - offset) // row_size
        fail(f"{name}, element {element.name!r}", f"{element.count} rows", f"a file that ends after {rows_left}")
    return _read_binary_ragged(name, element, body, offset, order)


def _first_lengths(name: str, element: Element, body: bytes, offset: int, order: str) -> dict[int, int]:
    """Return the list lengths of the first row, by property index."""
    lengths: dict[int, int] = {}
    if element.has_lists:
        for i, p in enumerate(element.properties):
            if p.length_dtype:
                lengths[i] = _length(name, element, 0, body, offset, order + p.length_dtype)
                offset += np.dtype(p.length_dtype).itemsize
            offset += lengths.get(i, 1) * np.dtype(p.dtype).itemsize
    return lengths


def _length(name: str, element: Element, row: int, body: bytes, offset: int, dtype: str) -> int:
    size = int(dtype[-1])
    byte_order: Literal["big", "little"] = "big" if dtype[0] == ">" else "little"
    length = int.from_bytes(body[offset : offset + size], byte_order, signed=dtype[1] == "i")
    if offset + size > len(body) or length < 0 or length > len(body):
        got = "the end of the file" if offset + size > len(body) else f"a list of {length}"
        fail(f"{name}, element {element.name!r}, row {row}", f"one of {element.count} rows", got)
    return length


def _read_binary_ragged(name: str, element: Element, body: bytes, offset: int, order: str) -> int:
    """Rows of different lengths: find where each value lies, then gather all at once."""
    n = len(element.properties)
    least = 4 if n == 1 else 8  # bytes a row
    if element.count * least > max(len(body) - offset, _FEW_BYTES):
        rows = (len(body) - offset) // least
        fail(f"{name}, element {element.name!r}", f"at most {rows} rows of different lengths", element.count)
    if n == 1:
        return _read_binary_lists(name, element, body, offset, order)
    starts = np.empty((element.count, n), dtype=np.int64)
    lengths = np.ones((element.count, n), dtype=np.int64)
    layout = [(p.length_dtype and order + p.length_dtype, np.dtype(p.dtype).itemsize) for p in element.properties]
    for row in range(element.count):
        for i, (length_dtype, item_size) in enumerate(layout):
            length = 1
            if length_dtype:
                length = _length(name, element, row, body, offset, length_dtype)
                lengths[row, i] = length
                offset += int(length_dtype[-1])
            starts[row, i] = offset
            offset += length * item_size
        if offset > len(body):
            fail(f"{name}, element {element.name!r}, row {row}", f"one of {element.count} rows", "the end of the file")
    raw = np.frombuffer(body, np.uint8)
    for i, p in enumerate(element.properties):
        size, n_values = np.dtype(p.dtype).itemsize, int(lengths[:, i].sum())
        within = np.arange(n_values) - np.repeat(np.cumsum(lengths[:, i]) - lengths[:, i], lengths[:, i])
        where = np.repeat(starts[:, i], lengths[:, i]) + within * size
        values = _native(raw[where[:, None] + np.arange(size)].reshape(-1).view(order + p.dtype))
        if p.length_dtype:
            element.lists[p.name] = lengths[:, i].copy(), values
        else:
            element.scalars[p.name] = values
    return offset


def _read_binary_lists(name: str, element: Element, body: bytes, offset: int, order: str) -> int:
    """:func:`_read_binary_ragged` where a row is one list, which needs less to be done a row."""
    (p,) = element.properties
    head, size = np.dtype(p.length_dtype), np.dtype(p.dtype).itemsize
    length_of = struct.Struct(f"{order}{head.char}").unpack_from
    starts, end = [], len(body) - head.itemsize
    for row in range(element.count):
        length = length_of(body, offset)[0] if offset <= end else -1
        offset += head.itemsize
        starts.append(offset)
        offset += length * size
        if length < 0 or offset > len(body):
            got = f"a list of {length}" if offset <= len(body) else "the end of the file"
            fail(f"{name}, element {element.name!r}, row {row}", f"one of {element.count} rows", got)
    first = np.array(starts)
    lengths = np.diff(first - head.itemsize, append=offset) - head.itemsize
    lengths //= size
    n_values = int(lengths.sum())
    within = np.arange(n_values) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    where = np.repeat(first, lengths) + within * size
    raw = np.frombuffer(body, np.uint8)
    values = _native(raw[where[:, None] + np.arange(size)].reshape(-1).view(order + p.dtype))
    element.lists[p.name] = lengths, values
    return offset


def _native(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("="))


def _read_ascii(name: str, elements: list[Element], body: bytes, header_lines: int) -> None:
    try:
        values = parse_floats(body)
    except ValueError:
        for number, line in enumerate(body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")):
            for text in line.split():
                if not is_number(text):
                    fail(f"{name}, line {header_lines + 1 + number}", "numbers", repr(text.decode(errors="replace")))
        raise
    position = 0
    for element in elements:
        if not element.properties:
            continue
        starts, lengths, position = _ascii_layout(name, element, values, position)
        for i, p in enumerate(element.properties):
            if p.length_dtype:
                n, counts = int(lengths[:, i].sum()), lengths[:, i]
                within = np.arange(n) - np.repeat(np.cumsum(counts) - counts, counts)
                element.lists[p.name] = counts.copy(), _cast(values[np.repeat(starts[:, i], counts) + within], p.dtype)
            else:
                element.scalars[p.name] = _cast(values[starts[:, i]], p.dtype)


def _cast(values: np.ndarray, dtype: str) -> np.ndarray:
    """Give values their declared type where they fit; else they stay float64, and later checks see them as written."""
    with np.errstate(invalid="ignore", over="ignore"):
        cast = values.astype(dtype)
        return cast if dtype[0] == "f" or (cast == values).all() else values


def _ascii_layout(name: str, element: Element, values: np.ndarray, position: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Return where in ``values`` each property of each row starts, how many values it has, and where the rows end."""
    n = len(element.properties)
    is_list = [bool(p.length_dtype) for p in element.properties]

    def lay_out(position: int) -> tuple[list[int], list[int], int]:
        starts, lengths = [], []
        for listed in is_list:
            length = 1
            if listed:
                claim = float(values[position]) if position < len(values) else -1.0
                length = int(claim) if claim.is_integer() else -1
                position += 1
            if length < 0 or position + length > len(values):
                return [], [], position
            starts.append(position)
            lengths.append(length)
            position += length
        return starts, lengths, position

    def fail_at(row: int) -> None:
        fail(f"{name}, element {element.name!r}, row {row}", f"one of {element.count} rows", "the end of the numbers")

    if not element.count:
        return np.zeros((0, n), dtype=np.int64), np.ones((0, n), dtype=np.int64), position
    first_starts, first_lengths, first_end = lay_out(position)
    if not first_starts:
        fail_at(0)
    size = first_end - position
    if position + size * element.count <= len(values):  # are all rows like the first?
        table = values[position : position + size * element.count].reshape(element.count, size)
        claimed = [(s - position - 1, m) for s, m, listed in zip(first_starts, first_lengths, is_list) if listed]
        if all((table[:, column] == m).all() for column, m in claimed):
            starts = np.array(first_starts) + size * np.arange(element.count)[:, None]
            return starts, np.tile(first_lengths, (element.count, 1)), position + table.size
    elif not element.has_lists:
        fail_at((len(values) - position) // size)
    starts, lengths = np.empty((element.count, n), dtype=np.int64), np.empty((element.count, n), dtype=np.int64)
    if is_list == [True]:
        position = _ascii_lists(values, position, starts[:, 0], lengths[:, 0], fail_at)
        return starts, lengths, position
    for row in range(element.count):
        row_starts, row_lengths, position = lay_out(position)
        if not row_starts:
            fail_at(row)
        starts[row], lengths[row] = row_starts, row_lengths
    return starts, lengths, position


def _ascii_lists(
    values: np.ndarray, position: int, starts: np.ndarray, lengths: np.ndarray, fail_at: Callable[[int], None]
) -> int:
    """Fill where the lists of rows of one list each start, and their lengths; returns where the rows end."""
    numbers, found = np.ascontiguousarray(values, np.float64).data, []
    for row in range(len(starts)):
        length = float(numbers[position]) if position < len(numbers) else -1.0
        found.append(position + 1)
        if not 0 <= length <= len(numbers) - position - 1 or not length.is_integer():
            fail_at(row)
        position += 1 + int(length)
    starts[:] = found
    lengths[:] = np.diff(starts, append=position + 1) - 1
    return position
