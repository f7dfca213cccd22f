"""Gaussians fitted to photos: they look alike, grow, and resume to the bit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from test_capture import write_binary

from tirender import datasets
from tirender.cli import main
from tirender.engine import runtime
from tirender.fit import Capture, Checkpoint, HeldOut, SplatConfig, Views, fit_splats, render_views, splats
from tirender.fit.first_gaussians import first_gaussians, scene_extent
from tirender.fit.held_out import photo_quality
from tirender.fit.splats import SplatModel, gaussians_of
from tirender.io import load_gaussians, load_objs_as_meshes
from tirender.renderer import (
    GaussiansRasterizationSettings,
    GaussiansRenderer,
    PerspectiveCameras,
    look_at_view_transform,
)
from tirender.scenes import GaussianScene, Look, load_scene
from tirender.structures import Gaussians, Pointclouds
from tirender.transforms import quaternion_to_matrix
from tirender.utils import ico_sphere

N_PHOTOS, SIZE = 9, (30, 40)


def truth(n: int = 250) -> Gaussians:
    """A ball of coloured Gaussians."""
    g = torch.Generator().manual_seed(0)
    means = torch.nn.functional.normalize(torch.randn(n, 3, generator=g), dim=1)
    quats, scales = torch.randn(n, 4, generator=g), torch.full((n, 3), 0.12)
    return Gaussians.from_colors(means, quats, scales, torch.full((n,), 0.9), torch.rand(n, 3, generator=g))


def capture() -> Capture:
    """Photos of the ball, and points near its surface."""
    R, T = look_at_view_transform(3.0, torch.linspace(-40, 40, N_PHOTOS), torch.linspace(0, 320, N_PHOTOS))
    cameras = PerspectiveCameras(1.5, R=R, T=T)
    ball = truth()
    with torch.no_grad():
        images = GaussiansRenderer(cameras, GaussiansRasterizationSettings(SIZE))(ball)[..., :3]
    g = torch.Generator().manual_seed(1)
    points = ball.means[:120] + 0.03 * torch.randn(120, 3, generator=g)
    cloud = Pointclouds([points], features=[torch.full((120, 3), 0.5)])
    return Capture(images, cameras, cloud, tuple(f"{i}.png" for i in range(N_PHOTOS)))


def config(**more: object) -> SplatConfig:
    given = {"steps": 60, "progress": False, "degree": 1, "degree_every": 20, "max_gaussians": 200}
    given |= {"grow_from": 0.1, "grow_every": 10}
    return SplatConfig(**(given | more))  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resets, splits and disturbances that show in a few steps."""
    monkeypatch.setattr(splats, "RESET_EVERY", 45)
    monkeypatch.setattr(splats, "HIGH_GRADIENT", 5e-4)
    monkeypatch.setattr(splats, "DISTURBANCE", 10.0)


@pytest.mark.parametrize("growth", splats.GROWTH)
def test_photos_not_fitted_to_become_alike(growth, monkeypatch):
    monkeypatch.setattr(splats, "RESET_EVERY", 1000)
    photos = capture()
    fitted, held_out = photos.split()
    watch = HeldOut(held_out, 60, report=lambda line: None)
    model = SplatModel(first_gaussians(fitted, None, config()), SIZE, config())
    before = photo_quality(model, held_out)
    run = fit_splats(fitted, config=config(growth=growth, steps=120), callbacks=[watch])
    after = photo_quality(run.module, held_out)
    assert after["psnr"] > before["psnr"] + 3
    assert after["ssim"] > before["ssim"]
    assert run.history["total"][-1] < 0.6 * run.history["total"][0]
    assert [row["step"] for row in watch.history] == [60, 120]
    assert watch.history[-1]["psnr"] == pytest.approx(after["psnr"])
    n = len(run.module.gaussians())
    assert n == 120 if growth == "none" else 120 < n <= 200
    assert gaussians_of(run.module.state_dict()).means.shape == (n, 3)


