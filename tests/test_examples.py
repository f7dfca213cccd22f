"""Every example runs, small, and makes the figures it promises."""

from __future__ import annotations

import json
import re
import runpy
import sys
import types
from dataclasses import replace
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from tirender import fit
from tirender.fit import NerfConfig, nerf
from tirender.io import IO, load_volume
from tirender.structures import Pointclouds

EXAMPLES = Path(__file__).parent.parent / "examples"


def run_example(name: str, *args: object) -> None:
    runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]([str(arg) for arg in args])


def test_render_textured_mesh(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_example("render_textured_mesh", "--size", 64, "--output", tmp_path)
    names = ["figure4_texture", "figure5a_light_in_front", "figure5b_light_behind", "figure6_batch"]
    assert capsys.readouterr().out == f"{tmp_path}: " + ", ".join(f"{name}.png" for name in names) + "\n"
    texture, lit, unlit, batch = (plt.imread(tmp_path / f"{name}.png")[..., :3] for name in names)
    assert np.ptp(texture) > 0.5
    creature = unlit.min(-1) < 0.99
    assert lit.shape == unlit.shape == (64, 64, 3)
    assert 0.05 < creature.mean() < 0.3
    assert unlit[creature].mean() < 0.75 * lit[creature].mean()
    rows, columns = batch.shape[0] // 4, batch.shape[1] // 5
    views = [batch[r * rows : (r + 1) * rows, c * columns : (c + 1) * columns] for r in range(4) for c in range(5)]
    assert all(np.abs(a - b).max() > 0.2 for i, a in enumerate(views) for b in views[:i])


def test_render_textured_mesh_of_the_cow(tutorial_data: Path, tmp_path: Path) -> None:
    run_example("render_textured_mesh", "--mesh", "cow", "--size", 32, "--output", tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_fit_splats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_example("fit_splats", "--steps", 100, "--size", 32, "--most", 500, "--output", tmp_path)
    out = capsys.readouterr().out
    found = re.search(r"500 Gaussians, total loss ([\d.]+), PSNR ([\d.]+) dB, SSIM ([\d.]+)", out)
    assert found is not None, out
    assert float(found[2]) > 15
    names = {"splats.ply", "losses.png", "unseen_view.png", "turntable.gif"}
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.usefixtures("needs_long_loops")
def test_render_point_cloud(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_example("render_point_cloud", "--size", 64, "--radius", 0.03, "--output", tmp_path)
    names = ["figure7a_black", "figure7b_blue", "views"]
    assert capsys.readouterr().out == f"{tmp_path}: " + ", ".join(f"{name}.png" for name in names) + "\n"
    black, blue, views = (plt.imread(tmp_path / f"{name}.png")[..., :3] for name in names)
    empty = (black == 0).all(-1)
    assert 0.5 < empty.mean() < 0.95
    is_blue = (blue == [0, 0, 1]).all(-1)
    assert (is_blue <= empty).all()
    assert is_blue.sum() > 0.98 * empty.sum()  # in 8 bits the faintest points are black too
    assert (blue[~is_blue] == black[~is_blue]).all()
    rows, columns = views.shape[0] // 2, views.shape[1] // 4
    grid = [views[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns] for i in range(2) for j in range(4)]
    assert all(np.abs(a - b).max() > 0.2 for i, a in enumerate(grid) for b in grid[:i])


def test_render_point_cloud_of_a_file(tmp_path: Path) -> None:
    directions = torch.nn.functional.normalize(torch.randn(500, 3), dim=1)
    IO().save_pointcloud(Pointclouds([100 + 7 * directions], features=[torch.rand(500, 3)]), tmp_path / "ball.ply")
    folder = tmp_path / "out"
    run_example(
        "render_point_cloud", "--cloud", tmp_path / "ball.ply", "--size", 32, "--radius", 0.2, "--output", folder
    )
    seen = plt.imread(folder / "figure7a_black.png")[..., :3].any(-1)
    assert seen.mean() > 0.75  # the disc, and the points' radius


@pytest.mark.usefixtures("needs_long_loops")
def test_render_point_cloud_of_a_stereo_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A red square, nearer than the blue wall that it hides, at the left of both pictures."""
    image, disparity = np.zeros((500, 740, 3), np.uint8), np.full((500, 740), 20.0, np.float32)
    image[...], disparity[:40] = (0, 0, 255), np.nan
    image[200:320, 100:220], disparity[200:320, 100:220] = (255, 0, 0), 60.0
    data = types.ModuleType("skimage.data")
    data.stereo_motorcycle = lambda: (image, image, disparity)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "skimage", types.ModuleType("skimage"))
    monkeypatch.setitem(sys.modules, "skimage.data", data)
    run_example("render_point_cloud", "--cloud", "motorcycle", "--size", 64, "--radius", 0.02, "--output", tmp_path)
    picture = plt.imread(tmp_path / "figure7a_black.png")[..., :3]
    red, blue = picture[..., 0] > 0.5, picture[..., 2] > 0.5
    assert blue.sum() > 10 * red.sum() > 100
    assert np.nonzero(red)[1].mean() < np.nonzero(blue)[1].mean() - 3


def run_fit(capsys: pytest.CaptureFixture[str], name: str, folder: Path, *args: object) -> list[str]:
    """The figures of an example of a fit, seen to be no blanks; the total loss it ends with is below the first."""
    first, last = (
        float(re.findall(r"total loss (\d+\.\d+)", _output(capsys, name, folder, steps, *args))[0]) for steps in (1, 20)
    )
    assert last < 0.95 * first
    assert len((folder / "mesh.obj").read_text().splitlines()) > 100
    figures = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png") if path.name != "mesh.png")
    assert all(np.ptp(plt.imread(folder / figure)) > 0.5 for figure in figures)
    return figures


def _output(capsys: pytest.CaptureFixture[str], name: str, folder: Path, steps: int, *args: object) -> str:
    run_example(name, "--steps", steps, "--level", 2, "--output", folder, *args)
    return capsys.readouterr().out


def test_fit_mesh(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = run_fit(capsys, "fit_mesh", tmp_path)
    on_the_way = [f"figure2/iter_{step:05d}.png" for step in (0, 5, 10, 15)]
    assert figures == ["figure1_source.png", "figure1_target.png", *on_the_way, "figure3_losses.png"]
    fitted = IO().load_mesh(tmp_path / "mesh.obj").verts_packed()
    assert fitted.abs().max() < 1.3  # the creature's own size


def test_fit_silhouette(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = run_fit(capsys, "fit_silhouette", tmp_path, "--size", 24)
    assert figures == ["figure8_images.png", "figure8_silhouettes.png", "figure9_losses.png", "prediction.png"]


@pytest.mark.parametrize("texture", ["vertex", "uv"])
def test_fit_images(tmp_path: Path, capsys: pytest.CaptureFixture[str], texture: str) -> None:
    figures = run_fit(capsys, "fit_images", tmp_path, "--size", 24, "--texture", texture)
    assert figures == ["figure10_prediction.png", "figure11_losses.png"]
    assert (tmp_path / "mesh.png").is_file()


def test_fit_volume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_radiance_fit(capsys, "fit_volume", tmp_path, 0.7, "--size", 16, "--voxels", 16)
    assert load_volume(tmp_path / "volume.npz").densities().shape == (1, 1, 16, 16, 16)
    assert plt.imread(tmp_path / "figure12_volume.png").shape[:2] == (900, 1500)


@pytest.mark.parametrize(("field", "below"), [("hashgrid", 0.95), ("harmonic", None)])
def test_fit_nerf(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, field: str, below: float | None
) -> None:
    monkeypatch.setattr(fit, "NerfConfig", partial(NerfConfig, rays_per_view=20, n_pts_per_ray=8))
    monkeypatch.setattr(nerf, "HASHGRID_NERF", replace(nerf.HASHGRID_NERF, n_pts_per_ray=16, rays_per_view=16))
    check_radiance_fit(capsys, "fit_nerf", tmp_path, below, "--size", 12, "--field", field)
    assert plt.imread(tmp_path / "figure13_nerf.png").shape[:2] == (900, 1500)


def check_radiance_fit(
    capsys: pytest.CaptureFixture[str], name: str, folder: Path, below: float | None, *args: object
) -> None:
    """The loss falls (the network's does not within ten steps), and the figures and the turntable exist."""
    losses = []
    for steps in (1, 10):
        run_example(name, "--steps", steps, "--output", folder, *args)
        losses.append(float(re.findall(r"total loss (\d+\.\d+)", capsys.readouterr().out)[0]))
    assert below is None or losses[1] < below * losses[0]
    figures = sorted(folder.glob("*.png"))
    assert len(figures) == 3
    assert {"losses.png", "unseen_view.png"} < {figure.name for figure in figures}
    assert all(np.ptp(plt.imread(figure)) > 0.5 for figure in figures)
    assert (folder / "turntable.gif").is_file()


def test_fit_camera_pose(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    distances = []
    for steps in (1, 40):
        run_example("fit_camera_pose", "--steps", steps, "--size", 64, "--output", tmp_path, "--preview", "video")
        distances.append(float(re.findall(r"off by (\d+\.\d+)", capsys.readouterr().out)[0]))
    assert distances[1] < 0.5 * distances[0]
    figures = sorted(path.name for path in tmp_path.iterdir())
    assert figures[0].startswith("losses.png")
    assert figures[1].startswith("preview.")
    assert figures[2:] == ["way.png"]


def test_custom_shader(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_example("custom_shader", "--size", 48, "--steps", 60, "--output", tmp_path)
    assert float(re.findall(r"found to (\d+\.\d+) degrees", capsys.readouterr().out)[0]) < 5
    drawing, first, last = (
        plt.imread(tmp_path / f"{name}.png")[..., :3] for name in ("drawing", "first_guess", "last_guess")
    )
    assert np.abs(last - drawing).mean() < 0.2 * np.abs(first - drawing).mean()


def test_fit_cube(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_example("fit_cube", "--output", tmp_path, "--steps", 200)
    assert float(re.findall(r"off by (\d+\.\d+) of a side", capsys.readouterr().out)[0]) < 0.02
    picture = plt.imread(tmp_path / "way.png")[..., :3]
    first, last, truth = picture[:, :240], picture[:, -480:-240], picture[:, -240:]
    assert np.abs(last - truth).mean() < 0.1 * np.abs(first - truth).mean()


def test_compare_fields(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "NerfConfig", partial(NerfConfig, rays_per_view=20, n_pts_per_ray=8))
    monkeypatch.setattr(nerf, "HASHGRID_NERF", replace(nerf.HASHGRID_NERF, n_pts_per_ray=16, rays_per_view=16))
    run_example("compare_fields", "--size", 12, "--steps", 8, "--minutes", 0.2, "--output", tmp_path)
    curves = json.loads((tmp_path / "curves.json").read_text("utf-8"))
    assert [curve[-1]["step"] for curve in curves.values()] == [8, 8]
    assert curves["hash grid"][-1]["psnr"] > curves["hash grid"][0]["psnr"]
    told = capsys.readouterr().out
    for name, curve in curves.items():
        assert f"{name}: PSNR {curve[-1]['psnr']:.1f} dB, SSIM {curve[-1]['ssim']:.3f} after 8 steps" in told
        assert all(a["seconds"] < b["seconds"] for a, b in zip(curve, curve[1:]))
    assert plt.imread(tmp_path / "compare_fields.png").size


def test_the_figures_of_the_tutorials_are_all_here() -> None:
    """In their order, under their numbers, one example after the other."""
    order = (
        "fit_mesh",
        "render_textured_mesh",
        "render_point_cloud",
        "fit_silhouette",
        "fit_images",
        "fit_volume",
        "fit_nerf",
    )
    sources = [(EXAMPLES / f"{name}.py").read_text("utf-8") for name in order]
    named = [[int(number) for number in re.findall(r'"figure(\d+)', source)] for source in sources]
    assert list(dict.fromkeys(number for numbers in named for number in numbers)) == list(range(1, 14))


def test_examples_are_all_here() -> None:
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {path.stem for path in EXAMPLES.glob("*.py")} <= tested


def test_fit_material(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_example("fit_material", "--steps", 12, "--size", 32, "--views", 4, "--output", tmp_path)
    found = re.search(r"roughness ([\d.]+) .* PSNR ([\d.]+) dB", capsys.readouterr().out)
    assert found is not None
    assert float(found[2]) > 18
    names = {"comparison.png", "losses.png", "environment.hdr", "mesh.glb"}
    assert {path.name for path in tmp_path.iterdir()} == names
