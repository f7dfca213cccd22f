"""STL files, binary and text, and formats that trimesh reads."""

from __future__ import annotations

import builtins
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tirender.io import IO
from tirender.io.reading import read_mesh_file
from tirender.renderer.mesh.textures import TexturesAtlas, TexturesUV
from tirender.structures.meshes import Meshes

CUBE = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=np.float32)
SIDES = [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1]]
SIDES += [[2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]]


def binary(corners: np.ndarray, header: bytes = b"made by hand", attributes: list | None = None) -> bytes:
    data = header.ljust(80, b"\0") + struct.pack("<I", len(corners))
    for i, corner in enumerate(corners):
        data += struct.pack("<12fH", 0, 0, 0, *corner.ravel(), attributes[i] if attributes else 0)
    return data


def text(corners: np.ndarray, indent: str = "  ", name: str = "cube") -> str:
    facets = ""
    for corner in corners:
        loop = "".join(f"{indent * 3}vertex {x:e} {y:e} {z:e}\n" for x, y, z in corner)
        facets += f"{indent}facet normal 0 0 0\n{indent * 2}outer loop\n{loop}{indent * 2}endloop\n{indent}endfacet\n"
    return f"solid {name}\n{facets}endsolid {name}\n"


def load(folder: Path, data: bytes | str, name: str = "m.stl") -> Meshes:
    (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return IO().load_mesh(folder / name)


CORNERS = CUBE[np.array(SIDES)]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(binary(CORNERS), id="binary"),
        pytest.param(binary(CORNERS, b"solid of a program that does not care"), id="binary that starts with solid"),
        pytest.param(text(CORNERS), id="text"),
        pytest.param(text(CORNERS, ""), id="no indent"),
        pytest.param(text(CORNERS, "\t").upper().replace("\n", "\r\n"), id="capitals and CRLF"),
        pytest.param(text(CORNERS, name="vertex 1 2 3"), id="an odd name"),
        pytest.param(text(CORNERS[:6], name="") + "\n" + text(CORNERS[6:]), id="two solids"),
        pytest.param(text(CORNERS).replace("\n", " ").replace("solid cube", "solid cube\n", 1), id="one line"),
    ],
)
def test_cube(tmp_path, data: bytes | str) -> None:
    """Welded: 8 vertices, closed, of volume 1."""
    mesh = load(tmp_path, data)
    verts, faces = mesh.verts_packed(), mesh.faces_packed()
    assert verts.shape == (8, 3)
    assert torch.equal(verts[faces], torch.from_numpy(CORNERS))
    a, b, c = verts[faces].double().unbind(dim=1)
    assert (a * torch.linalg.cross(b, c)).sum().item() / 6 == pytest.approx(1)
    assert mesh.edges_packed().shape == (18, 2)
    assert mesh.textures is None


def test_degenerate_triangles_stay(tmp_path) -> None:
    mesh = load(tmp_path, binary(np.zeros((2, 3, 3), np.float32)))
    assert mesh.verts_packed().tolist() == [[0, 0, 0]]
    assert mesh.faces_packed().tolist() == [[0, 0, 0]] * 2


@pytest.mark.parametrize("data", [binary(CORNERS[:0]), "solid nothing\nendsolid nothing\n"])
def test_empty(tmp_path, data: bytes | str) -> None:
    assert load(tmp_path, data).faces_packed().shape == (0, 3)


def rgb5(red: int, green: int, blue: int) -> int:
    return red | green << 5 | blue << 10


def test_colours_of_viscam_and_solidview(tmp_path) -> None:
    """Blue lowest; the highest bit says that there is a colour."""
    attributes = [1 << 15 | rgb5(blue, green, red) for red, green, blue in ((31, 0, 0), (0, 31, 0))] + [rgb5(1, 2, 3)]
    textures = load(tmp_path, binary(CORNERS[:3], attributes=attributes)).textures
    assert isinstance(textures, TexturesAtlas)
    assert textures.atlas_packed()[:, 0, 0].tolist() == [[1, 0, 0], [0, 1, 0], [1, 1, 1]]


def test_colours_of_magics(tmp_path) -> None:
    """Red lowest; the highest bit says that the face has the colour of the whole."""
    header = b"solid COLOR=" + bytes([0, 0, 255, 255]) + b" MATERIAL="
    data = binary(CORNERS[:3], header, [rgb5(31, 0, 0), rgb5(0, 31, 0), 1 << 15])
    assert load(tmp_path, data).textures.atlas_packed()[:, 0, 0].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_attributes_without_a_colour(tmp_path) -> None:
    assert load(tmp_path, binary(CORNERS[:3], attributes=[1, 2, 3])).textures is None


def test_bytes_behind_the_triangles(tmp_path) -> None:
    with pytest.warns(UserWarning, match="m.stl: 3 bytes behind the triangles are not read"):
        assert load(tmp_path, binary(CORNERS) + b"abc").faces_packed().shape == (12, 3)


