"""STL files, binary and text (https://www.fabbers.com/tech/STL_Format)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tirender.checks import fail
from tirender.io.file_mesh import FileMesh, weld
from tirender.io.files import Source
from tirender.io.obj_parser import clean_text
from tirender.io.orientation import orientation_of_format, to_comment
from tirender.io.pluggable_formats import MeshRecordFormat
from tirender.io.text import finite_float32, is_number

_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_HEADER_BYTES = 84
_UNKNOWN_COUNTS = (0, 0xFFFFFFFF)  # of programs that write the header before they know
_NAMES = re.compile(rb"(?im)^(?:end)?solid\b[^\n]*")
_VERTEX = re.compile(rb"(?i)\bvertex\s+(\S+)\s+(\S+)\s+(\S+)")
_LOOP_END = re.compile(rb"(?i)\bendloop\b")


def read_stl(source: Source) -> FileMesh:
    """Read a mesh; corners at one position become one vertex, and triangles without area stay.

    Faces turn the way their corners do; the normals, which only repeat that, are not read. Binary files may colour
    faces by their attribute, as Materialise Magics does (``COLOR=`` in the header) or VisCAM and SolidView.

    Raises:
        ValueError: naming the file and where: neither binary nor text, a file that ends too early, a field that is no
            number, a facet without three corners, NaN and infinity.
    """
    data = source.data.removeprefix(b"\xef\xbb\xbf")
    n_triangles = int.from_bytes(data[80:_HEADER_BYTES], "little") if len(data) >= _HEADER_BYTES else 0
    n_found, rest = divmod(len(data) - _HEADER_BYTES, _TRIANGLE.itemsize)
    if n_triangles in _UNKNOWN_COUNTS and n_found > 0 and not rest and not _is_text(data):
        n_triangles = n_found
    size = _HEADER_BYTES + _TRIANGLE.itemsize * n_triangles
    # Binary headers may start with "solid" too: what decides is whether the size fits.
    is_text = len(data) != size and _is_text(data)
    if is_text:
        corners, rgba = _text_corners(source), None
    else:
        if len(data) < max(size, _HEADER_BYTES):
            if len(data) < _HEADER_BYTES or data[:_HEADER_BYTES].isascii() and b"\0" not in data[:_HEADER_BYTES]:
                fail(source.name, "an STL file: text that starts with 'solid', or triangles", f"{data[:12]!r} ...")
            fail(source.name, f"{n_triangles} triangles in {size} bytes, or text that starts with 'solid'", len(data))
        if len(data) > size:
            warnings.warn(f"{source.name}: {len(data) - size} bytes behind the triangles are not read", stacklevel=3)
        rows = np.frombuffer(data, _TRIANGLE, n_triangles, _HEADER_BYTES)
        corners, rgba = rows["corners"].reshape(-1, 3), _colors(data[:80], rows["attribute"])
    finite_float32(corners, "corners", lambda row: f"{source.name}, triangle {row // 3}")
    verts, index = weld(corners)
    return FileMesh(source.name, verts.astype(np.float64), index.reshape(-1, 3), faces_rgba=rgba)


class MeshStlFormat(MeshRecordFormat):
    """STL in the ``IO`` registry: paths that end in .stl; reading only."""

    known_suffixes = (".stl",)
    read_record = staticmethod(read_stl)


def stl_chunks(mesh: FileMesh, path: Path) -> Iterator[bytes]:
    """Return the contents of a binary file: faces with their normals; the header says how they stand, if not +Z up."""
    standing = "" if mesh.orientation == orientation_of_format(".stl") else to_comment(mesh.orientation)
    corners = mesh.placed_verts()[mesh.faces]
    rows = np.zeros(len(corners), _TRIANGLE)
    rows["corners"] = corners
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    rows["normal"] = normals / np.where(length > 0.0, length, 1.0)
    yield standing.encode()[:80].ljust(80) + len(corners).to_bytes(4, "little")
    yield rows.tobytes()


def _is_text(data: bytes) -> bool:
    return data.lstrip()[:5].lower() == b"solid" and b"\0" not in data


def _colors(header: bytes, attributes: np.ndarray) -> np.ndarray | None:
    """Return the (F, 4) colours of the faces, five bits a channel, or None where there are none."""
    place = header.find(b"COLOR=")
    default = np.frombuffer(header, np.uint8, 4, place + 6) / 255.0 if 0 <= place <= 70 else None
    bits = np.stack([attributes >> shift & 31 for shift in (0, 5, 10)], axis=1) / 31.0
    marked = (attributes >> 15).astype(bool)
    rgba = np.ones((len(attributes), 4), dtype=np.float32)
    if default is not None:  # Materialise Magics: red lowest, and the highest bit means the colour of the whole
        rgba[:, :3] = bits
        rgba[marked] = default
        rgba[:, 3] = default[3] if default[3] > 0.0 else 1.0
        return rgba
    if not marked.any():
        return None
    rgba[marked, :3] = bits[marked, ::-1]  # VisCAM and SolidView: blue lowest, the highest bit means that it counts
    return rgba


def _text_corners(source: Source) -> np.ndarray:
    """Return (3 F, 3) float64."""
    text = _NAMES.sub(b"", clean_text(source))
    fields = _VERTEX.findall(text)
    try:
        corners = np.array(fields, dtype=np.float64).reshape(-1, 3)
    except ValueError:
        bad = next(match for match in _VERTEX.finditer(text) if not all(map(is_number, match.groups())))
        line = text.count(b"\n", 0, bad.start()) + 1
        fail(f"{source.name}, line {line}", "three numbers", repr(b" ".join(bad.groups()).decode(errors="replace")))
    ends = [match.start() for match in _LOOP_END.finditer(text)]
    starts = np.array([match.start() for match in _VERTEX.finditer(text)], dtype=np.int64)
    per_loop = np.diff(np.searchsorted(starts, ends), prepend=0)
    if (per_loop != 3).any() or 3 * len(ends) != len(corners):
        wrong = int(np.argmax(per_loop != 3)) if (per_loop != 3).any() else len(ends)
        line = text.count(b"\n", 0, ends[wrong] if wrong < len(ends) else len(text)) + 1
        got = per_loop[wrong] if wrong < len(ends) else "the end of the file"
        fail(f"{source.name}, line {line}", "facets of three corners", got)
    return corners
