"""OFF files (Object File Format, http://www.geomview.org/docs/html/OFF.html), text only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tirender.checks import fail
from tirender.io.files import Source, read_source, write_file
from tirender.io.obj_parser import clean_text
from tirender.io.pluggable_formats import MeshFormatInterpreter, check_indices, check_rows, has_suffix, one_mesh
from tirender.io.text import fan_triangles, finite_float32, format_rows, is_number, number_format
from tirender.io.texturing import vertex_colors

if TYPE_CHECKING:
    from tirender.structures.meshes import Meshes


class MeshOffFormat(MeshFormatInterpreter):
    """OFF, COFF, NOFF and CNOFF in the ``IO`` registry: paths that end in .off."""

    known_suffixes = (".off",)

    def read(
        self, path: Any, include_textures: bool, device: Any, path_manager: Any = None, **kwargs: Any
    ) -> Meshes | None:
        """Read a mesh; vertex colours become ``TexturesVertex``, else face colours a ``TexturesAtlas`` of one texel.

        Colours up to 1 are taken as they are, larger ones count to 255; alpha is dropped. Polygons are cut into fans.

        Raises:
            ValueError: naming file and line: no OFF header, fewer lines than it announces, fields that are missing or
                no number, an index out of range, a polygon of less than 3 corners, NaN and infinity.
        """
        if not has_suffix(path, self.known_suffixes):
            return None
        from tirender.renderer.mesh.textures import TexturesAtlas, TexturesVertex
        from tirender.structures.meshes import Meshes

        off = _OffText(read_source(path, path_manager))
        verts, normals, verts_rgb = off.verts()
        faces, faces_rgb = off.faces(len(verts))
        textures: Any = None
        if include_textures and verts_rgb is not None:
            textures = TexturesVertex(verts_features=[verts_rgb.to(device)])
        elif include_textures and faces_rgb is not None:
            textures = TexturesAtlas(atlas=[faces_rgb[:, None, None].to(device)])
        verts_normals = None if normals is None else [normals.to(device)]
        return Meshes([verts.to(device)], [faces.to(device)], textures, verts_normals=verts_normals)

    def save(
        self,
        data: Meshes,
        path: Any,
        path_manager: Any = None,
        binary: bool | None = None,
        decimal_places: int | None = None,
        colors_as_uint8: bool = False,
        **kwargs: Any,
    ) -> bool:
        """Write one mesh with the colours of its vertices, or those of its faces (``TexturesAtlas`` of one texel).

        Raises:
            ValueError: ``binary`` is True, or ``data`` is not one mesh.
        """
        if not has_suffix(path, self.known_suffixes):
            return False
        from tirender.renderer.mesh.textures import TexturesAtlas

        if binary:
            fail("binary", "None or False, as OFF is text", binary)
        verts, faces = one_mesh(data, path)
        check_rows("verts", verts, 3)
        check_indices("faces", faces, len(verts))
        verts_rgb = faces_rgb = None
        if isinstance(data.textures, TexturesAtlas) and data.textures.atlas_list()[0].shape[1:] == (1, 1, 3):
            faces_rgb = data.textures.atlas_list()[0][:, 0, 0]
            if colors_as_uint8:
                faces_rgb = (faces_rgb.detach().clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
        else:
            verts_rgb = vertex_colors(data, path, colors_as_uint8)
        write_file(path, _contents(verts, faces, verts_rgb, faces_rgb, decimal_places), path_manager)
        return True


def _contents(
    verts: torch.Tensor,
    faces: torch.Tensor,
    verts_rgb: torch.Tensor | None,
    faces_rgb: torch.Tensor | None,
    decimal_places: int | None,
) -> Iterator[bytes]:
    yield f"{'OFF' if verts_rgb is None else 'COFF'}\n{len(verts)} {len(faces)} 0\n".encode()
    number = number_format(verts, decimal_places)
    yield from _lines(" ".join([number] * 3), verts, verts_rgb, decimal_places)
    yield from _lines("3 %d %d %d", faces, faces_rgb, decimal_places)


def _lines(line: str, table: torch.Tensor, rgb: torch.Tensor | None, decimal_places: int | None) -> Iterator[bytes]:
    if rgb is None:
        return format_rows(f"{line}\n", table)
    alpha = "255" if rgb.dtype == torch.uint8 else "1"
    return format_rows(f"{line}{f' {number_format(rgb, decimal_places)}' * 3} {alpha}\n", table, rgb)


class _OffText:
    """The lines of an OFF file that say something, and the counts in its header."""

    def __init__(self, source: Source) -> None:
        self.name = source.name
        raw = clean_text(source).split(b"\n")
        stripped = [line.partition(b"#")[0].split() for line in raw]
        self.numbers = [i + 1 for i, fields in enumerate(stripped) if fields]
        self.rows = [fields for fields in stripped if fields]
        keyword = self.rows[0][0] if self.rows else b""
        self.kind = keyword.decode(errors="replace").upper() if not is_number(keyword) else "OFF"
        if self.kind not in ("OFF", "COFF", "NOFF", "CNOFF") or b"BINARY" in self.rows[0][1:]:
            fail(f"{self.name}, line 1", "a text file that starts with OFF, COFF, NOFF or CNOFF", repr(raw[0][:40]))
        if not is_number(keyword):
            self.rows[0] = self.rows[0][1:]
            if not self.rows[0]:
                del self.rows[0], self.numbers[0]
        counts = self.rows[0] if self.rows else []
        if len(counts) < 2 or not all(c.isdigit() and len(c) < 16 for c in counts[:2]):
            fail(self.where(0), "the numbers of vertices and faces", repr(b" ".join(counts)))
        self.n_verts, self.n_faces = int(counts[0]), int(counts[1])
        missing = self.n_verts + self.n_faces + 1 - len(self.rows)
        if missing > 0:
            fail(self.name, f"{self.n_verts} vertices and {self.n_faces} faces", f"a file with {missing} lines too few")

    def where(self, row: int) -> str:
        number = self.numbers[row] if row < len(self.numbers) else (self.numbers or [0])[-1] + 1
        return f"{self.name}, line {number}"

    def verts(self) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Return (V, 3) positions, normals and colours."""
        n_fixed = 6 if "N" in self.kind else 3
        rows = self.rows[1 : 1 + self.n_verts]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        if (lengths < n_fixed).any():
            self._fail_at_row(1 + int(np.argmax(lengths < n_fixed)), f"{n_fixed} numbers")
        colored = bool(len(rows)) and bool((lengths >= n_fixed + 3).all())
        values = self._table([row[: n_fixed + 3 * colored] for row in rows], 1).reshape(-1, n_fixed + 3 * colored)
        finite = torch.from_numpy(finite_float32(values, "numbers", lambda row: self.where(1 + row)))
        normals = finite[:, 3:6] if n_fixed == 6 else None
        return finite[:, :3].contiguous(), normals, _unit_range(finite[:, n_fixed:]) if colored else None

    def faces(self, n_verts: int) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return (F, 3) triangles and their colours."""
        first = 1 + self.n_verts
        rows = self.rows[first : first + self.n_faces]
        counts = np.zeros(len(rows), dtype=np.int64)
        for i, (corners, *rest) in enumerate(rows):
            if not (corners.isdigit() and len(corners) < 10 and len(rest) >= int(corners) >= 3):
                self._fail_at_row(first + i, "a count of at least 3, and as many vertex indices")
            counts[i] = int(corners)
        values = self._table([row[1 : count + 1] for row, count in zip(rows, counts)], first)
        bad = ~((values >= 0) & (values < n_verts) & (values == np.floor(values)))
        if bad.any():
            row = int(np.searchsorted(np.cumsum(counts), np.argmax(bad), side="right"))
            self._fail_at_row(first + row, f"indices of the {n_verts} vertices")
        triangles, polygon = fan_triangles(counts)
        faces = torch.from_numpy(values.astype(np.int64)[triangles])
        if not rows or not all(len(row) >= count + 4 for row, count in zip(rows, counts)):
            return faces, None
        colors = self._table([row[count + 1 : count + 4] for row, count in zip(rows, counts)], first).reshape(-1, 3)
        finite = torch.from_numpy(finite_float32(colors, "colours", lambda row: self.where(first + row)))
        return faces, _unit_range(finite)[torch.from_numpy(polygon)]

    def _table(self, rows: list[list[bytes]], first: int) -> np.ndarray:
        try:
            return np.array([text for row in rows for text in row], dtype=np.float64)
        except ValueError:
            bad = next(i for i, row in enumerate(rows) if not all(map(is_number, row)))
            return self._fail_at_row(first + bad, "numbers")

    def _fail_at_row(self, row: int, expected: str) -> Any:
        fail(self.where(row), expected, repr(b" ".join(self.rows[row]).decode(errors="replace")))


def _unit_range(colors: torch.Tensor) -> torch.Tensor:
    return (colors / 255.0 if colors.max() > 1.0 else colors).clamp(0.0, 1.0)
