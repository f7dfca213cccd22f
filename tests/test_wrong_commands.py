"""A hundred wrong commands and files: each ends with one line that says what to do, and no traceback."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gltf_files import GltfBuilder, glb
from PIL import Image

from tirender.cli import main

TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"
PLY = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
POSE = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 3]]


def views(file: str, pose: object = POSE, **settings: float) -> str:
    """A transforms.json."""
    return json.dumps({"camera_angle_x": 1, **settings, "frames": [{"file_path": file, "transform_matrix": pose}]})


def write_files(folder: Path) -> None:
    """What the commands name."""
    texts = {
        "mesh.obj": TRIANGLE + "f 1 2 3\n",
        "word.obj": "v 0 0 zero\n",
        "index.obj": TRIANGLE + "f 1 2 9\n",
        "points.obj": TRIANGLE,
        "dot.obj": "v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n",
        "nan.obj": "v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
        "huge.obj": "v 1e30 0 0\nv -1e30 0 0\nv 0 1e30 0\nf 1 2 3\n",
        "empty.obj": "",
        "text.ply": "a letter",
        "short.ply": PLY + "end_header\n0 0 0\n",
        "list.ply": PLY.replace("property float z", "property list uchar int z") + "end_header\n0 0 0\n",
        "empty.ply": "",
        "count.off": "OFF\n-3 1 0\n",
        "empty.off": "",
        "cut.stl": "solid\nfacet normal 0 0 1\n",
        "text.glb": "a letter",
        "text.gltf": "{",
        "list.gltf": "[]",
        "text.npz": "a letter",
        "text.pt": "a letter",
        "notes.txt": "a letter",
        "broken.json": "{",
        "none.json": "{}",
        "lost.json": views("no"),
        "out.json": views("../a.png"),
        "pose.json": views("rgba.png", [1]),
        "angle.json": views("rgba.png", camera_angle_x=0),
        "opaque.json": views("rgb.png"),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, "utf-8")
    Image.new("RGB", (32, 32)).save(folder / "rgb.png")
    Image.new("RGBA", (32, 32)).save(folder / "rgba.png")
    for name in ("photos", "empty", "folder.obj", "full"):
        (folder / name).mkdir()
    (folder / "photos" / "a.jpg").write_bytes(b"none")
    (folder / "full" / "thesis.txt").write_text("mine")
    (folder / "binary.stl").write_bytes(b"\0" * 80 + struct.pack("<I", 10**9))
    (folder / "version.glb").write_bytes(struct.pack("<4sII", b"glTF", 9, 12))
    (folder / "scene.glb").write_bytes(glb({"asset": {"version": "2.0"}}, b""))
    builder = GltfBuilder()
    builder.mesh({"attributes": {"POSITION": builder.array([[np.inf, 0, 0], [1, 0, 0], [0, 1, 0]])}})
    (folder / "inf.glb").write_bytes(builder.glb())
    np.savez(folder / "nothing.npz", x=np.zeros(3))
    np.savez(folder / "flat.npz", verts=np.zeros((4, 2)))
    np.savez(folder / "pickle.npz", verts=np.array([{}, {}], dtype=object))
    np.savez(folder / "thick.npz", densities=np.full((2, 2, 2), 7.0))
    np.savez(folder / "volume.npz", densities=np.ones((2, 2, 2)))


WRONG = """
                                                     | expected COMMAND
