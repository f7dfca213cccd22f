"""Cameras of plain photos: what is compared, what is reported, and a scene whose cameras are known."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tirender.captures import load_capture, reconstruct
from tirender.cli import main
from tirender.commands import capture as command

PYCOLMAP = pytest.mark.skipif(not reconstruct.has_pycolmap(), reason="needs pycolmap: pip install 'tirender[photos]'")


def test_the_command_has_all_choices():
    assert command.CAMERA_MODELS == reconstruct.CAMERA_MODELS
    assert command.PAIRS == reconstruct.PAIRS


def test_pairs():
    assert reconstruct.pairs_of(4, "auto") == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert len(reconstruct.pairs_of(250, "auto")) == 250 * 249 // 2
    sequence = reconstruct.pairs_of(1000, "auto")
    assert sequence == reconstruct.pairs_of(1000, "sequence")
    assert len(sequence) < 1000 * 30
    chosen = set(sequence)
    assert len(chosen) == len(sequence)
    assert all(0 <= i < j < 1000 for i, j in sequence)
    assert all((i, i + step) in chosen for i in (0, 123, 900) for step in (1, 7, 10, 64))
    assert {(0, 990), (310, 320), (10, 500)} <= chosen  # where a walk comes back


def test_photos_in_folders(tmp_path: Path):
    for name in ("a.JPG", "b/c.png", "masks/a.png", "sparse/x.png", ".hidden/d.png", "notes.txt", "b/.e.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert reconstruct.photos_in(tmp_path) == (tmp_path, ["a.JPG", "b/c.png"])
    (tmp_path / "images").mkdir()
    assert reconstruct.photos_in(tmp_path) == (tmp_path, ["a.JPG", "b/c.png"])
    (tmp_path / "images/f.jpeg").write_bytes(b"")
    assert reconstruct.photos_in(tmp_path) == (tmp_path / "images", ["f.jpeg"])


def test_the_report():
    others = {"c.png": "blurred", "d.png": "alone", "e.png": "blurred"}
    report = reconstruct.Report("photos/sparse/0", 5, ["a.png", "b.png"], others, 1234, 0.5)
    first, *rest = str(report).splitlines()
    assert first == "photos/sparse/0: 2 of 5 photos placed, 1,234 points, 0.50 px"
    assert rest == ["not placed, blurred: c.png, e.png (2)", "not placed, alone: d.png (1)"]


def test_without_pycolmap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    assert main(["capture", str(tmp_path)]) == 2
    assert "cameras of photos need pycolmap: pip install 'tirender[photos]'" in capsys.readouterr().err


@PYCOLMAP
def test_photos_that_share_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for i in range(3):
        Image.new("RGB", (64, 48), (40 * i, 90, 0)).save(tmp_path / f"{i}.png")
    assert main(["capture", str(tmp_path)]) == 2
    assert "expected photos that overlap: each thing in three or more" in capsys.readouterr().err
    (tmp_path / "database.db").write_bytes(b"no database")
    assert main(["capture", str(tmp_path)]) == 2
    assert f"{tmp_path}: COLMAP ended with code 1: " in capsys.readouterr().err
    assert main(["capture", str(tmp_path), "--again"]) == 2
    assert "expected photos that overlap" in capsys.readouterr().err


@PYCOLMAP
def test_too_few_photos(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert main(["capture", str(tmp_path)]) == 2
    assert "expected three or more photos, got 1" in capsys.readouterr().err


def rendered_room(folder: Path, n: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    """Photos of a textured box from the inside; returns rotations and places of the cameras."""
    from tirender.renderer import (
        AmbientLights,
        FoVPerspectiveCameras,
        HardPhongShader,
        MeshRasterizer,
        MeshRenderer,
        RasterizationSettings,
        TexturesVertex,
        look_at_view_transform,
    )
    from tirender.structures import Meshes
    from tirender.utils import ico_sphere

    sphere = ico_sphere(5)
    g = torch.Generator().manual_seed(0)
    verts = sphere.verts_packed()
    bumps = 1 + 0.25 * (verts @ torch.randn(3, 6, generator=g) * 2).sin().mean(1, keepdim=True)
    colors = torch.rand(len(verts), 3, generator=g)
    mesh = Meshes([verts * bumps], sphere.faces_list(), TexturesVertex([colors]))
    R, T = look_at_view_transform(2.6, 10 * torch.sin(torch.arange(n) * 1.0), torch.arange(n) * 7.0)
    settings = RasterizationSettings((360, 480), cull_backfaces=True)
    folder.mkdir(exist_ok=True)
    for i in range(n):
        cameras = FoVPerspectiveCameras(R=R[[i]], T=T[[i]], fov=45.0)
        renderer = MeshRenderer(
            MeshRasterizer(cameras, settings), HardPhongShader(cameras=cameras, lights=AmbientLights())
        )
        pixels = (renderer(mesh)[0, ..., :3].clamp(0, 1) * 255).byte().numpy()
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return R, -(R @ T[..., None])[..., 0]


@PYCOLMAP
@pytest.mark.long
def test_cameras_of_photos_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Up to a similarity, they are those that rendered the photos; an interrupted call goes on."""
    R, eyes = rendered_room(tmp_path)
    Image.new("RGB", (480, 360)).save(tmp_path / "99.png")  # shows nothing
    command = [sys.executable, "-m", "tirender", "capture", str(tmp_path)]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with pytest.raises(subprocess.TimeoutExpired):
        first.communicate(timeout=6)
    first.terminate()
    _, error = first.communicate()
    assert first.returncode == 130, error
    assert main(["capture", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert f"{tmp_path}/sparse/0: 12 of 13 photos placed" in said
    assert "not placed, too few features (blurred, dark or plain): 99.png (1)" in said
    report = json.loads((tmp_path / "capture.json").read_text())
    assert report["error"] < 1.0
    assert not (tmp_path / "sparse.partial").exists()
    capture = load_capture(tmp_path)
    found = capture.cameras.get_camera_center().double()
    a, b = (x - x.mean(0) for x in (found, eyes.double()))
    u, s, v = torch.linalg.svd(a.T @ b)
    turn = u @ torch.diag(torch.tensor([1.0, 1, torch.det(u @ v)], dtype=torch.float64)) @ v
    scale = (s.sum() / a.square().sum()).item()
    assert ((a @ turn) * scale - b).norm(dim=1).max() < 0.03
    angles = (turn.T @ capture.cameras.R.double()) @ R.double().mT
    cosines = (angles.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2
    assert np.degrees(np.arccos(cosines.clamp(-1, 1).numpy())).max() < 0.5
    before = (tmp_path / "sparse/0/images.bin").read_bytes()
    assert main(["capture", str(tmp_path)]) == 0  # nothing is left to do
    assert (tmp_path / "sparse/0/images.bin").read_bytes() == before


def test_a_fit_finds_cameras_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    from test_capture import write_binary

    from tirender.fit_kinds.photos import load_photos

    for i in range(3):  # fewer are refused
        Image.new("RGB", (60, 40), (200, 0, 0)).save(tmp_path / f"{i}.png")

    def found(folder: str) -> reconstruct.Report:
        (tmp_path / "sparse/0").mkdir(parents=True)
        write_binary(tmp_path / "sparse/0")
        return reconstruct.Report("there", 2, ["0.png", "1.png"])

    monkeypatch.setattr(reconstruct, "reconstruct", found)
    monkeypatch.setattr(reconstruct, "has_pycolmap", lambda: False)
    with pytest.raises(FileNotFoundError, match=r"tirender capture FOLDER makes it"):
        load_photos({"source": str(tmp_path)}, "cpu")
    monkeypatch.setattr(reconstruct, "has_pycolmap", lambda: True)
    capture = load_photos({"source": str(tmp_path), "downscale": 2.0}, "cpu")
    assert capture.sizes[0] == (20, 30)
    said = capsys.readouterr().err
    assert "photos without cameras; these are found first (tirender capture)" in said
    assert "there: 2 of 2 photos placed" in said
    (tmp_path / "transforms.json").write_text("{}")
    load_photos({"source": str(tmp_path)}, "cpu")
    assert f"the cameras of {tmp_path}/sparse/0, not of {tmp_path}/transforms.json" in capsys.readouterr().err


def test_of_many_photos_that_are_set_aside_some_measure_quality():
    from tirender.captures import Capture
    from tirender.fit_kinds.photos import MOST_HELD_OUT, split_photos
    from tirender.renderer import PerspectiveCameras

    cameras = PerspectiveCameras(1.0, T=torch.rand(120, 3))
    names = tuple(map(str, range(120)))
    many = Capture(torch.zeros(120, 2, 2, 3), cameras, None, names, tuple(i >= 20 for i in range(120)))
    photos, held_out = split_photos(many)
    assert (len(photos), len(held_out)) == (20, MOST_HELD_OUT)
    assert split_photos(many[range(16)])[1].names == ("0", "8")
