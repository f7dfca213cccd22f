"""Loads damaged files: ``python fuzz_worker.py FOLDER N FIRST`` loads N of each kind, numbered from FIRST.

With ``scenes`` behind it, meshes and clouds are loaded as scenes and drawn.

Each load must give what is finite, or a ValueError or OSError that names a file of the folder; within two seconds of
this process's time and a gigabyte of memory, without opening anything outside of the folder. Whatever else happens is
printed, a line each. A crash or an endless loop ends the process: ``last.txt`` then tells at which file.
"""

from __future__ import annotations

import io
import json
import math
import os
import random
import re
import resource
import signal
import struct
import sys
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fuzz_files import mesh_files
from gltf_files import GltfBuilder
from PIL import Image
from test_capture import write_binary, write_text

from tirender.captures import load_capture
from tirender.fit import load_views
from tirender.io import IO, load_gaussians, load_volume, save_gaussians, save_volume
from tirender.io.reading import read_mesh_file
from tirender.renderer import FoVPerspectiveCameras, TexturesUV, look_at_view_transform
from tirender.scenes import Look, load_scene
from tirender.structures import Gaussians, Pointclouds, Volumes
from tirender.utils import torus

SECONDS, MEMORY = 2.0, 1 << 30
EXTREMES = [b"0", b"-1", b"1e999", b"-1e38", b"nan", b"inf", b"4294967295", b"2147483648", b"-2147483648", b"1e-45"]
EXTREMES += [b"9" * 19, b"9" * 400, b"0.1", b"true", b"null", b'""', b"[]", b"{}"]
WORDS = [0, 1, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7F7FFFFF, 0x00010000]
PATHS = [b"../secret", b"/etc/passwd", b"..\\..\\secret", b"%2e%2e/secret", b"file:///etc/passwd", b"."]
INSERTED = b'0123456789-/.#\\ \n\r"ef{}[],:'

Files = dict[str, bytes]


class TooLong(BaseException):
    """A load took too much time."""


# --- whole files ---


def png(size: int = 4, alpha: bool = False) -> bytes:
    stream = io.BytesIO()
    pixels = np.arange(size * size * (4 if alpha else 3), dtype=np.uint8).reshape(size, size, -1)
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def saved(save: Callable[[Path], Any], folder: Path, name: str) -> Files:
    """The files that saving writes."""
    folder.mkdir()
    save(folder / name)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def whole_files(folder: Path) -> dict[str, tuple[str, Files]]:
    """Of each kind, the name of the file to load, and all files that belong to it."""
    verts, faces = (x[0] for x in (torus(0.3, 1.0, 4, 5).verts_list(), torus(0.3, 1.0, 4, 5).faces_list()))
    ring = torus(0.3, 1.0, 4, 5)
    uvs = torch.rand(len(verts), 2)
    ring.textures = TexturesUV([torch.rand(4, 4, 3)], [faces], [uvs])
    cloud = Pointclouds([verts], [verts], [torch.rand(len(verts), 3)])
    volume = Volumes(torch.rand(1, 1, 2, 3, 4), torch.rand(1, 3, 2, 3, 4))
    made: dict[str, tuple[str, Files]] = {}

    def add(kind: str, name: str, save: Callable[[Path], Any]) -> None:
        made[kind] = (name, saved(save, folder / kind, name))

    add("obj", "m.obj", lambda path: IO().save_mesh(ring, path))
    for binary in (False, True):
        add(f"ply {binary}", "m.ply", lambda path, binary=binary: IO().save_mesh(ring, path, binary=binary))
        add(f"cloud {binary}", "c.ply", lambda path, binary=binary: IO().save_pointcloud(cloud, path, binary=binary))
    add("off", "m.off", lambda path: IO().save_mesh(ring, path))
    add("npz cloud", "c.npz", lambda path: IO().save_pointcloud(cloud, path))
    add("npz volume", "v.npz", lambda path: save_volume(path, volume))
    spots = Gaussians(torch.rand(4, 3), torch.randn(4, 4), torch.rand(4, 3), torch.rand(4), torch.randn(4, 4, 3))
    for ending in ("ply", "splat"):
        add(f"gaussians {ending}", f"g.{ending}", lambda path: save_gaussians(path, spots))

    builder = GltfBuilder()
    attributes = {"POSITION": builder.array(verts), "TEXCOORD_0": builder.array(uvs)}
    texture = builder.image(png())
    material = builder.add("materials", {"pbrMetallicRoughness": {"baseColorTexture": {"index": texture}}})
    indices = builder.array(faces.reshape(-1), "u2")
    builder.mesh({"attributes": attributes, "indices": indices, "material": material}, translation=[1, 2, 3])
    made["glb"] = ("m.glb", {"m.glb": builder.glb()})
    root = {**builder.root, "buffers": [{"byteLength": len(builder.binary), "uri": "m.bin"}]}
    made["gltf"] = ("m.gltf", {"m.gltf": json.dumps(root).encode(), "m.bin": builder.binary})

    pose = np.eye(4).tolist()
    frames = [{"file_path": name, "transform_matrix": pose, "mask_path": "mask.png"} for name in ("a.png", "b")]
    content = {"camera_angle_x": 0.7, "w": 4, "h": 4, "frames": frames}
    images = {"a.png": png(alpha=True), "b.png": png(), "mask.png": png()}
    lens = {"fl_x": 6.0, "fl_y": 6, "cx": 2, "cy": 2.1, "k1": 0.05, "p2": 0.01, "camera_model": "OPENCV"}
    lens |= {"ply_file_path": "c.ply", "test_filenames": ["b.png"]}
    files = {**images, "c.ply": made["cloud True"][1]["c.ply"]}
    made["lenses"] = ("transforms.json", {"transforms.json": json.dumps(content | lens).encode(), **files})
    photo = io.BytesIO()
    Image.new("RGB", (60, 40), (255, 0, 0)).save(photo, "PNG")
    for ending, write in (("bin", write_binary), ("txt", write_text)):
        (folder / ending).mkdir()
        write(folder / ending)
        files = {path.name: path.read_bytes() for path in (folder / ending).iterdir()}
        made[f"colmap {ending}"] = (f"cameras.{ending}", files | {f"{i}.png": photo.getvalue() for i in range(2)})
    made |= mesh_files(png(), png(alpha=True))
    made["transforms"] = ("transforms.json", {"transforms.json": json.dumps(content).encode(), **images})
    return made


