"""``tirender fit volume`` and ``tirender fit nerf``: what they write, of mesh files and of folders of views."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image
from test_fit_splats import capture
from test_transforms_json import write_folder

from tirender.cli import main
from tirender.engine.hash_grid import HashGridLayout
from tirender.fields import HashGridConfig, HashGridField, NeuralRadianceField
from tirender.fit import nerf, normalized, render_views, volume
from tirender.fit.volume import VolumeConfig, volume_model
from tirender.fit_kinds import KINDS, radiance, targets
from tirender.fit_kinds.targets import load_views_and_held_out
from tirender.io import IO
from tirender.renderer import TexturesVertex
from tirender.utils import torus

FEW = ("--steps", 4, "--every", 2, "--checkpoint", 2, "--frames", 3, "--size", 16)
FIGURES = {"iter_00000.png", "iter_00002.png", "comparison.png", "losses.png"}
ALWAYS = {"losses.json", "checkpoint.pt", "checkpoint.previous.pt", "turntable.gif", "turntable.mp4"}
OF_PHOTOS = FIGURES | ALWAYS | {"mesh.ply", "results.html", "flight.mp4"}


def fit(*args: object) -> int:
    return main(["fit", *map(str, args)])


@dataclass(frozen=True)
class SmallNerf(nerf.NerfConfig):
    """Few samples, and small fields."""

    n_pts_per_ray: int = 3
    rays_per_view: int = 20

    def make_field(self) -> torch.nn.Module:
        if self.field == "harmonic":
            field = NeuralRadianceField(4, 8)
            torch.nn.init.constant_(field.density_layer[0].bias, 1.0)
            return field
        layout = HashGridLayout(n_levels=2, log2_rows=6, base_resolution=4, finest_resolution=8)
        return HashGridField(HashGridConfig(self.extent, layout, 8, self.n_pts_per_ray, grid_resolution=4))


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small volumes and fields, dense enough at once for a mesh."""
    small = VolumeConfig(volume_size=8, n_pts_per_ray=20)
    monkeypatch.setattr(volume, "VolumeConfig", lambda: small)
    monkeypatch.setattr(volume, "BEST_VOLUME", replace(small, double_at=(2,)))
    monkeypatch.setattr(volume, "volume_model", partial(make_volume_model, 1.0))
    monkeypatch.setattr(nerf, "NerfConfig", SmallNerf)
    monkeypatch.setattr(nerf, "HASHGRID_NERF", SmallNerf(field="hashgrid"))
    monkeypatch.setattr(radiance, "VOXELS", 12)


def make_volume_model(log_density: float, *args: Any) -> torch.nn.Module:
    model = volume_model(*args)
    torch.nn.init.constant_(model.log_densities, log_density)
    return model


@pytest.fixture
def ring(tmp_path: Path) -> Path:
    """A coloured ring away from the origin."""
    mesh = torus(0.3, 1.0, 10, 20)
    mesh.textures = TexturesVertex(mesh.verts_padded() / 3 + 0.5)
    path = tmp_path / "ring.ply"
    IO().save_mesh(mesh.scale_verts(2.0).offset_verts(torch.tensor([5.0, 6, 7])), path)
    return path


def check_results(folder: Path, names: set[str] = FIGURES | ALWAYS | {"mesh.ply"}) -> dict:
    """losses.json, once all the files are seen to be there, no figure blank, and the turntable turning."""
    assert {path.name for path in folder.iterdir()} == names
    assert all(np.ptp(plt.imread(folder / name)) > 0.5 for name in FIGURES)
    with Image.open(folder / "turntable.gif") as turntable:
        assert turntable.size == (16, 16)
        assert turntable.n_frames > 1 or "mesh.ply" not in names  # a faint fog looks the same from all sides
    facts = json.loads((folder / "losses.json").read_text("utf-8"))
    assert list(facts["losses"]) == ["color", "silhouette", "total"]
    return facts


@pytest.mark.parametrize(
    ("kind", "args"),
    [
        ("volume", ()),
        ("volume", ("--preset", "best")),
        ("nerf", ()),
        ("nerf", ("--field", "hashgrid")),
        ("nerf", ("--preset", "best")),
    ],
)
def test_to_a_mesh_file(
    tmp_path: Path, ring: Path, capsys: pytest.CaptureFixture[str], kind: str, args: tuple[str, ...]
) -> None:
    out = tmp_path / "out"
    assert fit(kind, ring, "-o", out, "--views", 5, *FEW, *args) == 0
    facts = check_results(out)
    assert facts["settings"]["kind"] == kind
    if kind == "nerf":
        assert facts["settings"]["field"] == ("hashgrid" if args else "harmonic")
    assert set(facts["quality"]) == {"held_out_psnr", "held_out_ssim"}
    assert capsys.readouterr().out.startswith(
        f"{out}: checkpoint.pt after 4 steps; color {facts['losses']['color']:.6f}"
    )
    verts = IO().load_mesh(out / "mesh.ply").verts_packed()
    assert (verts.mean(0) - torch.tensor([5.0, 6, 7])).abs().max() < 1
    assert 2.5 < float((verts - verts.mean(0)).abs().max()) < 5  # the cube of 3 x 3 x 3 around the unit sphere


