"""Habits of programs that write files: spellings and encodings of names, values left unset, looks not drawn."""

from __future__ import annotations

import io
import os
import struct
import unicodedata
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tirender.io.display import display_mesh
from tirender.io.file_mesh import FileMesh
from tirender.io.files import Source, decode_image
from tirender.io.gltf_parser import GltfFile
from tirender.io.ply_reading import read_ply
from tirender.io.reading import read_mesh_file
from tirender.io.stl_io import read_stl
from tirender.renderer.mesh.material import Material, TextureMap
from tirender.scenes import load_scene
from tirender.scenes.cloud import CloudScene
from tirender.structures.creases import creased_normals

VERTS = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 0 1\n"
FACE = "f 1/1 2/2 3/3\n"
RED = np.full((2, 2, 3), (255, 0, 0), np.uint8)


def png(path: Path, pixels: np.ndarray = RED) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels).save(path, "PNG")


def obj(folder: Path, mtl: str, name: str = "a", encoding: str = "utf-8", library: str = "m.mtl") -> FileMesh:
    (folder / library).write_bytes(mtl.encode(encoding))
    (folder / "m.obj").write_bytes(f"mtllib {library}\n{VERTS}usemtl {name}\n{FACE}".encode(encoding))
    return read_mesh_file(folder / "m.obj")


# --- names ---


@pytest.mark.parametrize(
    ("written", "there"),
    [
        ("TEX\\Wood.PNG", "tex/wood.png"),
        ("./Tex/./wood.png", "tEX/WOOD.png"),
        (unicodedata.normalize("NFC", "Wände.png"), unicodedata.normalize("NFD", "wände.png")),
        (unicodedata.normalize("NFD", "Wände.png"), unicodedata.normalize("NFC", "Wände.png")),
    ],
)
def test_spellings_of_companions(tmp_path, written: str, there: str) -> None:
    png(tmp_path / there)
    (material,) = obj(tmp_path, f"newmtl a\nmap_Kd {written}\n").materials
    assert material.base_map is not None
    assert material.base_map.image[0, 0].tolist() == [1, 0, 0]


def test_two_spellings_are_none(tmp_path) -> None:
    for folder in ("tex", "TEX"):
        png(tmp_path / folder / "a.png")
    with pytest.warns(UserWarning, match="texture 'Tex/a.png' not found"):
        obj(tmp_path, "newmtl a\nmap_Kd Tex/a.png\n")


def test_a_link_in_another_spelling_does_not_lead_out(tmp_path) -> None:
    (tmp_path / "mesh").mkdir()
    png(tmp_path / "out" / "a.png")
    os.symlink(tmp_path / "out", tmp_path / "mesh" / "TEX")
    with pytest.warns(UserWarning, match="a link out of it"):
        obj(tmp_path / "mesh", "newmtl a\nmap_Kd tex/a.png\n")


@pytest.mark.parametrize(
    ("encoding", "word"),
    [("latin-1", "größe"), ("cp1252", "œuvre €"), ("cp1251", "стена"), ("cp932", "表面"), ("gb18030", "木纹")],
)
def test_names_in_older_encodings(tmp_path, encoding: str, word: str) -> None:
    """Also where a byte of a letter is that of a backslash, as in 表 in Shift JIS."""
    png(tmp_path / f"{word}.png")
    mesh = obj(tmp_path, f"newmtl {word}\nmap_Kd {word}.png\n", word, encoding, f"{word}.mtl")
    assert mesh.materials[0].base_map is not None
    head = f"ply\nformat ascii 1.0\ncomment TextureFile {word}.png\nelement vertex 3\nproperty float x\n"
    head += "property float y\nproperty float z\nproperty float s\nproperty float t\nelement face 1\n"
    text = head + "property list uchar int vertex_indices\nend_header\n0 0 0 0 0\n1 0 0 1 0\n0 1 0 0 1\n3 0 1 2\n"
    (tmp_path / "m.ply").write_bytes(text.encode(encoding))
    assert read_mesh_file(tmp_path / "m.ply").materials[0].base_map is not None


def test_names_of_materials(tmp_path) -> None:
    assert obj(tmp_path, "newmtl Wood\nKd 1 0 0\n", "WOOD").materials[0].base_color[:3] == (1, 0, 0)
    with pytest.warns(UserWarning, match="m.obj: no MTL file has its materials 'wood'"):
        obj(tmp_path, "newmtl Wood\nKd 1 0 0\nnewmtl WOOD\nKd 0 1 0\n", "wood")
    obj(tmp_path, "newmtl Wood\nKd 1 0 0\n", "(null)")  # means none


