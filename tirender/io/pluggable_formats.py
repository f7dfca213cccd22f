"""The interface of a file format in the ``IO`` registry, and the checks that formats share."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch

from tirender.checks import FLOATS, INTEGERS, check_tensor, fail
from tirender.io.file_mesh import FileMesh
from tirender.io.files import Source, is_path, read_source
from tirender.io.mesh_building import meshes_of
from tirender.structures.meshes import Meshes
from tirender.structures.pointclouds import Pointclouds


class MeshFormatInterpreter(ABC):
    """Reads and writes meshes of one file format; subclass it and register it with ``IO.register_meshes_format``.

    Attributes:
        known_suffixes: the endings of its files, in lower case, with the dot. Messages list them. A format may leave
            them out; its ``read`` decides.
    """

    known_suffixes: Sequence[str] = ()

    @abstractmethod
    def read(
        self, path: Any, include_textures: bool, device: Any, path_manager: Any = None, **kwargs: Any
    ) -> Meshes | None:
        """Return the mesh in the file ``path`` on ``device``, or None if the file is not of this format."""

    @abstractmethod
    def save(
        self, data: Meshes, path: Any, path_manager: Any = None, binary: bool | None = None, **kwargs: Any
    ) -> bool:
        """Write ``data`` and return True, or return False if ``path`` is not of this format.

        Args:
            data: a batch of one mesh.
            path: of the file to write.
            path_manager: an iopath ``PathManager``, or None for the local file system.
            binary: whether to write binary or text, if the format has both; None for the format's default.
            kwargs: options of the format.
        """


class PointcloudFormatInterpreter(ABC):
    """Reads and writes point clouds of one file format; register it with ``IO.register_pointcloud_format``.

    Attributes:
        known_suffixes: as for meshes.
    """

    known_suffixes: Sequence[str] = ()

    @abstractmethod
    def read(self, path: Any, device: Any, path_manager: Any = None, **kwargs: Any) -> Pointclouds | None:
        """Return the cloud in the file ``path`` on ``device``, or None if the file is not of this format."""

    @abstractmethod
    def save(
        self, data: Pointclouds, path: Any, path_manager: Any = None, binary: bool | None = None, **kwargs: Any
    ) -> bool:
        """Write ``data`` and return True, or return False if ``path`` is not of this format; see meshes."""


class RecordFormat(ABC):
    """A format that is read as a record of all that the file says: ``IO`` and ``read_mesh_file`` read such formats.

    Attributes:
        known_suffixes: as for meshes.
        read_record: the function that reads the contents of a file.
    """

    known_suffixes: Sequence[str] = ()
    read_record: Callable[[Source], FileMesh]


class MeshRecordFormat(RecordFormat, MeshFormatInterpreter):
    """The base class of tirender's own formats of meshes; one that is only read needs no more than the attributes."""

    def read(
        self,
        path: Any,
        include_textures: bool,
        device: Any,
        path_manager: Any = None,
        allow_parent: bool = False,
        **kwargs: Any,
    ) -> Meshes | None:
        """Return ``meshes_of`` what ``read_record`` reads, or None for another kind of path.

        Args:
            path, include_textures, device, path_manager: see :class:`MeshFormatInterpreter`.
            allow_parent: whether materials and images may lie in the folder above the file's.
        """
        if not has_suffix(path, self.known_suffixes):
            return None
        return meshes_of(self.read_record(read_source(path, path_manager, allow_parent)), device, include_textures)

    def save(
        self, data: Meshes, path: Any, path_manager: Any = None, binary: bool | None = None, **kwargs: Any
    ) -> bool:
        """Return False: not written, unless a format overrides this."""
        return False


def has_suffix(path: Any, suffixes: Sequence[str]) -> bool:
    """Whether ``path`` is a path, and no stream, with one of these endings (given in lower case)."""
    return is_path(path) and os.fsdecode(path).lower().endswith(tuple(suffixes))


def one_mesh(data: Meshes, path: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The vertices and faces of a batch of one."""
    _check_one("mesh", data, path)
    return data.verts_list()[0], data.faces_list()[0]


def one_cloud(data: Pointclouds, path: Any) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """The points, normals and features of a batch of one."""
    _check_one("cloud", data, path)
    return data.get_cloud(0)


def _check_one(what: str, data: Meshes | Pointclouds, path: Any) -> None:
    if len(data) != 1:
        fail("data", f"one {what}, as {os.path.basename(os.fsdecode(path))} holds one", f"a batch of {len(data)}")


def check_rows(name: str, values: torch.Tensor, n_columns: int) -> None:
    """Raise ``ValueError`` unless ``values`` is empty or a float tensor (N, n_columns)."""
    if not isinstance(values, torch.Tensor) or values.numel() or values.dim() != 1:
        check_tensor(name, values, ("N", n_columns), FLOATS)


def check_indices(
    name: str, faces: torch.Tensor, n_rows: int, n_faces: int | None = None, may_lack: bool = False
) -> None:
    """Raise ``ValueError`` unless ``faces`` is empty or an integer tensor (F, 3) with values in 0 .. n_rows - 1.

    With ``may_lack``, -1 is a value too.
    """
    if isinstance(faces, torch.Tensor) and not faces.numel() and not n_faces:
        return
    check_tensor(name, faces, ("F" if n_faces is None else n_faces, 3), INTEGERS)
    low, high = faces.min().item(), faces.max().item()
    least = -1 if may_lack else 0
    if low < least or high >= n_rows:
        fail(name, f"indices from 0 to {n_rows - 1}{', or -1' if may_lack else ''}", low if low < least else high)


def check_comment(comment: str | None) -> None:
    """Raise ``ValueError`` unless a comment is a line that ends where it seems to: a backslash continues it."""
    if comment is not None and (set(comment) & set("\n\r\0") or comment.rstrip().endswith("\\")):
        fail("comment", "one line, without a backslash at its end", repr(comment))
