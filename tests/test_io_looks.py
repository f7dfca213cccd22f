"""Colours, textures, normals and far positions of PLY and OFF files; the record that all readers end in."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tirender.io import IO, save_ply
from tirender.io.file_mesh import FileMesh, centered, join, weld, without_strays
from tirender.io.files import Source, read_source
from tirender.io.mesh_building import meshes_of
from tirender.io.obj_io import read_obj
from tirender.io.off_reading import read_off
from tirender.io.ply_reading import read_ply
from tirender.io.reading import read_mesh_file
from tirender.renderer.mesh.material import Material
from tirender.renderer.mesh.textures import TexturesAtlas, TexturesUV, TexturesVertex
from tirender.structures import Meshes, Pointclouds

RED, GREEN, BLUE, WHITE = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 1.0]
XYZ = "property float x\nproperty float y\nproperty float z\n"


def ply(
    properties: str, rows: list[str], faces: list[str] = (), face_properties: str = "", comments: str = ""
) -> bytes:
    """A triangle's, or more vertices', text; faces have the usual list unless it is given."""
    lists = (
        face_properties if "list" in face_properties else "property list uchar int vertex_indices\n" + face_properties
    )
    head = f"ply\nformat ascii 1.0\n{comments}element vertex {len(rows)}\n{XYZ}{properties}"
    head += f"element face {len(faces)}\n{lists}" if faces else ""
    places = ["0 0 0", "1 0 0", "1 1 0", "0 1 0"]
    body = [f"{place} {row}" for place, row in zip(places, rows)] + list(faces)
    return (head + "end_header\n" + "\n".join(body) + "\n").encode()


def properties(kind: str, *names: str) -> str:
    return "".join(f"property {kind} {name}\n" for name in names)


def rgba_of(data: bytes) -> np.ndarray:
    mesh = read_ply(Source(data, "c.ply"))
    assert mesh.verts_rgba is not None
    return mesh.verts_rgba


# --- colours of PLY ---


@pytest.mark.parametrize(
    "names",
    [("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b")],
)
@pytest.mark.parametrize(
    ("kind", "full", "fifth"),
    [
        ("uchar", 255, 51),
        ("uint8", 255, 51),
        ("ushort", 65535, 13107),
        ("short", 32767, 6553.4),
        ("char", 127, 25.4),
        ("uint", 4294967295, 858993459),
        ("int", 2147483647, 429496729.4),
        ("float", 1.0, 0.2),
        ("double", 255.0, 51.0),
        ("float", 255, 51),
    ],
)
def test_names_and_ranges(names: tuple, kind: str, full: float, fifth: float) -> None:
    """Integers divided by their type's maximum, floats by 255 where one is above 2."""
    number = str(fifth) if kind in ("float", "double") else str(round(fifth))
    data = ply(properties(kind, *names), [f"{full} {number} 0", "0 0 0", f"0 0 {full}"], ["3 0 1 2"])
    expected = [[1, float(number) / full, 0, 1], [0, 0, 0, 1], [0, 0, 1, 1]]
    assert np.allclose(rgba_of(data), expected, atol=1e-6)


def test_floats_between_1_and_2_are_clipped_with_a_warning() -> None:
    data = ply(properties("float", "red", "green", "blue"), ["1.5 0.5 -0.5", "0 0 0", "2 0 0"])
    with pytest.warns(UserWarning, match="c.ply: red, green, blue of element 'vertex' reach 2, clipped to 1"):
        assert rgba_of(data).tolist() == [[1, 0.5, 0, 1], [0, 0, 0, 1], [1, 0, 0, 1]]


def test_wide_integers_that_hold_bytes() -> None:
    data = ply(properties("int", "red", "green", "blue"), ["255 51 0"])
    with pytest.warns(UserWarning, match="stay below 256, taken as bytes"):
        assert np.allclose(rgba_of(data), [[1, 0.2, 0, 1]])