def write_views(folder: Path, n: int) -> None:
    mesh = torus(0.3, 1.0, 10, 20)
    mesh.textures = TexturesVertex(mesh.verts_padded() / 3 + 0.5)
    write_folder(folder, render_views(normalized(mesh)[0], n, 32), scale=2.5)


@pytest.mark.parametrize(("n", "held_out"), [(4, False), (9, True)])
def test_to_a_folder(tmp_path: Path, n: int, held_out: bool) -> None:
    write_views(tmp_path / "photos", n)
    assert fit("volume", tmp_path / "photos", "-o", tmp_path / "out", *FEW) == 0
    facts = check_results(tmp_path / "out", OF_PHOTOS)
    assert set(facts["quality"]) == ({"held_out_psnr", "held_out_ssim"} if held_out else {"fitted_psnr", "fitted_ssim"})
    page = (tmp_path / "out" / "results.html").read_text("utf-8")
    assert ("2 photos that it has not seen" if held_out else "the photos that it was fitted to") in page
    assert page.count("data:image/jpeg") == 2 * (2 if held_out else 4)
    assert all(f"images/r_{i}<td>" in page for i in ((0, 8) if held_out else range(4)))
    verts = IO().load_mesh(tmp_path / "out" / "mesh.ply").verts_packed()
    assert (verts.mean(0) - torch.tensor([1.0, 2, 3])).abs().max() < 1.5


def test_to_a_synthetic_scene_of_nerf(tmp_path: Path) -> None:
    folder = tmp_path / "lego"
    write_views(folder, 4)
    (folder / "transforms.json").rename(folder / "transforms_train.json")
    (folder / "images").rename(folder / "train")
    write_views(folder, 3)
    (folder / "transforms.json").rename(folder / "transforms_test.json")
    (folder / "images").rename(folder / "test")
    for part in ("train", "test"):
        path = folder / f"transforms_{part}.json"
        path.write_text(path.read_text().replace("./images/", f"./{part}/"))
    target = load_views_and_held_out({"source": str(folder), "size": 16, "views": None}, "cpu")
    views, held_out = target.views, target.held_out
    assert (len(views), len(held_out)) == (4, 3)
    assert views.image_size == held_out.image_size == (16, 16)
    assert fit("nerf", folder, "-o", tmp_path / "out", *FEW) == 0
    assert "held_out_psnr" in check_results(tmp_path / "out", OF_PHOTOS)["quality"]


def test_resumed_it_goes_on(tmp_path: Path, ring: Path) -> None:
    args = ("volume", ring, "--preset", "best", "--views", 4, "-o", tmp_path / "out", *FEW)
    assert fit(*args) == 0
    first = check_results(tmp_path / "out")
    assert fit(*args, "--resume") == 0  # nothing is left to do
    assert check_results(tmp_path / "out") == first
    assert fit(*args, "--resume", "--steps", 6) == 0
    assert check_results(tmp_path / "out", FIGURES | ALWAYS | {"mesh.ply", "iter_00004.png"})["steps"] == 6


@pytest.mark.filterwarnings("default:no :UserWarning")
def test_without_an_encoder_and_without_a_surface(
    tmp_path: Path, ring: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setattr(volume, "volume_model", partial(make_volume_model, -9.0))
    assert fit("volume", ring, "-o", tmp_path / "out", "--views", 4, *FEW) == 0
    check_results(tmp_path / "out", FIGURES | ALWAYS - {"turntable.mp4"})
    error = capsys.readouterr().err
    assert "tirender: no turntable.mp4: MP4 needs imageio-ffmpeg: pip install 'tirender[video]'" in error
    assert "tirender: no mesh.ply: the opacity is below 0.5 everywhere" in error


def test_views_that_are_too_small_and_arguments_that_cannot_be_read(
    tmp_path: Path, ring: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit("volume", ring, "-o", tmp_path / "out", "--size", 8) == 2
    assert "--size: expected views of at least 11 x 11 pixels, got 8 x 8" in capsys.readouterr().err
    for args in (["nerf"], ["nerf", ring, "--field", "grid"], ["volume", ring, "--frames", "-1"]):
        with pytest.raises(SystemExit, match="2"):
            fit(*args)
        assert capsys.readouterr().err.count("\n") == 1


def test_the_command_has_all_fields() -> None:
    (field,) = (option for option in KINDS["nerf"].options if option.name == "field")
    assert field.values == nerf.FIELDS


def test_a_scene_is_measured_by_a_bounded_number_of_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    photos = capture()[[i % 9 for i in range(80)]]
    height, width = photos.image_size
    for most, n in ((100 * height * width, 10), (5 * height * width, 5), (0, targets.LEAST_HELD_OUT)):
        monkeypatch.setattr(targets, "MOST_PIXELS", most)
        target = targets.load_scene_target(photos, {})
        assert (len(target.photos), len(target.held_out)) == (70, n)
