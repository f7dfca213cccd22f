"""``tirender convert``: every readable file becomes every writable one, and nothing is overwritten unsaid."""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gltf_validator import assert_valid
from test_io_gltf_records import placed, rich, texture

from tirender import datasets
from tirender.cli import main
from tirender.io import IO, load_gaussians, load_volume, save_gaussians, save_obj, save_volume
from tirender.io.file_mesh import FileCamera, FileMesh
from tirender.io.orientation import oriented
from tirender.io.reading import read_mesh_file
from tirender.io.writing import write_mesh_file
from tirender.renderer import TexturesVertex
from tirender.renderer.mesh.material import Material
from tirender.scenes import export
from tirender.scenes.converting import SUFFIXES
from tirender.structures import Gaussians, Meshes, Pointclouds, Volumes
from tirender.utils import ico_sphere

pytestmark = pytest.mark.filterwarnings("default::UserWarning")  # what is lost is told on stderr


def convert(*words: object) -> int:
    return main(["convert", *map(str, words)])


def corner_places(path: Path) -> np.ndarray:
    mesh = read_mesh_file(path)
    return mesh.verts[mesh.faces].astype(np.float32)


@pytest.fixture
def cube(tmp_path: Path) -> Path:
    """A textured mesh with colours, in a folder of its own."""
    rows = np.array([[0, 1, 2], [0, 2, 3], [4, 6, 5], [4, 7, 6], [0, 4, 5], [0, 5, 1], [2, 6, 7], [2, 7, 3]])
    verts = np.array([[x, y, z] for z in (0, 1) for x, y in ((0, 0), (0, 1), (1, 1), (1, 0))], dtype=np.float64)
    material = Material("m", base_map=texture(3, 1))
    mesh = FileMesh("cube", verts, rows, uvs=(verts[:, :2].astype(np.float32),), faces_uvs=(rows,))
    path = tmp_path / "in" / "cube.obj"
    path.parent.mkdir()
    cameras = (FileCamera("c", "perspective", placed(0.0, 0.0, 5.0), 0.5, near=0.1),)
    write_mesh_file(replace(mesh, materials=(material,), faces_material=np.zeros(8, np.int64)), path)
    write_mesh_file(
        replace(mesh, materials=(material,), faces_material=np.zeros(8, np.int64), cameras=cameras),
        path.with_suffix(".glb"),
    )
    return path


