"""OFF text to a mesh (http://www.geomview.org/docs/html/OFF.html)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import NoReturn

import numpy as np

from tirender.checks import fail
from tirender.io.colors import unit_range, with_alpha
from tirender.io.file_mesh import FileMesh
from tirender.io.files import Source
from tirender.io.obj_parser import clean_text
from tirender.io.polygons import triangulate
from tirender.io.text import count_fields, finite_float32, is_number

_HEADER = re.compile(rb"((?:ST|C|N|4|n)*)OFF(\d*)$")
_COMMENT = re.compile(rb"#[^\n]*")
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
    """The lines of an OFF file that say something, split into fields, and what its header says."""

    def __init__(self, source: Source) -> None:
        self.name = source.name
        text = clean_text(source)
        if b"#" in text:
            text = _COMMENT.sub(b"", text)
        buffer = np.frombuffer(text, dtype=np.uint8)
        ends = np.flatnonzero(buffer == ord("\n"))
        counts = count_fields(buffer[: ends[-1] + 1], np.concatenate([[0], ends[:-1] + 1]))
        lines = np.flatnonzero(counts)
        self.numbers, self.counts = lines + 1, counts[lines]
        self.first = np.cumsum(self.counts) - self.counts
        self.fields = text.split()
        self._header()
        missing = self.n_verts + self.n_faces + self.start - len(self.counts)
        if missing > 0:
            fail(self.name, f"{self.n_verts} vertices and {self.n_faces} faces", f"a file with {missing} lines too few")
        self.values = self._numbers()

    def _header(self) -> None:
        """Read the keyword, the number of dimensions and the counts; ``start`` is the row behind them."""
        row = self._row(0)
        keyword = row[0] if row else b""
        match = _HEADER.match(keyword.upper() if keyword.islower() else keyword)
        if not (match or is_number(keyword)) or b"BINARY" in row[1:]:
            got = repr(b" ".join(row)[:40])
            fail(f"{self.name}, line 1", "a text file that starts with OFF, or ST, C, N, 4, n and OFF", got)
        prefix = match[1] if match else b""
        self.start = 0
        if match:
            row = self._rest([match[2], *row[1:]] if match[2] else row[1:])
        self.has_uvs, self.has_normals, self.has_weight = b"ST" in prefix, b"N" in prefix, b"4" in prefix
        self.n_dims = 3
        if b"n" in prefix:
            field = row[0] if row else b""
            if not (field.isdigit() and len(field) < 9 and 0 < int(field) <= _MAX_DIMENSIONS):
                fail(self.where(self.start), f"a number of dimensions from 1 to {_MAX_DIMENSIONS}", repr(field))
            self.n_dims, row = int(field), self._rest(row[1:])
            if self.n_dims > 3:
                warnings.warn(f"{self.name}: {self.n_dims} dimensions, the first 3 are read", stacklevel=5)
        if len(row) < 2 or not all(c.isdigit() and len(c) < 16 for c in row[:2]):
            fail(self.where(self.start), "the numbers of vertices and faces", repr(b" ".join(row)))
        self.n_verts, self.n_faces = int(row[0]), int(row[1])
        self.start += 1

    def _rest(self, row: list[bytes]) -> list[bytes]:
        """Return what is left of the header's row, or else the next row."""
        if not row:
            self.start += 1
        return row or self._row(self.start)

    def _row(self, row: int) -> list[bytes]:
        if row >= len(self.counts):
            return []
        return self.fields[self.first[row] : self.first[row] + self.counts[row]]

    def _numbers(self) -> np.ndarray:
        """Return all fields of vertices and faces as numbers; those of the header are left at 0."""
        n_rows = self.start + self.n_verts + self.n_faces
        begin, end = (int(self.counts[:n].sum()) for n in (self.start, n_rows))
        values = np.zeros(end)
        try:
            values[begin:] = np.array(self.fields[begin:end], dtype=np.float64)
        except ValueError:
            bad = next(i for i in range(begin, end) if not is_number(self.fields[i]))
            self._fail_at_row(int(np.searchsorted(self.first, bad, side="right")) - 1, "numbers")
        return values

    def where(self, row: int) -> str:
        number = self.numbers[row] if row < len(self.numbers) else ([0, *self.numbers][-1] + 1)
        return f"{self.name}, line {number}"

    def verts(self) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None, np.ndarray | None]:
        """Return (V, 3) float64 positions, (V, 3) normals, (V, 2) texture coordinates and (V, 4) colours."""
        n_position = self.n_dims + self.has_weight
        n_fixed, n_uvs = n_position + 3 * self.has_normals, 2 * self.has_uvs
        rows = slice(self.start, self.start + self.n_verts)
        first, lengths = self.first[rows], self.counts[rows]
        if (lengths < n_fixed + n_uvs).any():
            wrong = int(np.argmax(lengths < n_fixed + n_uvs))
            self._fail_at_row(self.start + wrong, f"{n_fixed + n_uvs} numbers")
        where = lambda row: self.where(self.start + row)  # noqa: E731
        values = self.values[first[:, None] + np.arange(n_fixed)]
        finite = finite_float32(values, "numbers", where)
        positions = np.zeros((len(values), 3))
        positions[:, : min(self.n_dims, 3)] = values[:, : min(self.n_dims, 3)]
        if self.has_weight:
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                positions /= values[:, self.n_dims, None]
            finite_float32(positions, "weights that leave positions", where)
        uvs = None
        if self.has_uvs:
            uvs = finite_float32(self.values[(first + lengths - 2)[:, None] + np.arange(2)], "numbers", where)
        normals = np.ascontiguousarray(finite[:, n_position:]) if self.has_normals else None
        colors = self._colors(first + n_fixed, lengths - n_fixed - n_uvs, where, "vertex")
        return positions, normals, uvs, colors

    def faces(self, verts: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return (F, 3) triangles and their (F, 4) colours."""
        start = self.start + self.n_verts
        rows = slice(start, start + self.n_faces)
        first, lengths = self.first[rows], self.counts[rows]
        claimed = self.values[first]
        wrong = ~((claimed >= 3) & (claimed < lengths) & (claimed == np.floor(claimed)))
        if wrong.any():
            expected = "a count of at least 3, and as many vertex indices"
            self._fail_at_row(start + int(np.argmax(wrong)), expected)
        counts = claimed.astype(np.int64)
        place = np.arange(counts.sum()) + np.repeat(first + 1 - np.cumsum(counts) + counts, counts)
        corners = self.values[place]
        bad = ~((corners >= 0) & (corners < len(verts)) & (corners == np.floor(corners)))
        if bad.any():
            row = int(np.searchsorted(np.cumsum(counts), np.argmax(bad), side="right"))
            self._fail_at_row(start + row, f"indices of the {len(verts)} vertices")
        index = corners.astype(np.int64)
        triangles, polygon = triangulate(counts, index, verts, by_corner=True)
        where = lambda row: self.where(start + row)  # noqa: E731
        colors = self._colors(first + 1 + counts, lengths - 1 - counts, where, "face")
        return index[triangles], None if colors is None else colors[polygon]

    def _colors(
        self, first: np.ndarray, counts: np.ndarray, where: Callable[[int], str], what: str
    ) -> np.ndarray | None:
        """Return the (N, 4) colours of rows, white where a row has none; None if none has one.

        Args:
            first: where each row's colour starts.
            counts: how many numbers it has.
            where: the place of a row, for errors.
            what: they colour, for warnings.
        """
        if ((counts == 1) | (counts == 2)).any():
            warnings.warn(f"{self.name}: {what} colours that are indices of a colour map are not read", stacklevel=5)
        known = counts >= 3
        if not known.any():
            return None
        rgba = np.zeros((len(first), 4))
        rgba[known, :3] = self.values[first[known, None] + np.arange(3)]
        has_alpha = counts >= 4
        rgba[has_alpha, 3] = self.values[first[has_alpha] + 3]
        finite_float32(rgba, "colours", where)
        unit = unit_range(rgba, f"{self.name}: {what} colours", whole=True)
        unit[~known, :3] = 1.0
        unit[~has_alpha, 3] = 1.0
        return with_alpha(unit[:, :3], unit[:, 3])

    def _fail_at_row(self, row: int, expected: str) -> NoReturn:
        fail(self.where(row), expected, repr(b" ".join(self._row(row)).decode(errors="replace")))
