"""``tirender render``: which way up, what is framed, backgrounds, depths, shadows, cameras of files, several files."""

from __future__ import annotations

import math
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from gltf_files import GltfBuilder
from PIL import Image

from tirender.cli import main
from tirender.io import IO, save_obj
from tirender.io.orientation import Orientation, from_comment, oriented, to_comment
from tirender.scenes import load_scene
from tirender.scenes.base import framed
from tirender.scenes.cameras import SceneCamera, path_through
from tirender.structures import Pointclouds
from tirender.transforms import axis_angle_to_matrix
from tirender.utils import ico_sphere

SIZE = ("--size", 48)


def render(*args: object) -> int:
    return main(["render", *map(str, args)])


def pixels(path: Path, mode: str = "RGBA") -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert(mode)).astype(int)


@pytest.fixture
def cone(tmp_path: Path) -> Path:
    """An OBJ: a cone whose tip points up, along +Y; taller than wide, and different on all sides."""
    verts = torch.tensor([[0.0, 2, 0], [-0.6, 0, -0.4], [0.5, 0, -0.5], [0.7, 0, 0.6], [-0.3, 0, 0.5]])
    faces = torch.tensor([[0, 2, 1], [0, 3, 2], [0, 4, 3], [0, 1, 4], [1, 2, 3], [1, 3, 4]])
    save_obj(tmp_path / "cone.obj", verts, faces)
    return tmp_path / "cone.obj"


class TestOrientation:
    @pytest.mark.parametrize("up", ["x", "y", "z", "-x", "-y", "-z"])
    def test_with_up_a_turned_object_looks_the_same(self, tmp_path: Path, cone: Path, up: str) -> None:
        """The rotation that turns +Y and +Z to the file's axes, as its orientation says, turns the object."""
        standing = oriented(up)
        u, f = torch.tensor(standing.up), torch.tensor(standing.front)
        turn = torch.stack([torch.linalg.cross(u, f), u, f])
        mesh = IO().load_mesh(cone)
        save_obj(tmp_path / "turned.obj", mesh.verts_packed() @ turn, mesh.faces_packed())
        for name, args in (("cone", ()), ("turned", ("--up", up))):
            assert render(tmp_path / f"{name}.obj", "-o", tmp_path / f"{name}.png", *SIZE, *args) == 0
        difference = np.abs(pixels(tmp_path / "cone.png") - pixels(tmp_path / "turned.png"))
        assert (difference > 3).mean() < 0.01

    def test_axes(self) -> None:
        assert oriented("z") == Orientation((0.0, 0.0, 1.0), (0.0, -1.0, 0.0))
        assert oriented([0, 0, 2], front=[3, 0, 1]) == Orientation((0.0, 0.0, 1.0), (1.0, 0.0, 0.0))
        for up in ("w", "--y", [0, 0, 0], [math.nan, 0, 1], [0, 1], ["x", 0, 1], 3):
            with pytest.raises(ValueError, match="up: expected"):
                oriented(up)

    def test_files_say_it(self, tmp_path: Path, cone: Path) -> None:
        standing = oriented([1.0, 2, 3], front=[0, 0, 1])
        found = from_comment(f"# {to_comment(standing)}\n".encode())
        assert found is not None
        assert np.allclose([*found.up, *found.front], [*standing.up, *standing.front], atol=1e-5)
        assert from_comment(b"# tirender: up 0 0 0, front 0 0 0\n") is None
        mesh = IO().load_mesh(cone)
        for name, comment, expected in (
            ("a.ply", to_comment(oriented("z")), oriented("z")),
            ("a.obj", to_comment(oriented("-x")), oriented("-x")),
            ("b.ply", None, Orientation()),
        ):
            options = {} if comment is None else {"comment": comment}
            IO().save_mesh(mesh, tmp_path / name, **options)
            assert load_scene(tmp_path / name).orientation == expected
        facet = "facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"
        (tmp_path / "a.stl").write_text(f"solid a\n{facet}endsolid a\n")
        assert load_scene(tmp_path / "a.stl").orientation == oriented("z")


