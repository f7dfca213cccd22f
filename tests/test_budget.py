"""One bound on what files may make: compressed images, archives, copies, canvases; the way to allow more."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzz_files import _dae, _three_mf
from gltf_files import GltfBuilder
from hostile_files import colmap_files
from PIL import Image
from test_io_gltf import TRIANGLE, load

from tirender.captures import load_capture
from tirender.fit import load_views
from tirender.io import IO, budget, files, gltf_io, gltf_scene, load_obj, load_volume, mtl_io, save_gaussians
from tirender.io.files import decode_image
from tirender.renderer import FoVPerspectiveCameras
from tirender.scenes import load_scene
from tirender.scenes.facts import facts_of
from tirender.structures import Gaussians, Meshes
from tirender.utils import ico_sphere, torus

TRIANGLES = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nvt 1 1\nvt 0 1\n"


def textured(folder: Path, *sizes: tuple[int, int]) -> Path:
    """An OBJ file with a face for each of several images (width, height)."""
    lines, materials = [TRIANGLES, "mtllib m.mtl"], []
    for i, size in enumerate(sizes):
        Image.new("RGB", size).save(folder / f"{i}.png")
        materials.append(f"newmtl m{i}\nmap_Kd {i}.png")
        lines.append(f"usemtl m{i}\nf 1/1 2/2 3/3")
    (folder / "m.mtl").write_text("\n".join(materials))
    (folder / "m.obj").write_text("\n".join(lines))
    return folder / "m.obj"


def test_images_are_measured_before_they_are_decoded(tmp_path: Path) -> None:
    path = textured(tmp_path, (100, 50))
    with (
        budget(59_999),
        pytest.raises(ValueError, match=r"0\.png: .* got an image of 100 x 50, too large: 60000 bytes"),
    ):
        load_obj(path)
    with budget(99_999), pytest.raises(ValueError, match="got to decode an image of 100 x 50, too large: 40000 bytes"):
        load_obj(path)
    with budget(100_000):
        load_obj(path)


def test_images_of_one_file_count_together_and_files_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = textured(tmp_path, (100, 50), (50, 100))
    monkeypatch.setenv("TIRENDER_MAX_BYTES", "1e5")
    with pytest.raises(
        ValueError, match=r"TIRENDER_MAX_BYTES=.* allow more.*too large: 60000 bytes, after 60000 bytes"
    ):
        load_obj(path)
    with pytest.raises(ValueError, match="too large: 60000 bytes, after 60000 bytes"):  # decoded when it is shown
        load_scene(path).render(FoVPerspectiveCameras())
    with pytest.raises(ValueError, match="too large: 60000 bytes, after 60000 bytes"):
        facts_of(str(path))
    data = (tmp_path / "0.png").read_bytes()
    for _ in range(3):
        decode_image(data, "0.png")


def test_textures_of_different_shapes_meet_on_no_huge_canvas(tmp_path: Path) -> None:
    path = textured(tmp_path, (16384, 2), (2, 16384))
    with pytest.raises(ValueError, match="a texture of 2 maps of 16384 x 16384, too large"):
        IO().load_mesh(path)
    load_obj(path)


@pytest.mark.parametrize("name", ["cloud.npz", "volume.npz"])
def test_archives_that_inflate(tmp_path: Path, name: str) -> None:
    arrays = {"verts": np.zeros((12_000_000, 3))} if name == "cloud.npz" else {"densities": np.zeros((1, 36_000_000))}
    np.savez_compressed(tmp_path / name, **arrays)
    with pytest.raises(ValueError, match=rf"{name}: expected at most 100 times .* got 288\.0 MB in"):
        load_scene(tmp_path / name)


def test_archives_of_other_formats_that_inflate(tmp_path: Path) -> None:
    pytest.importorskip("trimesh")
    with zipfile.ZipFile(tmp_path / "m.3mf", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("3D/3dmodel.model", bytes(300 << 20))
    with pytest.raises(ValueError, match=r"m\.3mf: expected at most 100 times"):
        IO().load_mesh(tmp_path / "m.3mf")


def lying_archive(name: str, contents: bytes, inflated: int) -> bytes:
    """An archive of one file that says to hold these contents, and inflates to so many bytes of zeros more."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, contents + bytes(inflated))
    data = stream.getvalue()
    for honest, lie in ((len(contents) + inflated, len(contents)), (archive.getinfo(name).CRC, zlib.crc32(contents))):
        data = data.replace(honest.to_bytes(4, "little"), lie.to_bytes(4, "little"))
    return data


