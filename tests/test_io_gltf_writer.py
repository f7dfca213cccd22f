"""Meshes written as GLB: what is read back, and what trimesh reads."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from tirender.io import IO
from tirender.io.experimental_gltf_io import MeshGlbFormat
from tirender.io.reading import read_mesh_file
from tirender.renderer.mesh.texture_maps import check_padding
from tirender.renderer.mesh.textures import TexturesUV, TexturesVertex
from tirender.structures.meshes import Meshes

VERTS = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0.5], [0, 1, 0]])
FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])


def written(folder: Path, mesh: Meshes) -> Meshes:
    IO().save_mesh(mesh, folder / "m.glb")
    return IO().load_mesh(folder / "m.glb")


def test_geometry_and_normals(tmp_path) -> None:
    normals = torch.nn.functional.normalize(torch.randn(4, 3), dim=1)
    loaded = written(tmp_path, Meshes([VERTS], [FACES], verts_normals=[normals]))
    assert torch.equal(loaded.verts_packed(), VERTS)
    assert torch.equal(loaded.faces_packed(), FACES)
    assert torch.allclose(loaded.verts_normals_packed(), normals, atol=1e-6)
    assert not written(tmp_path, Meshes([VERTS], [FACES])).has_verts_normals()


def test_vertex_colours(tmp_path) -> None:
    colors = torch.rand(4, 3)
    loaded = written(tmp_path, Meshes([VERTS], [FACES], TexturesVertex([colors])))
    assert torch.allclose(loaded.textures.verts_features_packed(), colors, atol=1e-5)
    data = (tmp_path / "m.glb").read_bytes()
    root = json.loads(data[20 : 20 + struct.unpack("<I", data[12:16])[0]])
    accessor = root["accessors"][root["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]]
    start = len(data) - root["buffers"][0]["byteLength"] + root["bufferViews"][accessor["bufferView"]]["byteOffset"]
    linear = np.frombuffer(data, "<f4", 12, start).reshape(4, 3)
    expected = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    assert np.allclose(linear, expected, atol=1e-6)


def test_images_and_seams(tmp_path) -> None:
    """The corner that two texture coordinates share becomes two vertices, at one place."""
    image = torch.randint(0, 256, (4, 5, 3)) / 255.0
    uvs = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1], [0.5, 0.5]])
    faces_uvs = torch.tensor([[0, 1, 2], [4, 2, 3]])
    mesh = Meshes([VERTS], [FACES], TexturesUV([image], [faces_uvs], [uvs]))
    loaded = written(tmp_path, mesh)
    assert len(loaded.verts_packed()) == 5
    assert torch.equal(loaded.verts_packed()[loaded.faces_packed()], VERTS[FACES])
    colors = [m.textures.faces_verts_textures_packed() for m in (mesh, loaded)]
    assert torch.allclose(*colors, atol=1e-6)


def test_by_trimesh(tmp_path) -> None:
    trimesh = pytest.importorskip("trimesh")
    written(tmp_path, Meshes([VERTS], [FACES], TexturesVertex([torch.rand(4, 3)])))
    mesh = trimesh.load(tmp_path / "m.glb", force="mesh", process=False)
    assert np.allclose(mesh.vertices, VERTS)
    assert mesh.faces.tolist() == FACES.tolist()


def test_what_is_not_written(tmp_path) -> None:
    mesh = Meshes([VERTS], [FACES])
    assert not MeshGlbFormat().save(mesh, tmp_path / "m.glt")
    with pytest.raises(ValueError, match="binary: expected None or True, as GLB is binary, got False"):
        IO().save_mesh(mesh, tmp_path / "m.glb", binary=False)
    with pytest.raises(ValueError, match="binary: expected None or False, as .gltf is text"):
        IO().save_mesh(mesh, tmp_path / "m.gltf", binary=True)
    with pytest.raises(ValueError, match="data: expected one mesh"):
        IO().save_mesh(mesh.extend(2), tmp_path / "m.glb")
    with pytest.raises(ValueError, match="m.glb: expected at least one vertex, as glTF holds no empty mesh"):
        IO().save_mesh(Meshes([VERTS[:0]], [FACES[:0]]), tmp_path / "m.glb")
    with pytest.raises(ValueError, match="m.glb: expected positions finite in float32"):
        IO().save_mesh(Meshes([VERTS * torch.inf], [FACES]), tmp_path / "m.glb")
    assert not list(tmp_path.iterdir())
    with pytest.warns(UserWarning, match="m.glb: TexturesVertex cannot be saved in this format, left out"):
        IO().save_mesh(Meshes([VERTS], [FACES], TexturesVertex([torch.rand(4, 5)])), tmp_path / "m.glb")


def test_faces_without_texture_coordinates_stay_where_they_are(tmp_path) -> None:
    """-1 in faces_uvs, for whole faces and single corners, and no texture coordinates at all."""
    image, uvs = torch.rand(2, 2, 3), torch.rand(3, 2)
    for faces_uvs, table in (
        ([[-1, -1, -1], [0, 1, 2]], uvs),
        ([[0, -1, 2], [0, 1, 2]], uvs),
        ([[-1] * 3] * 2, uvs[:0]),
    ):
        for options in ({}, {"maps_ids": [torch.tensor([0, 1])]}):
            maps = torch.stack([image, image]) if options else image
            textures = TexturesUV([maps], [torch.tensor(faces_uvs)], [table], **options)
            for name in ("m.glb", "m.obj"):
                IO().save_mesh(Meshes([VERTS], [FACES], textures), tmp_path / name)
                loaded = IO().load_mesh(tmp_path / name)
                assert torch.equal(loaded.verts_packed()[loaded.faces_packed()], VERTS[FACES])


@pytest.mark.parametrize("padding", ["repeat", "border", ("reflection", "repeat"), "mirror"])
def test_padding_becomes_the_wrap(tmp_path, padding) -> None:
    uvs = torch.tensor([[0.0, 0], [3, 0], [3, 3], [0, 3]])
    textures = TexturesUV([torch.rand(2, 2, 3)], [FACES], [uvs], padding_mode=padding)
    IO().save_mesh(Meshes([VERTS], [FACES], textures), tmp_path / "m.glb")
    wrap = read_mesh_file(tmp_path / "m.glb").materials[0].base_map.wrap
    assert check_padding("wrap", wrap) == textures.padding


@pytest.mark.parametrize("n_channels", [1, 4])
@pytest.mark.parametrize("name", ["m.glb", "m.obj"])
def test_maps_that_are_no_rgb(tmp_path, name: str, n_channels: int) -> None:
    textures = TexturesUV([torch.rand(2, 2, n_channels)], [FACES], [torch.rand(4, 2)])
    with pytest.raises(
        ValueError, match=f"textures: expected maps of 3 channels, to be saved, got {n_channels} channels"
    ):
        IO().save_mesh(Meshes([VERTS], [FACES], textures), tmp_path / name)
