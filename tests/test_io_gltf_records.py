"""All that records of files hold, written as glTF: what the Khronos validator says, and what is read back."""

from __future__ import annotations

import io
import json
import math
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gltf_validator import assert_valid
from PIL import Image

from tirender.io import IO
from tirender.io.colors import decode_srgb
from tirender.io.file_mesh import FileCamera, FileLight, FileMesh
from tirender.io.files import decode_image, read_source, write_file
from tirender.io.gltf_parser import GltfFile
from tirender.io.gltf_writer import gltf_chunks
from tirender.io.orientation import oriented
from tirender.io.reading import read_mesh_file
from tirender.renderer import DirectionalLights, FoVOrthographicCameras, FoVPerspectiveCameras, PointLights
from tirender.renderer.look_at import look_at_view_transform
from tirender.renderer.mesh.material import Material, TextureMap
from tirender.renderer.mesh.textures import TexturesAtlas
from tirender.renderer.mesh.textures_material import TexturesMaterial
from tirender.scenes import load_scene
from tirender.scenes.cameras import from_file
from tirender.structures import Meshes, Pointclouds

SHIFT = np.array([[0.0, -2.0, 0.25], [3.0, 0.0, -0.5]])  # a quarter turn, scaled and moved


def texture(channels: int = 3, seed: int = 0, **layout: Any) -> TextureMap:
    pixels = torch.randint(0, 256, (4, 6, channels), generator=torch.Generator().manual_seed(seed)) / 255.0
    return TextureMap(lambda: pixels, **layout)


def record(n: int = 40, **fields: Any) -> FileMesh:
    """Faces in no order, with an index of their own for each attribute of corners."""
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(9, 3)).astype(np.float32)
    mesh = FileMesh(
        "m.obj",
        rng.normal(size=(30, 3)).astype(np.float32).astype(np.float64),
        rng.integers(0, 30, (n, 3)),
        normals / np.linalg.norm(normals, axis=1, keepdims=True),
        rng.integers(0, 9, (n, 3)),
        (rng.random((11, 2), np.float32), rng.random((7, 2), np.float32)),
        (rng.integers(0, 11, (n, 3)), rng.integers(0, 7, (n, 3))),
    )
    return replace(mesh, **fields)


def rich(n: int = 40) -> FileMesh:
    """All at once; some faces have no material, no normals, or no texture coordinates."""
    rng = np.random.default_rng(1)
    full = Material(
        "full",
        (0.5, 0.25, 1.0, 0.75),
        texture(4, 1, wrap=("clamp", "mirror"), transform=SHIFT),
        alpha_mode="blend",
        emission=(2.0, 0.5, 0.0),
        emission_map=texture(3, 2, uv_set=1),
        normal_map=texture(3, 3),
        normal_scale=0.5,
        occlusion_map=texture(3, 4, uv_set=1),
        occlusion_strength=0.25,
        metallic=0.5,
        roughness=0.125,
        metallic_roughness_map=texture(3, 5, nearest=True),
        double_sided=False,
    )
    mask = Material("mask", base_map=texture(4, 1), alpha_mode="mask", alpha_cutoff=0.25, unlit=True)
    kd = Material("kd", base_map=texture(3, 2), unmapped_color=(0.5, 0.25, 0.0))
    mesh = record(n, materials=(full, mask, kd), faces_material=rng.integers(-1, 3, n))
    normals, uvs = mesh.faces_normals.copy(), mesh.faces_uvs[0].copy()
    normals[::7], uvs[::5] = -1, -1
    return replace(
        mesh,
        faces_normals=normals,
        faces_uvs=(uvs, mesh.faces_uvs[1]),
        verts_rgba=rng.random((30, 4), np.float32),
        faces_rgba=rng.random((n, 4), np.float32),
        cameras=(FileCamera("front", "perspective", np.eye(4), 0.5, 1.5, near=0.25), *odd_cameras()),
        lights=(
            FileLight("sun", "directional", placed(1.0, 2.0, 3.0), (1.0, 0.5, 0.25), 3.0),
            FileLight("bulb", "point", placed(0.0, 1.0, 0.0), (3.0, 1.5, 0.0), 2.0, 10.0),
            FileLight("", "spot", placed(0.0, 0.0, 1.0), inner=0.25, outer=0.5),
        ),
        origin=np.array([1e7, -2.5e7, 0.0]),
        orientation=oriented("z"),
    )