@pytest.mark.parametrize("ending", ["npz", "3mf"])
def test_archives_that_hold_more_than_they_say(tmp_path: Path, ending: str) -> None:
    """What is inflated beyond is never in memory."""
    path = tmp_path / f"m.{ending}"
    if ending == "3mf":
        pytest.importorskip("trimesh")
        path.write_bytes(_three_mf())
        IO().load_mesh(path)  # imports what it needs
    else:
        np.savez_compressed(path, verts=np.eye(3))
    with zipfile.ZipFile(path) as archive:
        (name,) = archive.namelist()
        contents = archive.read(name)
    path.write_bytes(lying_archive(name, contents, 200 << 20))
    tracemalloc.start()
    try:
        IO().read(path)
        assert tracemalloc.get_traced_memory()[1] < 80 << 20  # files are read in pieces of 64 MB
    finally:
        tracemalloc.stop()


def test_other_compressions_are_refused(tmp_path: Path) -> None:
    """Python inflates them whole, whatever is asked for."""
    with zipfile.ZipFile(tmp_path / "m.npz", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("verts.npy", bytes(100))
    with pytest.raises(ValueError, match=r"m\.npz, verts\.npy: expected stored or deflated contents, got method 12"):
        IO().load_pointcloud(tmp_path / "m.npz")


def test_nodes_and_primitives_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = GltfBuilder()
    mesh = builder.mesh({"attributes": {"POSITION": builder.array(TRIANGLE)}})
    builder.root["nodes"] = [{"mesh": mesh}] * 4
    builder.root["scenes"] = [{"nodes": [0, 1, 2, 3]}]
    assert len(load(tmp_path, builder).faces_packed()) == 4
    with (
        budget(3.5 * gltf_io.BYTES_A_PART),
        pytest.raises(ValueError, match="got a scene of so many primitives, instances of meshes counted, too large"),
    ):
        load(tmp_path, builder)
    monkeypatch.setattr(gltf_scene, "MAX_NODES", 2)
    with pytest.raises(ValueError, match="a scene of at most 2 nodes"):
        load(tmp_path, builder)


@pytest.mark.parametrize("make", [lambda: ico_sphere(14), lambda: ico_sphere(10**6), lambda: torus(1, 2, 10**5, 10**5)])
def test_shapes_are_bounded(make: Callable[[], Meshes]) -> None:
    with pytest.raises(ValueError, match="expected at most 2.1 GB in memory .* too large"):
        make()


def test_materials_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "m.mtl").write_text("".join(f"newmtl m{i}\nKd 1 0 0\n" for i in range(1100)))
    (tmp_path / "m.obj").write_text(f"{TRIANGLES}mtllib m.mtl\nusemtl m5\nf 1 2 3\n")
    with budget(101 * mtl_io.BYTES_A_MATERIAL):
        load_obj(tmp_path / "m.obj")
    with (
        budget(99 * mtl_io.BYTES_A_MATERIAL),
        pytest.raises(ValueError, match=r"m\.mtl: .* got so many materials, too"),
    ):
        load_obj(tmp_path / "m.obj")


def test_empty_rows_of_lists_are_bounded(tmp_path: Path) -> None:
    n = 2_000_000
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement face {n}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    (tmp_path / "m.ply").write_bytes(header.encode() + b"\x01\0\0\0\0" + bytes(n - 1))
    with pytest.raises(ValueError, match=r"m\.ply, element 'face': expected at most 500001 rows of different lengths"):
        IO().load_mesh(tmp_path / "m.ply")


def test_frames_are_bounded(tmp_path: Path) -> None:
    frames = [{"file_path": "a.png"}] * 20_001
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": frames}))
    with pytest.raises(ValueError, match="at most 20000 frames, got 20001, too large"):
        load_views(tmp_path)


@pytest.mark.parametrize("name", ["c.npz", "v.npz"])
def test_bytes_that_become_floats_are_counted(tmp_path: Path, name: str) -> None:
    array, shape = ("verts", (100_000, 3)) if name == "c.npz" else ("densities", (1, 64, 64, 64))
    np.savez_compressed(tmp_path / name, **{array: np.zeros(shape, np.uint8)})
    with budget(5e6), pytest.raises(ValueError, match=rf"{name}, array '\w+': expected at most 5.0 MB .* too large"):
        load_scene(tmp_path / name)
    with budget(5e7):
        IO().load_pointcloud(tmp_path / name) if name == "c.npz" else load_volume(tmp_path / name)


