"""PLY files from tables, and from records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tirender.io.file_mesh import FileMesh
from tirender.io.losses import float32_if_exact
from tirender.io.mesh_pieces import layout_of, moved_uvs
from tirender.io.orientation import orientation_of_format, to_comment
from tirender.io.text import format_rows, number_format
from tirender.io.texture_files import TextureFiles
from tirender.io.texturing import colors_as_bytes
from tirender.renderer.mesh.material import Material

_TYPES = {torch.uint8: ("uchar", "u1"), torch.float64: ("double", "<f8"), torch.int32: ("int", "<i4")}
_FLOAT = ("float", "<f4")
Tables = dict[tuple[str, ...], torch.Tensor]


@dataclass(frozen=True)
class FaceColumn:
    """Properties of faces.

    Attributes:
        names: one of a list, or one a column.
        values: (F, C).
        is_list: whether they are one list.
    """

    names: tuple[str, ...]
    values: torch.Tensor
    is_list: bool = False


def corner_column(faces: torch.Tensor) -> FaceColumn:
    """The corners of faces (F, 3)."""
    return FaceColumn(("vertex_index",), faces.to(torch.int32), True)


def ply_chunks(
    tables: Tables, columns: Sequence[FaceColumn], ascii: bool, decimals: int | None, comment: str | None
) -> Iterator[bytes]:
    """Return the contents of a file.

    Args:
        tables: of vertices, (V, C) each, by the names of their columns; the first are the positions.
        columns: of faces, the corners first; none for points.
        ascii: whether to write text.
        decimals: digits behind the point in text; None for as many as bring the same floats back.
        comment: lines for the header, or None.
    """
    types = [(name, *_TYPES.get(t.dtype, _FLOAT)) for names, t in tables.items() for name in names]
    n_verts = len(next(iter(tables.values())))
    yield f"ply\nformat {'ascii' if ascii else 'binary_little_endian'} 1.0\n".encode()
    yield "".join(f"comment {line}\n" for line in (comment or "").splitlines()).encode()
    yield f"element vertex {n_verts}\n".encode()
    yield "".join(f"property {ply_type} {name}\n" for name, ply_type, _ in types).encode()
    if columns:
        yield f"element face {len(columns[0].values)}\n".encode()
        yield "".join(map(_declared, columns)).encode()
    yield b"end_header\n"
    if ascii:
        formats = [number_format(t, decimals) for t in tables.values() for _ in range(t.shape[1])]
        yield from format_rows(" ".join(formats) + "\n", *tables.values())
        if columns:
            line = " ".join(_as_text(column, decimals) for column in columns)
            yield from format_rows(f"{line}\n", *(column.values for column in columns))
        return
    rows = np.empty(n_verts, dtype=[(name, dtype) for name, _, dtype in types])
    for names, table in tables.items():
        for name, values in zip(names, table.detach().cpu().numpy().T):
            rows[name] = values
    yield rows.tobytes()
    if columns:
        yield _faces_as_bytes(columns)


def _declared(column: FaceColumn) -> str:
    kind = _TYPES.get(column.values.dtype, _FLOAT)[0]
    return "".join(f"property {'list uchar ' * column.is_list}{kind} {name}\n" for name in column.names)


def _as_text(column: FaceColumn, decimals: int | None) -> str:
    width = column.values.shape[1]
    return " ".join([str(width)] * column.is_list + [number_format(column.values, decimals)] * width)


def _faces_as_bytes(columns: Sequence[FaceColumn]) -> bytes:
    fields: list[tuple[str, str] | tuple[str, str, tuple[int]]] = []
    for i, column in enumerate(columns):
        if column.is_list:
            fields.append((f"count{i}", "u1"))
        fields.append((f"values{i}", _TYPES.get(column.values.dtype, _FLOAT)[1], (column.values.shape[1],)))
    rows = np.empty(len(columns[0].values), dtype=fields)
    for i, column in enumerate(columns):
        if column.is_list:
            rows[f"count{i}"] = column.values.shape[1]
        rows[f"values{i}"] = column.values.detach().cpu().numpy()
    return rows.tobytes()


def ply_files(
    mesh: FileMesh, path: Path, ascii: bool = False, decimals: int | None = None, comment: str | None = None
) -> list[tuple[Path, Iterable[bytes]]]:
    """Return images, then the mesh or cloud: vertices and faces stay as they are, colours become bytes.

    Textures have coordinates at the corners of faces, and a number of their image, as in MeshLab. Colours of materials
    without a texture become those of faces; those that multiply a texture are put into its image.

    Args:
        mesh: what to write.
        path: of the mesh; the images lie beside it.
        ascii, decimals: see :func:`ply_chunks`.
        comment: a line; None: how the mesh stands, where that is unusual.
    """
    tables: Tables = {("x", "y", "z"): torch.from_numpy(float32_if_exact(mesh.placed_verts()))}
    normals = mesh.normals if mesh.faces_normals is None else mesh.verts_normals()
    if normals is not None:
        tables["nx", "ny", "nz"] = torch.from_numpy(normals)
    if mesh.verts_rgba is not None:
        tables |= dict([_colors(mesh.verts_rgba)])
    if comment is None and mesh.orientation != orientation_of_format(".ply"):
        comment = to_comment(mesh.orientation)
    comments = [comment] if comment else []
    textures = TextureFiles(path)
    columns = [corner_column(torch.from_numpy(mesh.faces))] if len(mesh.faces) else []
    if columns:
        columns += _texture_columns(mesh, textures, comments)
        faces_rgba = faces_rgba_of(mesh)
        if faces_rgba is not None:
            columns.append(FaceColumn(*_colors(faces_rgba)))
    return [*textures.files(), (path, ply_chunks(tables, columns, ascii, decimals, "\n".join(comments)))]


def _colors(rgba: np.ndarray) -> tuple[tuple[str, ...], torch.Tensor]:
    n = 4 if (rgba[:, 3] < 1.0).any() else 3
    return ("red", "green", "blue", "alpha")[:n], colors_as_bytes(torch.from_numpy(rgba[:, :n].copy()))


def _texture_columns(mesh: FileMesh, textures: TextureFiles, comments: list[str]) -> list[FaceColumn]:
    """Coordinates of corners, and the number of the image of each face; of the first set where there is no image."""
    used = [i for i in mesh.used_materials() if mesh.materials[i].base_map is not None]
    index = mesh.face_materials()
    number = np.full(len(mesh.faces), -1, dtype=np.int32)
    corners = np.zeros((len(mesh.faces), 3, 2), np.float32)
    images: dict[str, int] = {}
    for i in used:
        material, found = mesh.materials[i], mesh.materials[i].base_map
        if found is None or found.uv_set >= len(mesh.uvs):
            continue
        rows = mesh.faces_uvs[found.uv_set]
        faces = (index == i) & (rows >= 0).all(axis=1)
        name = textures.name_of(found, material.base_color[:3])
        number[faces] = images.setdefault(name, len(images))
        corners[faces] = moved_uvs(mesh.uvs[found.uv_set], layout_of(found)[1])[rows[faces]]
    if not images:
        if not mesh.uvs or not (mesh.faces_uvs[0] >= 0).all():
            return []
        corners = mesh.uvs[0][mesh.faces_uvs[0]].astype(np.float32)
    comments.extend(f"TextureFile {name}" for name in images)
    columns = [FaceColumn(("texcoord",), torch.from_numpy(corners.reshape(-1, 6)), True)]
    if images and (len(images) > 1 or (number < 0).any()):
        columns.append(FaceColumn(("texnumber",), torch.from_numpy(number)[:, None]))
    return columns


def faces_rgba_of(mesh: FileMesh) -> np.ndarray | None:
    """The colours of faces times those of materials without a texture; None where all are white."""
    plain = [_plain_color(mesh, i) for i in range(len(mesh.materials))]
    table = np.array([*plain, (1.0,) * 4], np.float32)
    rgba: np.ndarray = table[mesh.face_materials()]
    if mesh.faces_rgba is not None:
        rgba = rgba * mesh.faces_rgba
    return None if (rgba == 1.0).all() else rgba


def _plain_color(mesh: FileMesh, index: int) -> tuple[float, ...]:
    material: Material = mesh.materials[index]
    if material.base_map is not None:
        return (1.0,) * 4
    alpha = material.base_color[3] if material.alpha_mode == "blend" else 1.0
    return (*material.base_color[:3], alpha)