def placed(*place: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = place
    return matrix


def odd_cameras() -> tuple[FileCamera, ...]:
    """One that says little, and an orthographic one that is scaled and sheared."""
    sheared = np.array([[2.0, 0.5, 0, 1], [0, 3, 0.25, 2], [0, 0, 4, 3], [0, 0, 0, 1]])
    return (
        FileCamera("", "perspective", placed(1.0, 0.0, 0.0), 1.0),
        FileCamera("flat", "orthographic", sheared, half_width=2.0, half_height=1.0, near=0.0, far=5.0),
    )


def written(folder: Path, mesh: FileMesh, name: str = "m.glb") -> FileMesh:
    write_file(folder / name, gltf_chunks(mesh, folder / name))
    return read_mesh_file(folder / name)


def corners(mesh: FileMesh) -> dict[str, np.ndarray]:
    """What corners have, in order of the faces' positions."""
    found = {"verts": mesh.verts[mesh.faces]}
    if mesh.normals is not None and mesh.faces_normals is not None:
        found["normals"] = np.append(mesh.normals, np.zeros((1, 3)), 0)[mesh.faces_normals]
    order = np.lexsort(found["verts"].reshape(len(mesh.faces), 9).T)
    return {name: values[order] for name, values in found.items()}


@pytest.mark.parametrize("name", ["m.glb", "m.gltf"])
def test_everything_at_once_is_valid(tmp_path: Path, name: str) -> None:
    read = written(tmp_path, rich(), name)
    assert len(read.faces) == 40
    assert len(read.cameras) == len(read.lights) == 3
    assert_valid(tmp_path / name)


def test_geometry_keeps_its_bits_in_any_order_of_indices(tmp_path: Path) -> None:
    mesh = rich()
    there, back = (
        corners(mesh),
        corners(written(tmp_path, replace(mesh, origin=np.zeros(3), orientation=oriented("y")))),
    )
    assert np.array_equal(there["verts"], back["verts"])
    given = (np.square(there["normals"]).sum(-1) > 0).all(1)  # the others got some, for the normal map
    assert given.sum() == 34
    assert np.allclose(there["normals"][given], back["normals"][given], atol=1e-6)


def test_places_far_away_and_axes_go_into_nodes(tmp_path: Path) -> None:
    mesh = rich()
    read = written(tmp_path, mesh)
    x, y, z = (mesh.verts + mesh.origin)[mesh.faces].reshape(-1, 3).T
    expected = np.stack([x, z, -y], axis=1).reshape(-1, 9)
    found = read.verts[read.faces].reshape(-1, 9)
    assert np.abs(found[np.lexsort(found.T)] - expected[np.lexsort(expected.T)]).max() < 1e-8
    eye = read.cameras[1].matrix[:3, 3]
    assert np.allclose(eye, [1.0, 0.0, 0.0])
    assert np.allclose(read.lights[0].matrix[:3, 3], [1.0, 3.0, -2.0])


def test_materials(tmp_path: Path) -> None:
    mesh = rich()
    read = {material.name: material for material in written(tmp_path, mesh).materials}
    for name in ("full", "mask"):
        there = next(material for material in mesh.materials if material.name == name)
        back = read[name]
        for field in ("alpha_mode", "alpha_cutoff", "normal_scale", "occlusion_strength", "unlit"):
            assert getattr(back, field) == getattr(there, field), field
        assert np.allclose(back.base_color, there.base_color)
        assert np.allclose(back.emission, there.emission)
        assert bool(back.double_sided) == (there.double_sided is None)
    full = read["full"]
    assert (full.metallic, full.roughness) == (0.5, 0.125)
    assert full.base_map.wrap == ("clamp", "mirror")
    assert full.metallic_roughness_map.nearest
    assert not full.base_map.nearest
    for slot in ("base_map", "emission_map", "normal_map", "occlusion_map", "metallic_roughness_map"):
        there = getattr(mesh.materials[0], slot).image
        assert torch.allclose(getattr(full, slot).image, there, atol=1e-6), slot


def test_maps_are_read_where_they_were(tmp_path: Path) -> None:
    """Each corner of a face sees the same place of each map, transforms applied."""
    mesh = replace(rich(), faces_material=np.zeros(40, np.int64), faces_rgba=None, verts_rgba=None)
    mesh = replace(mesh, faces_uvs=tuple(np.abs(rows) for rows in mesh.faces_uvs), origin=np.zeros(3))
    read = written(tmp_path, replace(mesh, orientation=oriented("y")))
    for slot in ("base_map", "emission_map", "normal_map"):
        seen = []
        for each in (mesh, read):
            material = each.materials[0 if each is mesh else each.face_materials()[0]]
            found = getattr(material, slot)
            matrix = np.eye(2, 3) if found.transform is None else found.transform
            places = each.uvs[found.uv_set][each.faces_uvs[found.uv_set]] @ matrix[:, :2].T + matrix[:, 2]
            seen.append(places[np.lexsort(each.verts[each.faces].reshape(-1, 9).T)])
        assert np.allclose(*seen, atol=1e-6), slot


def test_tangents_follow_u_and_split_where_it_is_mirrored(tmp_path: Path) -> None:
    """Two halves of a square that share an edge: u grows away from it in both."""
    verts = np.array([[0.0, 0, 0], [0, 2, 0], [-1, 1, 0], [1, 1, 0]])
    faces = np.array([[0, 1, 2], [0, 3, 1]])
    uvs = np.float32([[0, 0], [0, 1], [0.5, 0.5], [0.5, 0.5]])
    up = np.float32([[0, 0, 1]])
    bumpy = Material(normal_map=texture())
    mesh = FileMesh("m", verts, faces, up, np.zeros((2, 3), np.int64), (uvs,), (faces,), materials=(bumpy,))
    written(tmp_path, replace(mesh, faces_material=np.zeros(2, np.int64)))
    assert_valid(tmp_path / "m.glb")
    gltf = GltfFile(read_source(tmp_path / "m.glb"))
    attributes = gltf.root["meshes"][0]["primitives"][0]["attributes"]
    places, tangents = (
        gltf.accessor(attributes[key], (kind,)) for key, kind in (("POSITION", "VEC3"), ("TANGENT", "VEC4"))
    )
    assert len(places) == 6
    # normal x tangent, times the sign, points along v: +y on both sides
    assert tangents[places[:, 0] < 0].tolist() == [[-1, 0, 0, -1]]
    assert tangents[places[:, 0] > 0].tolist() == [[1, 0, 0, 1]]
    assert sorted(tangents[places[:, 0] == 0].tolist()) == [[-1, 0, 0, -1]] * 2 + [[1, 0, 0, 1]] * 2


def test_a_normal_map_on_faces_without_area(tmp_path: Path) -> None:
    flat = FileMesh("m", np.zeros((3, 3)), np.array([[0, 1, 2]]), uvs=(np.zeros((3, 2), np.float32),))
    flat = replace(flat, faces_uvs=(flat.faces,), materials=(Material(normal_map=texture()),))
    written(tmp_path, replace(flat, faces_material=np.zeros(1, np.int64)))
    assert_valid(tmp_path / "m.glb")


def test_faces_without_texture_coordinates_have_the_colour_for_them(tmp_path: Path) -> None:
    kd = rich().materials[2]
    mesh = record(materials=(kd,), faces_material=np.zeros(40, np.int64))
    rows = mesh.faces_uvs[0].copy()
    rows[:10] = -1
    read = written(tmp_path, replace(mesh, faces_uvs=(rows, mesh.faces_uvs[1])))
    plain = [material for material in read.materials if material.base_map is None]
    assert np.allclose(plain[0].base_color, (0.5, 0.25, 0.0, 1.0))
    assert (read.face_materials() == read.materials.index(plain[0])).sum() == 10
    assert_valid(tmp_path / "m.glb")


def test_colours_of_vertices_and_faces_are_multiplied_and_see_through(tmp_path: Path) -> None:
    mesh = replace(record(), verts_rgba=rich().verts_rgba, faces_rgba=rich().faces_rgba)
    read = written(tmp_path, mesh)
    expected = mesh.verts_rgba[mesh.faces] * mesh.faces_rgba[:, None]
    order = [np.lexsort(each.verts[each.faces].reshape(-1, 9).T) for each in (mesh, read)]
    assert np.allclose(read.verts_rgba[read.faces][order[1]], expected[order[0]], atol=1e-5)
    assert {material.alpha_mode for material in read.materials} == {"blend"}


def test_shared_corners_stay_shared_and_all_vertices_stay(tmp_path: Path) -> None:
    verts = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32).astype(np.float64)
    faces = np.array([[4, 2, 0], [2, 4, 30]])
    read = written(tmp_path, FileMesh("m", verts, faces, materials=(Material(),), faces_material=np.zeros(2, np.int64)))
    assert np.array_equal(read.verts, verts)
    assert np.array_equal(read.faces, faces)
    # an index of its own for values that are equal splits nothing
    normals = np.tile(np.float32([[0, 0, 1]]), (6, 1))
    read = written(tmp_path, FileMesh("m", verts, faces, normals, np.arange(6).reshape(2, 3)))
    assert len(read.verts) == 4