def test_harmonics() -> None:
    """0.5 + 0.28209479 f, clipped; the higher ones do not matter."""
    names = ("f_dc_0", "f_dc_1", "f_dc_2", "f_rest_0")
    data = ply(properties("float", *names), ["0 1 -1 7", "1.7724538 -1.7724538 9 7"])
    expected = [[0.5, 0.78209479, 0.21790521, 1], [1, 0, 1, 1]]
    assert np.allclose(rgba_of(data), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["alpha", "diffuse_alpha", "a"])
def test_alpha(tmp_path, name: str) -> None:
    kinds = properties("uchar", "red", "green", "blue", name)
    half = ply(kinds, ["255 0 0 51", "0 0 0 255", "0 0 0 255"], ["3 0 1 2"])
    assert np.allclose(rgba_of(half)[:, 3], [0.2, 1, 1])
    unset = ply(kinds, ["255 0 0 0", "0 0 0 0", "0 0 0 0"], ["3 0 1 2"])
    assert (rgba_of(unset)[:, 3] == 1).all()
    (tmp_path / "m.ply").write_bytes(half)
    with pytest.warns(UserWarning, match="m.ply: transparency: not part of"):
        textures = IO().load_mesh(tmp_path / "m.ply").textures
    assert textures.verts_features_packed().tolist() == [RED, [0, 0, 0], [0, 0, 0]]
    with pytest.warns(UserWarning, match="m.ply: alpha is not part of a cloud's features"):
        assert IO().load_pointcloud(tmp_path / "m.ply").features_packed().shape == (3, 3)


def test_colours_of_faces() -> None:
    kinds = properties("uchar", "red", "green", "blue")
    data = ply("", [""] * 4, ["4 0 1 2 3 255 0 0", "3 0 1 2 0 0 255"], kinds)
    mesh = read_ply(Source(data, "c.ply"))
    assert mesh.faces_rgba.tolist() == [[1, 0, 0, 1], [1, 0, 0, 1], [0, 0, 1, 1]]
    textures = IO().load_mesh(io.BytesIO(data)).textures
    assert isinstance(textures, TexturesAtlas)
    assert textures.atlas_packed()[:, 0, 0].tolist() == [RED, RED, BLUE]


def test_colours_that_are_not_finite() -> None:
    data = ply(properties("float", "red", "green", "blue"), ["0 0 0", "nan 0 0"])
    with pytest.raises(ValueError, match="c.ply, element 'vertex', row 1: expected red, green, blue finite"):
        rgba_of(data)


# --- faces and textures of PLY ---


@pytest.mark.parametrize("name", ["vertex_indices", "vertex_index", "corner_ids"])
def test_names_of_face_lists(name: str) -> None:
    data = ply("", [""] * 3, ["3 2 1 0"], f"property list uchar int {name}\n")
    assert read_ply(Source(data, "c.ply")).faces.tolist() == [[2, 1, 0]]


def test_two_lists_of_other_names_are_no_faces() -> None:
    lists = "property list uchar int a\nproperty list uchar int b\n"
    with pytest.raises(ValueError, match=r"c.ply: expected a list 'vertex_indices' .* got \['a', 'b'\]"):
        read_ply(Source(ply("", [""] * 3, ["3 2 1 0 3 2 1 0"], lists), "c.ply"))


def test_edges_are_a_warning() -> None:
    data = ply("", [""] * 3).replace(
        b"end_header", b"element edge 1\nproperty int vertex1\nproperty int vertex2\nend_header"
    )
    with pytest.warns(UserWarning, match="c.ply: edges are not read"):
        read_ply(Source(data + b"0 1\n", "c.ply"))


@pytest.fixture
def image(tmp_path) -> Path:
    """uv (0, 0) is blue, (1, 0) white, (1, 1) green, (0, 1) red."""
    pixels = np.array([[RED, GREEN], [BLUE, WHITE]]) * 255
    Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "my image.png")
    Image.fromarray(pixels[::-1].astype(np.uint8)).save(tmp_path / "other.png")
    return tmp_path