@pytest.mark.parametrize("ending", ["exr", "PSD", "jp2"])
def test_images_of_formats_that_are_not_read(tmp_path, ending: str) -> None:
    (tmp_path / f"a.{ending}").write_bytes(b"?")
    with pytest.warns(UserWarning, match=f"texture 'a.{ending}' is of a format that is not read"):
        (material,) = obj(tmp_path, f"newmtl a\nKd 1 0 0\nmap_Kd a.{ending}\n").materials
    assert material.base_color == (1, 0, 0, 1)


# --- what is not drawn, or unset ---


@pytest.mark.parametrize("invisible", ["d 0", "Tr 1", "d 0.0\nTr 1.0"])
def test_all_materials_invisible(tmp_path, invisible: str) -> None:
    with pytest.warns(UserWarning, match="m.obj: all materials are invisible"):
        (material,) = obj(tmp_path, f"newmtl a\nKd 1 0 0\n{invisible}\n").materials
    assert (material.base_color, material.alpha_mode) == ((1, 0, 0, 1), "opaque")


def test_one_material_invisible(tmp_path) -> None:
    (tmp_path / "m.mtl").write_text("newmtl a\nd 0\nnewmtl b\nKd 1 0 0\n")
    (tmp_path / "m.obj").write_text(f"mtllib m.mtl\n{VERTS}usemtl a\n{FACE}usemtl b\n{FACE}")
    assert [m.base_color[3] for m in read_mesh_file(tmp_path / "m.obj").materials] == [0, 1]


@pytest.mark.parametrize("keyword", ["map_Ka", "map_Bump", "map_ORM", "refl"])
def test_other_maps_are_a_warning(tmp_path, keyword: str) -> None:
    with pytest.warns(UserWarning, match=f"m.obj: {keyword.lower()} of its materials is not read"):
        obj(tmp_path, f"newmtl a\n{keyword} a.png\nmap_aat on\n")


def test_the_diffuse_map_as_the_ambient_one(tmp_path) -> None:
    png(tmp_path / "a.png")
    obj(tmp_path, "newmtl a\nmap_Ka a.png\nmap_Kd a.png\n")


@pytest.mark.parametrize(
    ("alphas", "extra", "is_named"), [((0, 255), "", True), ((0, 0), "", False), ((0, 255), "d 0.5", False)]
)
def test_alpha_of_a_diffuse_map(tmp_path, alphas: tuple, extra: str, is_named: bool) -> None:
    png(tmp_path / "a.png", np.array([[[255, 0, 0, alpha] for alpha in alphas]], np.uint8))
    (material,) = obj(tmp_path, f"newmtl a\n{extra}\nmap_Kd a.png\n").materials
    assert material.base_map is not None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        material.base_map.image  # noqa: B018
    assert [str(w.message).endswith("as no map_d of the material names it") for w in caught] == [True] * is_named


def test_textures_without_coordinates(tmp_path) -> None:
    png(tmp_path / "a.png")
    (tmp_path / "m.mtl").write_text("newmtl a\nKd 1 0 0\nmap_Kd a.png\n")
    (tmp_path / "m.obj").write_text(f"mtllib m.mtl\n{VERTS}usemtl a\nf 1 2 3\n{FACE}f 1 3 2\n")
    with pytest.warns(UserWarning, match="m.obj: 2 faces have a texture and no texture coordinates for it"):
        load_scene(tmp_path / "m.obj")


@pytest.mark.parametrize("slot", ["base_map", "emission_map", "metallic_roughness_map"])
def test_every_map_without_coordinates_is_named(slot: str) -> None:
    material = Material(**{slot: TextureMap(torch.rand(2, 2, 3))})
    mesh = FileMesh("m", np.eye(3), np.array([[0, 1, 2]]), materials=(material,), faces_material=np.zeros(1, np.int64))
    with pytest.warns(UserWarning, match="m: 1 faces have a texture and no texture coordinates for it"):
        display_mesh(mesh)


def test_diffuse_colours_above_1(tmp_path) -> None:
    with pytest.warns(UserWarning, match="m.obj: Kd above 1 is clipped"):
        (material,) = obj(tmp_path, "newmtl a\nKd 2 0.5 0\n").materials
    assert material.base_color == (1, 0.5, 0, 1)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e30])
def test_normals_at_all_scales(scale: float) -> None:
    verts = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    faces = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3]])
    normals, rows = creased_normals(scale * verts, faces)
    expected, expected_rows = creased_normals(verts, faces)
    assert torch.allclose(normals[rows], expected[expected_rows], atol=1e-6)
    assert torch.allclose(normals.norm(dim=1), torch.ones(len(normals)))


def test_image_of_floats() -> None:
    stream = io.BytesIO()
    Image.fromarray(np.array([[0.0, 0.25, np.nan, 3.0]], np.float32)).save(stream, "TIFF")
    assert decode_image(stream.getvalue(), "a.tif")[0, :, 1].tolist() == [0, 0.25, 0, 1]


# --- PLY ---

XYZ = "property float x\nproperty float y\nproperty float z\n"


