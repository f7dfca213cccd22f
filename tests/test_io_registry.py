"""The IO class: which format is asked, and formats of one's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import tirender.io
from tirender.io import IO
from tirender.io.pluggable_formats import MeshFormatInterpreter
from tirender.structures.meshes import Meshes

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
    with pytest.raises(ValueError, match="path: expected a file of a registered mesh format, got 'x.xyz'"):
        IO().load_mesh("x.xyz")
    with pytest.raises(ValueError, match="path: expected a file of a registered mesh format, got 'x.obj'"):
        IO(include_default_formats=False).load_mesh("x.obj")
    with pytest.raises(ValueError, match="path: expected the ending of a registered mesh format that can be written"):
        IO().save_mesh(MESH, "x.gltf")
    with pytest.raises(ValueError, match="interpreter: expected a MeshFormatInterpreter, got str"):
        IO().register_meshes_format("obj")  # type: ignore[arg-type]
