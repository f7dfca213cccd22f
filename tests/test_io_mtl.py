"""Materials and images of OBJ files: names of all sorts, what is missing, and paths that try to leave the folder."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tirender.io import IO, load_obj
from tirender.io import files as io_files
from tirender.io.files import Source, decode_image, read_source, write_file
from tirender.io.mtl_io import parse_mtl

QUAD = "v 0 0 0\nv 1 0 0\nv 1 1 0\nvt 0 0\n"


def png(color: tuple = (255, 0, 0), size: tuple = (1, 1), mode: str = "RGB", kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size, color).save(stream, format=kind)
    return stream.getvalue()


def load(folder: Path, obj: str, mtl: str | None, mtl_name: str = "m.mtl", **images: bytes):
    (folder / "m.obj").write_text(obj)
    if mtl is not None:
        (folder / mtl_name).parent.mkdir(exist_ok=True)
        (folder / mtl_name).write_text(mtl)
    return load_obj(folder / "m.obj")[2]


def test_properties(tmp_path) -> None:
    mtl = (
        "# c\nnewmtl a\n\tKa 0.1 0.2 0.3\nKd 1 0 0.5 # red\nKs 0.5\nNs 10\nKe 9 9 9\nillum 2\n\n"
        "newmtl b\r\nKd spectral x.rfl\r\nKs xyz 1 1 1\r\nnewmtl unused\nKd 0 0 0\n"
    )
    with pytest.warns(UserWarning, match=r"m.mtl, line \d+: k. \w+ is not read") as said:
        aux = load(tmp_path, "mtllib m.mtl\nusemtl b\n" + QUAD + "f 1 2 3\nusemtl a\nf 1 2 3\n", mtl)
    assert len(said) == 2
    assert set(aux.material_colors) == {"a", "b"}
    a = aux.material_colors["a"]
    assert set(a) == {"ambient_color", "diffuse_color", "specular_color", "shininess"}
    assert torch.equal(a["ambient_color"], torch.tensor([0.1, 0.2, 0.3]))
    assert torch.equal(a["diffuse_color"], torch.tensor([1, 0, 0.5]))
    assert torch.equal(a["specular_color"], torch.tensor([0.5, 0.5, 0.5]))
    assert torch.equal(a["shininess"], torch.tensor([10.0]))
    assert aux.material_colors["b"] == {}
    assert aux.texture_images == {}


@pytest.mark.parametrize(
    ("in_obj", "in_mtl"),
    [
        ("usemtl red", "newmtl red"),
        ("usemtl deep red", "newmtl deep red"),
        ("usemtl\tred ", "  newmtl  red\t"),
        ("usemtl red # a comment", "newmtl red"),
        ("usemtl Material #25", "newmtl Material #25"),
        ("usemtl rot\u00e9", "newmtl rot\u00e9"),
        ("usemtl red more", "newmtl red"),
        ("", "newmtl red"),
    ],
)
def test_names_of_materials(tmp_path, in_obj: str, in_mtl: str) -> None:
    """The last: a single material that no usemtl names is that of all faces."""
    (tmp_path / "t.png").write_bytes(png())
    aux = load(tmp_path, f"mtllib m.mtl\n{in_obj}\n" + QUAD + "f 1 2 3\n", f"{in_mtl}\nmap_Kd t.png\n")
    assert [image.tolist() for image in aux.texture_images.values()] == [[[[1, 0, 0]]]]
    faces = load_obj(tmp_path / "m.obj")[1]
    assert faces.materials_idx.tolist() == [0]


@pytest.mark.parametrize(
    ("statement", "file"),
    [
        ("map_Kd t.png", "t.png"),
        ("map_Kd my texture (1).png", "my texture (1).png"),
        ('map_Kd "my texture.png"', "my texture.png"),
        ("map_Kd 'quoted'.png", "'quoted'.png"),
        ("map_Kd maps/t.png", "maps/t.png"),
        (r"map_Kd maps\t.png", "maps/t.png"),
        (r"map_Kd .\maps\\t.png", "maps/t.png"),
        ("map_Kd maps/../t.png", "t.png"),
        ("map_Kd t.png # the texture", "t.png"),
        ("map_Kd t#1.png", "t#1.png"),
        ("map_Kd -s 2 2 2 -o 0.5 0 -clamp on -bm 1.0 my t.png", "my t.png"),
        ("map_Kd -mm 0 1 -blendu off t.png", "t.png"),
        ("map_Kd -s 1 1.png", "1.png"),
        ("map_Kd my t.png -s 2 2 2 -clamp on", "my t.png"),
        ("map_Kd a -s b.png", "a -s b.png"),
        ("MAP_KD\tt.png", "t.png"),
        ("map_Kd other.png\nmap_Kd t.png", "t.png"),
    ],
)
def test_names_of_images(tmp_path, statement: str, file: str) -> None:
    (tmp_path / "maps").mkdir()
    (tmp_path / file).write_bytes(png())
    aux = load(tmp_path, "mtllib m.mtl\nusemtl a\n" + QUAD + "f 1 2 3\n", f"newmtl a\n{statement}\n")
    assert aux.texture_images["a"].tolist() == [[[1, 0, 0]]]


@pytest.mark.parametrize(
    ("statement", "files"),
    [
        ("mtllib my materials.mtl", ["my materials.mtl"]),
        ('mtllib "my materials.mtl"', ["my materials.mtl"]),
        (r"mtllib .\sub\m.mtl", ["sub/m.mtl"]),
        ("mtllib m.mtl # materials", ["m.mtl"]),
        ("mtllib one.mtl two.mtl", ["two.mtl", "one.mtl"]),
        ("mtllib one.mtl\nmtllib two.mtl", ["two.mtl", "one.mtl"]),
        ('mtllib "my one.mtl" two.mtl', ["my one.mtl", "two.mtl"]),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_names_of_material_files(tmp_path, statement: str, files: list[str], first: bool) -> None:
    """Before or after the usemtl that needs it."""
    (tmp_path / "sub").mkdir()
    for file in files:
        (tmp_path / file).write_text("newmtl other\n")
    (tmp_path / files[0]).write_text("newmtl a\nKd 1 0 0\n")
    faces = QUAD + "usemtl a\nf 1 2 3\n"
    text = f"{statement}\n{faces}" if first else f"{faces}{statement}\n"
    assert load(tmp_path, text, None).material_colors["a"]["diffuse_color"].tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("head", "mtl", "message"),
    [
        ("mtllib gone.mtl\nusemtl a\n", None, "material file 'gone.mtl' not found, ignored"),
        ("usemtl a\n", None, "no mtllib statement, materials are ignored"),
        ("mtllib m.mtl\n", "newmtl a\nnewmtl b\n", "2 materials but no usemtl statement, all ignored"),
        ("mtllib m.mtl\nusemtl a\n", "newmtl a\nmap_Kd gone.png\n", "texture 'gone.png' not found, ignored"),
        ("mtllib m.mtl\nusemtl a\n", "newmtl a\nmap_Kd .\n", "texture '.' not found, ignored"),
    ],
)
def test_what_is_missing_is_a_warning(tmp_path, head: str, mtl: str | None, message: str) -> None:
    with pytest.warns(UserWarning, match=rf"m\.obj: {message}"):
        aux = load(tmp_path, head + QUAD + "f 1 2 3\n", mtl)
    assert aux.texture_images == (None if mtl is None else {})
    assert (aux.material_colors is None) == (mtl is None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_obj(tmp_path / "m.obj", load_textures=False)[0].shape == (3, 3)


def test_stream_without_a_file_reads_no_materials(tmp_path, monkeypatch) -> None:
    (tmp_path / "m.mtl").write_text("newmtl a\nKd 1 0 0\n")
    monkeypatch.chdir(tmp_path)
    with pytest.warns(UserWarning, match="<StringIO>: material file 'm.mtl' not found"):
        aux = load_obj(io.StringIO("mtllib m.mtl\nusemtl a\n" + QUAD))[2]
    assert aux.material_colors is None


@pytest.mark.parametrize(
    ("mtl", "message"),
    [
        ("newmtl a\nKd 1 x 1\n", "m.mtl, line 2: expected finite numbers, got '1 x 1'"),
        ("newmtl a\n\nKa\n", "m.mtl, line 3: expected finite numbers, got ''"),
        ("newmtl a\nNs nan\n", "m.mtl, line 2: expected finite numbers, got 'nan'"),
        ("Kd 1 1 1\n", "m.mtl, line 1: expected newmtl before the first property"),
        ("newmtl a\nmap_Kd text.png\n", r"text.png: expected an image file, got 5 bytes that are none"),
        ("newmtl a\nmap_Kd half.png\n", r"half.png: expected an undamaged image"),
        ("newmtl a\nKd 1 \0 1\n", "m.mtl: expected a text file, got binary data"),
    ],
)
def test_damaged_materials(tmp_path, mtl: str, message: str) -> None:
    (tmp_path / "text.png").write_text("hello")
    rng = np.random.default_rng(0)
    stream = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(stream, format="PNG")
    (tmp_path / "half.png").write_bytes(stream.getvalue()[:5000])
    with pytest.raises(ValueError, match=message):
        load(tmp_path, "mtllib m.mtl\nusemtl a\n" + QUAD + "f 1 2 3\n", mtl)


# --- paths that leave the folder ---

ESCAPES = [
    "../{}",
    "sub/../../{}",
    "..\\{}",
    "sub\\..\\..\\{}",
    "{outside}",
    "C:\\{}",
    "C:{}",
    "\\\\host\\share\\{}",
    "//{}",
]


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    inside = tmp_path / "inside"
    (inside / "sub").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(png())
    (tmp_path / "secret.mtl").write_text("newmtl a\nKd 1 0 0\n")
    return inside, tmp_path


@pytest.mark.parametrize("escape", ESCAPES)
def test_images_outside_the_folder_are_not_read(folders, escape: str) -> None:
    inside, outside = folders
    name = escape.format("secret.png", outside=outside / "secret.png")
    with pytest.warns(UserWarning, match="expected a path inside its own folder.*not read"):
        aux = load(inside, "mtllib m.mtl\nusemtl a\n" + QUAD + "f 1 2 3\n", f"newmtl a\nmap_Kd {name}\n")
    assert aux.texture_images == {}


@pytest.mark.parametrize("escape", ESCAPES)
def test_materials_outside_the_folder_are_not_read(folders, escape: str) -> None:
    inside, outside = folders
    name = escape.format("secret.mtl", outside=outside / "secret.mtl")
    with pytest.warns(UserWarning, match="expected a path inside its own folder.*not read"):
        aux = load(inside, f"mtllib {name}\nusemtl a\n" + QUAD + "f 1 2 3\n", None)
    assert aux.material_colors is None


@pytest.mark.parametrize("link_folder", [False, True])
def test_links_out_of_the_folder_are_not_followed(folders, link_folder: bool) -> None:
    inside, outside = folders
    os.symlink(outside if link_folder else outside / "secret.png", inside / "link")
    name = "link/secret.png" if link_folder else "link"
    with pytest.warns(UserWarning, match="a link out of it"):
        aux = load(inside, "mtllib m.mtl\nusemtl a\n" + QUAD + "f 1 2 3\n", f"newmtl a\nmap_Kd {name}\n")
    assert aux.texture_images == {}


def test_links_inside_the_folder_and_to_it_are_followed(folders) -> None:
    inside, outside = folders
    (inside / "sub" / "t.png").write_bytes(png())
    os.symlink(inside / "sub" / "t.png", inside / "link.png")
    os.symlink(inside, outside / "alias")
    load(inside, "mtllib m.mtl\nusemtl a\n" + QUAD + "f 1 2 3\n", "newmtl a\nmap_Kd link.png\n")
    assert load_obj(outside / "alias" / "m.obj")[2].texture_images["a"].tolist() == [[[1, 0, 0]]]


def test_a_path_manager_is_not_led_out_of_the_folder() -> None:
    source = Source(b"", "x", "store://a/b", path_manager=object())
    with pytest.raises(ValueError, match="x: expected a path inside its own folder, got '../c.png'"):
        source.sibling("../c.png")


# --- images ---


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png((255, 51, 0)), [1, 0.2, 0]),
        (png((255, 51, 0, 10), mode="RGBA"), [1, 0.2, 0]),
        (png(51, mode="L"), [0.2, 0.2, 0.2]),
        (png((51, 0), mode="LA"), [0.2, 0.2, 0.2]),
        (png(1, mode="1"), [1, 1, 1]),
        (png(13107, mode="I;16"), [0.2, 0.2, 0.2]),
        (png((255, 51, 0), kind="BMP"), [1, 0.2, 0]),
        (png((255, 51, 0), kind="TGA"), [1, 0.2, 0]),
        (png((255, 51, 0), kind="TIFF"), [1, 0.2, 0]),
    ],
)
def test_image_modes(data: bytes, expected: list) -> None:
    image = decode_image(data, "t")
    assert image.dtype == torch.float32
    assert torch.allclose(image, torch.tensor([[expected]], dtype=torch.float32), atol=1e-4)


@pytest.mark.parametrize(
    ("size", "got"),
    [
        ("20000 1", "20000 x 1"),
        ("1 16385", "1 x 16385"),
        ("12000 12000", "12000 x 12000"),
        ("16384 16384", "a larger image"),
        ("99999 99999", "a larger image"),
    ],
)
def test_large_images_are_refused_before_they_are_decoded(size: str, got: str) -> None:
    """Without a warning of Pillow's, which has limits of its own."""
    with pytest.raises(ValueError, match=f"t: expected at most 16384 px a side and 134217728 px in all, got {got}"):
        decode_image(f"P6 {size} 255\n".encode(), "t")


