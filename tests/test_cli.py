"""The command line: pictures of every kind, and one clear line for every mistake."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
import time

import numpy as np
import pytest
import torch
from gltf_files import GltfBuilder
from PIL import Image

import tirender
from tirender.cli import main, make_parser
from tirender.commands import info
from tirender.io import IO, save_gaussians
from tirender.renderer import TexturesVertex
from tirender.scenes import MeshScene
from tirender.structures import Gaussians, Pointclouds
from tirender.utils import ico_sphere


@pytest.fixture
def sphere(tmp_path):
    """A PLY of a sphere with coloured vertices, away from the origin."""
    mesh = ico_sphere(2)
    mesh.textures = TexturesVertex(mesh.verts_padded() / 2 + 0.5)
    path = tmp_path / "sphere.ply"
    IO().save_mesh(mesh.offset_verts(torch.tensor([5.0, 6.0, 7.0])), path)
    return path


def render(*args: object) -> int:
    return main(["render", *map(str, args)])


def pixels(path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_without_a_mesh_it_draws_the_creature_whole(tmp_path, capsys):
    out = tmp_path / "creature.png"
    assert render("-o", out, "--size", 64) == 0
    assert capsys.readouterr().out == f"{out}: 64 x 64 px, 1 view of 5860 faces\n"
    picture = pixels(out)
    fur = (picture[..., 0] > 1.5 * picture[..., 2]).mean()
    assert picture.shape == (64, 64, 3)
    assert 0.15 < fur < 0.4
    for border in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
        assert (border == 255).all()


@pytest.mark.parametrize("shader", MeshScene.shaders)
def test_every_shader_draws_the_sphere_where_it_is(tmp_path, sphere, shader):
    assert render(sphere, "-o", tmp_path / "out.png", "--size", 32, "--shader", shader) == 0
    picture = pixels(tmp_path / "out.png")
    seen = (np.abs(picture - picture[0, 0]).max(-1) > 8).mean()
    assert seen == pytest.approx(np.pi / 4 / 1.05**2, abs=0.06)  # the disc that just fits, drawn a little smaller


@pytest.mark.parametrize("shader", ["phong", "gouraud", "flat"])
def test_shaders_agree_on_the_colour_of_a_texture(tmp_path, shader):
    assert render("-o", tmp_path / "out.png", "--size", 64, "--shader", shader) == 0
    picture = pixels(tmp_path / "out.png")
    mean = picture[picture.min(-1) < 250].mean(0)
    assert mean == pytest.approx([190, 120, 80], abs=25)


def test_depth_is_brighter_in_front_and_black_where_nothing_is(tmp_path, sphere):
    assert render(sphere, "-o", tmp_path / "out.jpg", "--size", 32, "--shader", "depth") == 0
    picture = pixels(tmp_path / "out.jpg")
    assert picture[16, 16].min() >= 245
    assert picture[16, 3].max() < picture[16, 16].min() - 20
    assert picture[0, 0].max() < 10


def test_normal_points_at_the_camera(tmp_path, sphere):
    args = ("--size", 31, "--shader", "normals", "--azimuth", 90, "--elevation", 0)
    assert render(sphere, "-o", tmp_path / "out.png", *args) == 0
    assert pixels(tmp_path / "out.png")[15, 15] == pytest.approx([255, 128, 128], abs=6)


@pytest.mark.parametrize("end", [".png", ".jpg", ".bmp", ".webp", ".tiff", ".PNG"])
def test_picture_formats(tmp_path, sphere, end):
    assert render(sphere, "-o", tmp_path / f"out{end}", "--size", 16) == 0
    assert pixels(tmp_path / f"out{end}").shape == (16, 16, 3)


@pytest.mark.parametrize("end", [".obj", ".ply", ".off", ".glb"])
def test_mesh_formats(tmp_path, end):
    sphere = ico_sphere(1)
    if end == ".glb":
        gltf = GltfBuilder()
        indices = gltf.array(sphere.faces_packed().flatten(), "u4")
        gltf.mesh({"attributes": {"POSITION": gltf.array(sphere.verts_packed())}, "indices": indices})
        (tmp_path / "mesh.glb").write_bytes(gltf.glb())
    else:
        IO().save_mesh(sphere, tmp_path / f"mesh{end}")
    assert render(tmp_path / f"mesh{end}", "-o", tmp_path / "out.png", "--size", 16) == 0
    middle = pixels(tmp_path / "out.png")[8, 8]
    assert 100 < middle[0] < 250
    assert middle[0] == middle[1] == middle[2]  # no texture: grey


@pytest.mark.parametrize("words", [(48, 16), ("48x16",), ("48,16",)])
def test_size_is_width_and_height(tmp_path, sphere, capsys, words):
    assert render("--size", *words, sphere, "-o", tmp_path / "out.png") == 0
    assert pixels(tmp_path / "out.png").shape == (16, 48, 3)
    assert "out.png: 48 x 16 px" in capsys.readouterr().out


@pytest.mark.parametrize("end", [".gif", ".png", ".webp"])
def test_turntable(tmp_path, sphere, end):
    out = tmp_path / f"out{end}"
    assert render(sphere, "-o", out, "--size", 24, "--turntable", 5) == 0
    with Image.open(out) as picture:
        assert picture.n_frames == 5
        frames = []
        for i in range(5):
            picture.seek(i)
            frames.append(np.asarray(picture.convert("RGB")).astype(int))
    for i in range(5):
        assert np.abs(frames[i] - frames[i - 1]).max() > 50


def test_a_turntable_as_a_video(tmp_path, sphere):
    pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is not installed")
    assert render(sphere, "-o", tmp_path / "out.mp4", "--size", 24, 32, "--turntable", 3) == 0
    assert b"ftyp" in (tmp_path / "out.mp4").read_bytes()[:12]


def test_a_cloud_and_its_points(tmp_path, capsys):
    directions = torch.nn.functional.normalize(torch.randn(3000, 3), dim=1)
    IO().save_pointcloud(Pointclouds([directions], features=[torch.rand(3000, 3)]), tmp_path / "ball.npz")

    def covered(*args: object) -> float:
        assert render(tmp_path / "ball.npz", "-o", tmp_path / "out.png", "--size", 48, *args) == 0
        return (pixels(tmp_path / "out.png").min(-1) < 250).mean()

    assert covered() > 0.6
    assert capsys.readouterr().out.endswith("out.png: 48 x 48 px, 1 view of 3000 points\n")
    assert covered("--radius", 0.005) < 0.6
    covered("--shader", "depth")
    assert pixels(tmp_path / "out.png")[0, 0].tolist() == [0, 0, 0]


def test_a_volume_and_its_look(tmp_path, capsys):
    np.savez(tmp_path / "cube.npz", densities=np.full((5, 6, 7), 255, np.uint8), features=np.full((3, 5, 6, 7), 0.5))
    assert render(tmp_path / "cube.npz", "-o", tmp_path / "out.png", "--size", 32, "--background", 0, 0, 0) == 0
    assert capsys.readouterr().out.endswith("1 view of 5 x 6 x 7 voxels\n")
    picture = pixels(tmp_path / "out.png")
    assert picture[16, 16] == pytest.approx([128] * 3, abs=2)
    assert picture[0, 0].tolist() == [0, 0, 0]
    assert render(tmp_path / "cube.npz", "--shader", "phong", "-o", tmp_path / "out.png") == 2
    assert_one_line(
        capsys.readouterr().err, "--shader: expected unlit, silhouette, depth for 5 x 6 x 7 voxels, got phong"
    )


def test_the_file_is_named_by_itself(tmp_path, sphere, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert render(sphere, "--size", 16) == 0
    assert render(sphere, "--size", 16, "--turntable", 2) == 0
    assert {"out.png", "out.gif"} < {p.name for p in tmp_path.iterdir()}


def test_camera_light_background_and_samples_do_what_they_say(tmp_path, sphere):
    def draw(*args: object) -> np.ndarray:
        assert render(sphere, "-o", tmp_path / "out.png", "--size", 32, *args) == 0
        return pixels(tmp_path / "out.png")

    usual = draw()
    assert (draw() == usual).all()
    assert draw("--background", 1, 0, 0)[0, 0].tolist() == [255, 0, 0]
    assert (draw("--distance", 6.4).min(-1) < 250).sum() < (usual.min(-1) < 250).sum() / 4
    assert (draw("--fov", 20).min(-1) < 250).sum() == pytest.approx((usual.min(-1) < 250).sum(), rel=0.1)
    back = np.abs(draw("--azimuth", 150) - usual).max(-1) > 20
    above = np.abs(draw("--elevation", 90) - usual).max(-1) > 20
    assert back.sum() > 200
    assert above.sum() > 200
    assert draw("--light", 0, 0, 9)[16, 16].sum() < usual[16, 16].sum() - 50  # from behind
    grey = [len(np.unique(draw("--shader", "silhouette", "--supersample", n))) for n in (1, 4)]
    assert grey[1] > grey[0]


BROKEN = {
    "missing.obj": (None, "missing.obj: No such file or directory"),
    "broken.obj": ("v 0 0 0\nv 1 0 0\nv 0 1 x\nf 1 2 3\n", "broken.obj, line 3: expected numbers, got 'x'"),
    "nothing.obj": ("# no vertices\n", "nothing.obj: expected at least one point, got none"),
    "flat.obj": ("v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n", "expected finite points that are not all one"),
    "mesh.xyz": (
        "",
        r"FILE: expected one that ends in \.obj, .*, \.npz, \.splat, \.pt, .*, got '.*mesh\.xyz'",
    ),
    "folder.obj": ("/", "folder.obj"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_mesh_that_cannot_be_drawn(tmp_path, capsys, name):
    content, message = BROKEN[name]
    if content == "/":
        (tmp_path / name).mkdir()
    elif content is not None:
        (tmp_path / name).write_text(content)
    assert render(tmp_path / name, "-o", tmp_path / "out.png") == 2
    assert_one_line(capsys.readouterr().err, message)
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["-o", "out.xyz"], r"--output: expected a picture, such as .png or .jpg, got 'out.xyz'"),
        (["-o", "file/out.png"], "--output: expected a file in a folder, got 'file/out.png'"),
        (
            ["-o", "out.jpg", "--turntable", "3"],
            r"a turntable's or path's file to end in \.gif, \.webp, \.png or \.mp4, got",
        ),
        (["--size", "1", "2", "3"], "3: No such file or directory"),
    ],
)
def test_arguments_that_do_not_fit(tmp_path, monkeypatch, capsys, args, message):
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    assert render(*args) == 2
    assert_one_line(capsys.readouterr().err, message)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--size", "0"], r"--size: expected a side, or width and height .*, each 1 to 16384 pixels, got '0'"),
        (["--size", "64", "0", "cow.obj"], "--size: expected a side, or width and height .*, got '64 0'"),
        (["--turntable", "0"], "--turntable: expected 1 to 10000 views, got '0'"),
        (["--supersample", "1.5"], "--supersample: expected 1 to 8, got '1.5'"),
        (["--fov", "180"], "--fov: expected 1 to 170 degrees, got '180'"),
        (["--distance", "0"], "--distance: expected 0.01 to 10000, got '0'"),
        (["--azimuth", "nan"], "--azimuth: expected degrees, got 'nan'"),
        (["--light", "0", "0", "inf"], "--light: expected three numbers, got '0 0 inf'"),
        (["--background", "2", "0", "0"], "--background: expected a colour's name, .*, got '2 0 0'"),
        (["--shader", "toon"], "--shader: expected phong, .*, depth, got 'toon'"),
        (["--shader", "normal"], "got 'normal'; did you mean normals?"),
        (["--sahder", "flat"], "unknown argument '--sahder'; did you mean --shader?"),
        (["--up", "w"], "--up: expected one of x, y, z, -x, -y, -z, got 'w'"),
    ],
)
def test_arguments_that_cannot_be_read(capsys, args, message):
    with pytest.raises(SystemExit, match="2"):
        render(*args)
    assert_one_line(capsys.readouterr().err, message)


def test_a_file_that_may_not_be_written(tmp_path, sphere, capsys, monkeypatch):
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied", "out.png")

    monkeypatch.setattr(Image.Image, "save", refuse)  # the user who runs the tests may be allowed everything
    assert render(sphere, "-o", tmp_path / "out.png", "--size", 16) == 2
    assert_one_line(capsys.readouterr().err, "tirender render: out.png: Permission denied")


def test_an_arch_that_is_not_the_running_one(capsys):
    running = tirender.init()
    other = next(name for name in ("cpu", "vulkan") if name != running)
    assert main(["info", "--arch", other]) == 2
    assert_one_line(capsys.readouterr().err, f"tirender info: arch: expected '{running}', which runs already")


@pytest.mark.filterwarnings("default")
def test_a_warning_is_one_line_too(tmp_path, capsys):
    (tmp_path / "mesh.obj").write_text("mtllib missing.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 3/1\n")
    assert render(tmp_path / "mesh.obj", "-o", tmp_path / "out.png", "--size", 16) == 0
    assert_one_line(capsys.readouterr().err, "tirender: .*missing.mtl")


def test_info(capsys):
    assert main(["info"]) == 0
    facts = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert facts["tirender"] == tirender.__version__
    assert facts["torch"] == torch.__version__
    assert facts["arch"] == tirender.init()


def facts_in(text: str) -> dict[str, str]:
    return dict(re.split("  +", line, maxsplit=1) for line in text.splitlines())


def test_info_on_meshes_and_clouds(tmp_path, capsys):
    mesh = ico_sphere(1)
    IO().save_mesh(mesh.offset_verts(torch.tensor([0.0, 5.0, 0.0])), tmp_path / "closed.ply")
    (tmp_path / "open.obj").write_text("mtllib none.mtl\nv 0 0 0\nv 2 0 0\nv 0 1 0\nv 9 9 9\nvt 0 0\nf 1/1 2/1 3/1\n")
    np.savez(tmp_path / "cloud.npz", verts=np.eye(3), rgb=np.eye(3))
    seen = {}
    for name in ("closed.ply", "open.obj", "cloud.npz", "creature"):
        assert main(["info", name if name == "creature" else str(tmp_path / name)]) == 0
        seen[name] = facts_in(capsys.readouterr().out)
    closed, sheet, cloud, creature = seen.values()
    assert (closed["vertices"], closed["faces"], closed["watertight"]) == ("42", "80", "yes")
    assert closed["from, to"].split(", ")[1] == "4 to 6"
    assert sheet["vertices"] == "4 (1 of no face)"
    assert sheet["watertight"] == "no: 3 open edges"
    assert sheet["extent"] == "2 x 1 x 0 (x, y, z)"
    assert "none.mtl" in sheet["warning"]
    assert (cloud["content"], cloud["colours"]) == ("a point cloud", "of vertices")
    assert creature["up"] == "+y, front -z (as the file says)"
    assert creature["textures"] == "1: 1024 x 1024"


def test_info_on_gaussians(tmp_path, capsys):
    means, opacities = torch.eye(3), torch.tensor([0.9, 0.5, 0.01])
    gaussians = Gaussians(means, torch.ones(3, 4), torch.full((3, 3), 0.1), opacities, torch.zeros(3, 4, 3))
    save_gaussians(tmp_path / "splats.ply", gaussians)
    assert main(["info", str(tmp_path / "splats.ply")]) == 0
    facts = facts_in(capsys.readouterr().out)
    assert facts["content"] == "Gaussians"
    assert facts["Gaussians"] == "3 (2 of an opacity above 0.05)"
    assert facts["colours"] == "harmonics of degree 1"
    assert facts["extent"] == "1 x 1 x 0 (x, y, z)"
    assert facts["up"] == "-y, front -z"


def test_info_on_a_volume_and_on_what_is_none(tmp_path, capsys):
    np.savez(tmp_path / "cube.npz", densities=np.full((5, 6, 7), 0.5), features=np.zeros((3, 5, 6, 7)))
    assert main(["info", str(tmp_path / "cube.npz")]) == 0
    facts = facts_in(capsys.readouterr().out)
    assert (facts["voxels"], facts["densities"], facts["features"]) == (
        "5 x 6 x 7 (z, y, x)",
        "0.5 to 0.5",
        "3 channels",
    )
    (tmp_path / "notes.txt").touch()
    for name, words in (("missing.obj", "No such file"), ("missing", "No such file"), ("notes.txt", "FILE: expected")):
        assert main(["info", str(tmp_path / name)]) == 2
        line = capsys.readouterr().err
        assert_one_line(line, f"tirender info: .*{name}")
        assert words in line


@pytest.mark.parametrize(
    "args", [["--help"], ["tour", "--help"], ["render", "--help"], ["info", "--help"], ["--version"]]
)
def test_help(capsys, args):
    with pytest.raises(SystemExit, match="0"):
        main(args)
    assert "tirender" in capsys.readouterr().out


def test_help_has_an_example_of_every_command_that_parses_the_tour_first():
    parser = make_parser()
    examples = re.findall(r"^  tirender (.*?)(?:  +#.*)?$", parser.format_help(), re.MULTILINE)
    names = [parser.parse_args(shlex.split(example)).command for example in examples]
    assert names == ["tour", "render", "view", "capture", "fit", "convert", "bench", "info"]
    assert re.findall(r"^    (\w+) +\w", parser.format_help(), re.MULTILINE) == names


def assert_one_line(text: str, message: str) -> None:
    assert len(text.strip().splitlines()) == 1, text
    assert re.search(message, text), text


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_every_command_ends_on_sigterm_as_on_ctrl_c(monkeypatch):
    def terminated(args):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
        ended.append("not at all")

    ended: list[str] = []
    monkeypatch.setattr(info, "_info", terminated)
    assert main(["info"]) == 130
    assert not ended
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