def test_more_vertices_than_16_bits_count(tmp_path: Path) -> None:
    for n in (65535, 65536):
        verts = np.zeros((n, 3)) + np.arange(n)[:, None]
        faces = np.array([[0, 1, n - 1]])
        assert np.array_equal(written(tmp_path, FileMesh("m", verts, faces)).faces, faces)
        assert_valid(tmp_path / "m.glb")


def root_of(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return json.loads(data[20 : 20 + struct.unpack("<I", data[12:16])[0]])  # type: ignore[no-any-return]


def stored(path: Path, index: int = 0) -> bytes:
    data, root = path.read_bytes(), root_of(path)
    view = root["bufferViews"][root["images"][index]["bufferView"]]
    start = len(data) - root["buffers"][0]["byteLength"] + view["byteOffset"]
    return data[start : start + view["byteLength"]]


def encoded(kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(stream, format=kind, **options)
    return stream.getvalue()


def with_image(data: bytes) -> FileMesh:
    found = TextureMap(lambda: decode_image(data, "t.img", None), stored=lambda: data)
    return record(materials=(Material(base_map=found),), faces_material=np.zeros(40, np.int64))


def test_jpeg_stays_jpeg_without_its_notes(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned: viewers may heed it, tirender does not
    data = encoded("JPEG", quality=95, exif=exif, comment=b"secret", dpi=(10, 20))
    written(tmp_path, with_image(data))
    kept = stored(tmp_path / "m.glb")
    assert torch.equal(decode_image(kept, "kept"), decode_image(data, "data"))
    assert len(kept) < len(data)
    assert b"secret" not in kept
    assert b"Exif" not in kept
    assert root_of(tmp_path / "m.glb")["images"][0]["mimeType"] == "image/jpeg"
    assert_valid(tmp_path / "m.glb")


def test_png_keeps_16_bits_and_loses_its_gamma(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.arange(256, dtype=np.uint16).reshape(16, 16) * 256 + 1).save(stream, format="PNG")
    data = stream.getvalue()
    gamma = struct.pack(">I4sII", 4, b"gAMA", 100000, 0x31E8965F)
    data = data[:33] + gamma + data[33:]
    written(tmp_path, with_image(data))
    assert torch.equal(decode_image(stored(tmp_path / "m.glb"), "kept"), decode_image(data, "data"))
    assert b"gAMA" not in stored(tmp_path / "m.glb")
    assert_valid(tmp_path / "m.glb")


@pytest.mark.parametrize("kind", ["BMP", "WEBP", "TIFF", "GIF"])
def test_other_images_become_png(tmp_path: Path, kind: str) -> None:
    data = encoded(kind)
    written(tmp_path, with_image(data))
    assert stored(tmp_path / "m.glb").startswith(b"\x89PNG")
    assert torch.equal(decode_image(stored(tmp_path / "m.glb"), "kept"), decode_image(data, "data"))


def test_a_damaged_image_is_told_and_leaves_no_file(tmp_path: Path) -> None:
    for data in (encoded("PNG")[:-200], b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xda", encoded("PNG")[:50] + b"\xff" * 50):
        with pytest.raises(ValueError, match="t.img: expected an"):
            written(tmp_path, with_image(data))
        assert not list(tmp_path.iterdir())


def test_equal_images_are_stored_once(tmp_path: Path) -> None:
    materials = tuple(Material(str(i), base_map=texture(3, 7)) for i in range(5))
    mesh = record(materials=materials, faces_material=np.arange(40) % 5)
    assert len(written(tmp_path, mesh).materials) == 5
    assert len(root_of(tmp_path / "m.glb")["images"]) == 1


def test_phong_becomes_a_roughness(tmp_path: Path) -> None:
    shiny, dull = Material("s", specular=(0.5,) * 3, shininess=30.0), Material("d", specular=(0.0,) * 3, shininess=30.0)
    mesh = record(materials=(shiny, dull), faces_material=np.arange(40) % 2)
    roughness = {m.name: m.roughness for m in written(tmp_path, mesh).materials}
    assert roughness == {"s": pytest.approx(0.5), "d": 1.0}  # (2 / 32) ** 0.25


def test_clouds(tmp_path: Path) -> None:
    points, normals = torch.randn(20, 3), torch.nn.functional.normalize(torch.randn(20, 3), dim=1)
    for colors in (torch.rand(20, 3), torch.rand(20, 4), None):
        cloud = Pointclouds([points], [normals], None if colors is None else [colors])
        for name in ("c.glb", "c.gltf"):
            IO().save_pointcloud(cloud, tmp_path / name)
            read = IO().read(tmp_path / name) if colors is None or colors.shape[1] == 3 else None
            assert_valid(tmp_path / name)
            if read is None:
                with pytest.warns(UserWarning, match="alpha is not part of a cloud's features"):
                    read = IO().load_pointcloud(tmp_path / name)
            assert isinstance(read, Pointclouds)
            assert torch.equal(read.points_packed(), points)
            assert torch.allclose(read.normals_packed(), normals, atol=1e-6)
            if colors is not None:
                assert torch.allclose(read.features_packed(), colors[:, :3], atol=1e-5)
    assert "20 points" in load_scene(tmp_path / "c.glb").facts
    with pytest.warns(UserWarning, match="features of 2 channels are no RGB, left out"):
        IO().save_pointcloud(Pointclouds([points], features=[points[:, :2]]), tmp_path / "c.glb")


def test_points_beside_triangles_are_left_out(tmp_path: Path) -> None:
    data = b"".join(gltf_chunks(record(), tmp_path / "m.gltf"))
    root = json.loads(data)
    points = {"attributes": {"POSITION": root["meshes"][0]["primitives"][0]["attributes"]["POSITION"]}, "mode": 0}
    root["meshes"][0]["primitives"].append(points)
    (tmp_path / "m.gltf").write_text(json.dumps(root))
    with pytest.warns(UserWarning, match="m.gltf: points beside triangles, left out"):
        assert len(read_mesh_file(tmp_path / "m.gltf").faces) == 40


@pytest.mark.parametrize(
    ("lights", "index", "message"),
    [
        (None, 0, "KHR_lights_punctual of type dict"),
        ({}, 0, "lights of type list"),
        ({"lights": []}, 0, "expected an index into its 0 lights, got 0"),
        ({"lights": [3]}, 0, "expected an index into its 1 lights"),
        ({"lights": [{"type": "point"}]}, -1, "light of type int"),
        ({"lights": [{"type": "laser"}]}, 0, "expected type point, directional or spot, got 'laser'"),
        ({"lights": [{"type": "point", "color": [1, 2]}]}, 0, "color of 3 finite numbers"),
        ({"lights": [{"type": "point", "intensity": "a"}]}, 0, "intensity of 1 finite numbers"),
        ({"lights": [{"type": "spot", "spot": []}]}, 0, "spot of type dict"),
    ],
)
def test_damaged_lights(tmp_path: Path, lights: Any, index: int, message: str) -> None:
    root = json.loads(b"".join(gltf_chunks(record(), tmp_path / "m.gltf")))
    root["extensions"] = {"KHR_lights_punctual": lights}
    root["nodes"][0]["extensions"] = {"KHR_lights_punctual": {"light": index}}
    (tmp_path / "m.gltf").write_text(json.dumps(root))
    with pytest.raises(ValueError, match=f"m.gltf.*{message}"):
        read_mesh_file(tmp_path / "m.gltf")


@pytest.mark.parametrize("kind", [FoVPerspectiveCameras, FoVOrthographicCameras])
def test_cameras_see_the_same(tmp_path: Path, kind: Any) -> None:
    R, T = look_at_view_transform(dist=torch.tensor([3.0, 4.0]), elev=20.0, azim=torch.tensor([30.0, 200.0]))
    lens = (
        {"fov": 40.0} if kind is FoVPerspectiveCameras else {"max_y": 1.5, "min_y": -1.5, "max_x": 1.5, "min_x": -1.5}
    )
    cameras = kind(R=R, T=T, znear=0.5, zfar=20.0, **lens)
    verts, faces = torch.randn(9, 3), torch.arange(9).view(3, 3)
    IO().save_mesh(Meshes([verts], [faces]), tmp_path / "m.glb", cameras=cameras)
    assert_valid(tmp_path / "m.glb")
    found = from_file(read_mesh_file(tmp_path / "m.glb").cameras, torch.zeros(3), 1.0)
    assert len(found) == 2
    for i, camera in enumerate(found):
        expected = cameras[i].transform_points_ndc(verts)[..., :2]
        assert torch.allclose(camera.camera((64, 64)).transform_points_ndc(verts)[..., :2], expected, atol=1e-5)
        # a wide picture shows the same height, a high one the same width
        assert torch.allclose(camera.camera((64, 128)).transform_points_ndc(verts)[..., :2], expected, atol=1e-5)


def test_lights_are_as_strong(tmp_path: Path) -> None:
    """A white surface in the middle shines with the light's colour: irradiance over pi."""
    verts = torch.tensor([[1.0, 1, 1], [3, 1, 1], [1, 3, 3]])
    mesh = Meshes([verts], [torch.tensor([[0, 1, 2]])])
    lights = PointLights(location=[[2.0, 2.0, 7.0]], diffuse_color=[[0.5, 0.25, 0.0]])
    IO().save_mesh(mesh, tmp_path / "m.glb", lights=lights)
    bulb = read_mesh_file(tmp_path / "m.glb").lights[0]
    assert np.allclose(np.array(bulb.color) * bulb.intensity / 5.0**2 / np.pi, [0.5, 0.25, 0.0])
    assert np.allclose(bulb.matrix[:3, 3], [2, 2, 7])
    sun = DirectionalLights(direction=[[0.0, 3.0, 4.0]], diffuse_color=[[0.5, 0.5, 0.5]])
    IO().save_mesh(mesh, tmp_path / "m.glb", lights=sun)
    found = read_mesh_file(tmp_path / "m.glb").lights[0]
    assert np.allclose(found.matrix[:3, 2], [0.0, 0.6, 0.8])  # it shines along -z
    assert found.intensity == pytest.approx(np.pi / 2)
    assert_valid(tmp_path / "m.glb")


@pytest.mark.filterwarnings("ignore:.*not part of a mesh's textures")
def test_textures_of_materials_and_atlases(tmp_path: Path) -> None:
    verts, faces = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), torch.tensor([[0, 1, 2], [0, 2, 3]])
    uvs, rows = torch.rand(4, 2), torch.randint(0, 4, (2, 1, 3))
    glow = Material("glow", emission=(0.5, 0.5, 0.5), base_map=texture(3, 3))
    textures = TexturesMaterial([glow], [torch.tensor([0, -1])], [uvs], [rows])
    IO().save_mesh(Meshes([verts], [faces], textures), tmp_path / "m.glb")
    read = read_mesh_file(tmp_path / "m.glb")
    assert [m.name for m in read.materials] == ["glow", ""]
    assert np.allclose(read.materials[0].emission, 0.5)
    for size in (1, 3):
        atlas = TexturesAtlas([torch.randint(0, 256, (2, size, size, 3)) / 255.0])
        IO().save_mesh(Meshes([verts], [faces], atlas), tmp_path / "a.glb")
        assert_valid(tmp_path / "a.glb")
        read = read_mesh_file(tmp_path / "a.glb")
        centre = atlas.atlas_packed()[:, size // 3, size // 3]  # of the cell in the middle of each face
        if size == 1:
            found = read.verts_rgba[read.faces[:, 0], :3]
        else:
            image = read.materials[0].base_map.image
            u, v = read.uvs[0][read.faces_uvs[0]].mean(1).T
            found = image[((1 - v) * len(image)).astype(int), (u * len(image)).astype(int)]
        assert np.allclose(found, centre, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*no part of")
def test_materials_of_a_fit(tmp_path: Path) -> None:
    """Factors and images that an optimiser holds, which want gradients."""
    verts, faces = torch.eye(3), torch.tensor([[0, 1, 2]])
    image = torch.rand(4, 4, 3, requires_grad=True)
    rough = torch.nn.Parameter(torch.tensor(0.25))
    color = torch.tensor([0.5, 0.25, 1.0, 1.0], requires_grad=True)
    material = Material(
        base_color=color,  # type: ignore[arg-type]
        base_map=TextureMap(lambda: image),
        roughness=rough,  # type: ignore[arg-type]
        metallic=1.0,
        metallic_roughness_map=TextureMap(lambda: image * 0.5),
    )
    textures = TexturesMaterial([material], [torch.tensor([0])], [torch.rand(3, 2)], [faces[:, None]])
    IO().save_mesh(Meshes([verts], [faces], textures), tmp_path / "m.glb")
    assert_valid(tmp_path / "m.glb")
    read = read_mesh_file(tmp_path / "m.glb").materials[0]
    assert read.base_color == pytest.approx((0.5, 0.25, 1.0, 1.0))
    assert (read.metallic, read.roughness) == (1.0, 0.25)
    assert torch.allclose(read.base_map.image, image, atol=0.51 / 255)
    assert torch.allclose(read.metallic_roughness_map.image, image * 0.5, atol=0.51 / 255)
    IO().save_mesh(Meshes([verts], [faces], textures), tmp_path / "m.obj")
    IO().save_mesh(Meshes([verts], [faces], textures), tmp_path / "m.ply")


def test_numbers_beyond_what_gltf_allows(tmp_path: Path) -> None:
    """No emission is negative, a camera may see to infinity, and opacities end at 1."""
    material = Material(base_color=(1.0, 1.0, 1.0, 1.5), emission=(-1.0, 0.5, 0.0), unlit=True)
    far = FileCamera("far", "perspective", np.eye(4), 1.0, near=0.1, far=math.inf)
    mesh = FileMesh("m", np.eye(3), np.array([[0, 1, 2]]), materials=(material,), cameras=(far,))
    read = written(tmp_path, replace(mesh, faces_material=np.array([0])))
    assert read.materials[0].unlit
    assert read.materials[0].emission == pytest.approx((0.0, 0.5, 0.0))
    assert read.materials[0].base_color[3] == 1.0
    assert read.cameras[0].far is None


def test_colours_are_linear(tmp_path: Path) -> None:
    gray = FileMesh("m", np.eye(3), np.array([[0, 1, 2]]), verts_rgba=np.full((3, 4), 0.5, np.float32))
    written(
        tmp_path, replace(gray, materials=(Material(base_color=(0.5, 0.5, 0.5, 1.0)),), faces_material=np.array([0]))
    )
    material = root_of(tmp_path / "m.glb")["materials"][0]
    expected = float(decode_srgb(np.array(0.5)))
    assert material["pbrMetallicRoughness"]["baseColorFactor"] == pytest.approx([expected] * 3 + [1.0])
    assert material["alphaMode"] == "BLEND"