class TestFraming:
    def test_what_is_seen_fills_the_picture(self, tmp_path: Path, cone: Path) -> None:
        for args in ((), ("--azimuth", 77, "--elevation", 40), ("--size", 96, 48)):
            assert render(cone, "-o", tmp_path / "out.png", *SIZE, *args) == 0
            alpha = pixels(tmp_path / "out.png")[..., 3]
            rows, columns = (np.flatnonzero(alpha.max(axis)) for axis in (1, 0))
            margins = [rows[0], alpha.shape[0] - 1 - rows[-1], columns[0], alpha.shape[1] - 1 - columns[-1]]
            assert min(margins) >= 1
            assert min(margins) <= 2
            assert abs(margins[0] - margins[1]) <= 1
            assert abs(margins[2] - margins[3]) <= 1

    def test_strays_and_a_large_floor_do_not_count(self) -> None:
        ball = ico_sphere(3).verts_packed()
        floor = torch.cartesian_prod(torch.linspace(-30, 30, 9), torch.tensor([-1.01]), torch.linspace(-30, 30, 9))
        far = torch.tensor([[400.0, 0, 0]])
        kept = framed(torch.cat([ball, floor, far]), Orientation())
        assert float(kept.norm(dim=1).max()) < 1.1
        assert len(framed(ball, Orientation())) == len(ball)

    def test_feet_are_kept_on_a_floor_that_is_a_slab(self) -> None:
        corners = torch.tensor([-1.0, 1.0])
        table, slab = torch.cartesian_prod(corners, torch.tensor([0.0, 1.9]), corners), torch.tensor([20.0, 0.04, 20.0])
        slab = torch.cartesian_prod(corners, torch.tensor([-1.0, 0.0]), corners) * slab
        assert torch.equal(framed(torch.cat([slab, table]), Orientation()), table)

    def test_zoom_and_a_place_to_look_at(self, tmp_path: Path, cone: Path) -> None:
        def alpha(*args: object) -> np.ndarray:
            assert render(cone, "-o", tmp_path / "out.png", *SIZE, *args) == 0
            return pixels(tmp_path / "out.png")[..., 3]

        assert (alpha("--zoom", 0.5) > 0).sum() == pytest.approx((alpha() > 0).sum() / 4, rel=0.15)
        tip = alpha("--look-at", 0, 2, 0, "--zoom", 4)  # it is in the middle: nothing above, something below
        assert not tip[:22].any()
        assert tip[26, 24] > 0


