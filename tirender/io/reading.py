"""Any file of a mesh or cloud as a record, for what shows more of it than ``Meshes`` and ``Pointclouds`` hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from os.path import splitext
from typing import Any

from tirender.budget import bounded
from tirender.checks import fail
from tirender.io.file_mesh import FileMesh, centered
from tirender.io.files import Source, is_path, read_source
from tirender.io.orientation import from_comment, orientation_of_format
from tirender.io.pluggable import CLOUD_FORMATS, MESH_FORMATS
from tirender.io.pluggable_formats import RecordFormat, has_suffix

_FORMATS: tuple[type, ...] = (*MESH_FORMATS, *CLOUD_FORMATS)
_READERS: dict[tuple[str, ...], Callable[[Source], FileMesh]] = {
    tuple(kind.known_suffixes): kind.read_record for kind in _FORMATS if issubclass(kind, RecordFormat)
}

KNOWN_SUFFIXES = tuple(suffix for suffixes in _READERS for suffix in suffixes)
"""The endings of files that :func:`read_mesh_file` reads."""


@bounded
def read_mesh_file(
    f: Any, *, path_manager: Any = None, allow_parent: bool = False, center_far: bool = False
) -> FileMesh:
    """Read all that a file of a mesh or cloud says: positions in double precision, normals, colours, materials.

    ``meshes_of`` makes ``Meshes`` of it.

    Args:
        f: a path, or a binary stream, which is read as PLY.
        path_manager: an iopath ``PathManager``, or None for the local file system.
        allow_parent: whether materials and images may lie in the folder above the file's, and what is in it, too.
        center_far: whether an ``origin`` is taken off positions that lie so far out that float32 would blur them.
    Raises:
        ValueError: naming the file and where: no known ending, or damaged.
        ImportError: the format needs a package that is not installed.
        OSError: the file cannot be opened.
    """
    for suffixes, read in _READERS.items():
        if has_suffix(f, suffixes) or (not is_path(f) and ".ply" in suffixes):
            source = read_source(f, path_manager, allow_parent)
            mesh = centered(read(source)) if center_far else read(source)
            usual = orientation_of_format(splitext(source.name)[1])
            return replace(mesh, orientation=from_comment(source.data) or usual)
    return fail(str(f), f"a path that ends in {', '.join(KNOWN_SUFFIXES)}", repr(splitext(str(f))[1]))