COMMENT = "comment made by hand\ncomment TextureFile my image.png\n"


@pytest.mark.parametrize(
    "names",
    [("texture_u", "texture_v"), ("u", "v"), ("s", "t"), ("texture_s", "texture_t"), ("texcoord_u", "texcoord_v")],
)
@pytest.mark.parametrize("comment", [COMMENT, "comment texturefile: my image.png\n"])
def test_texture_coordinates_of_vertices(image, names: tuple, comment: str) -> None:
    data = ply(properties("float", *names), ["0 0", "1 0", "1 1"], ["3 0 1 2", "3 2 1 0"], comments=comment)
    (image / "m.ply").write_bytes(data)
    textures = IO().load_mesh(image / "m.ply").textures
    assert isinstance(textures, TexturesUV)
    colors = textures.faces_verts_textures_packed()
    assert torch.allclose(colors, torch.tensor([[BLUE, WHITE, GREEN], [GREEN, WHITE, BLUE]]))
    assert IO().load_mesh(image / "m.ply", include_textures=False).textures is None


WEDGES = "property list uchar int vertex_indices\nproperty list uchar float texcoord\n"


@pytest.mark.parametrize("binary", [False, True])
def test_texture_coordinates_of_faces(image, binary: bool) -> None:
    """As MeshLab writes them; they are cut along with the faces, and a face may have none."""
    corners = [([0, 1, 2, 3], [0, 0, 1, 0, 1, 1, 0, 1]), ([0, 1, 2], [1, 1, 1, 0, 0, 0]), ([0, 1, 2], [])]
    rows = [f"{len(f)} {' '.join(map(str, f))} {len(t)} {' '.join(map(str, t))}" for f, t in corners]
    data = ply("", [""] * 4, rows, WEDGES, COMMENT)
    if binary:
        head = data.partition(b"end_header\n")[0].replace(b"ascii", b"binary_little_endian") + b"end_header\n"
        body = struct.pack("<12f", 0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 0)
        for f, t in corners:
            body += struct.pack(f"<B{len(f)}iB{len(t)}f", len(f), *f, len(t), *t)
        data = head + body
    (image / "m.ply").write_bytes(data)
    colors = IO().load_mesh(image / "m.ply").textures.faces_verts_textures_packed()
    expected = [[BLUE, WHITE, GREEN], [BLUE, GREEN, RED], [GREEN, WHITE, BLUE], [WHITE] * 3]
    assert torch.allclose(colors, torch.tensor(expected))


def test_several_textures(image) -> None:
    comments = COMMENT + "comment TextureFile other.png\n"
    rows = [f"3 0 1 2 6 0 0 1 0 1 1 {number}" for number in (1, 0, -1)]
    (image / "m.ply").write_bytes(ply("", [""] * 3, rows, WEDGES + "property int texnumber\n", comments))
    colors = IO().load_mesh(image / "m.ply").textures.faces_verts_textures_packed()
    assert torch.allclose(colors, torch.tensor([[RED, GREEN, WHITE], [BLUE, WHITE, GREEN], [WHITE] * 3]))


def test_missing_and_hidden_textures(tmp_path) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    Image.new("RGB", (1, 1), (255, 0, 0)).save(tmp_path / "t.png")
    for name, problem in (("gone.png", "not found"), ("../t.png", "allow_parent=True")):
        comment = f"comment TextureFile {name}\n"
        (folder / "m.ply").write_bytes(ply(properties("float", "s", "t"), ["0 0"] * 3, ["3 0 1 2"], "", comment))
        with pytest.warns(UserWarning, match=problem):
            assert IO().load_mesh(folder / "m.ply").textures is None
    textures = IO().load_mesh(folder / "m.ply", allow_parent=True).textures
    assert textures.maps_padded().flatten().tolist() == RED