@pytest.mark.parametrize("growth", splats.GROWTH)
def test_resumed_to_the_bit(tmp_path: Path, growth: str):
    if runtime.arch() != "cpu":
        pytest.skip("a GPU adds in any order")
    photos, settings = capture(), config(growth=growth)
    whole = fit_splats(photos, config=settings)
    for stop in (13, 50):
        path = tmp_path / f"{stop}.pt"
        fit_splats(photos, config=replace(settings, steps=60), callbacks=[Checkpoint(path, stop), Stop(stop)])
        again = fit_splats(photos, config=settings, callbacks=[Checkpoint(path, 1000)])
        assert again.history["total"] == whole.history["total"]
        for name, value in whole.module.state_dict().items():
            assert torch.equal(value, again.module.state_dict()[name]), (stop, name)


def test_a_state_whose_parts_do_not_fit_is_refused():
    model = SplatModel(truth(20), SIZE, config())
    state = SplatModel(truth(30), SIZE, config()).state_dict()
    for name in ("values.quats", "counts"):
        with pytest.raises(ValueError, match="one row a Gaussian"):
            model.load_state_dict({**state, name: state[name][:29]})
    model.load_state_dict(state)
    assert len(model.gaussians()) == len(model.counts) == 30


class Stop(splats.Callback):
    """Stops after so many steps."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, run) -> None:
        if run.step == self.step:
            run.stop()


def test_starts():
    photos = capture()
    ball = truth(50)
    cloud = Pointclouds([torch.randn(30, 3)])
    mesh = ico_sphere(2)
    for start, n in ((ball, 50), (cloud, 30), (mesh, 40), (None, 120)):
        found = first_gaussians(photos, start, config(n_random=40))
        assert len(found) == n
    found = first_gaussians(replace(photos, points=None), None, config(n_random=500))
    assert len(found) == 500
    assert found.means.norm(dim=1).median() < 2.0  # around what the cameras look at
    near = first_gaussians(photos, cloud, config(first_size=2.0, opacity=0.3))
    distances = torch.cdist(cloud.points_packed(), cloud.points_packed()).sort().values[:, 1:4]
    torch.testing.assert_close(near.scales[:, 0], 2 * distances.square().mean(1).sqrt(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(near.opacities, torch.full((30,), 0.3))
    for bad in (Pointclouds([torch.randn(3, 3)]), 5):
        with pytest.raises(ValueError, match="start"):
            first_gaussians(photos, bad, config())
    with pytest.raises(ValueError, match="max_gaussians"):
        fit_splats(photos, config=config(max_gaussians=100))


@pytest.mark.parametrize("background", [None, (1.0, 0.0, 1.0)])
def test_nothing_is_left_where_views_show_nothing(background):
    """Black Gaussians around the object, which black images alone would not move."""
    mesh = load_objs_as_meshes([datasets.creature()])
    views = render_views(mesh, 6, 24)
    assert isinstance(views, Views)
    means, like = 2 * torch.rand(100, 3, generator=torch.Generator().manual_seed(0)) - 1, torch.ones(100, 3)
    start = Gaussians.from_colors(means, torch.ones(100, 4), 0.2 * like, 0.9 * like[:, 0], 0 * like)
    empty = views.silhouettes == 0

    def left(steps: int) -> float:
        run = fit_splats(views, start, config(steps=steps, growth="none", background=background))
        images = torch.cat([run.module(camera) for camera in views.cameras])
        return float(images[..., 3][empty].mean())

    assert left(100) < 0.2 * left(0)


def test_a_background_and_all_degrees():
    photos = capture()
    white = config(background=(1.0, 1.0, 1.0), degree=4, degree_every=1, steps=6, growth="none")
    run = fit_splats(photos, config=white)
    image = run.module(photos.cameras[[0]])
    assert image.shape == (1, *SIZE, 4)
    assert image[0, 0, 0, :3].min() > 0.8
    assert run.module.gaussians().degree == 4
    assert run.module.gaussians().harmonics[:, 20].any()


def test_extent():
    R, T = look_at_view_transform(3.0, 0.0, torch.tensor([0.0, 180.0]))
    assert scene_extent(PerspectiveCameras(R=R, T=T)) == pytest.approx(3.3)
    assert scene_extent(PerspectiveCameras(R=R[:1], T=T[:1])) == 1


@pytest.mark.parametrize(
    "given",
    [
        {"growth": "fast"},
        {"degree": 5},
        {"max_gaussians": 0},
        {"opacity": 1.0},
        {"w_ssim": 2.0},
        {"n_random": 0},
        {"photos_per_step": 0},
    ],
    ids=lambda given: next(iter(given)),
)
def test_bad_settings(given):
    with pytest.raises(ValueError, match=f"^{next(iter(given))}: expected"):
        config(**given)


def write_photos(folder: Path) -> None:
    """The photos of :func:`capture` with COLMAP's text files."""
    from tirender.renderer.gaussians.cameras import pixel_cameras
    from tirender.transforms import matrix_to_quaternion

    photos = capture()
    viewmats, intrinsics, _ = pixel_cameras(photos.cameras, SIZE)
    (folder / "sparse" / "0").mkdir(parents=True)
    (folder / "images").mkdir()
    K, lines = intrinsics[0], []
    for i, view in enumerate(viewmats):
        image = photos.image(i)
        pixels = (image.clamp(0, 1) * 255).round().byte().numpy()
        Image.fromarray(pixels).save(folder / "images" / f"{i}.png")
        pose = [*matrix_to_quaternion(view[:3, :3]).tolist(), *view[:3, 3].tolist()]
        lines.append(f"{i} {' '.join(map(str, pose))} 1 {i}.png\n\n")
    camera = f"1 PINHOLE {SIZE[1]} {SIZE[0]} {K[0, 0]} {K[1, 1]} {K[0, 2]} {K[1, 2]}\n"
    points = "".join(f"{i} {x} {y} {z} 128 128 128 0\n" for i, (x, y, z) in enumerate(photos.points.points_packed()))
    for name, text in (("cameras", camera), ("images", "".join(lines)), ("points3D", points)):
        (folder / "sparse" / "0" / f"{name}.txt").write_text(text)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    photos, output = tmp_path / "photos", tmp_path / "out"
    write_photos(photos)
    command = ["fit", "splats", str(photos), "-o", str(output), "--steps", "25", "--every", "20", "--checkpoint", "10"]
    command += ["--max-gaussians", "150", "--size", "29"]
    assert main(command) == 0
    said = capsys.readouterr()
    assert "splats.ply after 25 steps" in said.out
    assert "held out" in said.err
    facts = json.loads((output / "losses.json").read_text())
    assert facts["quality"]["held_out_psnr"] > 10
    assert "size" not in facts["settings"]
    assert 120 <= facts["quality"]["gaussians"] <= 150
    found = load_gaussians(output / "splats.ply")
    up, of_fit = (load_scene(path).orientation.up for path in (output / "splats.ply", output))
    assert up == pytest.approx(of_fit, abs=1e-5)
    assert len(found) == facts["quality"]["gaussians"]
    assert {"comparison.png", "iter_00000.png", "iter_00020.png", "losses.png"} <= {p.name for p in output.iterdir()}
    page = (output / "results.html").read_text("utf-8")
    assert f"{facts['quality']['held_out_psnr']:.2f} dB" in page
    assert page.count("data:image/jpeg") == 2 * 2  # two photos of nine were held out
    assert 'src="flight.mp4"' in page
    assert (output / "flight.mp4").stat().st_size > 1000
    before = (output / "splats.ply").read_bytes()
    assert main([*command, "--resume"]) == 0
    assert (output / "splats.ply").read_bytes() == before
    for path in (output, output / "splats.ply"):
        scene = load_scene(path)
        assert isinstance(scene, GaussianScene)
        assert scene.facts == f"{len(found)} Gaussians"
        assert scene.backdrop == ((0.0, 0.0, 0.0) if path == output else None)
    assert main(["render", str(output / "splats.ply"), "-o", str(tmp_path / "a.png"), "--size", "32"]) == 0
    assert main(["render", str(output), "-o", str(tmp_path / "a.gif"), "--turntable", "2", "--size", "16"]) == 0
    for more, corner in (((), [0, 0, 0]), (("--background", "white"), [255, 255, 255])):
        picture = tmp_path / "c.png"
        assert main(["render", str(output), "-o", str(picture), "--zoom", "0.1", "--size", "32", *more]) == 0
        with Image.open(picture) as image:
            assert [*image.convert("RGB").getpixel((0, 0))] == corner
            assert image.mode == "RGB"


