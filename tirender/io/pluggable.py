"""The registry of file formats."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from tirender.budget import bounded
from tirender.checks import fail
from tirender.io.gltf_io import MeshGlbFormat, PointcloudGlbFormat
from tirender.io.npz_io import PointcloudNpzFormat
from tirender.io.obj_io import MeshObjFormat
from tirender.io.off_io import MeshOffFormat
from tirender.io.pluggable_formats import MeshFormatInterpreter, PointcloudFormatInterpreter
from tirender.io.ply_io import MeshPlyFormat, PointcloudPlyFormat
from tirender.io.stl_io import MeshStlFormat
from tirender.io.trimesh_io import MeshTrimeshFormat
from tirender.structures.meshes import Meshes
from tirender.structures.pointclouds import Pointclouds

MESH_FORMATS = (MeshObjFormat, MeshOffFormat, MeshPlyFormat, MeshGlbFormat, MeshStlFormat, MeshTrimeshFormat)
CLOUD_FORMATS = (PointcloudNpzFormat, PointcloudPlyFormat, PointcloudGlbFormat)
"""The formats that come with tirender: those of ``IO``, and of ``read_mesh_file``."""

Interpreter = MeshFormatInterpreter | PointcloudFormatInterpreter


class IO:
    """Loads and saves meshes and point clouds; the ending of a path decides the format.

    Meshes: .obj, .ply, .off, .glb, .gltf; reading only .stl, and by trimesh .3mf, .dae, .zae, .xaml and .3dxml. Clouds:
    .ply, .npz, .glb, .gltf. Streams are read as PLY. Formats of your own can be registered.

    Args:
        include_default_formats: whether to register these formats.
        path_manager: an iopath ``PathManager`` that opens all files, or None for the local file system.
    """

    def __init__(self, include_default_formats: bool = True, path_manager: Any = None) -> None:
        self.path_manager = path_manager
        self.mesh_interpreters: deque[MeshFormatInterpreter] = deque()
        self.pointcloud_interpreters: deque[PointcloudFormatInterpreter] = deque()
        if include_default_formats:
            self.register_default_formats()

    @property
    def known_suffixes(self) -> list[str]:
        """The endings of files that the registered formats declare, in the order of registration, meshes first."""
        return list(dict.fromkeys(_suffixes(self.mesh_interpreters) + _suffixes(self.pointcloud_interpreters)))

    def register_default_formats(self) -> None:
        """Register the formats that come with tirender."""
        for mesh_format in MESH_FORMATS:
            self.register_meshes_format(mesh_format())
        for cloud_format in CLOUD_FORMATS:
            self.register_pointcloud_format(cloud_format())

    def register_meshes_format(self, interpreter: MeshFormatInterpreter) -> None:
        """Register a format; it is tried before those registered earlier.

        Raises:
            ValueError: ``interpreter`` is no ``MeshFormatInterpreter``.
        """
        if not isinstance(interpreter, MeshFormatInterpreter):
            fail("interpreter", "a MeshFormatInterpreter", type(interpreter).__name__)
        self.mesh_interpreters.appendleft(interpreter)

    def register_pointcloud_format(self, interpreter: PointcloudFormatInterpreter) -> None:
        """Register a format; it is tried before those registered earlier.

        Raises:
            ValueError: ``interpreter`` is no ``PointcloudFormatInterpreter``.
        """
        if not isinstance(interpreter, PointcloudFormatInterpreter):
            fail("interpreter", "a PointcloudFormatInterpreter", type(interpreter).__name__)
        self.pointcloud_interpreters.appendleft(interpreter)

    def read(self, path: Any, device: Any = "cpu") -> Meshes | Pointclouds | None:
        """Load a mesh or a point cloud, whichever the file holds.

        A file that formats of both kinds can read, such as .ply, is a cloud if it has no faces.

        Args:
            path: of the file.
            device: of the result.
        Returns:
            a batch of one; None if no registered format knows the path.
        Raises:
            ValueError: the file is damaged (the message says where).
            OSError: the file cannot be opened.
        """
        mesh = self._read_mesh(path, include_textures=True, device=device)
        if mesh is not None and not mesh.isempty():
            return mesh
        cloud = self._read_pointcloud(path, device=device)
        return mesh if cloud is None else cloud

    def load_mesh(self, path: Any, include_textures: bool = True, device: Any = "cpu", **kwargs: Any) -> Meshes:
        """Load one mesh.

        Args:
            path: of the file.
            include_textures: whether to read textures and colours.
            device: of the mesh.
            kwargs: options of the format, such as ``create_texture_atlas`` of OBJ.
        Raises:
            ValueError: no registered format knows the path, or the file is damaged (the message says where).
            OSError: the file cannot be opened.
        """
        mesh = self._read_mesh(path, include_textures=include_textures, device=device, **kwargs)
        if mesh is None:
            fail("path", f"a file of a registered mesh format ({_listed(self.mesh_interpreters)})", repr(str(path)))
        return mesh

    def save_mesh(
        self, data: Meshes, path: Any, binary: bool | None = None, include_textures: bool = True, **kwargs: Any
    ) -> None:
        """Save one mesh.

        Args:
            data: a batch of one.
            path: of the file; its ending decides the format.
            binary: whether to write binary or text, if the format has both; None for the format's default.
            include_textures: whether to write textures and colours.
            kwargs: options of the format, such as ``decimal_places``.
        Raises:
            ValueError: no registered format writes such a path, or ``data`` is not one mesh.
        """
        if not include_textures and data.textures is not None:
            data = data.clone()
            data.textures = None
        for interpreter in self.mesh_interpreters:
            if interpreter.save(data, path, path_manager=self.path_manager, binary=binary, **kwargs):
                return
        fail("path", "the ending of a registered mesh format that can be written", repr(str(path)))

    def load_pointcloud(self, path: Any, device: Any = "cpu", **kwargs: Any) -> Pointclouds:
        """Load one point cloud; colours become its features.

        Args:
            path: of the file.
            device: of the cloud.
            kwargs: options of the format.
        Raises:
            ValueError: no registered format knows the path, or the file is damaged (the message says where).
            OSError: the file cannot be opened.
        """
        cloud = self._read_pointcloud(path, device=device, **kwargs)
        if cloud is None:
            formats = _listed(self.pointcloud_interpreters)
            fail("path", f"a file of a registered point cloud format ({formats})", repr(str(path)))
        return cloud

    def save_pointcloud(self, data: Pointclouds, path: Any, binary: bool | None = None, **kwargs: Any) -> None:
        """Save one point cloud.

        Args:
            data: a batch of one.
            path: of the file; its ending decides the format.
            binary: whether to write binary or text, if the format has both; None for the format's default.
            kwargs: options of the format, such as ``colors_as_uint8`` of PLY.
        Raises:
            ValueError: no registered format writes such a path, or ``data`` is not one cloud.
        """
        for interpreter in self.pointcloud_interpreters:
            if interpreter.save(data, path, path_manager=self.path_manager, binary=binary, **kwargs):
                return
        fail("path", "the ending of a registered point cloud format that can be written", repr(str(path)))

    @bounded
    def _read_mesh(self, path: Any, **kwargs: Any) -> Meshes | None:
        meshes = (each.read(path, path_manager=self.path_manager, **kwargs) for each in self.mesh_interpreters)
        return next((mesh for mesh in meshes if mesh is not None), None)

    @bounded
    def _read_pointcloud(self, path: Any, **kwargs: Any) -> Pointclouds | None:
        clouds = (each.read(path, path_manager=self.path_manager, **kwargs) for each in self.pointcloud_interpreters)
        return next((cloud for cloud in clouds if cloud is not None), None)


def _suffixes(interpreters: Iterable[Interpreter]) -> list[str]:
    """The endings that formats declare, in the order of registration."""
    declared = [each.known_suffixes for each in reversed([*interpreters])]
    return [suffix for known in declared for suffix in ([known] if isinstance(known, str) else known)]


def _listed(interpreters: Iterable[Interpreter]) -> str:
    return ", ".join(dict.fromkeys(_suffixes(interpreters))) or "none"