def test_vertex_colours_beside_an_image_are_a_warning(image) -> None:
    kinds = properties("float", "s", "t") + properties("uchar", "red", "green", "blue")
    (image / "m.ply").write_bytes(ply(kinds, ["0 0 255 0 0"] * 3, ["3 0 1 2"], comments=COMMENT))
    with pytest.warns(UserWarning, match="vertex or face colours beside images"):
        assert isinstance(IO().load_mesh(image / "m.ply").textures, TexturesUV)


def test_wrong_number_of_texture_coordinates(image) -> None:
    with pytest.raises(ValueError, match="element 'face', row 1: expected 6 numbers in texcoord, got 4"):
        read_ply(Source(ply("", [""] * 3, ["3 0 1 2 6 0 0 1 0 1 1", "3 0 1 2 4 0 0 1 0"], WEDGES, COMMENT), "c.ply"))


def test_stream(image) -> None:
    data = ply(properties("uchar", "red", "green", "blue"), ["255 0 0"] * 3, ["3 0 1 2"])
    mesh = IO().load_mesh(io.BytesIO(data))
    assert mesh.faces_packed().tolist() == [[0, 1, 2]]
    assert mesh.textures.verts_features_packed().tolist() == [RED] * 3


# --- OFF ---

SQUARE = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]


def off(folder: Path, text: str) -> FileMesh:
    (folder / "m.off").write_text(text)
    return read_off(read_source(folder / "m.off"))


@pytest.mark.parametrize("header", ["OFF\n4 1 0\n", "OFF 4 1 0\n", "OFF4 1 0\n", "off4 1\n", "4 1 0\n"])
def test_off_headers(tmp_path, header: str) -> None:
    mesh = off(tmp_path, header + "0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n")
    assert mesh.verts.tolist() == [list(place) for place in SQUARE]
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]


PARTS = {"N": "0 0 1", "C": "0.5 0.25 1 1", "ST": "0.25 0.75"}


@pytest.mark.parametrize(
    "prefix",
    ["N", "C", "ST", "4", "n", "CN", "NC", "4n", "STC", "STN", "STCN", "STCN4", "STCN4n", "C4", "N4", "cn", "st"],
)
def test_off_prefixes(tmp_path, prefix: str) -> None:
    """Whatever their order, each vertex has position (times its weight), normal, colour, texture coordinates."""
    upper = prefix.upper() if prefix != "n" and prefix.islower() else prefix
    weight = 2 if "4" in upper else 1
    rows = ""
    for place in SQUARE:
        row = [str(weight * x) for x in place] + (["2"] if weight == 2 else [])
        rows += " ".join(row + [text for part, text in PARTS.items() if part in upper]) + "\n"
    dimensions = "3\n" if "n" in upper else ""
    mesh = off(
        tmp_path,
        f"{prefix}{'off' if prefix.islower() and prefix != 'n' else 'OFF'}\n{dimensions}4 1 0\n{rows}4 0 1 2 3\n",
    )
    assert mesh.verts.tolist() == [list(place) for place in SQUARE]
    assert (mesh.normals is None) == ("N" not in upper)
    if "N" in upper:
        assert mesh.normals.tolist() == [[0, 0, 1]] * 4
        assert np.array_equal(mesh.faces_normals, mesh.faces)
    assert (mesh.verts_rgba is None) == ("C" not in upper)
    if "C" in upper:
        assert mesh.verts_rgba.tolist() == [[0.5, 0.25, 1, 1]] * 4
    assert len(mesh.uvs) == ("ST" in upper)
    if "ST" in upper:
        assert mesh.uvs[0].tolist() == [[0.25, 0.75]] * 4


