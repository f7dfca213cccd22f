"""The core of glTF: accessors, skins, morph targets, instances, cameras, materials, and extensions."""

from __future__ import annotations

import builtins
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gltf_files import GltfBuilder
from PIL import Image

from tirender.io import IO
from tirender.io.file_mesh import FileMesh
from tirender.io.files import read_source
from tirender.io.gltf_io import read_gltf
from tirender.renderer.mesh.textures import TexturesVertex

TRIANGLE = [[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]
UVS = [[0.0, 0], [1, 0], [1, 1]]
PIXELS = [[[1.0, 0, 0], [0, 1, 0]], [[0, 0, 1], [1, 1, 1]]]
EXPECTED = [[1.0, 0, 0], [0, 1, 0], [1, 1, 1]]
HALF = 0.5**0.5


def png(pixels: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray((np.array(pixels) * 255).astype(np.uint8)).save(stream, format="PNG")
    return stream.getvalue()


def read(folder: Path, builder: GltfBuilder) -> FileMesh:
    (folder / "m.glb").write_bytes(builder.glb())
    return read_gltf(read_source(folder / "m.glb"))


def load(folder: Path, builder: GltfBuilder) -> Any:
    (folder / "m.glb").write_bytes(builder.glb())
    return IO().load_mesh(folder / "m.glb")


def srgb(linear: float) -> float:
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055


def triangle(builder: GltfBuilder, **attributes: int) -> dict:
    return {"attributes": {"POSITION": builder.array(TRIANGLE), **attributes}}


# --- accessors ---


@pytest.mark.parametrize("index_type", ["u1", "u2", "u4"])
@pytest.mark.parametrize("has_base", [False, True])
def test_sparse_accessors(tmp_path, index_type: str, has_base: bool) -> None:
    builder = GltfBuilder()
    position = builder.array(TRIANGLE)
    accessor = builder.root["accessors"][position]
    indices = builder.view(np.array([2, 0], "<" + index_type).tobytes())
    values = builder.view(np.array([[7, 8, 9], [4, 5, 6]], "<f4").tobytes())
    component = {"u1": 5121, "u2": 5123, "u4": 5125}[index_type]
    accessor["sparse"] = {
        "count": 2,
        "indices": {"bufferView": indices, "componentType": component},
        "values": {"bufferView": values},
    }
    if not has_base:
        del accessor["bufferView"]
    builder.mesh({"attributes": {"POSITION": position}})
    middle = [1, 0, 0] if has_base else [0, 0, 0]
    assert read(tmp_path, builder).verts.tolist() == [[4, 5, 6], middle, [7, 8, 9]]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("count",), 9, r"sparse.indices: expected a range inside"),
        (("indices", "componentType"), 5126, r"sparse.indices: expected an unsigned componentType, got 5126"),
        (("indices", "byteOffset"), 1, r"sparse.indices: expected indices below 3, got 3"),
        (("values", "bufferView"), 99, r"expected an index into its 3 bufferViews"),
    ],
)
def test_broken_sparse_accessors(tmp_path, path: tuple, value: int, message: str) -> None:
    builder = GltfBuilder()
    position = builder.array(TRIANGLE)
    sparse = {
        "count": 2,
        "indices": {"bufferView": builder.view(np.array([0, 2, 3], "u1").tobytes()), "componentType": 5121},
        "values": {"bufferView": builder.view(bytes(24))},
    }
    owner = sparse
    for key in path[:-1]:
        owner = owner[key]
    owner[path[-1]] = value
    builder.root["accessors"][position]["sparse"] = sparse
    builder.mesh({"attributes": {"POSITION": position}})
    with pytest.raises(ValueError, match=message):
        read(tmp_path, builder)


