"""The registry of file formats."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from tirender.checks import fail
from tirender.io.gltf_io import MeshGlbFormat
from tirender.io.npz_io import PointcloudNpzFormat
from tirender.io.obj_io import MeshObjFormat
from tirender.io.off_io import MeshOffFormat
from tirender.io.pluggable_formats import MeshFormatInterpreter, PointcloudFormatInterpreter
from tirender.io.ply_io import MeshPlyFormat, PointcloudPlyFormat
from tirender.io.stl_io import MeshStlFormat
from tirender.io.trimesh_io import MeshTrimeshFormat

if TYPE_CHECKING:
    from tirender.structures.meshes import Meshes
    from tirender.structures.pointclouds import Pointclouds


class IO:
    """Loads and saves meshes and point clouds in the format that a path's ending stands for.

    Meshes: .obj, .ply, .off, .glb; reading only .gltf, .stl, and by trimesh .3mf, .dae, .zae, .xaml and .3dxml. Clouds:
    .ply, .npz. Streams are read as PLY.

    Args:
        include_default_formats: whether to know these from the start.
        path_manager: an iopath ``PathManager`` that opens all files, or None for the local file system.
    """

    def __init__(self, include_default_formats: bool = True, path_manager: Any = None) -> None:
        self.path_manager = path_manager
        self.mesh_interpreters: deque[MeshFormatInterpreter] = deque()
        self.pointcloud_interpreters: deque[PointcloudFormatInterpreter] = deque()
        if include_default_formats:
            self.register_default_formats()

    def register_default_formats(self) -> None:
        """Register the formats that come with tirender."""
        for kind in (MeshTrimeshFormat, MeshStlFormat, MeshObjFormat, MeshOffFormat, MeshPlyFormat, MeshGlbFormat):
            self.register_meshes_format(kind())
        for cloud_interpreter in (PointcloudNpzFormat(), PointcloudPlyFormat()):
            self.register_pointcloud_format(cloud_interpreter)

    def register_meshes_format(self, interpreter: MeshFormatInterpreter) -> None:
        """Register a format; it is asked before those registered earlier.

        Raises:
            ValueError: ``interpreter`` is no ``MeshFormatInterpreter``.
        """
        if not isinstance(interpreter, MeshFormatInterpreter):
            fail("interpreter", "a MeshFormatInterpreter", type(interpreter).__name__)
        self.mesh_interpreters.appendleft(interpreter)

    def register_pointcloud_format(self, interpreter: PointcloudFormatInterpreter) -> None:
        """Register a format; it is asked before those registered earlier.

        Raises:
            ValueError: ``interpreter`` is no ``PointcloudFormatInterpreter``.
        """
        if not isinstance(interpreter, PointcloudFormatInterpreter):
            fail("interpreter", "a PointcloudFormatInterpreter", type(interpreter).__name__)
        self.pointcloud_interpreters.appendleft(interpreter)

    def load_mesh(self, path: Any, include_textures: bool = True, device: Any = "cpu", **kwargs: Any) -> Meshes:
        """Load one mesh.

        Args:
            path: of the file.
            include_textures: whether to read textures and colours.
            device: of the mesh.
            kwargs: the format's own options, as ``create_texture_atlas`` of OBJ.
        Raises:
            ValueError: no registered format knows the path, or the file is damaged (the message says where).
            OSError: the file cannot be opened.
        """
        for interpreter in self.mesh_interpreters:
            mesh = interpreter.read(
                path, include_textures=include_textures, device=device, path_manager=self.path_manager, **kwargs
            )
            if mesh is not None:
                return mesh
        return fail("path", "a file of a registered mesh format", repr(path))

    def save_mesh(
        self, data: Meshes, path: Any, binary: bool | None = None, include_textures: bool = True, **kwargs: Any
    ) -> None:
        """Save one mesh.

        Args:
            data: a batch of one.
            path: of the file; its ending decides the format.
            binary: binary or text, where the format has both; None for the format's default.
            include_textures: whether to write textures and colours.
            kwargs: the format's own options, as ``decimal_places``.
        Raises:
            ValueError: no registered format writes such a path, or ``data`` is not one mesh.
        """
        if not include_textures and data.textures is not None:
            data = data.clone()
            data.textures = None
        for interpreter in self.mesh_interpreters:
            if interpreter.save(data, path, path_manager=self.path_manager, binary=binary, **kwargs):
                return
        fail("path", "the ending of a registered mesh format that can be written", repr(path))

    def load_pointcloud(self, path: Any, device: Any = "cpu", **kwargs: Any) -> Pointclouds:
        """Load one point cloud; colours become its features.

        Args:
            path: of the file.
            device: of the cloud.
            kwargs: the format's own options.
        Raises:
            ValueError: no registered format knows the path, or the file is damaged (the message says where).
            OSError: the file cannot be opened.
        """
        for interpreter in self.pointcloud_interpreters:
            cloud = interpreter.read(path, device=device, path_manager=self.path_manager, **kwargs)
            if cloud is not None:
                return cloud
        return fail("path", "a file of a registered point cloud format", repr(path))

    def save_pointcloud(self, data: Pointclouds, path: Any, binary: bool | None = None, **kwargs: Any) -> None:
        """Save one point cloud.

        Args:
            data: a batch of one.
            path: of the file; its ending decides the format.
            binary: binary or text, where the format has both; None for the format's default.
            kwargs: the format's own options, as ``colors_as_uint8`` of PLY.
        Raises:
            ValueError: no registered format writes such a path, or ``data`` is not one cloud.
        """
        for interpreter in self.pointcloud_interpreters:
            if interpreter.save(data, path, path_manager=self.path_manager, binary=binary, **kwargs):
                return
        fail("path", "the ending of a registered point cloud format that can be written", repr(path))