@pytest.mark.parametrize(
    ("n", "row", "expected"), [(2, "5 6", [5, 6, 0]), (3, "5 6 7", [5, 6, 7]), (4, "5 6 7 8", [5, 6, 7])]
)
@pytest.mark.filterwarnings("ignore:.*4 dimensions, the first 3 are read")
def test_off_dimensions(tmp_path, n: int, row: str, expected: list) -> None:
    assert off(tmp_path, f"nOFF {n}\n1 0 0\n{row}\n").verts.tolist() == [expected]
    assert off(tmp_path, f"nOFF\n{n} 1 0 0\n{row}\n").verts.tolist() == [expected]


@pytest.mark.parametrize(
    ("colors", "expected"),
    [
        (["255 0 0", "0 51 0", "0 0 255"], [[1, 0, 0, 1], [0, 0.2, 0, 1], [0, 0, 1, 1]]),
        (["255 0 0 255", "0 51 0 51", "0 0 255 255"], [[1, 0, 0, 1], [0, 0.2, 0, 0.2], [0, 0, 1, 1]]),
        (["255.0 0 0", "0 51.0 0", "0 0 0"], [[1, 0, 0, 1], [0, 0.2, 0, 1], [0, 0, 0, 1]]),
        (["1 0 0", "0 1 0", "0 0 0"], [[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 1]]),
        (["1.0 0 0", "0 0.2 0", "0 0 0"], [[1, 0, 0, 1], [0, 0.2, 0, 1], [0, 0, 0, 1]]),
        (["2 0 0", "0 0 0", "0 0 0"], [[2 / 255, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1]]),
        (["0 0 0 255", "0 0 0 255", "0 0 0 255"], [[0, 0, 0, 1]] * 3),
        (["255 0 0", "", "0 0 255 0"], [[1, 0, 0, 1], [1, 1, 1, 1], [0, 0, 1, 0]]),
    ],
)
@pytest.mark.parametrize("of_faces", [False, True])
def test_off_colours(tmp_path, colors: list, expected: list, of_faces: bool) -> None:
    """0 to 1, or 0 to 255; what has none is white."""
    verts = [f"{i} {i * i} 0" for i in range(3)]
    rows = verts if of_faces else [f"{vert} {color}" for vert, color in zip(verts, colors)]
    faces = [f"3 0 1 2 {color}" for color in colors] if of_faces else ["3 0 1 2"]
    mesh = off(tmp_path, "\n".join(["OFF", f"3 {len(faces)} 0", *rows, *faces]) + "\n")
    found = mesh.faces_rgba if of_faces else mesh.verts_rgba
    assert np.allclose(found, expected)


def test_off_real_colours_above_1_are_clipped_with_a_warning(tmp_path) -> None:
    with pytest.warns(UserWarning, match="m.off: vertex colours reach 1.25, clipped to 1"):
        mesh = off(tmp_path, "COFF\n1 0 0\n0 0 0 1.25 0.5 0\n")
    assert mesh.verts_rgba.tolist() == [[1, 0.5, 0, 1]]


def test_off_colour_map_indices_are_a_warning(tmp_path) -> None:
    with pytest.warns(UserWarning, match="face colours that are indices of a colour map are not read"):
        mesh = off(tmp_path, "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2 7\n")
    assert mesh.faces_rgba is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("4OFF\n1 0 0\n1 1 1 0\n", "line 3: expected weights that leave positions finite"),
        ("nOFF\n0\n1 0 0\n\n", "line 2: expected a number of dimensions from 1 to 64"),
        ("OFFX\n1 0 0\n", "line 1: expected a text file that starts with OFF"),
        ("XOFF\n1 0 0\n", "line 1: expected a text file that starts with OFF"),
        ("STOFF\n1 0 0\n0 0 0 1\n", "line 3: expected 5 numbers"),
        ("COFF\n2 0 0\n0 0 0 1 1 1\n0 0 0 1 x 1\n", "line 4: expected numbers"),
        ("COFF\n2 0 0\n0 0 0 1 1 1\n0 0 0 1 inf 1\n", "line 4: expected colours finite"),
    ],
)
def test_broken_off(tmp_path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"m.off, {message}"):
        off(tmp_path, text)


