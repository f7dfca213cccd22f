"""Records of meshes and clouds to files of any kind that is written."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tirender.checks import fail
from tirender.io.file_mesh import FileMesh
from tirender.io.files import write_file
from tirender.io.gltf_writer import gltf_chunks
from tirender.io.losses import float32_if_exact, warn_of_losses
from tirender.io.obj_writer import obj_files
from tirender.io.off_io import off_chunks
from tirender.io.ply_writer import ply_files
from tirender.io.stl_io import stl_chunks


@dataclass(frozen=True)
class NewFile:
    """A file that is to be written.

    Attributes:
        path: where to.
        chunks: its contents.
    """

    path: Path
    chunks: Iterable[bytes]


def files_for(mesh: FileMesh, path: str | os.PathLike[str]) -> list[NewFile]:
    """Return the files that hold a mesh or cloud: images and materials first, then the one at ``path``.

    What a format cannot hold is left out, with a warning of each thing by name. .glb, .gltf, .obj and .ply hold
    textures; .off colours of vertices or faces; .stl faces alone; .npz clouds.

    Args:
        mesh: what to write.
        path: of the main file; its ending decides the format.
    Raises:
        ValueError: no known ending, a cloud where faces are needed or the reverse, or a damaged image.
    """
    path = Path(os.fsdecode(path))
    ending = path.suffix.lower()
    make = _WRITERS.get(ending)
    if make is None:
        fail("path", f"a file that ends in {', '.join(_WRITERS)}", repr(str(path)))
    if ending in _MESHES_ONLY and not len(mesh.faces):
        fail(str(path), f"faces, as {ending} holds no points", "a point cloud")
    if ending in _CLOUDS_ONLY and len(mesh.faces):
        fail(str(path), f"a point cloud, as {ending} holds no faces", "a mesh")
    warn_of_losses(mesh, str(path), ending)
    files = [NewFile(where, chunks) for where, chunks in make(mesh, path)]
    assert files[-1].path == path
    return files


def write_mesh_file(mesh: FileMesh, path: str | os.PathLike[str]) -> None:
    """Write a mesh or cloud, see :func:`files_for`; each file appears whole, the main one last."""
    for file in files_for(mesh, path):
        write_file(file.path, file.chunks)


Files = Sequence[tuple[Path, Iterable[bytes]]]


def _single(chunks: Callable[[FileMesh, Path], Iterable[bytes]]) -> Callable[[FileMesh, Path], Files]:
    return lambda mesh, path: [(path, chunks(mesh, path))]


def _npz_chunks(mesh: FileMesh, path: Path) -> Iterator[bytes]:
    arrays: dict[str, Any] = {"verts": float32_if_exact(mesh.placed_verts())}
    if mesh.normals is not None:
        arrays["normals"] = mesh.normals
    if mesh.verts_rgba is not None:
        has_alpha = bool((mesh.verts_rgba[:, 3] < 1.0).any())
        arrays["rgb"] = mesh.verts_rgba if has_alpha else mesh.verts_rgba[:, :3]
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    yield stream.getvalue()


_WRITERS: dict[str, Callable[[FileMesh, Path], Files]] = {
    ".glb": _single(gltf_chunks),
    ".gltf": _single(gltf_chunks),
    ".obj": obj_files,
    ".ply": ply_files,
    ".off": _single(off_chunks),
    ".stl": _single(stl_chunks),
    ".npz": _single(_npz_chunks),
}
_MESHES_ONLY, _CLOUDS_ONLY = (".stl",), (".npz",)

WRITTEN_SUFFIXES = tuple(_WRITERS)
"""The endings of files that :func:`files_for` knows."""