class TestPictures:
    def test_they_are_transparent_unless_a_background_is_named(self, tmp_path: Path, cone: Path) -> None:
        out = tmp_path / "out.png"
        assert render(cone, "-o", out, *SIZE) == 0
        clear = pixels(out)
        assert (clear[0, 0, 3], clear[30, 24, 3]) == (0, 255)
        for words, expected in (
            (("red",), (255, 0, 0)),
            (("00ff00",), (0, 255, 0)),
            (("#00f",), (0, 0, 255)),
            ((1, 1, 0), (255, 255, 0)),
        ):
            assert render(cone, "-o", out, *SIZE, "--background", *words) == 0
            with Image.open(out) as picture:
                assert picture.mode == "RGB"
            picture = pixels(out)
            assert tuple(picture[0, 0, :3]) == expected
            laid = clear[..., :3] * clear[..., 3:] / 255 + np.array(expected) * (1 - clear[..., 3:] / 255)
            assert np.abs(picture[..., :3] - laid).max() <= 2
        assert render(cone, "-o", tmp_path / "out.jpg", *SIZE) == 0
        assert pixels(tmp_path / "out.jpg")[0, 0, :3].min() > 250

    @pytest.mark.filterwarnings("default::UserWarning")
    @pytest.mark.parametrize("words", [(), ("--shader", "silhouette"), ("--shader", "depth")])
    def test_an_empty_one_is_told(
        self, tmp_path: Path, cone: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
    ) -> None:
        out = tmp_path / "out.png"
        assert render(cone, "-o", out, *SIZE, "--look-at", 1e9, 0, 0, *words) == 0
        assert capsys.readouterr().err == f"tirender: {out}: nothing of the object is in view\n"
        assert render(cone, "-o", out, *SIZE, *words) == 0
        assert not capsys.readouterr().err

    def test_white_shows_on_white(self, tmp_path: Path) -> None:
        verts = ico_sphere(3).verts_packed().tolist()
        lines = [f"v {x} {y} {z} 1 1 1" for x, y, z in verts]
        lines += [f"f {a} {b} {c}" for a, b, c in (ico_sphere(3).faces_packed() + 1).tolist()]
        (tmp_path / "white.obj").write_text("\n".join(lines))
        assert render(tmp_path / "white.obj", "-o", tmp_path / "out.jpg", *SIZE) == 0
        middle = pixels(tmp_path / "out.jpg")[12:36, 12:36, :3]
        assert (middle >= 254).mean() < 0.05
        assert middle.max() > 235

    def test_a_shadow_lies_on_the_ground_only(self, tmp_path: Path, cone: Path) -> None:
        assert render(cone, "-o", tmp_path / "out.png", *SIZE, "--shadow") == 0
        picture = pixels(tmp_path / "out.png")
        is_shadow = (picture[..., 3] > 0) & (picture[..., 3] < 200)
        assert is_shadow[24:].sum() > 100
        assert not is_shadow[:10].sum() > 30
        assert picture[is_shadow][:, :3].mean() < 80

    @pytest.mark.parametrize("end", [".npy", ".png", ".exr"])
    def test_depths_are_in_the_file_s_units(self, tmp_path: Path, end: str) -> None:
        """A sphere of radius 3, from 10 of its radii: 27 at its middle."""
        openexr = pytest.importorskip("OpenEXR", reason="OpenEXR is not installed") if end == ".exr" else None
        IO().save_mesh(ico_sphere(4).scale_verts(3.0).offset_verts(torch.tensor([5.0, 0, 0])), tmp_path / "ball.ply")
        out = tmp_path / f"depth{end}"
        args = ("--size", 33, "--shader", "depth", "--distance", 10, "--zoom", 3, "-o", out)
        assert render(tmp_path / "ball.ply", *args) == 0
        if end == ".npy":
            depth = np.load(out)
        elif openexr:
            depth = openexr.File(str(out)).channels()["Z"].pixels
        else:
            with Image.open(out) as picture:
                near, far = (float(picture.text[f"depth of {grey}"]) for grey in (65535, 1))
                grey = np.asarray(picture).astype(float)
            depth = np.where(grey > 0, far - (grey - 1) / 65534 * (far - near), np.inf)
        assert depth[16, 16] == pytest.approx(27, abs=0.02)
        assert np.isinf(depth[0, 0])
        assert depth[np.isfinite(depth)].max() < 30

    def test_several_files_go_to_a_folder(self, tmp_path: Path, cone: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Points have a radius, and meshes a light: an option that one of the files uses is not refused."""
        IO().save_pointcloud(Pointclouds([torch.randn(9, 3)]), tmp_path / "cone.ply")
        for words in (("--radius", 0.1), ("--light", 0, 0, 9)):
            assert render(cone, tmp_path / "cone.ply", "-o", tmp_path / "new" / "pictures", *SIZE, *words) == 0
        folder = tmp_path / "new" / "pictures"
        assert sorted(path.name for path in folder.iterdir()) == ["cone.png", "cone_2.png"]
        lines = capsys.readouterr().out.splitlines()
        assert [line.endswith("(replaced)") for line in lines] == [False, False, True, True]

    def test_the_size_of_a_video_is_as_written(
        self, tmp_path: Path, cone: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is not installed").get_ffmpeg_exe()
        args = ("--size", 51, 35, "--turntable", 4, "--fps", 8)
        assert render(cone, "-o", tmp_path / "out.mp4", *args) == 0
        assert "out.mp4: 52 x 36 px, 4 views" in capsys.readouterr().out
        told = subprocess.run([ffmpeg, "-i", tmp_path / "out.mp4"], capture_output=True, text=True, check=False).stderr
        assert "52x36" in told
        assert "8 fps" in told


class TestCameras:
    def test_those_of_a_gltf_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """A camera at z = 4 that sees 90 degrees of height: a square of side 4 at z = 0 is half of it."""
        builder = GltfBuilder()
        verts = [[-2, -2, 0], [2, -2, 0], [2, 2, 0], [-2, 2, 0]]
        indices = builder.array([0, 1, 2, 0, 2, 3], "u2")
        builder.mesh({"attributes": {"POSITION": builder.array(verts)}, "indices": indices})
        builder.root["cameras"] = [
            {"type": "perspective", "name": "eye", "perspective": {"yfov": math.pi / 2, "znear": 0.1, "aspectRatio": 2}}
        ]
        node = builder.add("nodes", {"camera": 0, "translation": [0, 0, 4]})
        builder.root["scenes"][0]["nodes"].append(node)
        (tmp_path / "scene.glb").write_bytes(builder.glb())
        for name in ("0", "eye"):
            assert render(tmp_path / "scene.glb", "-o", tmp_path / "out.png", "--camera", name, "--size", 40) == 0
            assert "80 x 40 px" in capsys.readouterr().out
            alpha = pixels(tmp_path / "out.png")[..., 3] > 128
            assert np.flatnonzero(alpha.any(1))[[0, -1]].tolist() == [10, 29]
            assert np.flatnonzero(alpha.any(0))[[0, -1]].tolist() == [30, 49]
        assert render(tmp_path / "scene.glb", "-o", tmp_path / "out.png", "--camera", 7) == 2
        assert "--camera: expected 0 to 0, got 7" in capsys.readouterr().err

    def test_a_path_goes_through_them(self) -> None:
        cameras = []
        for angle in (0.0, 0.5, 1.0):
            R = axis_angle_to_matrix(torch.tensor([0.0, angle, 0.0]))
            eye = torch.tensor([3 * angle, 0.0, 1.0])
            cameras.append(SceneCamera("a", R, -(eye @ R), (1.0 + angle, 1.0)))
        path = path_through(cameras, 5)
        for camera, made in zip(cameras, path[::2]):
            torch.testing.assert_close(made.R, camera.R, atol=1e-5, rtol=0)
            torch.testing.assert_close(made.T, camera.T, atol=1e-5, rtol=0)
        halfway = axis_angle_to_matrix(torch.tensor([0.0, 0.25, 0.0]))
        torch.testing.assert_close(path[1].R, halfway, atol=1e-5, rtol=0)
        assert path[1].focal[0] == pytest.approx(1.25)
        assert len(path_through(cameras, 1)) == 1
        with pytest.raises(ValueError, match="at least 2, for a path, got 1"):
            path_through(cameras[:1], 4)


def test_a_picture_that_the_file_reads_is_not_overwritten(tmp_path: Path, cone: Path) -> None:
    """Names count as a whole: another picture whose name is a part of the texture's may be drawn again."""
    (tmp_path / "cone.mtl").write_text("newmtl a\nmap_Kd big_cone.png\n")
    for name in ("big_cone.png", "cone.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    assert render(cone, "-o", tmp_path / "big_cone.png", *SIZE) == 2
    assert pixels(tmp_path / "big_cone.png").shape == (4, 4, 4)
    assert render(cone, "-o", tmp_path / "cone.png", *SIZE) == 0
