"""What MTL files say, as records and as textures: colours, alpha, emission, the options of maps, where images lie."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tirender.io import IO, load_obj, load_objs_as_meshes
from tirender.io.file_mesh import FileMesh
from tirender.io.files import read_source
from tirender.io.obj_io import read_obj
from tirender.renderer.mesh.textures import TexturesAtlas, TexturesUV, TexturesVertex

VERTS = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
FACE = "f 1/1 2/2 3/3\n"
RED, GREEN, BLUE, WHITE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 1.0)


def write_png(path: Path, rows: list) -> None:
    Image.fromarray((np.array(rows) * 255).round().astype(np.uint8)).save(path)


def write(folder: Path, obj: str, mtl: str) -> Path:
    (folder / "m.mtl").write_text(mtl)
    (folder / "m.obj").write_text("mtllib m.mtl\n" + VERTS + obj)
    return folder / "m.obj"


def record(path: Path, **options: bool) -> FileMesh:
    return read_obj(read_source(path, **options))


def corner_colors(path: Path, **options: bool) -> torch.Tensor:
    return IO().load_mesh(path, **options).textures.faces_verts_textures_packed()


# --- colours ---


def test_plain_colours_only(tmp_path) -> None:
    """Every face its own, one before the first usemtl, one of a material that says no colour, one of an unknown one."""
    mtl = "newmtl a\nKd 1 0 0\nnewmtl b\nKd 0.25 0.5 0.75\nnewmtl c\nNs 3\n"
    text = FACE + "usemtl b\n" + FACE + "f 1 2 3\nusemtl c\n" + FACE + "usemtl a\n" + FACE + "usemtl gone\n" + FACE
    path = write(tmp_path, text, mtl)
    expected = [WHITE, (0.25, 0.5, 0.75), (0.25, 0.5, 0.75), WHITE, RED, WHITE]
    with pytest.warns(UserWarning, match="no MTL file has its materials 'gone'"):
        assert torch.allclose(corner_colors(path), torch.tensor(expected)[:, None].expand(6, 3, 3))
    with pytest.warns(UserWarning, match="no MTL file has its materials 'gone'"):
        assert isinstance(load_objs_as_meshes([path]).textures, TexturesUV)
    assert IO().load_mesh(path, include_textures=False).textures is None


def test_mixed_kinds_in_one_mesh(tmp_path) -> None:
    """With a map (whose Kd does not count), without, and no material at all."""
    write_png(tmp_path / "t.png", [[RED, GREEN], [BLUE, WHITE]])
    text = FACE + "usemtl map\n" + FACE + "usemtl plain\n" + FACE
    path = write(tmp_path, text, "newmtl map\nKd 0 0 0\nmap_Kd t.png\nnewmtl plain\nKd 0 0.5 0\n")
    expected = torch.tensor([[WHITE] * 3, [BLUE, WHITE, GREEN], [(0, 0.5, 0)] * 3])
    assert torch.allclose(corner_colors(path), expected, atol=1e-6)


def test_missing_image_leaves_the_colour(tmp_path) -> None:
    path = write(tmp_path, "usemtl a\n" + FACE, "newmtl a\nKd 1 0 0\nmap_Kd gone.png\n")
    with pytest.warns(UserWarning, match="texture 'gone.png' not found"):
        assert torch.allclose(corner_colors(path), torch.tensor(RED).expand(1, 3, 3))


def test_vertex_colours_times_plain_colours(tmp_path) -> None:
    (tmp_path / "m.mtl").write_text("newmtl white\nKd 1 1 1\nnewmtl dark\nKd 1 0 0.5\n")
    verts = "v 0 0 0 1 1 1\nv 1 0 0 0 1 1\nv 0 1 0 1 0.5 0\n"
    for name, factor in (("white", WHITE), ("dark", (1.0, 0.0, 0.5))):
        (tmp_path / "m.obj").write_text(f"mtllib m.mtl\nusemtl {name}\n{verts}f 1 2 3\n")
        textures = IO().load_mesh(tmp_path / "m.obj").textures
        assert isinstance(textures, TexturesVertex)
        # 0 and 1 stay; sRGB 0.5 is the only product of two numbers, and white times it is itself.
        expected = torch.tensor([[1.0, 1, 1], [0, 1, 1], [1, 0.5, 0]]) * torch.tensor(factor)
        assert torch.allclose(textures.verts_features_packed(), expected, atol=1e-6)


def test_vertex_colours_under_several_materials_are_a_warning(tmp_path) -> None:
    (tmp_path / "m.mtl").write_text("newmtl a\nKd 1 0 0\nnewmtl b\nKd 0 1 0\n")
    verts = "".join(f"v {i} 0 0 1 1 1\n" for i in range(6))
    for second, n_warnings in (("f 4 5 6", 0), ("f 3 4 5", 1)):
        (tmp_path / "m.obj").write_text(f"mtllib m.mtl\n{verts}usemtl a\nf 1 2 3\nusemtl b\n{second}\n")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            IO().load_mesh(tmp_path / "m.obj")
        assert ["colours of several materials at one vertex" in str(w.message) for w in caught] == [True] * n_warnings


def test_vertex_colours_and_their_ranges(tmp_path) -> None:
    def colors(*texts: str) -> torch.Tensor:
        lines = [f"v {i} 0 0 {text}\n" for i, text in enumerate(texts)]
        (tmp_path / "c.obj").write_text("".join(lines) + "f 1 2 3\n")
        return IO().load_mesh(tmp_path / "c.obj").textures.verts_features_packed()

    assert torch.allclose(colors("0 51 255", "2 0 0", "0 0 0")[0], torch.tensor([0, 0.2, 1]))
    assert torch.allclose(colors("0 0 1", "0 1 0", "0 0 0")[0], torch.tensor([0.0, 0, 1]))
    with pytest.warns(UserWarning, match="vertex colours reach 1.5, clipped to 1"):
        assert torch.allclose(colors("0 0.25 1.5", "0 1 0", "0 0 0")[0], torch.tensor([0, 0.25, 1]))
    with pytest.warns(UserWarning, match="2 vertices without a colour, taken as white"):
        assert colors("", "255 0 0", "1.0").tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 1]]


def test_plain_and_vertex_colours_in_one_batch(tmp_path) -> None:
    path = write(tmp_path, "usemtl a\n" + FACE, "newmtl a\nKd 1 0 0\n")
    (tmp_path / "c.obj").write_text("v 0 0 0 0 1 0\nv 1 0 0 0 1 0\nv 0 1 0 0 1 0\nf 1 2 3\n")
    batch = load_objs_as_meshes([path, tmp_path / "c.obj"])
    colors = batch.textures.verts_features_list()
    assert torch.allclose(colors[0][:3], torch.tensor(RED))
    assert torch.allclose(colors[1], torch.tensor(GREEN))


# --- what textures do not hold ---


def test_record(tmp_path) -> None:
    for name in ("t", "n", "e", "d"):
        write_png(tmp_path / f"{name}.png", [[RED, GREEN], [BLUE, WHITE]])
    mtl = (
        "newmtl a\nKd 1 0 0\nKs 0.5 0.25 0\nKe 0 2 0\nNs 10\nd 0.25\nPm 0.75\nPr 0.5\nnorm -bm 2 n.png\n"
        "newmtl b\nTr 0.25\nmap_Ke e.png\nmap_Kd t.png\nillum 0\n"
        "newmtl c\nd 1\nTr 1\n"  # Tr is a copy of d
        "newmtl d\nd -halo 0.5\nmap_d d.png\n"
        "newmtl e\n"
    )
    path = write(tmp_path, "".join(f"usemtl {name}\n{FACE}" for name in "abcde"), mtl)
    mesh = record(path)
    assert [m.name for m in mesh.materials] == list("abcde")
    assert mesh.faces_material.tolist() == [0, 1, 2, 3, 4]
    a, b, c, d, e = mesh.materials
    assert a.base_color == (1, 0, 0, 0.25)
    assert (a.alpha_mode, a.emission, a.specular, a.shininess) == ("blend", (0, 2, 0), (0.5, 0.25, 0), 10)
    assert (a.metallic, a.roughness, a.normal_scale, a.unlit) == (0.75, 0.5, 2, False)
    assert a.normal_map.image.shape == (2, 2, 3)
    assert (b.base_color, b.alpha_mode, b.unlit) == ((1, 1, 1, 0.75), "blend", True)
    assert b.emission == (1, 1, 1)
    assert torch.equal(b.emission_map.image, b.base_map.image)
    assert (c.base_color[3], c.alpha_mode) == (1, "opaque")
    assert (d.base_color[3], d.alpha_mode) == (0.5, "blend")
    third = 1 / 3
    assert torch.allclose(d.base_map.image[..., 3], torch.tensor([[third, third], [third, 1]]), atol=1e-6)
    assert (d.base_map.image[..., :3] == 1).all()
    assert (e.base_color, e.base_map, e.alpha_mode, e.metallic) == ((1, 1, 1, 1), None, "opaque", None)


def test_alpha_map_beside_a_colour_map(tmp_path) -> None:
    """Its alpha channel, if it has one; another size is fitted to the colour map's."""
    write_png(tmp_path / "t.png", [[RED, GREEN], [BLUE, WHITE]])
    alphas = [[0.0, 1.0], [0.2, 0.4]]
    write_png(tmp_path / "d.png", [[(1, 1, 1, a) for a in row] for row in alphas])
    write_png(tmp_path / "one.png", [[(0.2, 0.2, 0.2)]])
    mtl = "newmtl a\nmap_Kd t.png\nmap_d d.png\nnewmtl b\nmap_Kd t.png\nmap_d one.png\n"
    mtl += "newmtl c\nmap_Kd t.png\nmap_d -imfchan g t.png\n"
    a, b, c = record(write(tmp_path, "".join(f"usemtl {name}\n{FACE}" for name in "abc"), mtl)).materials
    assert torch.allclose(a.base_map.image[..., 3], torch.tensor(alphas))
    assert torch.allclose(b.base_map.image[..., 3], torch.full((2, 2), 0.2))
    assert c.base_map.image[..., 3].tolist() == [[0, 1], [0, 1]]
    assert torch.equal(a.base_map.image[..., :3], torch.tensor([[RED, GREEN], [BLUE, WHITE]]))