paint                                                | got 'paint'
mesh.obj                                             | tirender view mesh.obj shows a file
rendr mesh.obj                                       | did you mean render?
--verbose                                            | expected COMMAND
render missing.obj                                   | missing.obj: No such file or directory
render missing                                       | missing: No such file or directory
render word.obj                                      | word.obj, line 1: expected numbers, got 'zero'
render index.obj                                     | index.obj, line 4
render points.obj --shader flat                      | expected unlit, silhouette, depth for 3 points
render dot.obj                                       | not all one
render nan.obj                                       | nan.obj
render huge.obj                                      | huge.obj
render empty.obj                                     | empty.obj
render folder.obj                                    | folder.obj
render text.ply                                      | text.ply
render short.ply                                     | short.ply
render list.ply                                      | list.ply
render empty.ply                                     | empty.ply
render count.off                                     | count.off
render empty.off                                     | empty.off
render cut.stl                                       | cut.stl
render binary.stl                                    | binary.stl
render text.glb                                      | text.glb
render version.glb                                   | version.glb
render scene.glb                                     | scene.glb
render inf.glb                                       | inf.glb
render text.gltf                                     | text.gltf
render list.gltf                                     | list.gltf
render text.npz                                      | text.npz
render nothing.npz                                   | nothing.npz
render flat.npz                                      | flat.npz
render pickle.npz                                    | pickle.npz
render thick.npz                                     | opacities in [0, 1]
render text.pt                                       | text.pt
render notes.txt                                     | expected one that ends in .obj
render rgb.png                                       | expected one that ends in .obj
render photos                                        | expected a file, or the folder of a fit
render empty                                         | expected a file, or the folder of a fit
fit mesh photos                                      | SOURCE: expected a mesh file, got photos, a folder
info mesh.obj --arch cpu                             | --arch: expected no FILE beside it
info --allow-parent                                  | --allow-parent: expected a FILE
bench --list --json a.json                           | --list: expected no --json
capture missing                                      | missing: No such file or directory
capture notes.txt                                    | notes.txt: expected a folder of photos, got a file
render mesh.obj -o a.xyz                             | expected a picture, such as .png or .jpg
render mesh.obj -o a.mp4                             | --turntable N makes a video
render mesh.obj -o notes.txt/a.png                   | expected a file in a folder
render mesh.obj -o mesh.obj                          | expected a picture
render mesh.obj -o a.npy                             | expected --shader depth
render mesh.obj -o a.jpg --turntable 3               | to end in .gif, .webp, .png or .mp4
render mesh.obj dot.obj -o a.png                     | expected a folder for 2 files
render mesh.obj dot.obj                              | expected a folder for 2 files
render mesh.obj -o                                   | -o/--output: expected one argument
render mesh.obj --size                               | --size: expected one argument
render mesh.obj --size 0                             | each 1 to 16384 pixels, got '0'
render mesh.obj --size 99999                         | each 1 to 16384 pixels, got '99999'
render mesh.obj --size large                         | got 'large'
render mesh.obj --size 64x                           | got '64x'
render mesh.obj --size -5                            | got '-5'
render mesh.obj --shader toon                        | got 'toon'
render mesh.obj --shader flt                         | did you mean flat?
render volume.npz --shader phong                     | expected unlit, silhouette, depth for 2 x 2 x 2 voxels
render mesh.obj --sader flat                         | did you mean --shader?
render mesh.obj -q                                   | unknown argument '-q'
render mesh.obj --background mauvish                 | got 'mauvish'
render mesh.obj --background 1 2 3                   | got '1 2 3'
render mesh.obj --background rgb(300,1,1)            | got 'rgb(300 1 1)'
render mesh.obj --background transparent -o a.jpg    | only .png, .webp, .tif, .tiff may be transparent
render mesh.obj --turntable 3 --background none      | expected a colour here
render mesh.obj --azimuth north                      | got 'north'
render mesh.obj --elevation nan                      | got 'nan'
render mesh.obj --fov 0                              | expected 1 to 170 degrees, got '0'
render mesh.obj --zoom 0                             | got '0'
render mesh.obj --look-at 1 2                        | expected three numbers, got '1 2'
render mesh.obj --light here                         | expected three numbers, got 'here'
render mesh.obj --distance -1                        | got '-1'
render mesh.obj --radius 2                           | got '2'
render mesh.obj --up w                               | expected one of x, y, z, -x, -y, -z
render mesh.obj --supersample 9                      | expected 1 to 8
render mesh.obj --edges soft                         | expected antialias, hard, got 'soft'
render mesh.obj --camera 0                           | expected a file with cameras, or a fit to views
render mesh.obj --camera-path 9 -o a.gif             | at least 2 cameras
render mesh.obj --camera 0 --turntable 3             | expected one of them, got both
render mesh.obj --turntable 0                        | expected 1 to 10000 views, got '0'
render mesh.obj --fps 9                              | expected an animation
render mesh.obj --shadow --shader depth              | expected a shader that shows colours
render mesh.obj --camera 0 --look-at 0 0 0           | --look-at: expected a camera around the object, got --camera
render mesh.obj --camera-path 9 --azimuth 0 -o a.gif | --azimuth: expected a camera around the object
render mesh.obj --background red --shader depth      | --background: expected a shader that shows colours
render mesh.obj --light 0 0 9 --shader normals       | --light: expected a shader with light: phong, pbr
render mesh.obj points.obj --light 0 0 9 --shader unlit -o a/ | --light: expected a shader with light
render points.obj --light 0 0 9                      | gouraud, flat, got unlit for 3 points
render mesh.obj --radius 0.1                         | --radius: expected a point cloud, got 1 faces
render mesh.obj --supersample 2 --shader depth       | --supersample: expected a picture that shows colours
render mesh.obj --size 16384                         | got 16384 x 16384 px of 2 x 2 samples
render mesh.obj --arch tpu                           | expected cpu, cuda, vulkan, got 'tpu'
view missing.obj --web                               | missing.obj: No such file or directory
view mesh.obj --size 2                               | each 64 to 8192 pixels, got '2'
view mesh.obj dot.obj                                | unknown argument 'dot.obj'
view mesh.obj --turntable 3                          | unknown argument '--turntable'
view mesh.obj --port 0                               | --port: expected --web with it, got none
view mesh.obj --host 0.0.0.0                         | --host: expected --web with it, got none
view mesh.obj --web -o full                          | --output: expected a window, got --web
view mesh.obj --web --size 640                       | --size: expected a window, got --web
fit                                                  | expected KIND
fit statue mesh.obj                                  | got 'statue'
fit mesh                                             | expected TARGET
fit mesh missing.obj                                 | missing.obj: No such file or directory
fit mesh points.obj                                  | at least one face, got none: 3 points
fit mesh mesh.obj --steps 0                          | expected 1 or more steps, got '0'
fit mesh mesh.obj --level 9                          | expected 0 to 7, got '9'
fit mesh mesh.obj --preset good                      | expected tutorial, best, got 'good'
fit mesh mesh.obj -o full                            | expected an empty or new folder
fit mesh mesh.obj -o notes.txt                       | notes.txt: File exists
fit splats notes.txt                                 | SOURCE: expected a folder of photos, a .json, or a file that ends
fit silhouette harbour                               | which tirender render and view show
fit silhouette photos                                | photos: expected three or more photos, got 1
fit silhouette broken.json                           | broken.json: expected JSON
fit silhouette none.json                             | none.json
fit silhouette lost.json                             | expected the photos of its cameras, got none of the 1: no 'no'
fit silhouette out.json                              | expected a path inside its own folder
fit silhouette pose.json                             | transform_matrix
fit silhouette angle.json                            | camera_angle_x: expected a finite number above 0, got 0
fit silhouette opaque.json                           | got opaque images
fit silhouette mesh.obj --size 1                     | expected 8 to 4096 pixels, got '1'
fit silhouette mesh.obj --views 0                    | expected 1 to 1000, got '0'
fit images mesh.obj --texture atlas                  | expected vertex, uv, got 'atlas'
fit volume mesh.obj --size 8                         | views of at least 11 x 11 pixels, got 8 x 8
fit volume mesh.obj --isolevel 2                     | got '2'
fit nerf mesh.obj --crop 1 2 3                       | expected 6 numbers, got '1 2 3'
fit nerf mesh.obj --field grid                       | expected harmonic, hashgrid, got 'grid'
fit nerf mesh.obj --preview tv                       | unknown argument 'tv'
fit images photos --views 4                          | --views: expected a mesh file as SOURCE, with it, got photos
fit images none.json --size 64 --downscale 2         | --size, --downscale: expected one of them, got both
fit images mesh.obj --downscale 2                    | --downscale: expected photos as SOURCE, with it, got mesh.obj
fit images missing.obj --downscale 2                 | missing.obj: No such file or directory
fit mesh mesh.obj --port 0                           | --port: expected --preview web with it, got none
fit mesh mesh.obj --host 0.0.0.0 --preview video     | --host: expected --preview web with it, got video
convert mesh.obj                                     | expected OUT
convert mesh.obj mesh.xyz                            | OUT: expected a file that ends in .glb
convert mesh.obj mesh.obj                            | OUT: expected another file than those that mesh.obj reads
convert mesh.obj mesh.npz                            | expected a point cloud, as .npz holds no faces
convert word.obj mesh.glb                            | word.obj, line 1
convert missing.obj mesh.glb                         | missing.obj: No such file or directory
convert notes.txt mesh.glb                           | IN: expected one that ends in .obj
convert mesh.obj mesh.glb --bake 1                   | expected 16 to 16384 texels, got '1'
convert mesh.obj mesh.glb --voxels 32                | radiance field or Gaussians, got a mesh
convert mesh.obj mesh.glb --crop 0 0 0 1 1 1         | --crop: expected a surface of a volume
convert mesh.obj mesh.glb --isolevel 0.2             | --isolevel: expected a surface of a volume or radiance field
convert points.obj points.ply --voxels 32            | radiance field or Gaussians, got a point
convert mesh.obj mesh.glb --points                   | --points: expected Gaussians, got a mesh
convert volume.npz mesh.glb --points                 | --points: expected Gaussians, got Volumes
convert volume.npz copy.npz --isolevel 0.2           | got Volumes in .npz
fit mesh mesh.obj --export mesh.xyz                  | --export: expected a file that ends in .glb
fit mesh mesh.obj --export mesh.splat                | --export: expected a file that shows what fit mesh finds
tour --only 8                                        | expected 1, 2, 3, 4, 5, 6, 7
tour --data mine                                     | expected creature, tutorials, got 'mine'
tour more                                            | unknown argument 'more'
bench --unknown                                      | unknown argument '--unknown'
info missing.obj                                     | missing.obj: No such file or directory
info missing.xyz                                     | missing.xyz: No such file or directory
info missing                                         | tirender info: missing: No such file or directory
info notes.txt                                       | expected one that ends in .obj
info nan.obj                                         | nan.obj
"""
COMMANDS = [tuple(part.strip() for part in line.split("|")) for line in WRONG.strip("\n").splitlines()]
AS_PROCESSES = COMMANDS[3:110:11]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wrong")
    write_files(folder)
    return folder


def assert_is_one_line(text: str, message: str) -> None:
    lines = [line for line in text.splitlines() if not line.startswith("tirender: compiling kernels")]
    assert len(lines) == 1, text
    assert text.startswith("tirender")
    assert message in text
    assert not re.search(r"Traceback|Error:|PosixPath|Errno|<.* object", text), text


def test_they_are_a_hundred() -> None:
    assert len(set(COMMANDS)) >= 100
    assert len(AS_PROCESSES) == 10


@pytest.mark.parametrize(("command", "message"), COMMANDS, ids=[command or "nothing" for command, _ in COMMANDS])
def test_it_ends_with_one_line(
    command: str, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    try:
        code = main(shlex.split(command))
    except SystemExit as end:
        code = end.code
    printed = capsys.readouterr()
    assert code == 2
    assert not printed.out
    assert_is_one_line(printed.err, message)
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(("command", "message"), AS_PROCESSES, ids=[command for command, _ in AS_PROCESSES])
def test_as_a_process_it_does_too(command: str, message: str, folder: Path) -> None:
    words = [sys.executable, "-m", "tirender", *shlex.split(command)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert not done.stdout
    assert_is_one_line(done.stderr, message)


def test_of_several_files_the_good_ones_are_drawn(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert main(["render", "word.obj", "mesh.obj", "missing.obj", "-o", f"{tmp_path}/", "--size", "16"]) == 1
    printed = capsys.readouterr()
    assert [line.split(":")[0] for line in printed.out.splitlines()] == [str(tmp_path / "mesh.png")]
    said = [line for line in printed.err.splitlines() if "compiling kernels" not in line]  # which a slow machine adds
    assert [line.split(",")[0] for line in said] == [
        "tirender render: word.obj",
        "tirender render: missing.obj: No such file or directory",
    ]


@pytest.mark.parametrize("command", ["render", "info", "view"])
def test_an_empty_name_is_no_file(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, ""]) == 2
    assert capsys.readouterr().err == f"tirender {command}: FILE: expected a path or a name, got ''\n"


def test_a_fit_is_not_taken_for_photos(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(folder / "full", tmp_path / "fit")
    (tmp_path / "fit" / "checkpoint.pt").write_bytes(b"")
    shutil.copy(folder / "rgb.png", tmp_path / "fit")
    before = {*(tmp_path / "fit").iterdir()}
    for command in (["fit", "silhouette"], ["capture"]):
        assert main([*command, str(tmp_path / "fit")]) == 2
        assert "fit: expected photos, got the folder of a fit" in capsys.readouterr().err
    assert {*(tmp_path / "fit").iterdir()} == before
