"""The IO class: which format is asked, and formats of one's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tirender.io
from tirender.io import IO
from tirender.io.file_mesh import FileMesh
from tirender.io.files import Source
from tirender.io.pluggable_formats import MeshFormatInterpreter, MeshRecordFormat
from tirender.io.reading import KNOWN_SUFFIXES, read_mesh_file
from tirender.structures import Meshes, Pointclouds

MESH = Meshes([torch.rand(3, 3)], [torch.tensor([[0, 1, 2]])])


class Mine(MeshFormatInterpreter):
    """Reads anything that ends in .mine or .obj."""

    def read(self, path: Any, include_textures: bool, device: Any, path_manager: Any = None, **kwargs: Any) -> Any:
        return MESH if str(path).endswith((".mine", ".obj")) else None

    def save(
        self, data: Meshes, path: Any, path_manager: Any = None, binary: bool | None = None, **kwargs: Any
    ) -> bool:
        self.saved = (data, path, binary, kwargs)
        return str(path).endswith(".mine")


def test_public_names() -> None:
    assert {"IO", "load_obj", "load_objs_as_meshes", "load_ply", "save_obj", "save_ply"} <= set(dir(tirender.io))


def test_own_format_comes_first(tmp_path) -> None:
    registry = IO()
    mine = Mine()
    registry.register_meshes_format(mine)
    assert registry.load_mesh("x.mine") is MESH
    assert registry.load_mesh("x.obj") is MESH
    registry.save_mesh(MESH, "x.mine", binary=True, option=3)
    assert mine.saved == (MESH, "x.mine", True, {"option": 3})
    registry.save_mesh(MESH, tmp_path / "x.obj")  # which Mine does not write
    assert torch.equal(IO().load_mesh(tmp_path / "x.obj").verts_packed(), MESH.verts_packed())


@pytest.mark.parametrize("suffix", ["obj", "ply", "off", "glb", "OBJ", "Ply"])
def test_round_trip_in_every_format(tmp_path, suffix: str) -> None:
    for path in (tmp_path / f"m.{suffix}", str(tmp_path / f"n.{suffix}")):
        IO().save_mesh(MESH, path)
        loaded = IO().load_mesh(path, device="cpu")
        assert torch.equal(loaded.verts_packed(), MESH.verts_packed())
        assert torch.equal(loaded.faces_packed(), MESH.faces_packed())


def test_unknown_formats() -> None:
    known = r"\.obj, \.off, \.ply, \.glb, \.gltf, \.stl, \.3mf, \.dae, \.zae, \.xaml, \.3dxml"
    expected = "path: expected a file of a registered mesh format"
    with pytest.raises(ValueError, match=rf"{expected} \({known}\), got 'x.xyz'"):
        IO().load_mesh("x.xyz")
    with pytest.raises(ValueError, match=rf"{expected} \(none\), got 'x.obj'"):
        IO(include_default_formats=False).load_mesh("x.obj")
    with pytest.raises(ValueError, match="path: expected the ending of a registered mesh format that can be written"):
        IO().save_mesh(MESH, "x.stl")
    with pytest.raises(ValueError, match="interpreter: expected a MeshFormatInterpreter, got str"):
        IO().register_meshes_format("obj")  # type: ignore[arg-type]


class Declared(Mine):
    """One that says which endings it knows, as PyTorch3D's formats do."""

    def __init__(self) -> None:
        self.known_suffixes = (".mine", ".obj")


def test_the_registry_tells_the_endings_that_its_formats_declare() -> None:
    registry = IO()
    meshes = [".obj", ".off", ".ply", ".glb", ".gltf", ".stl", ".3mf", ".dae", ".zae", ".xaml", ".3dxml"]
    assert registry.known_suffixes == [*meshes, ".npz"]
    registry.register_meshes_format(Mine())  # which declares none, and reads all the same
    assert registry.known_suffixes == [*meshes, ".npz"]
    registry.register_meshes_format(Declared())
    assert registry.known_suffixes == [*meshes, ".mine", ".npz"]
    with pytest.raises(ValueError, match=r"\(\.obj, .*, \.3dxml, \.mine\), got 'x.xyz'"):
        registry.load_mesh("x.xyz")
    other = Mine()
    other.known_suffixes = ".one"  # which str.endswith takes, too
    registry.register_meshes_format(other)
    assert registry.known_suffixes[-2:] == [".one", ".npz"]


def test_reading_whatever_a_file_holds(tmp_path) -> None:
    IO().save_mesh(MESH, tmp_path / "mesh.ply")
    IO().save_pointcloud(Pointclouds([torch.rand(4, 3)]), tmp_path / "cloud.ply")
    (tmp_path / "points.obj").write_text("v 0 0 0\n")
    assert isinstance(IO().read(tmp_path / "mesh.ply"), Meshes)
    assert isinstance(IO().read(tmp_path / "cloud.ply"), Pointclouds)
    assert IO().read(tmp_path / "points.obj").isempty()  # no format reads .obj as a cloud
    assert IO().read(tmp_path / "mesh.xyz") is None
    with pytest.raises(FileNotFoundError):
        IO().read(tmp_path / "missing.obj")


@pytest.mark.parametrize("suffix", ["obj", "ply", "off", "glb"])
def test_paths_may_be_bytes(tmp_path, suffix: str) -> None:
    path = bytes(tmp_path / f"m.{suffix}")
    IO().save_mesh(MESH, path)
    assert torch.allclose(IO().load_mesh(path).verts_packed(), MESH.verts_packed())
    assert len(read_mesh_file(path).verts) == 3
    with pytest.raises(ValueError, match=f"one mesh, as m.{suffix} holds one"):
        IO().save_mesh(MESH.extend(2), path)


def test_a_registered_format_is_read_as_a_record_too() -> None:
    """Each suffix of ``IO`` has a reader that keeps materials, so that no format is registered in one place only."""
    assert set(KNOWN_SUFFIXES) == set(IO().known_suffixes)
    assert len(KNOWN_SUFFIXES) == len(set(KNOWN_SUFFIXES))


def test_a_format_needs_a_reader_of_records_alone(tmp_path) -> None:
    def read(source: Source) -> FileMesh:
        return FileMesh(source.name, np.frombuffer(source.data, np.float64).reshape(-1, 3), np.array([[0, 1, 2]]))

    class Raw(MeshRecordFormat):
        known_suffixes = (".raw",)
        read_record = staticmethod(read)

    registry = IO()
    registry.register_meshes_format(Raw())
    (tmp_path / "m.raw").write_bytes(MESH.verts_packed().numpy().astype(np.float64).tobytes())
    assert torch.equal(registry.load_mesh(tmp_path / "m.raw").verts_packed(), MESH.verts_packed())
    with pytest.raises(ValueError, match="path: expected the ending of a registered mesh format that can be written"):
        registry.save_mesh(MESH, tmp_path / "n.raw")


@pytest.mark.parametrize("ending", ["obj", "ply"])
@pytest.mark.parametrize("comment", ["a\nend_header", "a\rv 1 2 3", "a\0", "a\\"])
def test_comments_are_one_line(tmp_path, ending, comment):
    with pytest.raises(ValueError, match="comment: expected one line"):
        IO().save_mesh(MESH, tmp_path / f"m.{ending}", comment=comment)
    assert not any(tmp_path.iterdir())