def test_scenes():
    R, T = look_at_view_transform(2.5, 10.0, 20.0)
    from tirender.renderer import FoVPerspectiveCameras

    cameras = FoVPerspectiveCameras(R=R, T=T)
    ball = truth()
    far = Gaussians(ball.means * 7 + 50, ball.quats, ball.scales * 7, ball.opacities, ball.harmonics)
    pictures = [GaussianScene(g).render(cameras, Look((40, 40))) for g in (ball, far)]
    torch.testing.assert_close(pictures[0], pictures[1], atol=2e-3, rtol=0)
    assert pictures[0][0, 0, 0].min() > 0.99  # white around it
    back = GaussianScene(far).gaussians.means.double() * GaussianScene(far).scale + GaussianScene(far).centre
    torch.testing.assert_close(back.float(), far.means, atol=1e-3, rtol=0)
    for shader in GaussianScene.shaders:
        assert GaussianScene(ball).render(cameras, Look((20, 20), shader)).shape == (1, 20, 20, 3)
    one = GaussianScene(truth(1))
    assert one.render(cameras, Look((20, 20))).min() < 0.9
    with pytest.raises(ValueError, match="at least one Gaussian"):
        GaussianScene(ball[[]])


def test_a_capture_without_points(tmp_path: Path):
    write_binary(tmp_path)
    (tmp_path / "points3D.bin").write_bytes(bytes(8))
    from PIL import Image

    (tmp_path / "images").mkdir()
    for i in range(2):
        Image.new("RGB", (60, 40)).save(tmp_path / "images" / f"{i}.png")
    from tirender.fit import load_capture

    photos = load_capture(tmp_path)
    assert photos.points is None
    assert fit_splats(photos, config=config(n_random=50, steps=2)).step == 2


