"""OFF text to a mesh (http://www.geomview.org/docs/html/OFF.html)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from tirender.checks import fail
from tirender.io.colors import unit_range, with_alpha
from tirender.io.file_mesh import FileMesh
from tirender.io.files import Source
from tirender.io.obj_parser import clean_text
from tirender.io.polygons import triangulate
from tirender.io.text import finite_float32, is_number

_HEADER = re.compile(rb"((?:ST|C|N|4|n)*)OFF(\d*)$")
_MAX_DIMENSIONS = 64


def read_off(source: Source) -> FileMesh:
    """Read a mesh.

    The header may have any of the prefixes ST (texture coordinates), C (colours), N (normals), 4 (a weight) and n (any
    number of dimensions, of which three are kept), in any order, and be missing or run into the counts. Vertices have
    their position, normal, colour and texture coordinates in this order; vertices without ``C`` and faces may have a
    colour behind the rest. Colours up to 1 are taken as they are, whole ones above to 255.

    Raises:
        ValueError: naming file and line: no OFF header, fewer lines than it announces, fields that are missing or
            no number, an index out of range, a polygon of less than 3 corners, NaN and infinity.
    """
    off = _OffText(source)
    verts, normals, uvs, verts_rgba = off.verts()
    faces, faces_rgba = off.faces(verts)
    return FileMesh(
        off.name,
        verts,
        faces,
        normals,
        None if normals is None else faces,
        () if uvs is None else (uvs,),
        () if uvs is None else (faces,),
        verts_rgba,
        faces_rgba,
    )


class _OffText:
    """The lines of an OFF file that say something, and the counts in its header."""

    def __init__(self, source: Source) -> None:
        self.name = source.name
        raw = clean_text(source).split(b"\n")
        stripped = [line.partition(b"#")[0].split() for line in raw]
        self.numbers = [i + 1 for i, fields in enumerate(stripped) if fields]
        self.rows = [fields for fields in stripped if fields]
        keyword = self.rows[0][0] if self.rows else b""
        match = _HEADER.match(keyword.upper() if keyword.islower() else keyword)
        if not (match or is_number(keyword)) or b"BINARY" in self.rows[0][1:]:
            fail(
                f"{self.name}, line 1", "a text file that starts with OFF, or ST, C, N, 4, n and OFF", repr(raw[0][:40])
            )
        prefix = match[1] if match else b""
        if match:
            self.rows[0] = [match[2], *self.rows[0][1:]] if match[2] else self.rows[0][1:]
            self._drop_empty_row()
        self.has_uvs, self.has_normals, self.has_weight = b"ST" in prefix, b"N" in prefix, b"4" in prefix
        self.n_dims = self._dimensions() if b"n" in prefix else 3
        counts = self.rows[0] if self.rows else []
        if len(counts) < 2 or not all(c.isdigit() and len(c) < 16 for c in counts[:2]):
            fail(self.where(0), "the numbers of vertices and faces", repr(b" ".join(counts)))
        self.n_verts, self.n_faces = int(counts[0]), int(counts[1])
        missing = self.n_verts + self.n_faces + 1 - len(self.rows)
        if missing > 0:
            fail(self.name, f"{self.n_verts} vertices and {self.n_faces} faces", f"a file with {missing} lines too few")

    def _drop_empty_row(self) -> None:
        if not self.rows[0]:
            del self.rows[0], self.numbers[0]

    def _dimensions(self) -> int:
        """Take the number of dimensions off the front."""
        field = self.rows[0][0] if self.rows else b""
        if not (field.isdigit() and len(field) < 9 and 0 < int(field) <= _MAX_DIMENSIONS):
            fail(self.where(0), f"a number of dimensions from 1 to {_MAX_DIMENSIONS}", repr(field))
        self.rows[0] = self.rows[0][1:]
        self._drop_empty_row()
        if int(field) > 3:
            warnings.warn(f"{self.name}: {int(field)} dimensions, the first 3 are read", stacklevel=4)
        return int(field)

    def where(self, row: int) -> str:
        number = self.numbers[row] if row < len(self.numbers) else (self.numbers or [0])[-1] + 1
        return f"{self.name}, line {number}"

    def verts(self) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None, np.ndarray | None]:
        """Return (V, 3) float64 positions, (V, 3) normals, (V, 2) texture coordinates and (V, 4) colours."""
        n_position = self.n_dims + self.has_weight
        n_fixed, n_uvs = n_position + 3 * self.has_normals, 2 * self.has_uvs
        rows = self.rows[1 : 1 + self.n_verts]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        if (lengths < n_fixed + n_uvs).any():
            self._fail_at_row(1 + int(np.argmax(lengths < n_fixed + n_uvs)), f"{n_fixed + n_uvs} numbers")
        colors = None
        if (lengths > n_fixed + n_uvs).any():
            colors = self._colors([row[n_fixed : len(row) - n_uvs] for row in rows], 1, "vertex")
        where = lambda row: self.where(1 + row)  # noqa: E731
        values = self._table([row[:n_fixed] for row in rows], 1).reshape(-1, n_fixed)
        finite = finite_float32(values, "numbers", where)
        positions = np.zeros((len(rows), 3))
        positions[:, : min(self.n_dims, 3)] = values[:, : min(self.n_dims, 3)]
        if self.has_weight:
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                positions /= values[:, self.n_dims, None]
            finite_float32(positions, "weights that leave positions", where)
        uvs = None
        if self.has_uvs:
            table = self._table([row[-2:] for row in rows], 1).reshape(-1, 2)
            uvs = finite_float32(table, "numbers", where)
        normals = np.ascontiguousarray(finite[:, n_position:]) if self.has_normals else None
        return positions, normals, uvs, colors

    def faces(self, verts: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return (F, 3) triangles and their (F, 4) colours."""
        first = 1 + self.n_verts
        rows = self.rows[first : first + self.n_faces]
        sizes = []
        for i, row in enumerate(rows):
            size = int(row[0]) if row[0].isdigit() and len(row[0]) < 10 else 0
            if not len(row) > size >= 3:
                self._fail_at_row(first + i, "a count of at least 3, and as many vertex indices")
            sizes.append(size)
        counts = np.array(sizes, dtype=np.int64)
        values = self._table([row[1 : size + 1] for row, size in zip(rows, sizes)], first)
        bad = ~((values >= 0) & (values < len(verts)) & (values == np.floor(values)))
        if bad.any():
            wrong = int(np.searchsorted(np.cumsum(counts), np.argmax(bad), side="right"))
            self._fail_at_row(first + wrong, f"indices of the {len(verts)} vertices")
        index = values.astype(np.int64)
        triangles, polygon = triangulate(counts, index, verts, by_corner=True)
        colors = None
        if sum(map(len, rows)) > sum(sizes) + len(rows):
            colors = self._colors([row[size + 1 :] for row, size in zip(rows, sizes)], first, "face")
        return index[triangles], None if colors is None else colors[polygon]

    def _colors(self, rows: Sequence[list[bytes]], first: int, what: str) -> np.ndarray | None:
        """Return the (N, 4) colours of rows of 3 or 4 numbers, white where there are none; None if there are no such.

        Args:
            rows: the fields behind the others.
            first: the row of the file that they start at.
            what: they colour, for warnings.
        """
        sizes = np.array([min(len(row), 4) for row in rows])
        if ((sizes == 1) | (sizes == 2)).any():
            warnings.warn(f"{self.name}: {what} colours that are indices of a colour map are not read", stacklevel=5)
        known = sizes >= 3
        if not known.any():
            return None
        rgba = np.zeros((len(rows), 4))
        for size in (3, 4):
            chosen = np.flatnonzero(sizes == size)
            table = self._table([rows[i][:size] for i in chosen], first, chosen)
            rgba[chosen, :size] = table.reshape(-1, size)
        finite_float32(rgba, "colours", lambda row: self.where(first + row))
        unit = unit_range(rgba, f"{self.name}: {what} colours", whole=True)
        unit[~known, :3] = 1.0
        unit[sizes != 4, 3] = 1.0
        return with_alpha(unit[:, :3], unit[:, 3])

    def _table(self, rows: Sequence[list[bytes]], first: int, numbers: np.ndarray | None = None) -> np.ndarray:
        try:
            return np.array([text for row in rows for text in row], dtype=np.float64)
        except ValueError:
            bad = next(i for i, row in enumerate(rows) if not all(map(is_number, row)))
            return self._fail_at_row(first + (bad if numbers is None else int(numbers[bad])), "numbers")

    def _fail_at_row(self, row: int, expected: str) -> Any:
        fail(self.where(row), expected, repr(b" ".join(self.rows[row]).decode(errors="replace")))
