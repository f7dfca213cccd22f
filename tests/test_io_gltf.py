"""glTF files: scenes, modes, images, colours and the layouts of accessors."""

from __future__ import annotations

import base64
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gltf_files import GltfBuilder
from PIL import Image

from tirender.io import IO
from tirender.io import gltf_io as gltf_module
from tirender.renderer.mesh.textures import TexturesUV, TexturesVertex
from tirender.structures.meshes import Meshes

TRIANGLE = [[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]
# glTF's v points down: uv (0, 0) is the image's first texel.
UVS = [[0.0, 0], [1, 0], [1, 1]]
PIXELS = [[[1.0, 0, 0], [0, 1, 0]], [[0, 0, 1], [1, 1, 1]]]
EXPECTED = [[1.0, 0, 0], [0, 1, 0], [1, 1, 1]]


def png(pixels: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray((np.array(pixels) * 255).astype(np.uint8)).save(stream, format="PNG")
    return stream.getvalue()


def load(folder: Path, builder: GltfBuilder, **options: Any) -> Meshes:
    (folder / "m.glb").write_bytes(builder.glb())
    return IO().load_mesh(folder / "m.glb", **options)


def corner_colors(mesh: Meshes) -> torch.Tensor:
    return mesh.textures.faces_verts_textures_packed()


def srgb(linear: float) -> float:
    return 1.055 * linear ** (1 / 2.4) - 0.055


def textured(builder: GltfBuilder, uvs: Any = UVS, **info: Any) -> dict:
    """A primitive with an image of four texels."""
    texture = {"index": builder.image(png(PIXELS)), **info}
    material = builder.add("materials", {"pbrMetallicRoughness": {"baseColorTexture": texture}})
    attributes = {"POSITION": builder.array(TRIANGLE), "TEXCOORD_0": builder.array(uvs)}
    return {"attributes": attributes, "material": material}


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
def test_indices(tmp_path, dtype: str) -> None:
    builder = GltfBuilder()
    indices = builder.array([2, 1, 0, 0, 1, 2], dtype)
    builder.mesh({"attributes": {"POSITION": builder.array(TRIANGLE)}, "indices": indices})
    mesh = load(tmp_path, builder)
    assert mesh.verts_packed().tolist() == TRIANGLE
    assert mesh.faces_packed().tolist() == [[2, 1, 0], [0, 1, 2]]
    assert mesh.textures is None


@pytest.mark.parametrize(
    ("mode", "faces"),
    [(4, [[0, 1, 2], [3, 4, 5]]), (5, [[0, 1, 2], [1, 3, 2], [2, 3, 4], [3, 5, 4]]), (6, None)],
)
@pytest.mark.parametrize("indexed", [True, False])
def test_modes(tmp_path, mode: int, faces: list | None, indexed: bool) -> None:
    builder = GltfBuilder()
    primitive: dict = {"attributes": {"POSITION": builder.array(torch.rand(6, 3))}, "mode": mode}
    if indexed:
        primitive["indices"] = builder.array(range(6), "u2")
    builder.mesh(primitive)
    expected = faces or [[1, 2, 0], [2, 3, 0], [3, 4, 0], [4, 5, 0]]
    assert load(tmp_path, builder).faces_packed().tolist() == expected


def test_points_and_lines_are_left_out(tmp_path) -> None:
    builder = GltfBuilder()
    attributes = {"POSITION": builder.array(TRIANGLE)}
    builder.mesh({"attributes": attributes, "mode": 1}, {"attributes": attributes})
    with pytest.warns(UserWarning, match=r"meshes\[0\].primitives\[0\]: lines, left out"):
        assert load(tmp_path, builder).faces_packed().tolist() == [[0, 1, 2]]


def test_interleaved_and_normalized_accessors(tmp_path) -> None:
    builder = GltfBuilder()
    rows = np.zeros(3, dtype=[("pad", "<f4"), ("position", "<f4", 3), ("color", "u1", 4)])
    rows["position"], rows["color"] = TRIANGLE, [[255, 0, 0, 9], [0, 255, 0, 9], [0, 0, 255, 9]]
    view = builder.view(rows.tobytes(), byteStride=20)
    common = {"bufferView": view, "count": 3}
    position = builder.add("accessors", {**common, "byteOffset": 4, "componentType": 5126, "type": "VEC3"})
    color = {**common, "byteOffset": 16, "componentType": 5121, "type": "VEC4", "normalized": True}
    builder.mesh({"attributes": {"POSITION": position, "COLOR_0": builder.add("accessors", color)}})
    mesh = load(tmp_path, builder)
    assert mesh.verts_packed().tolist() == TRIANGLE
    assert isinstance(mesh.textures, TexturesVertex)
    assert torch.allclose(mesh.textures.verts_features_packed(), torch.eye(3), atol=1e-6)
    assert load(tmp_path, builder, include_textures=False).textures is None


def test_quantized_positions(tmp_path) -> None:
    builder = GltfBuilder()
    builder.root["extensionsRequired"] = ["KHR_mesh_quantization"]
    position = builder.array([[0, 0, 0, 0], [127, 0, 0, 0], [0, -128, 0, 0]], "i1", type="VEC3", normalized=True)
    builder.root["bufferViews"][0]["byteStride"] = 4
    builder.mesh({"attributes": {"POSITION": position}}, scale=[2, 2, 2])
    assert load(tmp_path, builder).verts_packed().tolist() == [[0, 0, 0], [2, 0, 0], [0, -2, 0]]


def test_node_transforms(tmp_path) -> None:
    """Parent and child, TRS and matrix; a mirrored instance is turned inside out again."""
    builder = GltfBuilder()
    half = float(np.sqrt(0.5))
    normals = builder.array([[0, 0, 1]] * 3)
    primitive = {"attributes": {"POSITION": builder.array(TRIANGLE), "NORMAL": normals}}
    mesh = builder.add("meshes", {"primitives": [primitive]})
    mirror = [-1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 5, 0, 0, 1]
    child = builder.add("nodes", {"mesh": mesh, "scale": [2, 3, 4]})
    parent = {"translation": [0, 0, 1], "rotation": [half, 0, 0, half], "children": [child]}
    builder.root["scenes"][0]["nodes"] = [builder.add("nodes", parent)]
    builder.root["scenes"][0]["nodes"] += [builder.add("nodes", {"mesh": mesh, "matrix": mirror})]
    loaded = load(tmp_path, builder)
    expected = [[0, 0, 1], [2, 0, 1], [0, 0, 4], [5, 0, 0], [4, 0, 0], [5, 1, 0]]
    assert torch.allclose(loaded.verts_packed(), torch.tensor(expected, dtype=torch.float32), atol=1e-6)
    assert loaded.faces_packed().tolist() == [[0, 1, 2], [5, 4, 3]]
    given = torch.tensor([[0.0, -1, 0]] * 3 + [[0, 0, 1]] * 3)
    assert torch.allclose(loaded.verts_normals_packed(), given, atol=1e-6)
    computed = Meshes(loaded.verts_list(), loaded.faces_list()).verts_normals_packed()
    assert torch.allclose(computed, given, atol=1e-6)


def test_scenes_and_files_without_nodes(tmp_path) -> None:
    builder = GltfBuilder()
    for x in (1, 2):
        builder.mesh({"attributes": {"POSITION": builder.array(np.array(TRIANGLE) * x)}})
    builder.root["scenes"] = [{"nodes": [0]}, {"nodes": [1]}]
    assert load(tmp_path, builder).verts_packed().max() == 1
    builder.root["scene"] = 1
    assert load(tmp_path, builder).verts_packed().max() == 2
    assert load(tmp_path, builder).verts_packed().shape == (3, 3)
    builder.root["scenes"] = []
    assert load(tmp_path, builder).verts_packed().shape == (6, 3)
    builder.root["nodes"] = []
    assert load(tmp_path, builder).verts_packed().shape == (6, 3)


def test_instances_are_bounded(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(gltf_module, "BYTES_A_VERTEX", (2 << 30) // 10)
    builder = GltfBuilder()
    mesh = builder.mesh({"attributes": {"POSITION": builder.array(TRIANGLE)}})
    builder.root["nodes"] = [{"mesh": mesh}] * 4
    builder.root["scenes"] = [{"nodes": [0, 1, 2, 3]}]
    with pytest.raises(
        ValueError,
        match=r"expected at most 2\.1 GB in memory .* got 1 x 3 vertices of meshes\[0\]\.primitives\[0\], too large",
    ):
        load(tmp_path, builder)


# --- textures ---


def test_image_orientation(tmp_path) -> None:
    builder = GltfBuilder()
    builder.mesh(textured(builder))
    mesh = load(tmp_path, builder)
    assert isinstance(mesh.textures, TexturesUV)
    assert torch.equal(mesh.textures.maps_padded()[0], torch.tensor(PIXELS))
    assert torch.allclose(corner_colors(mesh)[0], torch.tensor(EXPECTED))


def test_several_images_and_colours(tmp_path) -> None:
    builder = GltfBuilder()
    white = [[[1.0, 1, 1]] * 5] * 3
    tinted = {"baseColorTexture": {"index": builder.image(png(white))}, "baseColorFactor": [0.5, 1, 0, 0.1]}
    attributes = {"POSITION": builder.array(TRIANGLE), "TEXCOORD_0": builder.array(UVS)}
    plain = {"pbrMetallicRoughness": {"baseColorFactor": [0.25, 0.25, 0.0, 1.0]}}
    materials = [builder.add("materials", m) for m in ({"pbrMetallicRoughness": tinted}, plain, {})]
    primitives = [{"attributes": attributes, "material": m} for m in materials]
    builder.mesh(*primitives, {"attributes": attributes}, textured(builder))
    expected = [[[srgb(0.5), 1, 0]] * 3, [[srgb(0.25), srgb(0.25), 0]] * 3, [[1] * 3] * 3, [[1] * 3] * 3, EXPECTED]
    assert torch.allclose(corner_colors(load(tmp_path, builder)), torch.tensor(expected), atol=1e-5)


def test_plain_colours_only(tmp_path) -> None:
    builder = GltfBuilder()
    for color in ([1.0, 0, 0, 1], [0, 0.5, 0, 1]):
        material = builder.add("materials", {"pbrMetallicRoughness": {"baseColorFactor": color}})
        builder.mesh({"attributes": {"POSITION": builder.array(TRIANGLE)}, "material": material})
    expected = torch.tensor([[[1.0, 0, 0]] * 3, [[0, srgb(0.5), 0]] * 3])
    assert torch.allclose(corner_colors(load(tmp_path, builder)), expected, atol=1e-6)


@pytest.mark.parametrize("clamps", [False, True])
def test_wrap_modes(tmp_path, clamps: bool) -> None:
    builder = GltfBuilder()
    builder.mesh(textured(builder, uvs=np.array(UVS) + [3, -5]))
    if clamps:
        builder.root["samplers"] = [{"wrapS": 33071, "wrapT": 33071}]
        builder.root["textures"][0]["sampler"] = 0
    expected = [[0.0, 1, 0]] * 3 if clamps else EXPECTED
    assert torch.allclose(corner_colors(load(tmp_path, builder))[0], torch.tensor(expected), atol=1e-5)


def test_texture_transform_and_second_coordinates(tmp_path) -> None:
    builder = GltfBuilder()
    transform = {"offset": [1.0, 0.0], "rotation": -np.pi / 2, "scale": [2.0, 0.5], "texCoord": 1}
    primitive = textured(builder, uvs=[[9, 9]] * 3, extensions={"KHR_texture_transform": transform})
    # uv' = offset + rotation * (scale * uv), rotation(u, v) = (c u + s v, -s u + c v): of (a, b) it is (1 - b/2, 2a).
    primitive["attributes"]["TEXCOORD_1"] = builder.array([[0, 2], [0, 0], [0.5, 0]])
    builder.root["extensionsRequired"] = ["KHR_texture_transform"]
    builder.mesh(primitive)
    assert torch.allclose(corner_colors(load(tmp_path, builder))[0], torch.tensor(EXPECTED), atol=1e-5)


def as_gltf(builder: GltfBuilder, uri: str) -> str:
    return json.dumps({**builder.root, "buffers": [{"byteLength": len(builder.binary), "uri": uri}]})


def test_gltf_with_files_beside_it_and_data_uris(tmp_path) -> None:
    builder = GltfBuilder()
    builder.mesh(textured(builder))
    (tmp_path / "my data.bin").write_bytes(builder.binary)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "t.png").write_bytes(png(PIXELS))
    encoded = base64.b64encode(builder.binary).decode()
    image = "data:image/png;base64," + base64.b64encode(png(PIXELS)).decode()
    for uri in ("my%20data.bin", "data:application/octet-stream;base64," + encoded):
        for image_uri in ("sub/t.png", image):
            builder.root["images"] = [{"uri": image_uri}]
            (tmp_path / "m.gltf").write_text(as_gltf(builder, uri))
            mesh = IO().load_mesh(str(tmp_path / "m.gltf"))
            assert torch.allclose(corner_colors(mesh)[0], torch.tensor(EXPECTED))


@pytest.mark.parametrize("uri", ["gone.png", "../secret.png", "%2E%2E/secret.png", r"..\secret.png", "link.png", "/x"])
def test_images_that_are_missing_or_outside_are_left_out(tmp_path, uri: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret.png").write_bytes(png(PIXELS))
    os.symlink(tmp_path / "secret.png", inside / "link.png")
    builder = GltfBuilder()
    builder.mesh(textured(builder))
    builder.root["images"] = [{"uri": uri}]
    with pytest.warns(UserWarning, match="not read|not found") as caught:
        mesh = load(inside, builder)
    assert len(caught) == 1
    assert torch.allclose(corner_colors(mesh), torch.ones(1, 3, 3))


def test_a_buffer_behind_a_link_is_refused(tmp_path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    builder = GltfBuilder()
    builder.mesh({"attributes": {"POSITION": builder.array(TRIANGLE)}})
    (tmp_path / "secret.bin").write_bytes(builder.binary)
    os.symlink(tmp_path / "secret.bin", inside / "m.bin")
    (inside / "m.gltf").write_text(as_gltf(builder, "m.bin"))
    with pytest.raises(ValueError, match="expected a path inside its own folder.*a link out of it"):
        IO().load_mesh(inside / "m.gltf")


def test_damaged_image(tmp_path) -> None:
    builder = GltfBuilder()
    builder.mesh(textured(builder))
    builder.root["images"] = [{"uri": "data:image/png;base64,AAAA"}]
    with pytest.raises(ValueError, match=r"m.glb, images\[0\]: expected an image file"):
        load(tmp_path, builder)