@pytest.mark.parametrize(
    ("statement", "feature"),
    [
        ("d 0.5", "transparency"),
        ("Tr 0.5", "transparency"),
        ("map_d t.png", "transparency"),
        ("Ke 0 0 1", "emission"),
        ("norm t.png", "normal maps"),
        ("map_Ks t.png", "map_ks of its materials is not read"),
        ("bump t.png", "bump of its materials is not read"),
    ],
)
def test_what_textures_do_not_hold_is_a_warning(tmp_path, statement: str, feature: str) -> None:
    write_png(tmp_path / "t.png", [[RED, GREEN], [BLUE, WHITE]])
    path = write(tmp_path, "usemtl a\n" + FACE, f"newmtl a\nmap_Kd t.png\n{statement}\n")
    with pytest.warns(UserWarning, match=f"m.obj: {feature}") as caught:
        IO().load_mesh(path)
    assert len(caught) == 1


@pytest.mark.parametrize("statement", ["l 1 2", "p 1", "curv 0 1 1 2", "surf 0 1 0 1 1 2 3 4"])
def test_elements_that_are_not_read_are_a_warning(tmp_path, statement: str) -> None:
    path = write(tmp_path, f"usemtl a\n{FACE}{statement}\n", "newmtl a\n")
    with pytest.warns(UserWarning, match="m.obj: (lines|points|curves|surfaces) are not read"):
        IO().load_mesh(path)


