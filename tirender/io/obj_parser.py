"""Wavefront OBJ text to arrays: one table of lines, then all lines of a kind at once (numpy).

Format: http://paulbourke.net/dataformats/obj/. Statements other than v, vt, vn, f, usemtl and mtllib are skipped.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from tirender.checks import fail
from tirender.io.colors import unit_range
from tirender.io.files import Source
from tirender.io.polygons import triangulate
from tirender.io.text import count_fields, decode_text, finite_float32, is_number, is_space

_CHUNK_LINES = 1 << 18
_INLINE_COMMENT = re.compile(rb"(?m)^((?:v|vt|vn|f)[ \t][^\n#]*)#[^\n]*")
_NOT_READ = {"l": "lines", "p": "points", "curv": "curves", "curv2": "curves", "surf": "surfaces"}
_STATEMENT = re.compile(rb"(?m)^(v|vt|vn|vp|f|fo|l|p|g|o|s|usemtl|mtllib|deg|curv2?|surf|cstype|mg)[ \t\n]")


@dataclass(frozen=True)
class ObjText:
    """What an OBJ file says, polygons cut into triangles.

    Attributes:
        verts: (V, 3) float64, finite in float32.
        verts_rgb: (V, 3) float32 in [0, 1], or None; white, with a warning, where only some v lines have a colour.
        normals: (N, 3) float32.
        verts_uvs: (T, 2) float32.
        corners: (F, 3, 3) int64: of each face's corners the vertex, uv and normal index; -1 where the file has none.
        materials_idx: (F,) int64 into ``material_names``; -1 before the first usemtl.
        material_names: in the order of their first use.
        material_files: what the mtllib statements name.
        not_read: other elements that it has: lines, points (beside faces), curves, surfaces.
        n_parts: how many names of objects and groups.
    """

    verts: np.ndarray
    verts_rgb: np.ndarray | None
    normals: np.ndarray
    verts_uvs: np.ndarray
    corners: np.ndarray
    materials_idx: np.ndarray
    material_names: list[str]
    material_files: list[str]
    not_read: list[str]
    n_parts: int = 0


def parse_obj(source: Source) -> ObjText:
    """Parse an OBJ file.

    Raises:
        ValueError: naming file and line: an index that is 0 or out of range, a field that is no number, too few fields,
            a value that is not finite in float32, corners of one face that do not all have the same parts.
    """
    lines = _Lines(source)
    is_vert, is_uv, is_normal, is_face = (lines.starting_with(word) for word in ("v", "vt", "vn", "f"))
    verts, colors = lines.floats(np.flatnonzero(is_vert), 1, 3, np.float64)
    verts_uvs, _ = lines.floats(np.flatnonzero(is_uv), 2, 2, np.float32)
    normals, _ = lines.floats(np.flatnonzero(is_normal), 2, 3, np.float32)

    face_lines = np.flatnonzero(is_face)
    totals = np.array([len(verts), len(verts_uvs), len(normals)])
    before = np.stack([np.cumsum(kind, dtype=np.int64)[face_lines] for kind in (is_vert, is_uv, is_normal)], axis=1)
    corners, triangle_lines = _parse_faces(lines, face_lines, before, totals, verts)

    names: dict[str, int] = {}
    use_lines, use_idx = [-1], [-1]
    for line, name in lines.arguments("usemtl"):
        use_lines.append(line)
        use_idx.append(names.setdefault(name, len(names)) if name else -1)
    materials_idx = np.array(use_idx)[np.searchsorted(use_lines, triangle_lines) - 1]
    material_files = [argument for _, argument in lines.arguments("mtllib")]
    initials = np.bincount(lines.initials(), minlength=256)
    found = {_NOT_READ[word] for word in _NOT_READ if initials[ord(word[0])] and lines.starting_with(word).any()}
    found -= {"points"} if not len(corners) else set()  # they are drawn
    parts = {(word, name) for word in "og" if initials[ord(word)] for _, name in lines.arguments(word) if name}
    return ObjText(
        verts,
        colors,
        normals,
        verts_uvs,
        corners,
        materials_idx,
        list(names),
        material_files,
        sorted(found),
        len(parts),
    )


def clean_text(source: Source) -> bytes:
    """Return a text file in UTF-8 with one kind of line end, no byte-order mark and no blanks at the start of a line.

    Continued lines are joined, and empty lines put behind them, so that line numbers stay.

    Raises:
        ValueError: the file holds NUL bytes.
    """
    data = source.data
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        data = data.decode("utf-16", errors="replace").encode()
    text = data.removeprefix(b"\xef\xbb\xbf") + b"\n"
    if not text.isascii():
        text = decode_text(text).encode()
    if b"\0" in text:
        fail(source.name, "a text file", "binary data")
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if re.search(rb"\n[ \t\v\f]", text) or text[:1] in (b" ", b"\t"):
        text = re.sub(rb"(?m)^[ \t\v\f]+", b"", text)
    if b"\\" in text and re.search(rb"\\[ \t]*\n", text):
        text = _join_continued(text)
    return text


def _join_continued(text: bytes) -> bytes:
    joined: list[bytes] = []
    pending: list[bytes] = []
    for line in text.split(b"\n"):
        stripped = line.rstrip(b" \t")
        # A backslash that ends a comment continues nothing.
        if stripped.endswith(b"\\") and not (line.startswith(b"#") and not pending):
            pending.append(stripped[:-1])
            continue
        joined.append(b" ".join([*pending, line]))
        joined.extend([b""] * len(pending))
        pending = []
    return b"\n".join(joined)


class _Lines:
    """All lines of a file as one byte array with their starts and ends (where the newline is)."""

    def __init__(self, source: Source) -> None:
        self.name = source.name
        text = clean_text(source)
        if b"#" in text:
            text = _INLINE_COMMENT.sub(rb"\1", text)
        if text.strip() and not text.lstrip().startswith(b"#") and not _STATEMENT.search(text):
            fail(self.name, "an OBJ file", "no OBJ statement in it")
        self.buffer = np.frombuffer(text, dtype=np.uint8)
        self.ends = np.flatnonzero(self.buffer == ord("\n"))
        self.starts = np.concatenate([[0], self.ends[:-1] + 1])

    def starting_with(self, keyword: str) -> np.ndarray:
        """Return which lines are this statement."""
        n = len(keyword)
        # A short line runs into the next ones here; its own newline then stops it from matching.
        matches = np.ones(len(self.starts), dtype=bool)
        for i, character in enumerate(keyword.encode()):
            matches &= self.buffer[np.minimum(self.starts + i, self.ends)] == character
        return matches & is_space(self.buffer[np.minimum(self.starts + n, self.ends)])

    def initials(self) -> np.ndarray:
        """Return the first byte of each line."""
        return self.buffer[self.starts]

    def where(self, line: int) -> str:
        return f"{self.name}, line {line + 1}"

    def text(self, line: int) -> bytes:
        return self.buffer[self.starts[line] : self.ends[line]].tobytes()

    def quoted(self, line: int) -> str:
        return repr(self.text(line)[:120].decode(errors="replace"))

    def arguments(self, keyword: str) -> list[tuple[int, str]]:
        """Return line number and text behind the keyword for all lines of a rare statement."""
        lines = np.flatnonzero(self.starting_with(keyword)).tolist()
        return [(line, self.text(line)[len(keyword) :].decode(errors="replace").strip()) for line in lines]

    def bodies(self, selected: np.ndarray, skip: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the selected lines, less ``skip`` characters each, one after the other, and where each starts."""
        first, last = self.starts[selected[0]], self.ends[selected[-1]] + 1
        starts, ends = self.starts[selected] + skip - first, self.ends[selected] + 1 - first
        edges = np.zeros(last - first + 1, dtype=np.int8)
        edges[starts] += 1
        edges[ends] -= 1
        body = self.buffer[first:last][np.cumsum(edges[:-1], dtype=np.int8).astype(bool)]
        lengths = ends - starts
        return body, np.cumsum(lengths) - lengths

    def floats(
        self, selected: np.ndarray, skip: int, n_values: int, dtype: type
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the first ``n_values`` numbers of each line, and of vertices numbers 4 to 6 as colours."""
        values: np.ndarray = np.empty((len(selected), n_values), dtype=dtype)
        colors: np.ndarray | None = None
        for start in range(0, len(selected), _CHUNK_LINES):
            chunk = selected[start : start + _CHUNK_LINES]
            rows = slice(start, start + len(chunk))
            body, line_starts = self.bodies(chunk, skip)
            counts = count_fields(body, line_starts)
            if counts.min() < n_values:
                row = int(np.argmax(counts < n_values))
                fail(self.where(chunk[row]), f"{n_values} numbers", self.quoted(chunk[row]))
            try:
                flat = np.array(body.tobytes().split(), dtype=np.float64)
            except ValueError:
                self._fail_at_non_number(chunk)
                raise
            first = np.cumsum(counts) - counts
            where = lambda row, chunk=chunk: self.where(chunk[row])  # noqa: E731
            table = flat[first[:, None] + np.arange(n_values)]
            single = finite_float32(table, "numbers", where)
            values[rows] = table if dtype is np.float64 else single
            colored = np.flatnonzero(counts >= 6)
            if dtype is np.float64 and len(colored):
                where = lambda row, lines=chunk[colored]: self.where(lines[row])  # noqa: E731
                rgb = flat[first[colored, None] + np.arange(3, 6)]
                finite_float32(rgb, "colours", where)
                colors = np.full((len(selected), 3), np.nan) if colors is None else colors
                colors[start + colored] = rgb
        return values, None if colors is None else self._unit_colors(colors)

    def _unit_colors(self, colors: np.ndarray) -> np.ndarray:
        known = ~np.isnan(colors[:, 0])
        result = np.ones((len(colors), 3), dtype=np.float32)
        result[known] = unit_range(colors[known], f"{self.name}: vertex colours", whole=True)
        if not known.all():
            n = int((~known).sum())
            warnings.warn(f"{self.name}: {n} vertices without a colour, taken as white", stacklevel=2)
        return result

    def _fail_at_non_number(self, selected: np.ndarray) -> None:
        for line in selected:
            for field in self.text(line).split()[1:]:
                if not is_number(field):
                    fail(self.where(line), "numbers", repr(field.decode(errors="replace")))


def _parse_faces(
    lines: _Lines, selected: np.ndarray, before: np.ndarray, totals: np.ndarray, verts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Parse the f lines.

    Args:
        lines: the file.
        selected: (L,) its face lines.
        before: (L, 3) how many vertices, uvs and normals were defined above each, for negative indices.
        totals: (3,) how many there are in all.
        verts: (V, 3) positions.
    Returns:
        (F, 3, 3) indices and (F,) the line each triangle comes from.
    """
    parts = []
    for start in range(0, len(selected), _CHUNK_LINES):
        rows = slice(start, start + _CHUNK_LINES)
        parts.append(_parse_face_lines(lines, selected[rows], before[rows], totals, verts))
    if not parts:
        return np.zeros((0, 3, 3), dtype=np.int64), np.zeros(0, dtype=np.int64)
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _parse_face_lines(
    lines: _Lines, selected: np.ndarray, before: np.ndarray, totals: np.ndarray, verts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    body, line_starts = lines.bodies(selected, 1)

    def fail_at(row: int, expected: str) -> None:
        fail(lines.where(selected[row]), expected, lines.quoted(selected[row]))

    def check(bad: Any, rows: np.ndarray, expected: str) -> None:
        if bad.any():
            fail_at(int(rows[np.argmax(bad)]), expected)

    # Every body starts with a blank and ends in a newline, so that no neighbour below crosses a line.
    digit, slash, minus, space = (body >= 48) & (body <= 57), body == 47, body == 45, is_space(body)
    lone_minus = minus.copy()
    lone_minus[:-1] &= ~(digit[1:] & np.concatenate([[False], (space | slash)[:-2]]))
    odd = np.flatnonzero(~(digit | slash | minus | space) | lone_minus)
    if len(odd):
        fail_at(int(np.searchsorted(line_starts, odd[0], "right")) - 1, "corners v, v/vt, v//vn or v/vt/vn of integers")

    starts = np.flatnonzero(digit & ~np.concatenate([[False], digit[:-1]]))
    ends = np.flatnonzero(digit & ~np.concatenate([digit[1:], [False]])) + 1
    corner_begins = ~space & np.concatenate([[True], space[:-1]])
    corner_starts = np.flatnonzero(corner_begins)
    corner_rows = np.searchsorted(line_starts, corner_starts, "right") - 1
    corner_of = np.cumsum(corner_begins, dtype=np.int32)[starts] - 1
    slashes = np.cumsum(slash, dtype=np.int32)
    part_of = slashes[starts] - (slashes - slash)[corner_starts][corner_of]
    corner_slashes = np.add.reduceat(slash, corner_starts, dtype=np.int64) if len(corner_starts) else np.zeros(0)
    check(corner_slashes > 2, corner_rows, "at most v/vt/vn in a corner")
    check(ends - starts > 18, corner_rows[corner_of], "indices of at most 18 digits")

    index: np.ndarray = np.zeros((len(corner_starts), 3), dtype=np.int64)
    given = np.zeros((len(corner_starts), 3), dtype=bool)
    index[corner_of, part_of] = np.where(minus[starts - 1], -1, 1) * _parse_digits(body, starts, ends)
    given[corner_of, part_of] = True
    check(~given[:, 0], corner_rows, "a vertex index in every corner")
    check((given & (index == 0)).any(axis=1), corner_rows, "indices that are not 0 (they count from 1)")

    counts = np.bincount(corner_rows, minlength=len(selected))
    check(counts < 3, np.arange(len(selected)), "at least 3 corners")
    first = np.cumsum(counts) - counts
    n_given = np.add.reduceat(given, first, axis=0, dtype=np.int64)
    partly = ((n_given > 0) & (n_given < counts[:, None])).any(axis=1)
    check(partly, np.arange(len(selected)), "the same parts (v, vt, vn) in every corner")

    index = np.where(index < 0, index + before[corner_rows], index - 1)
    for part, what in enumerate(("vertices", "texture coordinates", "normals")):
        outside = given[:, part] & ((index[:, part] < 0) | (index[:, part] >= totals[part]))
        check(outside, corner_rows, f"indices into the file's {totals[part]} {what}")
    index[~given] = -1
    triangles, polygon = triangulate(counts, index[:, 0], verts)
    return index[triangles], selected[polygon]


def _parse_digits(body: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    lengths = ends - starts
    values: np.ndarray = np.zeros(len(starts), dtype=np.int64)
    for i in range(int(lengths.max(initial=0))):
        inside = lengths > i
        values = np.where(inside, values * 10 + body[np.minimum(starts + i, ends - 1)] - 48, values)
    return values