@pytest.mark.filterwarnings("default:splats.ply:UserWarning")
def test_a_scene_far_away_is_put_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder, output = tmp_path / "photos", tmp_path / "out"
    write_photos(folder)
    shift = torch.tensor([691_000.0, 5_334_000.0, 500.0], dtype=torch.float64)
    images, points = (folder / "sparse" / "0" / f"{name}.txt" for name in ("images", "points3D"))
    lines = []
    for line in filter(None, images.read_text().splitlines()):
        number, *pose, camera, name = line.split()
        rotation = quaternion_to_matrix(torch.tensor([*map(float, pose[:4])], dtype=torch.float64))
        place = torch.tensor([*map(float, pose[4:])], dtype=torch.float64) - rotation @ shift
        lines.append(f"{number} {' '.join(pose[:4])} {' '.join(map(repr, place.tolist()))} {camera} {name}\n\n")
    images.write_text("".join(lines))
    lines = []
    for line in points.read_text().splitlines():
        number, *place, r, g, b, error = line.split()
        place = torch.tensor([*map(float, place)], dtype=torch.float64) + shift
        lines.append(f"{number} {' '.join(map(repr, place.tolist()))} {r} {g} {b} {error}\n")
    points.write_text("".join(lines))
    command = ["fit", "splats", str(folder), "-o", str(output), "--steps", "4", "--refine-cameras"]
    assert main([*command, "--max-gaussians", "150"]) == 0
    assert "splats.ply: add its origin" in capsys.readouterr().err
    header = (output / "splats.ply").read_bytes().partition(b"end_header")[0].decode()
    origin = torch.tensor([*map(float, header.split("comment origin ")[1].split()[:3])], dtype=torch.float64)
    assert float((origin - shift).abs().max()) < 10
    assert float(load_gaussians(output / "splats.ply").means.abs().max()) < 20
    frames = json.loads((output / "transforms.json").read_text())["frames"]
    eyes = torch.tensor([frame["transform_matrix"] for frame in frames], dtype=torch.float64)[:, :3, 3] - shift
    expected = capture()[[i for i in range(9) if i % 8]].cameras.get_camera_center().double()
    torch.testing.assert_close(eyes, expected, atol=0.05, rtol=0)  # a few steps have moved them