ONE = text(CORNERS[:1])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "expected an STL file: text that starts with 'solid', or triangles, got b''"),
        (binary(CORNERS)[:-1], "expected 12 triangles in 684 bytes"),
        (b"\0" * 80 + b"\xff\xff\xff\xff", "expected 4294967295 triangles"),
        (binary(np.full((1, 3, 3), np.nan)), "triangle 0: expected corners finite in float32"),
        (ONE.replace("0.000000e+00", "zero", 1), "line 4: expected three numbers, got 'zero"),
        (ONE.replace("0.000000e+00", "inf", 1), "triangle 0: expected corners finite"),
        (ONE.replace("endloop", "vertex 1 1 1\nendloop"), "line 8: expected facets of three corners, got 4"),
        (ONE.partition("endloop")[0], "expected facets of three corners, got the end of the file"),
        ("hello", "expected an STL file: text that starts with 'solid', or triangles, got b'hello"),
    ],
)
def test_broken(tmp_path, data: bytes | str, message: str) -> None:
    with pytest.raises(ValueError, match=f"m.stl.*{message}"):
        load(tmp_path, data)


# --- what trimesh reads ---


def three_mf(scale: int = 1) -> bytes:
    vertices = "".join(f'<vertex x="{x}" y="{y}" z="{z}"/>' for x, y, z in CUBE * scale)
    triangles = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in SIDES)
    model = (
        '<?xml version="1.0"?>'
        '<model unit="millimeter" xmlns="http://schemas.microsoft.com/3dmanufacturing/core/2015/02">'
        f'<resources><object id="1" type="model"><mesh><vertices>{vertices}</vertices>'
        f"<triangles>{triangles}</triangles></mesh></object></resources>"
        '<build><item objectid="1" transform="1 0 0 0 1 0 0 0 1 5 0 0"/></build></model>'
    )
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("3D/3dmodel.model", model)
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("_rels/.rels", "<Relationships/>")
    return stream.getvalue()


def dae(up: str = "Y_UP", image: str = "t.png") -> str:
    """A textured triangle."""

    def source(name: str, values: str, names: str) -> str:
        n = len(values.split())
        params = "".join(f'<param name="{p}" type="float"/>' for p in names)
        accessor = f'<accessor source="#{name}-a" count="{n // len(names)}" stride="{len(names)}">{params}</accessor>'
        array = f'<float_array id="{name}-a" count="{n}">{values}</float_array>'
        return f'<source id="{name}">{array}<technique_common>{accessor}</technique_common></source>'

    return f"""<?xml version="1.0"?>
<COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">
<asset><up_axis>{up}</up_axis></asset>
<library_images><image id="i"><init_from>{image}</init_from></image></library_images>
<library_effects><effect id="e"><profile_COMMON>
<newparam sid="s"><surface type="2D"><init_from>i</init_from></surface></newparam>
<newparam sid="p"><sampler2D><source>s</source></sampler2D></newparam>
<technique sid="c"><phong><diffuse><texture texture="p" texcoord="UVMap"/></diffuse></phong></technique>
</profile_COMMON></effect></library_effects>
<library_materials><material id="m"><instance_effect url="#e"/></material></library_materials>
<library_geometries><geometry id="g"><mesh>
{source("pos", "0 0 0 1 0 0 1 2 3", "XYZ")}{source("uv", "0 0 1 0 1 1", "ST")}
<vertices id="v"><input semantic="POSITION" source="#pos"/></vertices>
<triangles material="x" count="1"><input semantic="VERTEX" source="#v" offset="0"/>
<input semantic="TEXCOORD" source="#uv" offset="1" set="0"/><p>0 0 1 1 2 2</p></triangles>
</mesh></geometry></library_geometries>
<library_visual_scenes><visual_scene id="w"><node id="n"><translate>10 0 0</translate>
<instance_geometry url="#g"><bind_material><technique_common><instance_material symbol="x" target="#m"/>
</technique_common></bind_material></instance_geometry></node></visual_scene></library_visual_scenes>
<scene><instance_visual_scene url="#w"/></scene></COLLADA>"""


@pytest.fixture
def with_trimesh() -> None:
    pytest.importorskip("trimesh")


@pytest.mark.usefixtures("with_trimesh")
def test_3mf(tmp_path) -> None:
    mesh = load(tmp_path, three_mf(), "m.3mf")
    assert sorted(mesh.verts_packed().tolist()) == sorted((CUBE + [5, 0, 0]).tolist())
    a, b, c = mesh.verts_packed()[mesh.faces_packed()].unbind(dim=1)
    assert (a * torch.linalg.cross(b, c)).sum().item() / 6 == pytest.approx(1, rel=1e-5)


@pytest.mark.usefixtures("with_trimesh")
@pytest.mark.parametrize("up", ["X_UP", "Y_UP", "Z_UP"])
def test_collada(tmp_path, up: str) -> None:
    Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)).save(
        tmp_path / "t.png"
    )
    mesh = load(tmp_path, dae(up), "m.dae")
    expected = {
        "X_UP": [[0, 10, 0], [0, 11, 0], [-2, 11, 3]],
        "Y_UP": [[10, 0, 0], [11, 0, 0], [11, 2, 3]],
        "Z_UP": [[10, 0, 0], [11, 0, 0], [11, 3, -2]],
    }
    corners = mesh.verts_packed()[mesh.faces_packed()[0]]
    assert corners.tolist() == expected[up]
    assert isinstance(mesh.textures, TexturesUV)
    colors = mesh.textures.faces_verts_textures_packed()[0]
    assert torch.allclose(colors, torch.tensor([[0.0, 0, 1], [1, 1, 1], [0, 1, 0]]))


