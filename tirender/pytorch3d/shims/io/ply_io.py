"""PLY files as elements and properties."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import torch

from tirender.io.files import read_source
from tirender.io.ply_io import _save
from tirender.io.ply_parser import Element, Property, _parse_header, parse_ply
from tirender.io.texturing import colors_as_bytes
from tirender.pytorch3d.shims.io.utils import PathOrStr, _check_faces_indices, _make_tensor, _open_file

__all__ = [
    "PathOrStr",
    "_PlyElementType",
    "_PlyHeader",
    "_Property",
    "_check_faces_indices",
    "_load_ply_raw",
    "_make_tensor",
    "_open_file",
    "_save_ply",
]

_TYPE_NAMES = {
    "i1": "char",
    "u1": "uchar",
    "i2": "short",
    "u2": "ushort",
    "i4": "int",
    "u4": "uint",
    "f4": "float",
    "f8": "double",
}


class _Property(NamedTuple):
    """A property: its name and type; for a list also the type of its length."""

    name: str
    data_type: str
    list_size_type: str | None


@dataclass
class _PlyElementType:
    """An element: its name, how many there are, and their properties."""

    name: str
    count: int
    properties: list[_Property]


@dataclass
class _PlyHeader:
    """The header of a file: its elements, and whether it is text, or else in which byte order."""

    elements: list[_PlyElementType]
    ascii: bool
    big_endian: bool


def _load_ply_raw(f: Any, path_manager: Any = None) -> tuple[_PlyHeader, dict[str, Any]]:
    """Read a PLY file without knowing what it means.

    Args:
        f: a path or a binary stream.
        path_manager: an iopath ``PathManager``, or None for the local file system.
    Returns:
        the header; and by the name of each element: without lists, an array (count, n) for each run of n properties of
        one type; for one list of constant length, an array (count, length); else a list of the properties of each.
    Raises:
        ValueError: if the file is damaged.
    """
    source = read_source(f, path_manager)
    _, order, *_ = _parse_header(source)
    elements, _ = parse_ply(source)
    header = [_PlyElementType(e.name, e.count, [_described(p) for p in e.properties]) for e in elements.values()]
    return _PlyHeader(header, not order, order == ">"), {name: _values(e) for name, e in elements.items()}


def _described(found: Property) -> _Property:
    length = found.length_dtype
    return _Property(found.name, _TYPE_NAMES[found.dtype], None if length is None else _TYPE_NAMES[length])


def _values(element: Element) -> Any:
    if not element.count:
        return []
    if not element.has_lists:
        runs = [[p.name for p in run] for _, run in groupby(element.properties, key=lambda p: p.dtype)]
        return [element.columns(*names) for names in runs]
    columns: list[Any] = []
    for each in element.properties:
        if each.length_dtype is None:
            columns.append(element.scalars[each.name].tolist())
            continue
        lengths, values = element.lists[each.name]
        if len(element.properties) == 1 and (lengths == lengths[0]).all():
            return values.reshape(element.count, -1)
        columns.append(np.split(values, np.cumsum(lengths)[:-1]))
    return [list(row) for row in zip(*columns)]


def _save_ply(
    f: Any,
    *,
    verts: torch.Tensor,
    verts_colors: torch.Tensor | None,
    verts_normals: torch.Tensor | None,
    faces: torch.Tensor | None,
    ascii: bool,
    colors_as_uint8: bool,
    decimal_places: int | None = None,
) -> None:
    """Write vertices (V, 3), with colours in [0, 1] and normals (V, 3) and faces (F, 3), to a binary stream."""
    colors = verts_colors
    if colors is not None and colors_as_uint8:
        colors = colors_as_bytes(colors)
    _save(f, verts, faces, verts_normals, colors, ascii, decimal_places, None)
