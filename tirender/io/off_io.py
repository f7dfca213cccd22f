"""OFF files (Object File Format, http://www.geomview.org/docs/html/OFF.html), text only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from tirender.checks import fail
from tirender.io.file_mesh import FileMesh
from tirender.io.files import write_file
from tirender.io.losses import float32_if_exact
from tirender.io.off_reading import read_off
from tirender.io.pluggable_formats import MeshRecordFormat, check_indices, check_rows, has_suffix, one_mesh
from tirender.io.ply_writer import faces_rgba_of
from tirender.io.text import format_rows, number_format
from tirender.io.texturing import colors_as_bytes, vertex_colors
from tirender.renderer.mesh.textures import TexturesAtlas
from tirender.structures.meshes import Meshes


class MeshOffFormat(MeshRecordFormat):
    """OFF with all prefixes in the ``IO`` registry: paths that end in .off."""

    known_suffixes = (".off",)
    read_record = staticmethod(read_off)

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


def off_chunks(mesh: FileMesh, path: Path) -> Iterator[bytes]:
    """Return the contents of a file: vertices, faces, and the colours of vertices, or else of faces and materials."""
    verts = torch.from_numpy(float32_if_exact(mesh.placed_verts()))
    verts_rgba, faces_rgba = mesh.verts_rgba, None
    if verts_rgba is None and len(mesh.faces):
        faces_rgba = faces_rgba_of(mesh)
    of_verts, of_faces = (
        None if rgba is None else colors_as_bytes(torch.from_numpy(rgba.copy())) for rgba in (verts_rgba, faces_rgba)
    )
    yield from _contents(verts, torch.from_numpy(mesh.faces), of_verts, of_faces, None)


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
    alpha = "" if rgb.shape[1] == 4 else " 255" if rgb.dtype == torch.uint8 else " 1"
    return format_rows(f"{line}{f' {number_format(rgb, decimal_places)}' * rgb.shape[1]}{alpha}\n", table, rgb)