def ply(elements: str, body: str, comment: str = "comment c\n") -> FileMesh:
    return read_ply(Source(f"ply\nformat ascii 1.0\n{comment}{elements}end_header\n{body}".encode(), "m.ply"))


TABLE = "element material 2\nproperty uchar diffuse_red\nproperty uchar diffuse_green\nproperty uchar diffuse_blue\n"
CORNERS = "property list uchar int vertex_indices\n"


def test_element_material() -> None:
    faces = f"element vertex 3\n{XYZ}element face 3\n{CORNERS}property int material_index\n"
    mesh = ply(faces + TABLE, "0 0 0\n1 0 0\n0 1 0\n3 0 1 2 1\n3 0 1 2 0\n3 0 1 2 7\n255 0 0\n0 51 0\n")
    assert mesh.faces_rgba is not None
    assert np.allclose(mesh.faces_rgba, [[0, 0.2, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]])
    verts = f"element vertex 3\n{XYZ}property uchar material_index\nelement face 1\n{CORNERS}"
    mesh = ply(verts + TABLE, "0 0 0 0\n1 0 0 1\n0 1 0 1\n3 0 1 2\n255 0 0\n0 51 0\n")
    assert mesh.verts_rgba is not None
    assert np.allclose(mesh.verts_rgba, [[1, 0, 0, 1], [0, 0.2, 0, 1], [0, 0.2, 0, 1]])


def test_what_a_ply_file_has_and_is_not_shown() -> None:
    grid = f"element vertex 3\n{XYZ}element range_grid 2\n{CORNERS}"
    with pytest.warns(UserWarning, match=r"m\.ply: the faces of a range_grid are not read"):
        ply(grid, "0 0 0\n1 0 0\n0 1 0\n0\n1 2\n")
    face = f"element vertex 3\n{XYZ}element face 1\n{CORNERS}"
    with pytest.warns(UserWarning, match="not found"), pytest.warns(UserWarning, match="without texture coordinates"):
        ply(face, "0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", "comment TextureFile a.png\n")


def test_gltf_of_version_2_without_a_point() -> None:
    assert GltfFile(Source(b'{"asset": {"version": "2"}}', "m.gltf")).root
    with pytest.raises(ValueError, match="m.gltf: expected glTF of version 2, got '20'"):
        GltfFile(Source(b'{"asset": {"version": "20"}}', "m.gltf"))


# --- clouds ---


@pytest.mark.parametrize("name", ["m.obj", "m.off"])
def test_points_without_faces_are_a_cloud(tmp_path, name: str) -> None:
    rows = ["0 0 0 255 0 0", "1 0 0 0 255 0", "0 2 0 0 0 51"]
    text = "".join(f"v {row}\n" for row in rows) if name == "m.obj" else "COFF\n3 0 0\n" + "\n".join(rows) + "\n"
    (tmp_path / name).write_text(text)
    scene = load_scene(tmp_path / name)
    assert isinstance(scene, CloudScene)
    assert torch.allclose(scene.rgba, torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0.2, 1]]))
    points = (scene.points * scene.scale).double() + scene.centre
    assert torch.allclose(points, torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 2, 0]], dtype=torch.float64), atol=1e-6)


# --- STL, and what trimesh reads ---

TRIANGLE = struct.pack("<12fH", *[0] * 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0)


@pytest.mark.parametrize("count", [0, 0xFFFFFFFF, 2])
def test_stl_that_was_written_before_its_count_was_known(count: int) -> None:
    mesh = read_stl(Source(bytes(80) + struct.pack("<I", count) + 2 * TRIANGLE, "m.stl"))
    assert (len(mesh.verts), len(mesh.faces)) == (3, 2)


def test_stl_with_a_byte_order_mark() -> None:
    facet = "facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"
    assert len(read_stl(Source(f"\ufeffsolid a\n{facet}endsolid a\n".encode(), "m.stl")).faces) == 1


@pytest.mark.parametrize("look", ['pid="5" p1="0"', 'paint_color="4"', ""])
def test_colours_of_3mf_are_a_warning(tmp_path, look: str) -> None:
    pytest.importorskip("trimesh")
    pytest.importorskip("lxml")
    text = '<model xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02"><resources><object id="1"><mesh>'
    text += '<vertices><vertex x="0" y="0" z="0"/><vertex x="1" y="0" z="0"/><vertex x="0" y="1" z="0"/></vertices>'
    text += f'<triangles><triangle v1="0" v2="1" v3="2" {look}/></triangles></mesh></object></resources>'
    with zipfile.ZipFile(tmp_path / "m.3mf", "w") as archive:
        archive.writestr("3D/3dmodel.model", text + '<build><item objectid="1"/></build></model>')
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_mesh_file(tmp_path / "m.3mf")
    assert len([w for w in caught if "m.3mf: colours and textures of 3MF" in str(w.message)]) == bool(look)