@pytest.mark.parametrize("ending", ["ply", "splat"])
def test_gaussians_are_counted(tmp_path: Path, ending: str) -> None:
    n = 2000
    spots = Gaussians(torch.rand(n, 3), torch.randn(n, 4), torch.rand(n, 3), torch.rand(n), torch.randn(n, 1, 3))
    save_gaussians(tmp_path / f"g.{ending}", spots)
    with budget(1e5), pytest.raises(ValueError, match=rf"g\.{ending}: .* got 2000 Gaussians, too large: 112000 bytes"):
        load_scene(tmp_path / f"g.{ending}")


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(("part", "n"), [("points3D", 6000), ("images", 20)])
def test_models_of_colmap_are_counted(tmp_path: Path, binary: bool, part: str, n: int) -> None:
    for name, data in colmap_files(binary).items():
        if part in name and binary:
            data = struct.pack("<Q", n) + data[8:] * (n // 2)
        elif part in name:
            data = data * n
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    with budget(1e6), pytest.raises(ValueError, match=rf"{part}\.(bin|txt): expected at most 1.0 MB .* too large"):
        load_capture(tmp_path)


@pytest.mark.parametrize("where", ["transforms.json", "sparse/0"])
def test_one_photo_is_no_capture_of_thousands(tmp_path: Path, where: str) -> None:
    files = colmap_files(False)
    if where == "transforms.json":
        frame = {"file_path": "images/0.png", "transform_matrix": np.eye(4).tolist()}
        again = {**frame, "file_path": "images/./0.png"}
        files = {**files, where: json.dumps({"fl_x": 9, "frames": [frame, again]}).encode()}
        files = {name: data for name, data in files.items() if "sparse" not in name}
    else:
        files["sparse/0/images.txt"] = files["sparse/0/images.txt"].replace(b"1.png", b"./0.png")
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError, match=rf"{where}, .*: expected a photo of its own, got .*0\.png once more"):
        load_capture(tmp_path)


def xml_3mf(objects: str, build: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(_three_mf())) as old, zipfile.ZipFile(stream, "w") as new:
        model = old.read("3D/3dmodel.model").decode()
        model = model.replace("</resources>", f"{objects}</resources>").replace('<item objectid="1"/>', build)
        new.writestr("3D/3dmodel.model", model)
    return stream.getvalue()


def holding(number: int, held: str) -> str:
    """An object of 3MF."""
    return f'<object id="{number}"><components>{held}</components></object>'


def copy_of(number: int) -> str:
    return f'<component objectid="{number}"/>'


BILLIONS = "".join(holding(i, copy_of(i - 1) * 10) for i in range(2, 12))


@pytest.mark.parametrize(
    ("objects", "build", "match"),
    [
        ("", '<item objectid="1"/>' * 3000, "3001 parts, wherever they stand, too large"),
        (BILLIONS, '<item objectid="11"/>', "11111111112 parts, wherever they stand, too large"),
        (holding(2, copy_of(2)), '<item objectid="2"/>', "never in themselves"),
    ],
)
def test_copies_in_3mf_are_counted(tmp_path: Path, objects: str, build: str, match: str) -> None:
    pytest.importorskip("trimesh")
    (tmp_path / "m.3mf").write_bytes(xml_3mf(objects, build))
    with pytest.raises(ValueError, match=rf"m\.3mf: .*{match}"):
        IO().load_mesh(tmp_path / "m.3mf")


def test_nodes_of_collada_are_counted(tmp_path: Path) -> None:
    pytest.importorskip("collada")
    shown = '<instance_geometry url="#g"/>'
    nodes = "".join(f'<node id="n{i}">{f"""<instance_node url="#n{i - 1}"/>""" * 10}</node>' for i in range(1, 9))
    nodes = f'<library_nodes><node id="n0">{shown}</node>{nodes}</library_nodes>'
    content = _dae().replace(shown, '<instance_node url="#n8"/>')
    content = content.replace("<library_visual", f"{nodes}<library_visual", 1)
    for text, match in ((content, r"\d{9} parts, wherever they stand"), (f"<!DOCTYPE x []>{_dae()}", "without a DTD")):
        (tmp_path / "m.dae").write_text(text)
        with pytest.raises(ValueError, match=rf"m\.dae: .*{match}"):
            IO().load_mesh(tmp_path / "m.dae")


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ("map_Kd 0.png\nmap_d 0.png", "colours and alpha of 100 x 50, too large: 100000 bytes"),
        ("map_Kd -mm 0 {} 0.png", "an image of 100 x 50 with -mm, too large: 120000 bytes"),
    ],
)
def test_copies_of_one_image_are_counted(tmp_path: Path, lines: str, match: str) -> None:
    path = textured(tmp_path, (100, 50))
    names = range(2, 30)
    (tmp_path / "m.mtl").write_text("".join(f"newmtl m{i}\n{lines.format(i)}\n" for i in names))
    faces = "".join(f"usemtl m{i}\nf 1/1 2/2 3/3\n" for i in names)
    path.write_text(f"{TRIANGLES}mtllib m.mtl\n{faces}")
    with budget(1e6), pytest.raises(ValueError, match=match):
        IO().load_mesh(path)