# --- normals ---


def test_normals_of_ply_and_off(tmp_path) -> None:
    normals = ["0 0 1", "0 1 0", "1 0 0"]
    for names in (("nx", "ny", "nz"), ("normal_x", "normal_y", "normal_z")):
        mesh = read_ply(Source(ply(properties("float", *names), normals, ["3 2 1 0"]), "c.ply"))
        assert mesh.normals.tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
        assert mesh.faces_normals.tolist() == [[2, 1, 0]]
    (tmp_path / "m.off").write_text("NOFF\n3 1 0\n0 0 0 0 0 1\n1 0 0 0 1 0\n0 1 0 1 0 0\n3 0 1 2\n")
    mesh = IO().load_mesh(tmp_path / "m.off")
    assert mesh.verts_normals_packed().tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]


def read_obj_text(text: str) -> FileMesh:
    return read_obj(Source(text.encode(), "m.obj"))


CORNERS = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvn 0 0 1\nvn 1 0 0\nvn 0 0 1\n"


@pytest.mark.parametrize(
    ("faces", "normals"),
    [
        ("f 1//1 2//2 3//1\nf 1//1 3//1 4//1\n", [[0, 0, 1], [1, 0, 0], [0, 0, 1], [0, 0, 1]]),
        ("f 1//1 2//2 3//1\nf 1//3 3//1 4//1\n", [[0, 0, 1], [1, 0, 0], [0, 0, 1], [0, 0, 1]]),  # 1 and 3 are equal
        ("f 1//1 2//2 3//1\n", [[0, 0, 1], [1, 0, 0], [0, 0, 1], [0, 0, 0]]),  # the last vertex is not used
        ("f 1//1 2//2 3//1\nf 1//2 3//1 4//1\n", None),
        ("f 1//1 2//2 3//1\nf 1 3 4\n", None),
        ("f 1 2 3\n", None),
    ],
)
def test_one_normal_a_vertex(faces: str, normals: list | None) -> None:
    mesh = read_obj_text(CORNERS + faces)
    found = mesh.verts_normals()
    assert (None if found is None else found.tolist()) == normals
    assert mesh.normals.tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 1]]
    assert mesh.faces_normals.shape == mesh.faces.shape


def test_corner_normals_of_a_polygon() -> None:
    mesh = read_obj_text(CORNERS + "f 1//1 2//2 3//3 4//2\n")
    assert mesh.faces_normals.tolist() == [[0, 1, 2], [0, 2, 1]]


def test_normals_are_none_where_there_are_none() -> None:
    assert read_obj_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n").verts_normals() is None


# --- far from the origin ---

FAR = np.array([4_512_345.25, -512_345.5, 123.125])
NEAR = np.array([[0, 0, 0], [0.001, 0, 0], [0.5, 0.25, 0.125]])


def far_files(folder: Path) -> list[FileMesh]:
    rows = [" ".join(f"{x:.6f}" for x in row) for row in NEAR + FAR]
    head = "ply\nformat ascii 1.0\nelement vertex 3\n" + properties("double", "x", "y", "z")
    face = "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    text = (head + face + "\n".join(rows) + "\n3 0 1 2\n").encode()
    binary = head.replace("ascii", "binary_little_endian") + face
    packed = binary.encode() + (NEAR + FAR).astype("<f8").tobytes() + struct.pack("<B3i", 3, 0, 1, 2)
    return [
        read_ply(Source(text, "a.ply")),
        read_ply(Source(packed, "b.ply")),
        off(folder, "OFF\n3 1 0\n" + "\n".join(rows) + "\n3 0 1 2\n"),
        read_obj_text("".join(f"v {row}\n" for row in rows) + "f 1 2 3\n"),
    ]