@pytest.mark.usefixtures("with_trimesh")
@pytest.mark.parametrize("up", ["Y_UP", "Z_UP"])
def test_collada_s_normals_emission_and_alpha(tmp_path, up: str) -> None:
    """Normals turn with the node, here by 90 degrees about x; an alpha of 0 beside the diffuse colour says nothing."""
    text = dae(up).replace("<translate>10 0 0</translate>", "<rotate>1 0 0 90</rotate>")
    text = text.replace(
        '<vertices id="v">',
        '<source id="nor"><float_array id="nor-a" count="3">0 1 0</float_array><technique_common>'
        '<accessor source="#nor-a" count="1" stride="3"><param name="X" type="float"/><param name="Y" type="float"/>'
        '<param name="Z" type="float"/></accessor></technique_common></source><vertices id="v">',
    )
    text = text.replace(
        "<p>0 0 1 1 2 2</p>", '<input semantic="NORMAL" source="#nor" offset="2"/><p>0 0 0 1 1 0 2 2 0</p>'
    )
    text = text.replace(
        '<diffuse><texture texture="p" texcoord="UVMap"/></diffuse>',
        "<emission><color>0 0.25 0 1</color></emission><diffuse><color>0.5 0 1 0</color></diffuse>",
    )
    (tmp_path / "m.dae").write_text(text)
    mesh = read_mesh_file(tmp_path / "m.dae")
    expected = {"Y_UP": [0, 0, 1], "Z_UP": [0, 1, 0]}[up]
    assert np.allclose(mesh.normals[mesh.faces_normals], expected, atol=1e-6)
    (material,) = mesh.materials
    assert material.emission == (0, 0.25, 0)
    assert material.base_color == pytest.approx((0.5, 0, 1, 1), abs=0.5 / 255)
    assert material.alpha_mode == "opaque"


@pytest.mark.usefixtures("with_trimesh")
def test_trimesh_s_seams_are_closed(tmp_path) -> None:
    """Two triangles that share an edge, with other texture coordinates on each side of it."""
    text = dae().replace('count="9">0 0 0 1 0 0 1 2 3', 'count="12">0 0 0 1 0 0 1 2 3 0 1 0')
    text = text.replace('source="#pos-a" count="3"', 'source="#pos-a" count="4"')
    text = text.replace('count="1"><input semantic="VERTEX"', 'count="2"><input semantic="VERTEX"')
    text = text.replace("<p>0 0 1 1 2 2</p>", "<p>0 0 1 1 2 2 0 1 2 0 3 2</p>")
    Image.new("RGB", (2, 2)).save(tmp_path / "t.png")
    (tmp_path / "m.dae").write_text(text)
    mesh = read_mesh_file(tmp_path / "m.dae")
    assert len(mesh.verts) == 4
    assert mesh.faces.shape == (2, 3)
    uvs = mesh.uvs[0][mesh.faces_uvs[0]].tolist()
    assert sorted(uvs) == sorted([[[0, 0], [1, 0], [1, 1]], [[1, 0], [0, 0], [1, 1]]])


@pytest.mark.usefixtures("with_trimesh")
@pytest.mark.parametrize("image", ["gone.png", "../secret.png", "/etc/hostname"])
def test_images_that_are_missing_or_outside(tmp_path, image: str) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    Image.new("RGB", (1, 1), (255, 0, 0)).save(tmp_path / "secret.png")
    with pytest.warns(UserWarning, match="m.dae: .*(not found|not read)"):
        mesh = load(folder, dae(image=image), "m.dae")
    if mesh.textures is not None:
        assert (mesh.textures.faces_verts_textures_packed()[0].std(dim=0) == 0).all()


@pytest.mark.usefixtures("with_trimesh")
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("m.3mf", b"PK\3\4 damaged"),
        ("m.3mf", b"no archive"),
        ("m.dae", b"<COLLADA>"),
        ("m.dae", b""),
        ("m.dae", dae().replace("0 0 1 1 2 2", "0 0 1 1 9 9").encode()),
    ],
)
def test_damaged(tmp_path, name: str, data: bytes) -> None:
    with pytest.raises(ValueError, match=name):
        load(tmp_path, data, name)


def test_without_trimesh(tmp_path, monkeypatch) -> None:
    real = builtins.__import__

    def without(name: str, *args, **kwargs):
        if name.split(".")[0] == "trimesh":
            raise ImportError("No module named 'trimesh'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"m.3mf: .3mf files are read by trimesh; install .* tirender\[formats\]"):
        load(tmp_path, three_mf(), "m.3mf")
    assert load(tmp_path, binary(CORNERS)).verts_packed().shape == (8, 3)