# --- options of maps ---


def ramp(folder: Path) -> None:
    """Red is u, green v (pointing up)."""
    x = np.linspace(0, 1, 52)
    write_png(folder / "ramp.png", np.stack(np.broadcast_arrays(x, x[::-1, None], 0 * x), axis=-1).tolist())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", [(0, 0), (0.4, 0), (0.4, 0.4)]),
        ("-s 2 1 1", [(0, 0), (0.8, 0), (0.8, 0.4)]),
        ("-s 0.5", [(0, 0), (0.2, 0), (0.2, 0.4)]),
        ("-o 0.2 0.4 0", [(0.2, 0.4), (0.6, 0.4), (0.6, 0.8)]),
        ("-o 0.1 -s 2 2", [(0.1, 0), (0.9, 0), (0.9, 0.8)]),
        ("-bm 0.5 -blendu on -blendv off -cc off -s 1 2 1 -texres 512", [(0, 0), (0.4, 0), (0.4, 0.8)]),
        ("-t 0.1 -s 2 2 1", [(0, 0), (0.8, 0), (0.8, 0.8)]),
        ("-mm 0.2 0.5 -clamp on", [(0.2, 0.2), (0.4, 0.2), (0.4, 0.4)]),
    ],
)
@pytest.mark.parametrize("atlas", [False, True])
def test_scale_offset_and_gain(tmp_path, options: str, expected: list, atlas: bool) -> None:
    """uv' = scale * uv + offset; colour' = base + gain * colour."""
    ramp(tmp_path)
    (tmp_path / "m.mtl").write_text(f"newmtl a\nmap_Kd {options} ramp.png\n")
    uvs = "vt 0 0\nvt 0.4 0\nvt 0.4 0.4\n"
    (tmp_path / "m.obj").write_text("mtllib m.mtl\nusemtl a\nv 0 0 0\nv 1 0 0\nv 1 1 0\n" + uvs + FACE)
    if not atlas:
        assert torch.allclose(corner_colors(tmp_path / "m.obj")[0, :, :2], torch.tensor(expected), atol=1e-3)
        return
    textures = IO().load_mesh(tmp_path / "m.obj", create_texture_atlas=True, texture_atlas_size=1).textures
    assert isinstance(textures, TexturesAtlas)
    mean = torch.tensor(expected).mean(dim=0)
    assert torch.allclose(textures.atlas_packed()[0, 0, 0, :2], mean, atol=1e-3)