# --- files ---


def test_large_files_are_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(io_files, "MAX_FILE_BYTES", 10)
    (tmp_path / "m.obj").write_text(QUAD)
    with pytest.raises(ValueError, match="m.obj: expected at most 10 bytes, got a larger file"):
        read_source(tmp_path / "m.obj")


def test_a_failed_write_leaves_the_old_file(tmp_path) -> None:
    path = tmp_path / "m.obj"
    path.write_text("old")

    def chunks():
        yield b"new"
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_file(path, chunks())
    assert os.listdir(tmp_path) == ["m.obj"]
    assert path.read_text() == "old"
    write_file(path, [b"new"])
    assert path.read_text() == "new"


def test_writes_through_a_link(tmp_path) -> None:
    (tmp_path / "real.obj").write_text("old")
    os.symlink(tmp_path / "real.obj", tmp_path / "link.obj")
    write_file(tmp_path / "link.obj", [b"new"])
    assert (tmp_path / "real.obj").read_text() == "new"
    assert (tmp_path / "link.obj").is_symlink()


def test_missing_mesh_file_is_an_os_error(tmp_path) -> None:
    for suffix in ("obj", "ply", "off", "glb"):
        with pytest.raises(FileNotFoundError, match=f"gone.{suffix}"):
            IO().load_mesh(tmp_path / f"gone.{suffix}")


def test_the_last_definition_of_a_property_counts() -> None:
    material = parse_mtl(Source(b"newmtl a\nKd 1 1 1\nKd 0 0 0\n", "m"))["a"]
    assert material.colors["diffuse_color"].tolist() == [0, 0, 0]


@pytest.mark.parametrize(("values", "expected"), [([[0.5, 0.25]], [0.5, 0.25]), ([[1.5, -1]], [1.0, 0.0])])
def test_images_of_floats(values: list, expected: list) -> None:
    image = decode_image(tiff(values), "t")
    assert torch.allclose(image, torch.tensor([[[x] * 3 for x in expected]]))


def tiff(values: list) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.array(values, dtype=np.float32)).save(stream, format="TIFF")
    return stream.getvalue()