# --- damage ---


def damaged(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """One to four flaws: flipped bits, a cut, a splice, numbers and words of extremes, paths, insertions."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        at, kind = rng.randrange(len(data) + 1), rng.randrange(9)
        numbers = list(re.finditer(rb"-?\d[\d.e+-]*", data)) if kind >= 6 else []
        if kind == 0 and at < len(data):
            data = data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + data[at + rng.choice((1, 4, 40, len(data))) :]
        elif kind == 2:
            start = rng.randrange(len(other) + 1)
            data = data[:at] + other[start : start + rng.choice((4, 40, 400))] + data[at:]
        elif kind == 3:
            data = data[:at] + struct.pack("<I", rng.choice(WORDS)) + data[at + 4 :]
        elif kind == 4:
            data = data[:at] + bytes(rng.choice(INSERTED) for _ in range(rng.randint(1, 5))) + data[at:]
        elif kind == 5:
            names = list(re.finditer(rb"[\w]+\.(?:png|mtl|bin|ply)", data))
            if names:
                name = rng.choice(names)
                data = data[: name.start()] + rng.choice(PATHS) + data[name.end() :]
        elif numbers:
            number = rng.choice(numbers)
            data = data[: number.start()] + rng.choice(EXTREMES) + data[number.end() :]
    return data


def damaged_archive(data: bytes, rng: random.Random) -> bytes:
    """A zip file of which one member is damaged, and the checksums are right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(members))
    members[name] = damaged(members[name], rng.choice(list(members.values())), rng)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return stream.getvalue()


def variant(files: Files, main: str, rng: random.Random) -> Files:
    """The files, of which one is damaged, most often the one that is loaded."""
    name = main if rng.random() < 0.7 else rng.choice(list(files))
    if name.endswith((".npz", ".3mf")) and rng.random() < 0.8:
        return {**files, name: damaged_archive(files[name], rng)}
    return {**files, name: damaged(files[name], rng.choice(list(files.values())), rng)}


# --- loading ---


def check_mesh(path: Path) -> None:
    check_meshes(path)
    check_record(path)


def check_meshes(path: Path) -> None:
    mesh = IO().load_mesh(path)
    verts, faces = mesh.verts_packed(), mesh.faces_packed()
    assert verts.isfinite().all()
    assert not len(faces) or (faces.min() >= 0 and faces.max() < len(verts))
    if mesh.textures is not None and len(faces):
        assert mesh.textures.faces_verts_textures_packed(faces_packed=faces).isfinite().all()


def check_record(path: Path) -> None:
    record = read_mesh_file(path, center_far=True)
    tables = [(record.faces, record.verts), (record.faces_normals, record.normals), *zip(record.faces_uvs, record.uvs)]
    for index, table in tables:
        if index is not None and table is not None:
            assert np.isfinite(table).all()
            assert not index.size or (index.min() >= -1 and index.max() < len(table))
    assert record.face_materials().max(initial=-1) < len(record.materials)
    for material in record.materials:
        assert all(map(math.isfinite, (*material.base_color, *material.emission)))
        for texture in (material.base_map, material.emission_map, material.normal_map):
            assert texture is None or texture.image.isfinite().all()


def check_cloud(path: Path) -> None:
    cloud = IO().load_pointcloud(path)
    assert all(x is None or x.isfinite().all() for x in (cloud.points_packed(), cloud.features_packed()))


def check_volume(path: Path) -> None:
    volume = load_volume(path)
    assert volume.densities().isfinite().all()
    assert volume.get_coord_grid().isfinite().all()