def test_positions_keep_their_digits_until_they_are_centred(tmp_path) -> None:
    for mesh in far_files(tmp_path):
        assert np.allclose(mesh.verts, NEAR + FAR, rtol=0, atol=1e-8)
        near = centered(mesh)
        assert np.abs(near.verts).max() <= 1
        assert np.allclose(near.verts.astype(np.float32).astype(float) + near.origin, NEAR + FAR, rtol=0, atol=1e-7)
        assert np.array_equal(near.verts + near.origin, mesh.verts)  # exactly
        blurred = mesh.verts.astype(np.float32).astype(float)
        assert np.abs(blurred - mesh.verts).max() > 0.01  # what centring is for


@pytest.mark.parametrize("verts", [np.zeros((0, 3)), NEAR, NEAR + 10, np.zeros((3, 3))])
def test_what_is_near_stays(verts: np.ndarray) -> None:
    mesh = FileMesh("m", verts, np.zeros((0, 3), np.int64))
    assert centered(mesh) is mesh
    assert mesh.origin.tolist() == [0, 0, 0]


def test_a_single_far_point() -> None:
    mesh = centered(FileMesh("m", FAR[None], np.zeros((0, 3), np.int64)))
    assert mesh.verts.tolist() == [[0, 0, 0]]
    assert mesh.origin.tolist() == FAR.tolist()


# --- the record ---


def test_weld() -> None:
    points = np.array([[1, 0, 0], [0.0, 0, 0], [1, 0, 0], [-0.0, 0, 0], [1, 0, 1e-30]])
    unique, index = weld(points)
    assert unique.tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 1e-30]]
    assert index.tolist() == [0, 1, 0, 1, 2]
    assert weld(np.zeros((0, 3)))[0].shape == (0, 3)
    rng = np.random.default_rng(0)
    many = rng.integers(0, 5, (2000, 3)).astype(np.float32)
    unique, index = weld(many)
    assert np.array_equal(unique[index], many)
    assert len(unique) == 125


def test_join() -> None:
    a, b = Material("a"), Material("b")
    triangle, none = np.array([[0, 1, 2]]), np.array([[-1, -1, -1]])
    one = FileMesh(
        "1", NEAR, triangle, NEAR[:1].astype(np.float32), 0 * triangle, materials=(a, b), faces_material=np.array([1])
    )
    uvs = np.ones((2, 2), np.float32)
    two = FileMesh("2", NEAR, triangle, uvs=(uvs,), faces_uvs=(none,), verts_rgba=np.zeros((3, 4), np.float32))
    three = FileMesh(
        "3",
        NEAR,
        triangle,
        uvs=(uvs, uvs),
        faces_uvs=(triangle * 0, triangle * 0 + 1),
        materials=(b,),
        faces_material=np.array([0]),
    )
    mesh = join("all", [one, two, three])
    assert mesh.faces.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert mesh.faces_normals.tolist() == [[0, 0, 0], [-1, -1, -1], [-1, -1, -1]]
    assert [len(table) for table in mesh.uvs] == [4, 2]
    assert mesh.faces_uvs[0].tolist() == [[-1, -1, -1], [-1, -1, -1], [2, 2, 2]]
    assert mesh.faces_uvs[1].tolist() == [[-1, -1, -1], [-1, -1, -1], [1, 1, 1]]
    assert mesh.verts_rgba[:, 0].tolist() == [1, 1, 1, 0, 0, 0, 1, 1, 1]
    assert [material.name for material in mesh.materials] == ["a", "b"]
    assert mesh.faces_material.tolist() == [1, -1, 1]
    assert join("x", [one]).name == "x"


def test_kinds_of_textures(tmp_path) -> None:
    data = ply(properties("uchar", "red", "green", "blue"), ["255 0 0"] * 3, ["3 0 1 2"])
    assert isinstance(IO().load_mesh(io.BytesIO(data)).textures, TexturesVertex)


# --- any file as a record ---