def test_colored_copies_of_one_image_are_counted(tmp_path: Path) -> None:
    builder = GltfBuilder()
    stream = io.BytesIO()
    Image.new("RGB", (100, 50)).save(stream, "PNG")
    texture = {"index": builder.image(stream.getvalue())}
    attributes = {"POSITION": builder.array(TRIANGLE), "TEXCOORD_0": builder.array(np.zeros((3, 2)))}
    for i in range(30):
        look = {"baseColorTexture": texture, "baseColorFactor": [i / 30, 1, 1, 1]}
        material = builder.add("materials", {"pbrMetallicRoughness": look})
        builder.mesh({"attributes": attributes, "material": material})
    with (
        budget(1e6 + 30 * gltf_io.BYTES_A_PART),
        pytest.raises(ValueError, match="100 x 50 in another colour, too large"),
    ):
        load(tmp_path, builder)


def test_plain_colours_beside_wide_and_high_images_are_counted(tmp_path: Path) -> None:
    path = textured(tmp_path, (16384, 2))
    Image.new("RGB", (2, 16384)).save(tmp_path / "1.png")
    (tmp_path / "m.mtl").write_text("newmtl m0\nmap_Kd 0.png\nnewmtl m1\nmap_Kd 1.png\nnewmtl m2\nKd 1 0 0\n")
    path.write_text(f"{TRIANGLES}mtllib m.mtl\n" + "".join(f"usemtl m{i}\nf 1/1 2/2 3/3\n" for i in range(3)))
    with pytest.raises(ValueError, match="a texture of 3 maps of 16384 x 16384, too large"):
        IO().load_mesh(path)


def test_buffers_of_one_file_are_counted(tmp_path: Path) -> None:
    builder = GltfBuilder()
    positions = [builder.array(TRIANGLE) for _ in range(40)]
    builder.mesh(*({"attributes": {"POSITION": position}} for position in positions))
    for i, view in enumerate(builder.root["bufferViews"]):
        view["buffer"] = i
    (tmp_path / "m.bin").write_bytes(builder.binary + bytes(1_000_000))
    builder.root["buffers"] = [{"byteLength": 1_000_000, "uri": "m.bin"}] * 40
    (tmp_path / "m.gltf").write_text(json.dumps(builder.root))
    with budget(3e7), pytest.raises(ValueError, match=r"m\.gltf: .* got buffers\[\d+\], too large: 1.0 MB, after"):
        IO().load_mesh(tmp_path / "m.gltf")


@pytest.mark.parametrize("value", ["x", "-1", "nan", "inf"])
def test_the_variable_must_be_a_number(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TIRENDER_MAX_BYTES", value)
    with pytest.raises(ValueError, match="TIRENDER_MAX_BYTES: expected a positive number of bytes"), budget():
        pass


def test_lack_of_memory_is_not_called_damage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError

    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    monkeypatch.setattr("tirender.io.files._pixels", no_memory)
    with pytest.raises(MemoryError):
        decode_image((tmp_path / "a.png").read_bytes(), "a.png")


MANY = range(20_000)
LINEAR = {
    "one library many times": "mtllib m.mtl\n" * len(MANY) + TRIANGLES + "f 1 2 3\n",
    "many libraries that do not exist": "".join(f"mtllib {i}.mtl\n" for i in MANY) + TRIANGLES + "f 1 2 3\n",
    "many libraries in a line": "mtllib " + " ".join(f"{i}.mtl" for i in MANY) + "\n" + TRIANGLES + "f 1 2 3\n",
    "many materials": "mtllib m.mtl\n" + TRIANGLES + "".join(f"usemtl M{i}\nf 1/1 2/2 3/3\n" for i in MANY),
}


@pytest.mark.parametrize("contents", LINEAR.values(), ids=LINEAR)
@pytest.mark.filterwarnings("ignore")
def test_long_lists_of_names(tmp_path: Path, contents: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, not timed: a folder is listed once, and a library read once."""
    (tmp_path / "m.mtl").write_text("".join(f"newmtl m{i}\nmap_Kd {i}.png\n" for i in MANY))
    (tmp_path / "m.obj").write_text(contents)
    done: list[str] = []
    for module, name in ((files, "_listing"), (mtl_io, "parse_mtl")):
        function = getattr(module, name)
        monkeypatch.setattr(module, name, lambda x, f=function, name=name: (done.append(name), f(x))[1])
    load_obj(tmp_path / "m.obj", create_texture_atlas=True)
    assert sorted(done) in (["parse_mtl"], ["_listing"], ["_listing", "parse_mtl"])