def check_gaussians(path: Path) -> None:
    gaussians = load_gaussians(path)
    assert all(x.isfinite().all() for x in (gaussians.means, gaussians.quats, gaussians.opacities, gaussians.harmonics))


def check_views(path: Path) -> None:
    views = load_views(path)
    assert views.images is not None
    assert all(x.isfinite().all() for x in (views.images, views.silhouettes, views.cameras.R, views.cameras.T))


def check_picture(path: Path) -> None:
    scene = load_scene(path)
    R, T = look_at_view_transform(2.1, 10.0, 150.0)
    for shader in (None, "silhouette", "normals" if "normals" in scene.shaders else "depth"):
        image = scene.render(FoVPerspectiveCameras(R=R, T=T), Look((12, 12), shader, supersample=1))
        assert image.shape == (1, 12, 12, 3)
        assert (image >= 0).all()
        assert (image <= 1).all()


def check_capture(path: Path) -> None:
    capture = load_capture(path if path.suffix == ".json" else path.parent)
    cameras, bounds = capture.cameras, capture.bounds
    assert all(x.isfinite().all() for x in (cameras.R, cameras.T, cameras.focal_length, cameras.principal_point))
    assert bounds.middle.isfinite().all()
    assert 0 < bounds.reach < math.inf
    capture.photos.prepare()
    assert all(capture.image(i).shape[:2] == size for i, size in enumerate(capture.sizes))


CHECKS = {"cloud": check_cloud, "npz cloud": check_cloud, "npz volume": check_volume, "transforms": check_views}
CHECKS |= {"lenses": check_capture, "colmap bin": check_capture, "colmap txt": check_capture}
CHECKS |= {"gaussians ply": check_gaussians, "gaussians splat": check_gaussians}


NO_SCENES = (check_volume, check_views, check_capture)


def outcome(path: Path, check: Callable[[Path], None], opened: list[str]) -> str:
    """Load one file: "loaded", "refused", or what is wrong with what happened."""
    opened.clear()
    how = "loaded"
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        check(path)
    except (ValueError, OSError) as error:
        if str(path.parent) not in str(error) and path.name not in str(error):
            return f"no file is named: {error!r}"
        how = "refused"
    except BaseException as error:
        return repr(error)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    outside = [name for name in opened if not os.path.realpath(name).startswith(str(path.parent))]
    return f"opened {outside}" if outside else how


def watch(opened: list[str], memory: int, *also_own: str) -> None:
    """Note what is opened, and stop what takes too long or too much memory.

    Args:
        opened: is given the names of what is neither Python's nor ours.
        memory: how many bytes more than now this process may take.
        also_own: beginnings of other names that are not noted.
    """
    own = (sys.prefix, sys.base_prefix, str(Path(__file__).parent.parent), "/proc", "/sys", *also_own)

    def audit(event: str, args: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(args[0], str | bytes) and not os.fsdecode(args[0]).startswith(own):
            opened.append(os.fsdecode(args[0]))

    def too_long(*_: object) -> None:
        raise TooLong

    sys.addaudithook(audit)
    signal.signal(signal.SIGPROF, too_long)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + memory, resource.RLIM_INFINITY))


def main(folder: Path, n: int, first: int, scenes: bool = False) -> None:
    """Load all; the last line has the numbers of files loaded, refused, and in all."""
    folder = folder.resolve()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    kinds = whole_files(folder)
    if scenes:
        kinds = {kind: made for kind, made in kinds.items() if CHECKS.get(kind) not in NO_SCENES}
        for kind in ("obj", "glb core", "cloud True", "gaussians ply"):  # compiles the kernels, which takes memory
            for file, data in kinds[kind][1].items():
                (folder / file).write_bytes(data)
            check_picture(folder / kinds[kind][0])
    opened: list[str] = []
    watch(opened, MEMORY)
    outcomes: Counter[str] = Counter()
    (folder / "secret").write_bytes(b"secret")
    for kind, (name, files) in kinds.items():
        check = CHECKS.get(kind, CHECKS["cloud"] if kind.startswith("cloud") else check_mesh)
        check = check_picture if scenes else check
        place = folder / "case"
        place.mkdir(exist_ok=True)
        for old in place.iterdir():
            old.unlink()
        for file, data in files.items():
            (place / file).write_bytes(data)
        check(place / name)  # whole it loads, which imports what is imported late
        assert (how := outcome(place / name, check, opened)) == "loaded", f"{kind}: {how}"
        for i in range(first, first + n):
            (folder / "last.txt").write_text(f"{kind} {i}")
            new = variant(files, name, random.Random(f"{kind} {i}"))
            changed = [file for file in new if new[file] != files[file]]
            for file in changed:
                (place / file).write_bytes(new[file])
            how = outcome(place / name, check, opened)
            outcomes[how] += 1
            if how not in ("loaded", "refused"):
                print(f"{kind} {i}: {how}", flush=True)
            for file in changed:
                (place / file).write_bytes(files[file])
    print(outcomes["loaded"], outcomes["refused"], outcomes.total())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:] == ["scenes"])