@pytest.mark.parametrize("target", ["glb", "gltf", "obj", "ply", "off", "stl"])
def test_every_mesh_becomes_every_other(tmp_path: Path, cube: Path, target: str) -> None:
    sources = [cube, cube.with_suffix(".glb")]
    for ending in (".ply", ".off", ".stl", ".gltf"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            write_mesh_file(read_mesh_file(cube), cube.with_suffix(ending))
        sources.append(cube.with_suffix(ending))
    expected = corner_places(cube)
    for i, source in enumerate(sources):
        out = tmp_path / "out" / f"{i}.{target}"
        assert convert(source, out, "--up", "y") == 0
        assert np.array_equal(corner_places(out), expected)
    if target in ("glb", "gltf"):
        assert_valid(*(tmp_path / "out" / f"{i}.{target}" for i in range(len(sources))))


@pytest.mark.parametrize("target", ["glb", "gltf", "ply", "npz", "obj", "off"])
def test_every_cloud_becomes_every_other(tmp_path: Path, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    points, colors = torch.randn(30, 3), torch.randint(0, 256, (30, 3)) / 255
    sources = [tmp_path / f"in.{ending}" for ending in ("glb", "gltf", "ply", "npz")]
    for source in sources:
        IO().save_pointcloud(Pointclouds([points], features=[colors]), source)
    for i, source in enumerate(sources):
        out = tmp_path / "out" / f"{i}.{target}"
        assert convert(source, out) == 0
        assert capsys.readouterr().out == f"{out}: 30 points\n"
        read = read_mesh_file(out)
        assert np.array_equal(read.verts.astype(np.float32), points.numpy())
        assert np.allclose(read.verts_rgba[:, :3], colors, atol=1e-5)


def test_what_is_written_is_said(tmp_path: Path, cube: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out" / "a.obj"
    assert convert(cube.with_suffix(".glb"), out) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{out}: 8 faces, 1 texture, with a.png, a.mtl\n"
    assert printed.err == f"tirender: {out}: cameras: no part of OBJ files, left out\n"
    (out.parent / "a.png").write_bytes(b"mine")
    assert convert(cube, out) == 0  # OBJ knows less of the material than GLB
    assert capsys.readouterr().out == f"{out}: 8 faces, 1 texture (replaced), with a.png (replaced), a.mtl (replaced)\n"
    assert convert(cube.with_suffix(".glb"), tmp_path / "out" / "b.glb") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out' / 'b.glb'}: 8 faces, 1 texture, 1 camera\n"


def test_what_is_read_is_not_overwritten(cube: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither the file itself, nor its images, nor its materials by those of the new file."""
    before = {file: file.read_bytes() for file in cube.parent.iterdir()}
    assert convert(cube, cube) == 2
    assert f"OUT: expected another file than those that {cube} reads" in capsys.readouterr().err
    for said in ("with cube_2.png", "(replaced), with cube_2.png"):  # as cube.png is another
        assert convert(cube, cube.with_suffix(".ply"), "--bake", 64) == 0
        assert said in capsys.readouterr().out
    assert {file: file.read_bytes() for file in before} == before
    for name in ("cube.ply", "cube_2.png"):
        cube.with_name(name).unlink()
    assert convert(cube.with_suffix(".glb"), cube.with_name("b.obj")) == 0
    assert convert(cube.with_name("b.obj"), cube.with_name("b.glb")) == 0
    (cube.parent / "c.obj").write_text("mtllib d.mtl\n" + cube.read_text())
    (cube.parent / "d.mtl").write_text(cube.with_suffix(".mtl").read_text())
    assert convert(cube.parent / "c.obj", cube.parent / "d.obj") == 2
    assert f"OUT: expected a name whose d.mtl is not what {cube.parent / 'c.obj'} reads" in capsys.readouterr().err


def test_meshes_without_normals_get_those_that_are_shown(tmp_path: Path) -> None:
    sphere = ico_sphere(2)
    save_obj(tmp_path / "ball.obj", sphere.verts_packed(), sphere.faces_packed())
    assert convert(tmp_path / "ball.obj", tmp_path / "ball.glb") == 0
    ball = read_mesh_file(tmp_path / "ball.glb")
    assert len(ball.verts) == 162  # smooth: nothing is split
    assert np.allclose(ball.verts_normals(), ball.verts, atol=0.01)
    assert convert(tmp_path / "ball.obj", tmp_path / "again.ply") == 0
    assert read_mesh_file(tmp_path / "again.ply").normals is None


def test_far_away_and_lying_on_its_side(tmp_path: Path) -> None:
    (tmp_path / "far.obj").write_text("v 500000.25 100 7\nv 500001.5 100 7\nv 500000.25 101 7.125\nf 1 2 3\n")
    assert convert(tmp_path / "far.obj", tmp_path / "far.glb", "--up", "z") == 0
    read = read_mesh_file(tmp_path / "far.glb")
    assert np.array_equal(read.verts, [[500000.25, 7, -100], [500001.5, 7, -100], [500000.25, 7.125, -101]])
    assert convert(tmp_path / "far.obj", tmp_path / "far.ply", "--up", "z") == 0
    read = read_mesh_file(tmp_path / "far.ply")
    assert np.array_equal(read.verts, [[500000.25, 100, 7], [500001.5, 100, 7], [500000.25, 101, 7.125]])
    assert read.orientation == oriented("z")


def test_baking_what_a_file_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Several materials, colours and textures become one map, which shows the same colours on each face."""
    pytest.importorskip("xatlas")
    sphere = ico_sphere(2)
    rgb = sphere.verts_packed() / 2 + 0.5
    IO().save_mesh(Meshes(sphere.verts_list(), sphere.faces_list(), TexturesVertex([rgb])), tmp_path / "ball.ply")
    assert convert(tmp_path / "ball.ply", tmp_path / "ball.glb", "--bake", 256) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'ball.glb'}: 320 faces, 1 texture\n"
    assert_valid(tmp_path / "ball.glb")
    mesh = IO().load_mesh(tmp_path / "ball.glb")
    colors = mesh.textures.faces_verts_textures_packed()
    corners = mesh.verts_packed()[mesh.faces_packed()] / 2 + 0.5
    assert (colors - corners).abs().max() < 0.03  # two texels, and 8 bits
    image = read_mesh_file(tmp_path / "ball.glb").materials[0].base_map.image
    assert (image.sum(2) > 0.1).all()  # nothing is left black
    IO().save_mesh(sphere, tmp_path / "grey.ply")
    assert convert(tmp_path / "grey.ply", tmp_path / "grey.glb", "--bake", 256) == 0
    assert "has no colours, nothing is baked" in capsys.readouterr().err


def volume_of_a_ball() -> Volumes:
    """A ball of radius 0.5 around (1, 2, 3), its colour by place."""
    grid = torch.stack(torch.meshgrid(*[torch.linspace(-0.75, 0.75, 32)] * 3, indexing="ij"), 0)
    density = ((0.5 - grid.norm(dim=0)) * 20).sigmoid()
    colors = (grid.flip(0) + 0.75) / 1.5
    return Volumes(density[None, None], colors[None], voxel_size=1.5 / 31, volume_translation=(-1.0, -2.0, -3.0))


@pytest.mark.parametrize("words", [[], ["--bake", "128"]])
def test_the_surface_of_a_volume(tmp_path: Path, words: list[str]) -> None:
    if words:
        pytest.importorskip("xatlas")
    save_volume(tmp_path / "ball.npz", volume_of_a_ball())
    assert convert(tmp_path / "ball.npz", tmp_path / "ball.glb", "--voxels", 32, *words) == 0
    assert_valid(tmp_path / "ball.glb")
    mesh = IO().load_mesh(tmp_path / "ball.glb")
    places = mesh.verts_packed() - torch.tensor([1.0, 2.0, 3.0])
    assert ((places.norm(dim=1) - 0.5).abs() < 0.02).all()
    assert ((mesh.verts_normals_packed() * places).sum(1) > 0).all()
    colors = mesh.textures.faces_verts_textures_packed(faces_packed=mesh.faces_packed()).view(-1, 3)
    expected = (places[mesh.faces_packed()].view(-1, 3) + 0.75) / 1.5
    assert (colors - expected).abs().mean() < 0.02
    assert (
        convert(
            tmp_path / "ball.npz", tmp_path / "cut.ply", "--crop", 0, 0, 0, 1, 2, 3, "--isolevel", 0.4, "--voxels", 96
        )
        == 0
    )
    cut = read_mesh_file(tmp_path / "cut.ply").verts
    assert (cut <= np.array([1.0, 2.0, 3.0]) + 0.02).all()  # its sides are closed within half a voxel
    assert (cut.max(axis=0) > [0.9, 1.9, 2.9]).all()
    assert convert(tmp_path / "ball.npz", tmp_path / "copy.npz") == 0
    assert torch.equal(load_volume(tmp_path / "copy.npz").densities(), load_volume(tmp_path / "ball.npz").densities())


def gaussians_of_a_ball() -> Gaussians:
    """Flat Gaussians on a sphere of radius 0.5 around (1, 2, 3), red on one half and blue on the other."""
    normals = ico_sphere(4).verts_packed()
    rgb = torch.where(normals[:, :1] > 0, torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 1.0]))
    scales = torch.full((len(normals), 3), 0.02)
    quats = torch.tensor([1.0, 0, 0, 0]).expand(len(normals), 4)
    places = 0.5 * normals + torch.tensor([1.0, 2.0, 3.0])
    return Gaussians.from_colors(places, quats, scales, torch.full((len(normals),), 0.95), rgb)


def test_gaussians(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "VIEWS", 16)
    monkeypatch.setattr(export, "SIDE", 128)
    save_gaussians(tmp_path / "g.ply", gaussians_of_a_ball())
    assert convert(tmp_path / "g.ply", tmp_path / "g.splat") == 0
    assert len(load_gaussians(tmp_path / "g.splat")) == 2562
    assert convert(tmp_path / "g.splat", tmp_path / "h.ply") == 0
    assert convert(tmp_path / "g.splat", tmp_path / "h.compressed.ply") == 0
    assert (tmp_path / "h.compressed.ply").stat().st_size < 18 * 2562
    assert capsys.readouterr().err == ""
    assert convert(tmp_path / "h.ply", tmp_path / "i.ply", "--up", "z") == 0
    assert convert(tmp_path / "i.ply", tmp_path / "j.splat") == 0
    assert "j.splat: which way up they stand: no part of SPLAT files" in capsys.readouterr().err
    assert torch.allclose(load_gaussians(tmp_path / "h.ply").scales, torch.tensor(0.02))
    assert convert(tmp_path / "g.ply", tmp_path / "p.glb", "--points") == 0
    assert len(read_mesh_file(tmp_path / "p.glb").verts) == 2562
    assert "of Gaussians the centres, colours and opacities are kept" in capsys.readouterr().err
    for target, words, message in (
        (
            "k.ply",
            ("--voxels", 40),
            "--voxels: expected a surface of a volume, radiance field or Gaussians, got Gaussians",
        ),
        ("k.glb", ("--points", "--crop", 0, 0, 0, 1, 1, 1), "--crop: expected a surface of a volume"),
        ("k.glb", ("--isolevel", 0.2), "--isolevel: expected a surface of a volume or radiance field, got Gaussians"),
    ):
        assert convert(tmp_path / "g.ply", tmp_path / target, *words) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / target).exists()
    assert convert(tmp_path / "g.ply", tmp_path / "m.glb", "--voxels", 40) == 0
    mesh = IO().load_mesh(tmp_path / "m.glb")
    turn = torch.tensor([1.0, -1.0, -1.0])  # glTF has +Y up, Gaussians of photos -Y
    places = mesh.verts_packed() * turn - torch.tensor([1.0, 2.0, 3.0])
    assert abs(float(places.norm(dim=1).median()) - 0.52) < 0.02  # a standard deviation outside of the centres
    assert float((places.norm(dim=1) - 0.5).abs().max()) < 0.08
    assert ((mesh.verts_normals_packed() * turn * places).sum(1) > 0).float().mean() > 0.99
    colors = mesh.textures.verts_features_packed()
    sure = places[:, 0].abs() > 0.1
    assert ((colors[:, 0] > 0.7) == (places[:, 0] > 0))[sure].float().mean() > 0.99


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("creature", "x.xyz"), "OUT: expected a file that ends in .glb, .gltf, .obj, .ply, .off, .stl, .npz, .splat"),
        (("creature", "x.npz"), "expected a point cloud, as .npz holds no faces, got a mesh"),
        (("creature", "x.splat"), "OUT: expected Gaussians for .splat, got a mesh"),
        (("harbour", "x.stl"), "expected faces, as .stl holds no points"),
        (("harbour", "x.glb", "--bake", "64"), "--bake: expected a mesh, got a point cloud"),
        (("missing.obj", "x.glb"), "missing.obj: No such file or directory"),
        (("creature", "."), "OUT: expected a file that ends in"),
        (("creature", "x.glb", "--bake", "4"), "expected 16 to 16384 texels, got '4'"),
        (("creature", "x.glb", "--crop", "0", "0", "0", "0", "1", "1"), "--crop: expected two corners of a box"),
    ],
)
def test_what_does_not_go(
    tmp_path: Path,
    words: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with contextlib.suppress(SystemExit):
        assert convert(*words) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_leaves_none(tmp_path: Path, cube: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray(cube.with_suffix(".glb").read_bytes())
    at = data.index(b"IDAT")
    data[at + 8 : at + 20] = b"\xff" * 12
    (tmp_path / "bad.glb").write_bytes(data)
    for target in ("o.glb", "o.obj", "o.ply"):
        assert convert(tmp_path / "bad.glb", tmp_path / "out" / target) == 2
        assert "images[0]: expected an undamaged image" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_creature_stands_as_it_did(tmp_path: Path) -> None:
    """Its front is at -Z, that of glTF at +Z."""
    assert convert("creature", tmp_path / "fox.glb") == 0
    there, back = read_mesh_file(datasets.creature()), read_mesh_file(tmp_path / "fox.glb")
    turned = there.verts[there.faces].astype(np.float32) * np.float32([-1, 1, -1])
    assert np.array_equal(back.verts[back.faces].astype(np.float32), turned)


def test_all_endings_are_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["convert", "--help"])
    text = capsys.readouterr().out.lower()
    assert all(suffix.removeprefix(".") in text for suffix in SUFFIXES)


def test_everything_that_a_scene_holds_goes_through_glb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_mesh_file(rich(), tmp_path / "a.glb")
    assert convert(tmp_path / "a.glb", tmp_path / "b.glb") == 0
    assert capsys.readouterr().out.endswith(" textures, 3 cameras, 3 lights\n")
    assert convert(tmp_path / "b.glb", tmp_path / "c.gltf") == 0
    assert_valid(tmp_path / "b.glb", tmp_path / "c.gltf")
    there, back = read_mesh_file(tmp_path / "a.glb"), read_mesh_file(tmp_path / "c.gltf")
    assert np.array_equal(there.verts[there.faces], back.verts[back.faces])
    assert [m.name for m in there.materials] == [m.name for m in back.materials]
    assert len(back.cameras) == len(back.lights) == 3


def test_what_a_file_holds_besides_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from gltf_files import GltfBuilder

    builder = GltfBuilder()
    place = builder.array(np.eye(3, dtype=np.float32))
    builder.mesh({"attributes": {"POSITION": place}})
    builder.root["scenes"].append({"nodes": []})
    builder.root |= {"animations": [{}], "skins": [{}, {}], "extensionsUsed": ["KHR_materials_variants"]}
    builder.root["extensions"] = {"KHR_materials_variants": {"variants": [{"name": "red"}]}}
    (tmp_path / "a.glb").write_bytes(builder.glb())
    (tmp_path / "a.obj").write_text("o a\nv 0 0 0\nv 1 0 0\nv 0 1 0\ng b\nf 1 2 3\n")
    properties = "".join(f"property float {name}\n" for name in ("x", "y", "z", "intensity", "ring"))
    (tmp_path / "a.ply").write_text(
        f"ply\nformat ascii 1.0\nelement vertex 2\n{properties}end_header\n" + "0 1 2 3 4\n" * 2
    )
    for name, expected in (
        ("a.glb", ["1 animation", "2 skins", "1 other scene", "variants of materials"]),
        ("a.obj", ["the 2 names of objects and groups"]),
        ("a.ply", ["properties intensity, ring of vertices"]),
    ):
        assert convert(tmp_path / name, tmp_path / "b.ply") == 0
        said = capsys.readouterr().err.splitlines()
        assert said == [f"tirender: {tmp_path / 'b.ply'}: {e} of {tmp_path / name}: left out" for e in expected]
        assert main(["info", str(tmp_path / name)]) == 0
        assert "; ".join(expected) in capsys.readouterr().out