def test_read_mesh_file(tmp_path) -> None:
    for mesh, name in zip(far_files(tmp_path), ("a.ply", "b.ply", "c.off", "d.obj")):
        texts = {
            "a.ply": lambda m: ply_of(m, True),
            "b.ply": lambda m: ply_of(m, False),
            "c.off": lambda m: "OFF\n3 1 0\n" + rows_of(m) + "3 0 1 2\n",
            "d.obj": lambda m: "".join(f"v {row}\n" for row in rows_of(m).splitlines()) + "f 1 2 3\n",
        }
        content = texts[name](mesh)
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        same, near = read_mesh_file(tmp_path / name), read_mesh_file(str(tmp_path / name), center_far=True)
        assert np.array_equal(same.verts, mesh.verts)
        assert same.origin.tolist() == [0, 0, 0]
        assert np.array_equal(near.verts + near.origin, mesh.verts)
        assert np.abs(near.verts).max() <= 1
        assert len(meshes_of(near, "cpu").verts_packed()) == 3
    with pytest.raises(ValueError, match="x.txt: expected a path that ends in .obj, .off, .* got '.txt'"):
        read_mesh_file("x.txt")


def rows_of(mesh: FileMesh) -> str:
    return "".join(" ".join(f"{x:.17g}" for x in row) + "\n" for row in mesh.verts)


def ply_of(mesh: FileMesh, ascii: bool) -> bytes:
    stream = io.BytesIO()
    save_ply(stream, torch.from_numpy(mesh.verts), torch.tensor([[0, 1, 2]]), ascii=ascii)
    return stream.getvalue()


def test_a_stream_is_ply(tmp_path) -> None:
    mesh = read_mesh_file(io.BytesIO(ply_of(far_files(tmp_path)[0], False)), center_far=True)
    assert mesh.origin.any()


# --- digits of places far away ---


@pytest.mark.parametrize("name", ["m.obj", "m.ply", "text.ply", "m.off", "c.ply", "c.npz"])
def test_double_precision_is_written_and_read(tmp_path: Path, name: str) -> None:
    verts = torch.tensor([[4123456.123456789, 5, -1], [4123457, 5234567.000000123, -1], [4123456, 6, 0.1]]).double()
    verts[0, 0] += 1e-7
    faces, path = torch.tensor([[0, 1, 2]]), tmp_path / name
    if name[0] == "c":
        IO().save_pointcloud(Pointclouds([verts]), path)
    else:
        IO().save_mesh(Meshes([verts], [faces]), path, binary=False if name == "text.ply" else None)
    assert np.array_equal(read_mesh_file(path).verts, verts.numpy())


def test_stray_vertices_decide_nothing() -> None:
    verts = np.array([[1e6, 0, 0], [1e6 + 1, 0, 0], [0, 0, 0], [1e6, 1, 0]])
    mesh = FileMesh("m", verts, np.array([[0, 1, 3]]), verts_rgba=np.eye(4, dtype=np.float32))
    near = centered(mesh)
    assert near.origin.tolist() == [1e6, 0, 0] or near.origin[0] == pytest.approx(1e6, abs=1)
    assert np.abs(near.verts[[0, 1, 3]]).max() <= 1
    assert np.array_equal(near.verts + near.origin, verts)
    kept = without_strays(mesh)
    assert kept.verts.tolist() == verts[[0, 1, 3]].tolist()
    assert kept.faces.tolist() == [[0, 1, 2]]
    assert kept.verts_rgba.tolist() == np.eye(4)[[0, 1, 3]].tolist()
    assert without_strays(kept) is kept


def test_a_comment_that_lost_its_keyword() -> None:
    """As Blender 2.47 wrote it; other unknown lines are errors."""
    data = ply("", ["", "", ""], ["3 0 1 2"], comments="Created by Blender3D 247, source file:\n")
    assert read_ply(Source(data, "m.ply")).faces.tolist() == [[0, 1, 2]]
    with pytest.raises(ValueError, match=r"m\.ply, line 3: expected a format, element"):
        read_ply(Source(data.replace(b"Created by", b"element"), "m.ply"))