@pytest.mark.parametrize(("dtype", "scale"), [("i1", 127), ("u1", 255), ("i2", 32767), ("u2", 65535)])
@pytest.mark.parametrize("normalized", [False, True])
def test_quantized_meshes(tmp_path, dtype: str, scale: int, normalized: bool) -> None:
    """KHR_mesh_quantization: positions, normals and texture coordinates of integers, normalized or not."""
    builder = GltfBuilder()
    builder.root["extensionsRequired"] = builder.root["extensionsUsed"] = ["KHR_mesh_quantization"]
    pad = 4 if dtype[1] == "1" else 8

    def array(values: Any, width: int) -> int:
        rows = np.zeros((3, pad // int(dtype[1])), "<" + dtype)
        rows[:, :width] = values
        index = builder.array(rows, dtype, normalized=normalized, type=f"VEC{width}")
        builder.root["bufferViews"][-1]["byteStride"] = pad
        return index

    positions = array(np.array(TRIANGLE) * 100, 3)
    attributes = {"POSITION": positions, "TEXCOORD_0": array(np.array(UVS) * 50, 2)}
    if dtype[0] == "i":
        attributes["NORMAL"] = array([[0, 0, scale], [0, scale, 0], [scale, 0, 0]], 3)
    builder.mesh({"attributes": attributes}, scale=[0.01] * 3)
    mesh = read(tmp_path, builder)
    factor = scale if normalized else 1
    assert np.allclose(mesh.verts, np.array(TRIANGLE) / factor)
    assert np.allclose(mesh.uvs[0], [[u * 50 / factor, 1 - v * 50 / factor] for u, v in UVS])
    if dtype[0] == "i":
        assert np.allclose(mesh.normals, [[0, 0, 1], [0, 1, 0], [1, 0, 0]])


# --- skins, morph targets, instances, cameras ---


def test_skin_in_its_bind_pose(tmp_path) -> None:
    """Two joints, one turned by a quarter and moved; the mesh's own node does not count, nor does its parent."""
    builder = GltfBuilder()
    joints = builder.array([[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]], "u1")
    weights = builder.array([[1, 0, 0, 0], [2, 0, 0, 0], [0.5, 0.5, 0, 0]])
    normals = builder.array([[1, 0, 0]] * 3)
    mesh = builder.add(
        "meshes", {"primitives": [triangle(builder, JOINTS_0=joints, WEIGHTS_0=weights, NORMAL=normals)]}
    )
    inverse = np.tile(np.eye(4), (2, 1, 1))
    inverse[1, :3, 3] = [-1, 0, 0]
    matrices = builder.array(inverse.transpose(0, 2, 1).reshape(2, 16))
    first = builder.add("nodes", {"translation": [0, 0, 5]})
    second = builder.add("nodes", {"translation": [0, 2, 0], "rotation": [0, 0, HALF, HALF]})
    builder.root["nodes"][first]["children"] = [second]
    shown = builder.add("nodes", {"mesh": mesh, "skin": 0, "translation": [9, 9, 9], "scale": [-3, 3, 3]})
    above = builder.add("nodes", {"children": [shown], "translation": [7, 7, 7]})
    builder.root["skins"] = [{"joints": [first, second], "inverseBindMatrices": matrices}]
    builder.root["scenes"][0]["nodes"] = [above, first]
    # The second joint takes p to turn(p - x) + (0, 2, 5), turn(x, y) = (-y, x).
    expected = [[0, 0, 5], [0, 2, 5], [(0 - 1) / 2, (1 + 1) / 2, 5]]
    result = read(tmp_path, builder)
    assert np.allclose(result.verts, expected)
    assert result.faces.tolist() == [[0, 1, 2]]
    assert np.allclose(result.normals, [[1, 0, 0], [0, 1, 0], [HALF, HALF, 0]])
    del builder.root["skins"][0]["inverseBindMatrices"]
    assert np.allclose(read(tmp_path, builder).verts[1], [0, 3, 5])


@pytest.mark.parametrize(("dtype", "full"), [("u1", 255), ("u2", 65535)])
def test_weights_of_integers(tmp_path, dtype: str, full: int) -> None:
    builder = GltfBuilder()
    joints = builder.array([[0, 1, 0, 0]] * 3, "u2")
    weights = builder.array([[full // 5 * 4, full // 5, 0, 0]] * 3, dtype, normalized=True)
    mesh = builder.add("meshes", {"primitives": [triangle(builder, JOINTS_0=joints, WEIGHTS_0=weights)]})
    nodes = [builder.add("nodes", {"translation": [0, 0, z]}) for z in (0, 10)]
    builder.root["skins"] = [{"joints": nodes}]
    builder.root["scenes"][0]["nodes"] = [*nodes, builder.add("nodes", {"mesh": mesh, "skin": 0})]
    assert np.allclose(read(tmp_path, builder).verts[:, 2], 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints": []}, r"skins\[0\]: expected at least one joint"),
        ({"joints": [99]}, r"expected an index into its 2 nodes"),
        ({"inverseBindMatrices": 0}, r"accessors\[0\]: expected MAT4"),
    ],
)
def test_broken_skins(tmp_path, change: dict, message: str) -> None:
    builder = GltfBuilder()
    joints, weights = builder.array([[0] * 4] * 3, "u1"), builder.array([[1, 0, 0, 0]] * 3)
    mesh = builder.add("meshes", {"primitives": [triangle(builder, JOINTS_0=joints, WEIGHTS_0=weights)]})
    joint = builder.add("nodes", {})
    builder.root["skins"] = [{"joints": [joint], **change}]
    builder.root["scenes"][0]["nodes"] = [builder.add("nodes", {"mesh": mesh, "skin": 0})]
    with pytest.raises(ValueError, match=message):
        read(tmp_path, builder)


def test_numbers_that_are_not_finite(tmp_path) -> None:
    """Of a morph target, and where the scale of a node is beyond what squares can hold."""
    builder = GltfBuilder()
    primitive = triangle(builder, NORMAL=builder.array([[0, 0, 1]] * 3))
    primitive["targets"] = [{"NORMAL": builder.array([[0, 0, 0], [np.nan, 0, 0], [0, 0, 0]])}]
    builder.mesh(primitive, weights=[1.0])
    with pytest.raises(ValueError, match=r"primitives\[0\].targets\[0\], NORMAL 1: expected NORMAL finite"):
        read(tmp_path, builder)
    builder = GltfBuilder()
    builder.mesh(
        {"attributes": {"POSITION": builder.array(np.zeros((3, 3))), "NORMAL": builder.array([[0, 0, 1]] * 3)}}
    )
    builder.root["nodes"][0]["scale"] = [1e29] * 3
    for i in range(5):
        builder.root["nodes"].append({"children": [i], "scale": [1e29] * 3})
    builder.root["scenes"][0]["nodes"] = [5]
    with pytest.raises(ValueError, match=r"primitives\[0\], NORMAL 0: expected NORMAL finite"):
        read(tmp_path, builder)


@pytest.mark.parametrize(
    ("joints", "weights", "message"),
    [
        ([[1, 0, 0, 0]] * 3, [[1, 0, 0, 0]] * 3, "expected JOINTS_0 that count the skin's 1 joints"),
        ([[0, 0, 0, 0]] * 3, [[0, 0, 0, 0]] * 3, "expected weights of joints above 0 at every vertex"),
    ],
)
def test_broken_joints(tmp_path, joints: list, weights: list, message: str) -> None:
    builder = GltfBuilder()
    primitive = triangle(builder, JOINTS_0=builder.array(joints, "u1"), WEIGHTS_0=builder.array(weights))
    mesh = builder.add("meshes", {"primitives": [primitive]})
    builder.root["skins"] = [{"joints": [builder.add("nodes", {})]}]
    builder.root["scenes"][0]["nodes"] = [builder.add("nodes", {"mesh": mesh, "skin": 0})]
    with pytest.raises(ValueError, match=message):
        read(tmp_path, builder)


def test_joints_in_a_circle(tmp_path) -> None:
    builder = GltfBuilder()
    joints, weights = builder.array([[0] * 4] * 3, "u1"), builder.array([[1, 0, 0, 0]] * 3)
    mesh = builder.add("meshes", {"primitives": [triangle(builder, JOINTS_0=joints, WEIGHTS_0=weights)]})
    shown = builder.add("nodes", {"mesh": mesh, "skin": 0})
    builder.root["nodes"] += [{"children": [2]}, {"children": [1]}]
    builder.root["skins"] = [{"joints": [1]}]
    builder.root["scenes"][0]["nodes"] = [shown]
    with pytest.raises(ValueError, match="expected nodes that form trees, got a circle"):
        read(tmp_path, builder)


def test_morph_targets_at_their_default_weights(tmp_path) -> None:
    """The node's weights go before the mesh's; normals follow; what has no weights stands still."""
    builder = GltfBuilder()
    up, aside = builder.array([[0, 0, 1]] * 3), builder.array([[2, 0, 0], [0, 0, 0], [0, 0, 0]])
    primitive = triangle(builder, NORMAL=builder.array([[0, 0, 1]] * 3))
    primitive["targets"] = [{"POSITION": up, "NORMAL": builder.array([[0, 1, 0]] * 3)}, {"POSITION": aside}]
    mesh = builder.mesh(primitive)
    builder.root["meshes"][mesh]["weights"] = [1.0, 0.5]
    moved = read(tmp_path, builder)
    assert moved.verts.tolist() == [[1, 0, 1], [1, 0, 1], [0, 1, 1]]
    assert np.allclose(moved.normals, [[0, HALF, HALF]] * 3)
    builder.root["nodes"][0]["weights"] = [0.0, 2.0]
    assert read(tmp_path, builder).verts.tolist() == [[4, 0, 0], [1, 0, 0], [0, 1, 0]]
    del builder.root["nodes"][0]["weights"], builder.root["meshes"][mesh]["weights"]
    assert read(tmp_path, builder).verts.tolist() == TRIANGLE


def test_instances(tmp_path) -> None:
    """EXT_mesh_gpu_instancing: node, then translation, rotation, scale; a mirrored one is turned inside out again."""
    builder = GltfBuilder()
    attributes = {
        "TRANSLATION": builder.array([[0, 0, 0], [10, 0, 0], [0, 10, 0]]),
        "ROTATION": builder.array([[0, 0, 0, 1], [0, 0, HALF, HALF], [0, 0, 0, 1]]),
        "SCALE": builder.array([[1, 1, 1], [2, 2, 2], [-1, 1, 1]]),
    }
    builder.root["extensionsRequired"] = builder.root["extensionsUsed"] = ["EXT_mesh_gpu_instancing"]
    material = builder.add("materials", {})
    primitive = triangle(builder, NORMAL=builder.array([[0, 0, 1]] * 3), TEXCOORD_0=builder.array(UVS))
    builder.mesh(
        {**primitive, "material": material},
        extensions={"EXT_mesh_gpu_instancing": {"attributes": attributes}},
        translation=[0, 0, 1],
    )
    mesh = read(tmp_path, builder)
    expected = [[0, 0, 1], [1, 0, 1], [0, 1, 1]]
    expected += [[10, 0, 1], [10, 2, 1], [8, 0, 1]]
    expected += [[0, 10, 1], [-1, 10, 1], [0, 11, 1]]
    assert np.allclose(mesh.verts, expected)
    assert mesh.faces.tolist() == [[0, 1, 2], [3, 4, 5], [8, 7, 6]]
    assert np.allclose(mesh.normals, [[0, 0, 1]] * 9)
    assert len(mesh.uvs[0]) == 9
    assert mesh.faces_material.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("n", "message"),
    [(200_000, "at most 2.1 GB in memory"), (300_000, "finite TRANSLATION of at most 262144 instances")],
)
def test_instances_are_bounded_before_they_are_made(tmp_path, n: int, message: str) -> None:
    builder = GltfBuilder()
    many = builder.add("accessors", {"componentType": 5126, "count": n, "type": "VEC3"})
    extension = {"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": many}}}
    builder.mesh({"attributes": {"POSITION": builder.array(np.zeros((300, 3)))}}, extensions=extension)
    with pytest.raises(ValueError, match=f"expected {message}"):
        read(tmp_path, builder)


def test_cameras(tmp_path) -> None:
    builder = GltfBuilder()
    builder.mesh(triangle(builder))
    perspective = {"yfov": 0.5, "aspectRatio": 1.5, "znear": 0.1}
    builder.root["cameras"] = [
        {"type": "perspective", "perspective": perspective, "name": "front"},
        {"type": "orthographic", "orthographic": {"xmag": 2, "ymag": 1, "znear": 0, "zfar": 10}},
    ]
    child = builder.add("nodes", {"camera": 0, "translation": [0, 1, 0]})
    builder.root["scenes"][0]["nodes"].append(builder.add("nodes", {"children": [child], "translation": [0, 0, 5]}))
    builder.root["scenes"][0]["nodes"].append(builder.add("nodes", {"camera": 1}))
    front, above = sorted(read(tmp_path, builder).cameras, key=lambda camera: camera.kind, reverse=True)
    assert (front.name, front.kind, front.fov_y, front.aspect) == ("front", "perspective", 0.5, 1.5)
    assert (front.near, front.far, front.half_width) == (0.1, None, None)
    assert front.matrix[:3, 3].tolist() == [0, 1, 5]
    assert (above.half_width, above.half_height, above.near, above.far, above.fov_y) == (2, 1, 0, 10, None)
    builder.root["cameras"][0]["type"] = "fisheye"
    with pytest.raises(ValueError, match=r"cameras\[0\]: expected type perspective or orthographic"):
        read(tmp_path, builder)


def test_hidden_nodes(tmp_path) -> None:
    builder = GltfBuilder()
    builder.root["extensionsUsed"] = ["KHR_node_visibility"]
    mesh = builder.mesh(triangle(builder))
    child = builder.add("nodes", {"mesh": mesh})
    hidden = {"children": [child], "extensions": {"KHR_node_visibility": {"visible": False}}}
    builder.root["scenes"][0]["nodes"].append(builder.add("nodes", hidden))
    assert len(read(tmp_path, builder).verts) == 3


def test_far_positions_keep_their_digits(tmp_path) -> None:
    builder = GltfBuilder()
    builder.mesh(triangle(builder), translation=[4512345.25, 0.125, -1e7], scale=[0.001] * 3)
    expected = np.array(TRIANGLE) * 0.001 + [4512345.25, 0.125, -1e7]
    assert np.allclose(read(tmp_path, builder).verts, expected, rtol=0, atol=1e-8)


# --- materials ---


def material(builder: GltfBuilder, **fields: Any) -> int:
    return builder.add("materials", fields)


def test_record(tmp_path) -> None:
    builder = GltfBuilder()
    maps = [builder.image(png(np.full((1, 1, 3), i / 5))) for i in range(5)]
    pbr = {
        "baseColorFactor": [0.25, 1, 0, 0.5],
        "baseColorTexture": {"index": maps[0]},
        "metallicFactor": 0.25,
        "roughnessFactor": 0.75,
        "metallicRoughnessTexture": {"index": maps[1]},
    }
    index = material(
        builder,
        name="all",
        pbrMetallicRoughness=pbr,
        normalTexture={"index": maps[2], "scale": 2},
        occlusionTexture={"index": maps[3], "strength": 0.5},
        emissiveTexture={"index": maps[4]},
        emissiveFactor=[0, 0.5, 1],
        alphaMode="MASK",
        alphaCutoff=0.125,
        doubleSided=True,
        extensions={"KHR_materials_emissive_strength": {"emissiveStrength": 2}, "KHR_materials_unlit": {}},
    )
    builder.mesh(
        *({**triangle(builder, TEXCOORD_0=builder.array(UVS)), "material": i} for i in (index, material(builder)))
    )
    full, plain = read(tmp_path, builder).materials
    assert full.base_color == pytest.approx((srgb(0.25), 1, 0, 0.5))
    assert (full.name, full.alpha_mode, full.alpha_cutoff, full.double_sided) == ("all", "mask", 0.125, True)
    assert (full.metallic, full.roughness, full.normal_scale, full.occlusion_strength) == (0.25, 0.75, 2, 0.5)
    assert full.emission == pytest.approx((0, 1, srgb(2)))
    assert full.unlit
    found = [full.base_map, full.metallic_roughness_map, full.normal_map, full.occlusion_map, full.emission_map]
    assert [round(texture.image.max().item() * 5) for texture in found] == [0, 1, 2, 3, 4]
    assert (plain.base_color, plain.alpha_mode, plain.metallic, plain.roughness) == ((1, 1, 1, 1), "opaque", 1, 1)
    assert (plain.double_sided, plain.unlit, plain.emission, plain.base_map) == (False, False, (0, 0, 0), None)


def test_images_with_alpha(tmp_path) -> None:
    builder = GltfBuilder()
    pixels = [[[1.0, 0, 0, 0.2], [0, 1, 0, 1]]]
    index = material(
        builder, alphaMode="BLEND", pbrMetallicRoughness={"baseColorTexture": {"index": builder.image(png(pixels))}}
    )
    builder.mesh({**triangle(builder, TEXCOORD_0=builder.array(UVS)), "material": index})
    record = read(tmp_path, builder).materials[0]
    assert record.alpha_mode == "blend"
    assert torch.allclose(record.base_map.image, torch.tensor(pixels))
    with pytest.warns(UserWarning, match="m.glb: transparency: not part of a mesh's textures, left out"):
        load(tmp_path, builder)


@pytest.mark.parametrize(
    ("factor", "value", "cut"),
    [("roughnessFactor", 1.5, 1.0), ("metallicFactor", -0.5, 0.0), ("baseColorFactor", [2, 0, 0, 1], (1, 0, 0, 1))],
)
def test_factors_outside_of_their_range_are_cut_with_a_warning(tmp_path, factor, value, cut) -> None:
    builder = GltfBuilder()
    index = material(builder, pbrMetallicRoughness={factor: value})
    builder.mesh({**triangle(builder), "material": index})
    with pytest.warns(UserWarning, match=rf"{factor}: .* is cut to \[0, 1\]"):
        record = read(tmp_path, builder).materials[0]
    assert {"r": record.roughness, "m": record.metallic, "b": record.base_color}[factor[0]] == pytest.approx(cut)


def test_specular_glossiness_is_read_as_its_diffuse_part(tmp_path) -> None:
    builder = GltfBuilder()
    older = {
        "diffuseFactor": [1, 0.25, 0, 1],
        "diffuseTexture": {"index": builder.image(png(PIXELS))},
        "glossinessFactor": 0.25,
    }
    index = material(
        builder,
        pbrMetallicRoughness={"baseColorFactor": [0, 0, 0, 1]},
        extensions={"KHR_materials_pbrSpecularGlossiness": older},
    )
    builder.root["extensionsRequired"] = builder.root["extensionsUsed"] = ["KHR_materials_pbrSpecularGlossiness"]
    builder.mesh({**triangle(builder, TEXCOORD_0=builder.array(UVS)), "material": index})
    record = read(tmp_path, builder).materials[0]
    assert record.base_color == pytest.approx((1, srgb(0.25), 0, 1))
    assert (record.metallic, record.roughness) == (0, 0.75)
    colors = load(tmp_path, builder).textures.faces_verts_textures_packed()[0]
    assert torch.allclose(colors, torch.tensor(EXPECTED) * torch.tensor([1, srgb(0.25), 0]), atol=1e-6)


@pytest.mark.parametrize(
    ("sampler", "wrap", "nearest"),
    [
        ({}, ("repeat", "repeat"), False),
        ({"wrapS": 33071, "wrapT": 33648}, ("clamp", "mirror"), False),
        ({"wrapT": 33071, "magFilter": 9728}, ("repeat", "clamp"), True),
        ({"wrapS": 10497, "magFilter": 9729}, ("repeat", "repeat"), False),
    ],
)
def test_samplers(tmp_path, sampler: dict, wrap: tuple, nearest: bool) -> None:
    builder = GltfBuilder()
    texture = builder.image(png(PIXELS))
    builder.root["samplers"], builder.root["textures"][texture]["sampler"] = [sampler], 0
    index = material(builder, pbrMetallicRoughness={"baseColorTexture": {"index": texture}})
    builder.mesh({**triangle(builder, TEXCOORD_0=builder.array(UVS)), "material": index})
    found = read(tmp_path, builder).materials[0].base_map
    assert (found.wrap, found.nearest) == (wrap, nearest)


def test_each_map_has_its_own_coordinates(tmp_path) -> None:
    """The colour reads set 1, twice as dense and turned; emission reads set 0; v points up in the record."""
    builder = GltfBuilder()
    texture = builder.image(png(PIXELS))
    moved = {"KHR_texture_transform": {"offset": [0.25, 0.5], "rotation": 0.5, "scale": [2, 3], "texCoord": 1}}
    index = material(
        builder,
        pbrMetallicRoughness={"baseColorTexture": {"index": texture, "extensions": moved}},
        emissiveTexture={"index": texture},
    )
    table = np.random.default_rng(0).random((3, 2)).astype(np.float32)
    primitive = triangle(builder, TEXCOORD_0=builder.array(UVS), TEXCOORD_1=builder.array(table))
    builder.mesh({**primitive, "material": index})
    mesh = read(tmp_path, builder)
    record = mesh.materials[0]
    assert (record.base_map.uv_set, record.emission_map.uv_set, record.emission_map.transform) == (1, 0, None)
    up = mesh.uvs[1] @ record.base_map.transform[:, :2].T + record.base_map.transform[:, 2]
    c, s = np.cos(0.5), np.sin(0.5)
    u, v = 2 * table[:, 0], 3 * table[:, 1]
    expected = np.stack([c * u + s * v + 0.25, -s * u + c * v + 0.5], axis=1)  # with v pointing down
    assert np.allclose(up, [[u, 1 - v] for u, v in expected])


def test_a_second_set_without_a_first(tmp_path) -> None:
    builder = GltfBuilder()
    texture = {"index": builder.image(png(PIXELS)), "texCoord": 1}
    index = material(builder, pbrMetallicRoughness={"baseColorTexture": texture})
    builder.mesh({**triangle(builder, TEXCOORD_1=builder.array(UVS)), "material": index})
    colors = load(tmp_path, builder).textures.faces_verts_textures_packed()[0]
    assert torch.allclose(colors, torch.tensor(EXPECTED))


# --- vertex colours ---


@pytest.mark.parametrize(("dtype", "full"), [("u1", 255), ("u2", 65535), ("f4", 1)])
@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("width", [3, 4])
def test_vertex_colours(tmp_path, dtype: str, full: int, normalized: bool, width: int) -> None:
    """Integers are normalized, also where the file forgets to say so; linear; times the material's factor."""
    builder = GltfBuilder()
    rows = np.array([[1, 0.2, 0, 0.6], [0, 1, 0, 1], [0, 0, 1, 1]])[:, :width] * full
    colors = builder.array(rows.round() if full > 1 else rows, dtype, normalized=normalized and full > 1)
    index = material(builder, pbrMetallicRoughness={"baseColorFactor": [0.5, 0.5, 1, 1]})
    builder.mesh({**triangle(builder, COLOR_0=colors), "material": index})
    mesh = read(tmp_path, builder)
    expected = [[1, srgb(0.2), 0], [0, 1, 0], [0, 0, 1]]
    assert np.allclose(mesh.verts_rgba[:, :3], expected, atol=1e-5)
    assert (mesh.verts_rgba[:, 3] == 1).all()  # the material is opaque
    textures = load(tmp_path, builder).textures
    assert isinstance(textures, TexturesVertex)
    product = [[srgb(0.5), srgb(0.1), 0], [0, srgb(0.5), 0], [0, 0, 1]]
    assert torch.allclose(textures.verts_features_packed(), torch.tensor(product), atol=1e-5)
    builder.root["materials"][index]["alphaMode"] = "BLEND"
    assert np.allclose(read(tmp_path, builder).verts_rgba[0, 3], 0.6 if width == 4 else 1, atol=1e-5)


def test_only_some_primitives_have_colours(tmp_path) -> None:
    builder = GltfBuilder()
    red = builder.array([[1, 0, 0]] * 3)
    index = material(builder, pbrMetallicRoughness={"baseColorFactor": [0, 1, 0, 1]})
    builder.mesh(triangle(builder, COLOR_0=red), {**triangle(builder), "material": index}, triangle(builder))
    colors = load(tmp_path, builder).textures.verts_features_packed()
    assert colors.tolist() == [[1, 0, 0]] * 3 + [[0, 1, 0]] * 3 + [[1, 1, 1]] * 3


def test_vertex_colours_beside_an_image_are_a_warning(tmp_path) -> None:
    builder = GltfBuilder()
    index = material(builder, pbrMetallicRoughness={"baseColorTexture": {"index": builder.image(png(PIXELS))}})
    attributes = {"TEXCOORD_0": builder.array(UVS), "COLOR_0": builder.array([[1, 0.5, 0]] * 3)}
    builder.mesh({**triangle(builder, **attributes), "material": index})
    with pytest.warns(UserWarning, match="m.glb: vertex or face colours beside images"):
        load(tmp_path, builder)


# --- extensions ---


@pytest.mark.parametrize(
    "name", ["KHR_materials_transmission", "EXT_meshopt_compression", "KHR_texture_basisu", "VENDOR_unknown"]
)
def test_what_is_required_and_not_understood_is_an_error(tmp_path, name: str) -> None:
    builder = GltfBuilder()
    builder.mesh(triangle(builder))
    builder.root["extensionsRequired"] = [name]
    with pytest.raises(ValueError, match=f"m.glb: expected a file that needs no extension but .* got '{name}'"):
        read(tmp_path, builder)


def test_what_is_only_used_warns_once(tmp_path) -> None:
    builder = GltfBuilder()
    index = material(builder, extensions={"KHR_materials_clearcoat": {"clearcoatFactor": 1}})
    builder.mesh(*[{**triangle(builder), "material": index}] * 3)
    builder.root["extensionsUsed"] = ["KHR_materials_clearcoat", "KHR_materials_unlit", "KHR_xmp_json_ld"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load(tmp_path, builder)
    assert [str(w.message) for w in caught] == [f"{tmp_path}/m.glb: extension KHR_materials_clearcoat is not read"]


def test_texture_of_an_unknown_kind_is_a_warning(tmp_path) -> None:
    builder = GltfBuilder()
    texture = builder.add("textures", {"extensions": {"KHR_texture_basisu": {"source": 0}}})
    index = material(builder, pbrMetallicRoughness={"baseColorTexture": {"index": texture}})
    builder.mesh({**triangle(builder, TEXCOORD_0=builder.array(UVS)), "material": index})
    with pytest.warns(UserWarning, match=r"textures\[0\]: a texture without an image that can be read"):
        assert read(tmp_path, builder).materials[0].base_map is None


def compressed(builder: GltfBuilder, required: bool) -> None:
    draco = pytest.importorskip("DracoPy")
    verts = np.array([*TRIANGLE, [1, 1, 0]], dtype=np.float32)
    faces = np.array([[0, 1, 2], [2, 1, 3]], dtype=np.uint32)
    uvs = np.array([*UVS, [0.5, 0.5]])
    data = draco.encode(verts, faces, quantization_bits=16, tex_coord=uvs)
    ids = {a["attribute_type"]: a["unique_id"] for a in draco.decode(data).attributes}
    extension = {"bufferView": builder.view(data), "attributes": {"POSITION": ids[0], "TEXCOORD_0": ids[3]}}
    position = {"componentType": 5126, "count": 4, "type": "VEC3"}
    accessors = [builder.add("accessors", a) for a in (position, {**position, "type": "VEC2"})]
    primitive = {"attributes": {"POSITION": accessors[0], "TEXCOORD_0": accessors[1]}}
    builder.mesh({**primitive, "extensions": {"KHR_draco_mesh_compression": extension}})
    builder.root["extensionsUsed"] = ["KHR_draco_mesh_compression"]
    if required:
        builder.root["extensionsRequired"] = ["KHR_draco_mesh_compression"]


@pytest.mark.parametrize("required", [True, False])
def test_draco(tmp_path, required: bool) -> None:
    builder = GltfBuilder()
    compressed(builder, required)
    mesh = read(tmp_path, builder)
    corners = mesh.verts[mesh.faces]
    area = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum()
    assert area == pytest.approx(1, abs=1e-4)
    order = np.lexsort(mesh.verts.round(3).T)
    assert np.allclose(mesh.verts[order][:, :2], [[0, 0], [1, 0], [0, 1], [1, 1]], atol=1e-4)
    assert np.allclose(mesh.uvs[0][order], [[0, 1], [1, 1], [1, 0], [0.5, 0.5]], atol=1e-3)


def test_draco_that_is_damaged(tmp_path) -> None:
    builder = GltfBuilder()
    compressed(builder, True)
    start = builder.root["bufferViews"][0]["byteOffset"]
    builder.binary = builder.binary[: start + 11] + b"\xff" * 60 + builder.binary[start + 71 :]
    with pytest.raises(ValueError, match="KHR_draco_mesh_compression: expected undamaged Draco data"):
        read(tmp_path, builder)


def test_without_dracopy(tmp_path, monkeypatch) -> None:
    builder = GltfBuilder()
    compressed(builder, True)
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "DracoPy":
            raise ImportError("No module named 'DracoPy'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        ImportError, match=r"m.glb, .*decoded by DracoPy; install it with: pip install tirender\[formats\]"
    ):
        read(tmp_path, builder)
