"""Records written as OBJ, PLY, OFF, STL and NPZ: what stays, what is named in a warning, and the way through all."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gltf_validator import assert_valid
from test_io_gltf_records import placed, record, rich, texture

from tirender import datasets
from tirender.io import files as files_module
from tirender.io.file_mesh import FileCamera, FileLight, FileMesh
from tirender.io.orientation import Orientation, oriented
from tirender.io.reading import read_mesh_file
from tirender.io.writing import WRITTEN_SUFFIXES, write_mesh_file
from tirender.renderer.mesh.material import Material, TextureMap

SQUARE = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0.1], [0, 1, 0]])
FACES = np.array([[0, 1, 2], [0, 2, 3]])


def there_and_back(folder: Path, mesh: FileMesh, name: str, lost: Sequence[str] = ()) -> FileMesh:
    """What is read of a file, whose writer warns of exactly these losses."""
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        write_mesh_file(mesh, folder / name)
    said = sorted(str(warning.message) for warning in raised)
    kind = name.rpartition(".")[2].upper()
    assert said == sorted(f"{folder / name}: {what}: no part of {kind} files, left out" for what in lost)
    return read_mesh_file(folder / name)


@pytest.mark.parametrize("name", ["m.obj", "m.ply", "m.off", "m.glb", "m.gltf"])
def test_vertices_and_faces_keep_their_bits_and_their_order(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    verts = (rng.normal(size=(50, 3)) * 10.0 ** rng.integers(-20, 20, (50, 1))).astype(np.float32).astype(np.float64)
    verts[:3, 0] = -0.0
    mesh = FileMesh("m", verts, rng.integers(0, 50, (90, 3)))
    read = there_and_back(tmp_path, mesh, name)
    assert read.verts.astype(np.float32).tobytes() == verts.astype(np.float32).tobytes()
    assert np.array_equal(read.faces, mesh.faces)


@pytest.mark.parametrize("name", ["m.obj", "m.ply", "m.off"])
def test_double_precision_stays(tmp_path: Path, name: str) -> None:
    verts = SQUARE + np.array([4e5, 5e6, 1 / 3])
    read = there_and_back(tmp_path, FileMesh("m", SQUARE, FACES, origin=np.array([4e5, 5e6, 1 / 3])), name)
    assert np.array_equal(read.verts, verts)


def test_through_all_formats(tmp_path: Path) -> None:
    """OBJ -> GLB -> PLY -> GLB: each face has its corners where they were, to the bit."""
    start = read_mesh_file(datasets.creature())
    mesh = start
    for name in ("1.glb", "2.ply", "3.glb", "4.obj", "5.gltf"):
        read = there_and_back(tmp_path, mesh, name)
        there, back = (m.verts.astype(np.float32)[m.faces] for m in (start, read))
        assert np.array_equal(there, back)
        places = [m.uvs[0][m.faces_uvs[0]] for m in (start, read)]
        assert np.abs(places[0] - places[1]).max() < 1e-6
        assert torch.equal(read.materials[0].base_map.image, start.materials[0].base_map.image)
        mesh = read
    assert_valid(tmp_path / "1.glb", tmp_path / "3.glb", tmp_path / "5.gltf")
    repeated = [read_mesh_file(tmp_path / name) for name in ("1.glb", "3.glb")]
    assert np.array_equal(repeated[0].verts, repeated[1].verts)


def test_materials_in_obj(tmp_path: Path) -> None:
    lamp = Material(
        "a lamp # 1",
        (0.25, 0.5, 0.75, 0.5),
        alpha_mode="blend",
        emission=(1.5, 0.5, 0.25),
        emission_map=texture(3, 1),
        normal_map=texture(3, 2),
        normal_scale=0.5,
        metallic=1.0,
        roughness=0.25,
        specular=(0.5, 0.25, 0.125),
        shininess=20.0,
    )
    glass = Material("A_LAMP_1", base_map=texture(4, 3, wrap=("clamp", "clamp")), alpha_mode="blend", unlit=True)
    bare = Material("kd", base_map=texture(3, 4), unmapped_color=(0.5, 0.25, 0.125))
    mesh = record(materials=(lamp, glass, bare), faces_material=np.arange(40) // 7 % 4 - 1)
    rows = np.where(mesh.face_materials()[:, None] == 2, -1, mesh.faces_uvs[0])
    mesh = replace(mesh, uvs=mesh.uvs[:1], faces_uvs=(rows,))
    read = there_and_back(tmp_path, mesh, "my mesh.obj")
    assert np.array_equal(read.faces, mesh.faces)
    found = {material.name: material for material in read.materials}
    assert list(found) == ["a_lamp_1", "A_LAMP_1_2", "kd"]
    index = np.append(["a_lamp_1", "A_LAMP_1_2", "kd"], "")[mesh.face_materials()]
    assert index.tolist() == ["" if i < 0 else read.materials[i].name for i in read.face_materials()]
    for field in ("base_color", "emission", "normal_scale", "metallic", "roughness", "specular", "shininess", "unlit"):
        for before, after in ((lamp, found["a_lamp_1"]), (glass, found["A_LAMP_1_2"])):
            assert getattr(before, field) == pytest.approx(getattr(after, field)), field
    assert found["kd"].unmapped_color == bare.unmapped_color
    assert found["A_LAMP_1_2"].alpha_mode == "blend"
    assert found["A_LAMP_1_2"].base_map.wrap == ("clamp", "clamp")
    assert torch.equal(found["A_LAMP_1_2"].base_map.image, glass.base_map.image)
    assert torch.equal(found["a_lamp_1"].normal_map.image, lamp.normal_map.image)
    assert np.array_equal(read.normals[read.faces_normals], mesh.normals[mesh.faces_normals])


@pytest.mark.parametrize("name", ["m.obj", "m.ply"])
def test_a_factor_goes_into_the_image(tmp_path: Path, name: str) -> None:
    """As light: half of white is not half of its sRGB number."""
    white = TextureMap(lambda: torch.ones(2, 2, 3))
    tinted = Material(base_color=(0.5, 0.25, 1.0, 1.0), base_map=white)
    mesh = FileMesh("m", SQUARE, FACES, uvs=(SQUARE[:, :2].astype(np.float32),), faces_uvs=(FACES,))
    read = there_and_back(tmp_path, replace(mesh, materials=(tinted,), faces_material=np.zeros(2, int)), name)
    expected = torch.tensor([128.0, 64.0, 255.0]) / 255
    assert torch.allclose(read.materials[0].base_map.image, expected.expand(2, 2, 3), atol=1e-6)
    assert read.materials[0].base_color == (1.0,) * 4


def test_colours(tmp_path: Path) -> None:
    rgba = (np.arange(16).reshape(4, 4) * 17 / 255).astype(np.float32)
    of_verts, of_faces = (
        FileMesh("m", SQUARE, FACES, verts_rgba=rgba),
        FileMesh("m", SQUARE, FACES, faces_rgba=rgba[:2]),
    )
    lost = "transparency of colours"
    assert np.allclose(there_and_back(tmp_path, of_verts, "m.ply").verts_rgba, rgba)
    assert np.allclose(there_and_back(tmp_path, of_verts, "m.off").verts_rgba, rgba)
    assert np.allclose(there_and_back(tmp_path, of_verts, "m.obj", [lost]).verts_rgba[:, :3], rgba[:, :3])
    assert np.allclose(there_and_back(tmp_path, of_faces, "m.ply").faces_rgba, rgba[:2])
    assert np.allclose(there_and_back(tmp_path, of_faces, "m.off").faces_rgba, rgba[:2])
    read = there_and_back(tmp_path, of_faces, "m.obj", [lost])
    assert np.allclose([read.materials[i].base_color for i in read.face_materials()], rgba[:2])
    plain = replace(FileMesh("m", SQUARE, FACES), materials=(Material(base_color=(0.2, 0.4, 0.6, 1.0)),))
    plain = replace(plain, faces_material=np.array([-1, 0]))
    for name in ("p.ply", "p.off"):
        found = there_and_back(tmp_path, plain, name).faces_rgba
        assert np.allclose(found, [[1, 1, 1, 1], [0.2, 0.4, 0.6, 1]])


def test_several_textures_in_ply(tmp_path: Path) -> None:
    materials = (Material(base_map=texture(3, 1)), Material(base_map=texture(3, 2)), Material(base_color=(1, 0, 0, 1)))
    mesh = record(materials=materials, faces_material=np.arange(40) % 4 - 1)
    mesh = replace(mesh, uvs=mesh.uvs[:1], faces_uvs=mesh.faces_uvs[:1], normals=None, faces_normals=None)
    read = there_and_back(tmp_path, mesh, "m.ply")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.ply", "m.png", "m_2.png"]
    index = mesh.face_materials()
    for i in (0, 1):
        chosen = index == i
        assert {read.materials[k].name for k in read.face_materials()[chosen]} == {f"m{'_2' * i}.png"}
        assert torch.equal(read.materials[i].base_map.image, materials[i].base_map.image)
        assert np.array_equal(read.uvs[0][read.faces_uvs[0][chosen]], mesh.uvs[0][mesh.faces_uvs[0][chosen]])
    assert (read.face_materials()[(index != 0) & (index != 1)] == -1).all()
    assert np.allclose(read.faces_rgba[index == 2], [1, 0, 0, 1])


def test_what_is_lost_has_a_name(tmp_path: Path) -> None:
    full = rich()
    common = ["occlusion maps", "maps of metal and roughness", "cut-outs (a cutoff of alpha)"]
    common += [
        "textures without interpolation",
        "cameras",
        "lights",
        "mirrored textures, or ones that repeat along one side only",
    ]
    base = replace(full.materials[0].base_map, nearest=True)
    full = replace(full, materials=(replace(full.materials[0], base_map=base), *full.materials[1:]))
    corners, faces = "normals that differ at the corners of a vertex", "colours of faces beside those of vertices"
    others = ["normal maps", "emission", "transparency of materials", "materials without light"]
    told = {
        ".obj": [*common, faces, "transparency of colours", "textures that are laid otherwise than the base colour's"],
        ".ply": [*common, corners, *others],
        ".off": [*common, "normals", faces, "texture coordinates", "textures", *others],
        ".stl": [*common, "normals", "texture coordinates", "textures", "colours", "colours of materials", *others],
    }
    for ending, lost in told.items():
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always")
            write_mesh_file(full, tmp_path / f"m{ending}")
        said = {str(warning.message).split(": ", 1)[1].split(": no part")[0] for warning in raised}
        assert said == set(lost), ending


def test_stl(tmp_path: Path) -> None:
    read = there_and_back(
        tmp_path, replace(record(), normals=None, uvs=(), faces_uvs=(), orientation=oriented("z")), "m.stl"
    )
    verts = record().verts[record().faces].astype(np.float32)
    assert np.array_equal(read.verts[read.faces], verts)
    assert read.orientation == oriented("z")
    standing = replace(record(), normals=None, uvs=(), faces_uvs=())
    assert there_and_back(tmp_path, standing, "m.stl").orientation == Orientation()
    triangle = FileMesh("m", SQUARE, FACES[:1], orientation=oriented("z"))
    write_mesh_file(triangle, tmp_path / "t.stl")
    normal = np.frombuffer((tmp_path / "t.stl").read_bytes(), "<f4", 3, 84)
    assert np.allclose(normal, np.cross([1, 0, 0], [1, 1, 0.1]) / np.sqrt(1.01))


@pytest.mark.parametrize("name", ["m.obj", "m.ply", "m.glb"])
def test_how_it_stands_is_kept(tmp_path: Path, name: str) -> None:
    mesh = FileMesh("m", SQUARE, FACES, orientation=oriented("-x", (0.0, 0.0, -1.0)))
    read = there_and_back(tmp_path, mesh, name)
    up, front = (read.verts @ np.array(axis) for axis in (read.orientation.up, read.orientation.front))
    assert np.allclose(up, -SQUARE[:, 0])
    assert np.allclose(front, -SQUARE[:, 2])


@pytest.mark.parametrize("name", ["c.ply", "c.npz", "c.obj", "c.off", "c.glb"])
def test_clouds(tmp_path: Path, name: str) -> None:
    rgba = np.concatenate([np.random.default_rng(0).integers(0, 256, (4, 3)) / 255, np.ones((4, 1))], 1).astype(
        np.float32
    )
    cloud = FileMesh("m", SQUARE, FACES[:0], np.tile(np.float32([[0, 0, 1]]), (4, 1)), verts_rgba=rgba)
    lost = {"c.off": ["normals"], "c.obj": ["normals"]}.get(name, [])
    read = there_and_back(tmp_path, cloud, name, lost)
    assert np.array_equal(read.verts, SQUARE.astype(np.float32) if name == "c.glb" else SQUARE)
    assert not len(read.faces)
    assert np.allclose(read.verts_rgba, rgba, atol=1e-6)
    if not lost:
        assert np.array_equal(read.normals, cloud.normals)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    mesh, cloud = FileMesh("m", SQUARE, FACES), FileMesh("m", SQUARE, FACES[:0])
    with pytest.raises(ValueError, match=r"path: expected a file that ends in .*\.glb, .*, got 'm.xyz'"):
        write_mesh_file(mesh, "m.xyz")
    with pytest.raises(ValueError, match=r"m.stl: expected faces, as \.stl holds no points, got a point cloud"):
        write_mesh_file(cloud, tmp_path / "m.stl")
    with pytest.raises(ValueError, match=r"m.npz: expected a point cloud, as \.npz holds no faces, got a mesh"):
        write_mesh_file(mesh, tmp_path / "m.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", WRITTEN_SUFFIXES)
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = record(materials=(Material(base_map=texture()),), faces_material=np.zeros(40, np.int64))
    mesh = FileMesh("m", SQUARE, FACES[:0]) if ending == ".npz" else mesh
    path = tmp_path / f"m{ending}"
    path.write_bytes(b"before")

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files_module.os, "replace", full)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(OSError, match="No space left"):
            write_mesh_file(mesh, path)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_bytes() == b"before"


def test_lights_and_cameras_of_glb_go_through(tmp_path: Path) -> None:
    camera = FileCamera("c", "perspective", placed(0.0, 0.0, 5.0), 0.5, 1.5, near=0.25, far=50.0)
    sun = FileLight("sun", "directional", np.eye(4), (1.0, 0.5, 0.25), 3.0)
    mesh = FileMesh("m", SQUARE, FACES, cameras=(camera,), lights=(sun,))
    read = there_and_back(tmp_path, mesh, "m.glb")
    for there, back in ((camera, read.cameras[0]), (sun, read.lights[0])):
        for field, value in vars(there).items():
            assert np.array_equal(value, getattr(back, field)) if field == "matrix" else value == getattr(back, field)