def test_maps_of_different_options_in_one_mesh(tmp_path) -> None:
    ramp(tmp_path)
    mtl = "newmtl a\nmap_Kd ramp.png\nnewmtl b\nmap_Kd -s 0.5 0.5 ramp.png\n"
    path = write(tmp_path, "usemtl a\n" + FACE + "usemtl b\n" + FACE + "f 1 2 3\n", mtl)
    expected = [[(0, 0), (1, 0), (1, 1)], [(0, 0), (0.5, 0), (0.5, 0.5)], [(1, 1)] * 3]
    assert torch.allclose(corner_colors(path)[..., :2], torch.tensor(expected, dtype=torch.float32), atol=1e-3)
    assert IO().load_mesh(path).textures.maps_padded().shape[1] == 2  # one image and the palette


def test_clamp_is_in_the_record(tmp_path) -> None:
    ramp(tmp_path)
    mtl = "newmtl a\nmap_Kd -clamp on ramp.png\nnewmtl b\nmap_Kd ramp.png\n"
    a, b = record(write(tmp_path, "usemtl a\n" + FACE + "usemtl b\n" + FACE, mtl)).materials
    assert (a.base_map.wrap, b.base_map.wrap) == (("clamp", "clamp"), ("repeat", "repeat"))


# --- where images lie ---


@pytest.mark.parametrize("options", ["", "-s 1 1 1 "])
@pytest.mark.parametrize(
    ("name", "file"),
    [
        (r"C:\Users\me\My Textures\wood grain.png", "wood grain.png"),
        ("/home/me/t.png", "t.png"),
        (r"\\server\share\t.png", "t.png"),
        ("T.PNG", "t.png"),
    ],
)
def test_names_from_other_machines(tmp_path, name: str, file: str, options: str) -> None:
    """An absolute path stands for a file beside the mesh; upper and lower case may differ."""
    write_png(tmp_path / file, [[RED]])
    path = write(tmp_path, "usemtl a\n" + FACE, f"newmtl a\nmap_Kd {options}{name}\n")
    assert load_obj(path)[2].texture_images["a"].tolist() == [[[1, 0, 0]]]


@pytest.fixture
def parent(tmp_path) -> Path:
    """A mesh in ``scene/mesh``, its image in ``scene/textures``, another above."""
    (tmp_path / "scene" / "mesh").mkdir(parents=True)
    (tmp_path / "scene" / "textures").mkdir()
    write_png(tmp_path / "scene" / "textures" / "t.png", [[RED]])
    write_png(tmp_path / "above.png", [[BLUE]])
    return tmp_path / "scene" / "mesh"


@pytest.mark.parametrize("name", ["../textures/t.png", r"..\textures\t.png", "./../textures/t.png"])
def test_allow_parent(parent, name: str) -> None:
    path = write(parent, "usemtl a\n" + FACE, f"newmtl a\nKd 0 1 0\nmap_Kd {name}\n")
    with pytest.warns(UserWarning, match="inside its own folder, got .*allow_parent=True, or --allow-parent"):
        assert corner_colors(path)[0, 0].tolist() == [0, 1, 0]
    assert corner_colors(path, allow_parent=True)[0, 0].tolist() == [1, 0, 0]
    assert load_obj(path, allow_parent=True)[2].texture_images["a"].tolist() == [[[1, 0, 0]]]
    image = load_objs_as_meshes([path], allow_parent=True).textures.maps_padded()
    assert image.flatten().tolist() == [1, 0, 0]


@pytest.mark.parametrize("name", ["../../above.png", "../textures/../../above.png", "link.png", "../textures/link.png"])
def test_allow_parent_allows_no_more(parent, name: str) -> None:
    for folder in (parent, parent.parent / "textures"):
        os.symlink(parent.parent.parent / "above.png", folder / "link.png")
    path = write(parent, "usemtl a\n" + FACE, f"newmtl a\nmap_Kd {name}\n")
    with pytest.warns(UserWarning, match="expected a path inside the folder above its own.*not read"):
        assert load_obj(path, allow_parent=True)[2].texture_images == {}


def test_images_lie_beside_their_material_file_or_the_mesh(parent) -> None:
    (parent.parent / "m.mtl").write_text("newmtl a\nKd 1 0 0\nmap_Kd textures/t.png\nnewmtl b\nmap_Kd own.png\n")
    (parent / "m.obj").write_text("mtllib ../m.mtl\nusemtl a\n" + VERTS + FACE + "usemtl b\n" + FACE)
    write_png(parent / "own.png", [[GREEN]])
    images = load_obj(parent / "m.obj", allow_parent=True)[2].texture_images
    assert {name: image.flatten().tolist() for name, image in images.items()} == {"a": [1, 0, 0], "b": [0, 1, 0]}
