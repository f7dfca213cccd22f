"""One bound on what files may make: compressed images, archives, copies, canvases; the way to allow more."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fuzz_files import _three_mf
from gltf_files import GltfBuilder
from PIL import Image
from test_io_gltf import TRIANGLE, load

from tirender.fit import load_views
from tirender.io import IO, budget, files, gltf_io, gltf_scene, load_obj, mtl_io
from tirender.io.files import decode_image
from tirender.renderer import FoVPerspectiveCameras
from tirender.scenes import load_scene
from tirender.scenes.facts import facts_of
from tirender.structures import Meshes
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
    with budget(60_000):
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
    monkeypatch.setattr(gltf_io, "MAX_PARTS", 3)
    with pytest.raises(ValueError, match="a scene of at most 3 primitives, instances of meshes counted"):
        load(tmp_path, builder)
    monkeypatch.setattr(gltf_scene, "MAX_NODES", 2)
    with pytest.raises(ValueError, match="a scene of at most 2 nodes"):
        load(tmp_path, builder)


@pytest.mark.parametrize("make", [lambda: ico_sphere(14), lambda: ico_sphere(10**6), lambda: torus(1, 2, 10**5, 10**5)])
def test_shapes_are_bounded(make: Callable[[], Meshes]) -> None:
    with pytest.raises(ValueError, match="expected at most 2.1 GB in memory .* too large"):
        make()


def test_frames_are_bounded(tmp_path: Path) -> None:
    frames = [{"file_path": "a.png"}] * 20_001
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": frames}))
    with pytest.raises(ValueError, match="at most 20000 frames, got 20001, too large"):
        load_views(tmp_path)


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
