"""PLY files."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tirender.checks import fail
from tirender.io.file_mesh import warn_if_blurred
from tirender.io.files import is_path, read_source, write_file
from tirender.io.losses import warn_of_losses
from tirender.io.mesh_building import cloud_of, meshes_of
from tirender.io.mesh_records import record_of_mesh
from tirender.io.pluggable_formats import (
    MeshFormatInterpreter,
    PointcloudFormatInterpreter,
    RecordFormat,
    check_comment,
    check_indices,
    check_rows,
    has_suffix,
    one_cloud,
    one_mesh,
)
from tirender.io.ply_reading import read_ply
from tirender.io.ply_writer import Tables, corner_column, ply_chunks, ply_files
from tirender.io.texturing import colors_as_bytes, vertex_colors
from tirender.renderer.mesh.textures import TexturesVertex
from tirender.structures.meshes import Meshes
from tirender.structures.pointclouds import Pointclouds


def load_ply(f: Any, *, path_manager: Any = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Load vertices and faces from a PLY file, ascii or binary of either byte order.

    Args:
        f: a path or a binary stream.
        path_manager: an iopath ``PathManager``, or None for the local file system.
    Returns:
        verts (V, 3) float32, and faces (F, 3) int64, polygons cut into triangles; F is 0 if there are none.
            Where all faces are polygons of one size, the first triangle of each comes first, then the second of each.
    Raises:
        ValueError: naming the file and where: a malformed header, one that claims more than the file holds, truncated
            data, a face index out of range, a polygon of less than 3 corners, NaN and infinity.
        OSError: the file cannot be opened.
    """
    mesh = read_ply(read_source(f, path_manager), with_looks=False)
    warn_if_blurred(mesh.name, mesh.verts)
    return torch.from_numpy(mesh.verts.astype(np.float32)), torch.from_numpy(mesh.faces)


def save_ply(
    f: Any,
    verts: torch.Tensor,
    faces: torch.Tensor | None = None,
    verts_normals: torch.Tensor | None = None,
    ascii: bool = False,
    decimal_places: int | None = None,
    path_manager: Any = None,
) -> None:
    """Save a mesh, or points, to a PLY file, binary little-endian or ascii.

    Args:
        f: a path or a binary stream.
        verts: (V, 3) float32, or float64 which is kept.
        faces: (F, 3) int; None for points.
        verts_normals: (V, 3) float, or None.
        ascii: whether to write text.
        decimal_places: digits behind the point in text; None for as many as bring the same floats back.
        path_manager: an iopath ``PathManager``, or None for the local file system.
    Raises:
        ValueError: a wrong shape or dtype, an index out of range.
    """
    _save(f, verts, faces, verts_normals, None, ascii, decimal_places, path_manager)


def _save(
    f: Any,
    verts: torch.Tensor,
    faces: torch.Tensor | None,
    normals: torch.Tensor | None,
    colors: torch.Tensor | None,
    ascii: bool,
    decimal_places: int | None,
    path_manager: Any,
    comment: str | None = None,
) -> None:
    """Save; ``colors`` (V, 3) are float in [0, 1] or uint8."""
    check_comment(comment)
    check_rows("verts", verts, 3)
    tables: Tables = {("x", "y", "z"): verts.reshape(-1, 3)}
    if normals is not None and normals.numel():
        check_rows("verts_normals", normals, 3)
        tables["nx", "ny", "nz"] = normals
    if colors is not None:
        tables["red", "green", "blue"] = colors
    for names, table in tables.items():
        if len(table) != len(verts):
            fail(", ".join(names), f"{len(verts)} rows, one a vertex", len(table))
    if faces is not None:
        check_indices("faces", faces, len(verts))
        faces = faces.reshape(-1, 3)
    columns = [] if faces is None else [corner_column(faces)]
    write_file(f, ply_chunks(tables, columns, ascii, decimal_places, comment), path_manager)


class MeshPlyFormat(RecordFormat, MeshFormatInterpreter):
    """PLY in the ``IO`` registry: paths that end in .ply, and streams."""

    known_suffixes = (".ply",)
    read_record = staticmethod(read_ply)

    def read(
        self,
        path: Any,
        include_textures: bool,
        device: Any,
        path_manager: Any = None,
        allow_parent: bool = False,
        **kwargs: Any,
    ) -> Meshes | None:
        """Read a mesh, its vertex normals, and its texture or colours, as :func:`read_ply` finds them.

        Images named by a ``TextureFile`` comment become ``TexturesUV``, else vertex colours ``TexturesVertex``, else
        face colours a ``TexturesAtlas`` of one texel.
        """
        if is_path(path) and not has_suffix(path, self.known_suffixes):
            return None
        source = read_source(path, path_manager, allow_parent)
        return meshes_of(read_ply(source, with_looks=include_textures), device, include_textures)

    def save(
        self,
        data: Meshes,
        path: Any,
        path_manager: Any = None,
        binary: bool | None = None,
        decimal_places: int | None = None,
        colors_as_uint8: bool = False,
        comment: str | None = None,
        **kwargs: Any,
    ) -> bool:
        """Write one mesh, vertex normals that it was given, and RGB ``TexturesVertex`` (as float, or 0 to 255).

        Other textures become texture coordinates and images beside the file, or colours of faces, as far as PLY holds
        them; the rest warns. A comment of one line comes into the header.
        """
        if not has_suffix(path, self.known_suffixes):
            return False
        verts, faces = one_mesh(data, path)
        if data.textures is not None and not isinstance(data.textures, TexturesVertex):
            mesh = record_of_mesh(data, path)
            check_comment(comment)
            warn_of_losses(mesh, os.fsdecode(path), ".ply")
            options = (binary is False, decimal_places, comment)
            for where, chunks in ply_files(mesh, Path(os.fsdecode(path)), *options):
                write_file(where, chunks, path_manager)
            return True
        normals = data.verts_normals_list()[0] if data.has_verts_normals() else None
        colors = vertex_colors(data, path, colors_as_uint8)
        _save(path, verts, faces, normals, colors, binary is False, decimal_places, path_manager, comment)
        return True


class PointcloudPlyFormat(PointcloudFormatInterpreter):
    """PLY clouds in the ``IO`` registry: paths that end in .ply, and streams; faces are not looked at."""

    known_suffixes = (".ply",)

    def read(self, path: Any, device: Any, path_manager: Any = None, **kwargs: Any) -> Pointclouds | None:
        """Read points, normals, and colours, as :func:`read_ply` finds them, as RGB features."""
        if is_path(path) and not has_suffix(path, self.known_suffixes):
            return None
        cloud = read_ply(read_source(path, path_manager), with_faces=False)
        return cloud_of(cloud, device)

    def save(
        self,
        data: Pointclouds,
        path: Any,
        path_manager: Any = None,
        binary: bool | None = None,
        decimal_places: int | None = None,
        colors_as_uint8: bool = False,
        **kwargs: Any,
    ) -> bool:
        """Write one cloud, its normals, and features of 3 channels as RGB (as float, or 0 to 255)."""
        if not has_suffix(path, self.known_suffixes):
            return False
        points, normals, colors = one_cloud(data, path)
        if colors is not None and colors.shape[1] != 3:
            warnings.warn(f"{path}: features of {colors.shape[1]} channels are no RGB, left out", stacklevel=2)
            colors = None
        if colors is not None and colors_as_uint8:
            colors = colors_as_bytes(colors)
        _save(path, points, None, normals, colors, binary is False, decimal_places, path_manager)
        return True
