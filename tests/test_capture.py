"""Reconstructions by COLMAP and photos without lens distortion."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tirender.captures import Capture, Lens, is_capture, load_capture
from tirender.captures.colmap import load_colmap
from tirender.captures.undistortion import undistorted
from tirender.renderer.gaussians.cameras import pixel_cameras

QUATS = [(1.0, 0.0, 0.0, 0.0), (0.9, 0.1, -0.2, 0.3)]
CAMERAS = {
    1: (2, 60, 40, (50.0, 31.0, 19.5, 0.05)),
    2: (1, 60, 40, (50.0, 55.0, 30.0, 20.0)),
}
POINTS = [(0.1, 0.2, 3.0, 255, 0, 10, [1, 2]), (-1.0, 0.5, 2.0, 0, 128, 255, [])]
NAMES = ("SIMPLE_PINHOLE", "PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV")


def write_binary(folder: Path) -> None:
    cameras = struct.pack("<Q", len(CAMERAS))
    for key, (model, width, height, parameters) in CAMERAS.items():
        cameras += struct.pack(f"<iiQQ{len(parameters)}d", key, model, width, height, *parameters)
    images = struct.pack("<Q", 2)
    for i, quat in enumerate(QUATS):
        images += struct.pack("<i7di", i + 1, *quat, 0.1, 0.2, 0.3 + i, i + 1) + f"{1 - i}.png\0".encode()
        images += struct.pack("<Q", 1) + struct.pack("<ddq", 1.0, 2.0, 7)
    points = struct.pack("<Q", len(POINTS))
    for i, (x, y, z, r, g, b, track) in enumerate(POINTS):
        points += struct.pack("<Q3d3BdQ", i, x, y, z, r, g, b, 0.5, len(track))
        points += b"".join(struct.pack("<ii", image, 0) for image in track)
    for name, data in (("cameras", cameras), ("images", images), ("points3D", points)):
        (folder / f"{name}.bin").write_bytes(data)


def write_text(folder: Path) -> None:
    cameras = "".join(
        f"{key} {NAMES[model]} {width} {height} {' '.join(map(str, parameters))}\n"
        for key, (model, width, height, parameters) in CAMERAS.items()
    )
    images = "".join(
        f"{i + 1} {' '.join(map(str, quat))} 0.1 0.2 {0.3 + i} {i + 1} {1 - i}.png\n{'1 2 7' * (i == 0)}\n"
        for i, quat in enumerate(QUATS)
    )
    points = "".join(f"{i} {' '.join(map(str, row[:6]))} 0.5 1 0\n" for i, row in enumerate(POINTS))
    for name, text in (("cameras", cameras), ("images", images), ("points3D", points)):
        (folder / f"{name}.txt").write_text("# a comment\n" + text)


@pytest.fixture(params=["bin", "txt"])
def folder(request, tmp_path: Path) -> Path:
    sparse = tmp_path / "sparse" / "0"
    sparse.mkdir(parents=True)
    (write_binary if request.param == "bin" else write_text)(sparse)
    (tmp_path / "images").mkdir()
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
    return tmp_path


def test_both_kinds_of_files(folder: Path):
    found = load_colmap(folder / "sparse" / "0")
    assert [image.name for image in found.images] == ["0.png", "1.png"]
    second, first = found.images
    assert first.lens == Lens("SIMPLE_RADIAL", 60, 40, (50.0, 50.0), (31.0, 19.5), (0.05,))
    assert second.lens == Lens("PINHOLE", 60, 40, (50.0, 55.0), (30.0, 20.0))
    assert np.array_equal(first.rotation, np.eye(3))
    assert np.allclose(second.rotation @ second.rotation.T, np.eye(3))
    assert np.linalg.det(second.rotation) > 0
    assert second.rotation[1, 0] > 0.4  # 2 (x y + w z) / |q|^2
    assert first.translation.tolist() == [0.1, 0.2, 0.3]
    assert found.points.tolist() == [[0.1, 0.2, 3.0], [-1.0, 0.5, 2.0]]
    assert found.colors.tolist() == [[255, 0, 10], [0, 128, 255]]


def test_photos_and_cameras(folder: Path):
    assert is_capture(folder)
    capture = load_capture(folder)
    assert capture.sizes[0] == (40, 60)
    assert capture.sizes[1][0] < 40  # the lens of the second shows no more without its distortion
    assert capture.names == ("0.png", "1.png")
    assert capture.points.features_packed()[1, 1] == pytest.approx(128 / 255)
    viewmats, intrinsics, model = pixel_cameras(capture.cameras, (40, 60))
    assert model == "pinhole"
    found = load_colmap(folder / "sparse" / "0").images
    for view, K, image in zip(viewmats, intrinsics, found):
        assert np.allclose(view[:3, :3], image.rotation, atol=1e-6)
        assert np.allclose(view[:3, 3], image.translation, atol=1e-6)
        if image.name == "0.png":
            (fx, fy), (cx, cy) = image.lens.focal, image.lens.centre
            assert np.allclose(K, [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], atol=1e-4)
    raw = torch.from_numpy(np.asarray(Image.open(folder / "images" / "0.png")).copy()) / 255
    torch.testing.assert_close(capture.image(0), raw)  # its lens has no distortion
    small = load_capture(folder, 20)
    assert small.sizes[0] == (20, 30)
    torch.testing.assert_close(small.image(0)[3, 5], raw[6:8, 10:12].mean((0, 1)), atol=0.5 / 255 + 1e-6, rtol=0)
    assert torch.equal(small.cameras.focal_length[0], capture.cameras.focal_length[0])


def test_held_out(folder: Path):
    capture = load_capture(folder)
    assert capture.split() == (capture, None)
    many = capture[[0, 1] * 9]
    fitted, held_out = many.split()
    assert isinstance(fitted, Capture)
    assert len(fitted) == 15
    assert len(held_out) == 3
    assert held_out.names == tuple(many.names[i] for i in (0, 8, 16))
    assert len(fitted.cameras) == 15
    assert fitted.to("cpu").sizes[1] == (40, 60)


@pytest.mark.parametrize("tangential", [(0.0, 0.0), (0.01, -0.02)])
def test_distortion_is_taken_out(tangential):
    """A photo of a pattern through a lens becomes the pattern."""
    lens = Lens("OPENCV", 90, 70, (80.0, 85.0), (43.0, 36.0), (0.3, -0.1, *tangential))

    def pattern(u):  # of the directions in which it is seen
        return torch.stack([(9 * u[..., 0]).sin(), (7 * u[..., 1]).cos(), (5 * u.sum(-1)).sin()], -1) / 2 + 0.5

    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) + 0.5 for n in (70, 90)), indexing="ij")
    seen = (torch.stack([x, y], -1) - torch.tensor([43.0, 36])) / torch.tensor([80.0, 85])
    u = seen.clone()
    for _ in range(60):  # the direction that the lens takes to a pixel
        r = u.square().sum(-1)
        k1, k2, p1, p2 = lens.coefficients
        a, b = u.unbind(-1)
        offset = torch.stack([2 * p1 * a * b + p2 * (r + 2 * a * a), p1 * (r + 2 * b * b) + 2 * p2 * a * b], -1)
        u = seen - (k1 * r + k2 * r * r)[..., None] * u - offset
    straight = undistorted(pattern(u).float(), lens, Lens("PINHOLE", 90, 70, lens.focal, lens.centre))
    error = (straight - pattern(seen)).abs()[8:-8, 8:-8]
    assert error.max() < 0.01
    assert (pattern(u) - pattern(seen)).abs().max() > 0.1


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("cameras", lambda d: d.replace(b"SIMPLE_RADIAL", b"FULL_FISHEYE"), "SIMPLE_PINHOLE"),
        ("cameras", lambda d: d.replace(b"50.0 55.0", b"-5.0 55.0"), "focal lengths"),
        ("cameras", lambda d: d.replace(b" 60 40", b" 0 40"), "pixels"),
        ("cameras", lambda d: d.replace(b"50.0 55.0", b"50.0 nan"), "finite"),
        ("images", lambda d: d.replace(b" 2 0.png", b" 9 0.png"), "a camera that exists"),
        ("images", lambda d: d.replace(b"0.9 0.1 -0.2 0.3", b"0 0 0 0"), "a rotation"),
        ("images", lambda d: b"# none\n", "an image"),
        ("points3D", lambda d: d.replace(b"128", b"999"), "colours of 0 to 255"),
        ("points3D", lambda d: d.replace(b"128", b"9" * 400), "colours of 0 to 255"),
        ("points3D", lambda d: d.replace(b"0 128 255 0.5 1 0", b"0"), "a point with a place and a colour"),
        ("points3D", lambda d: d.replace(b"0.5 2.0", b"inf 2.0"), "finite positions"),
        ("points3D", lambda d: d.replace(b"128", b"red"), "line 3"),
    ],
)
def test_damaged_text(tmp_path: Path, name: str, change, match: str):
    write_text(tmp_path)
    path = tmp_path / f"{name}.txt"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=match):
        load_colmap(tmp_path)


def test_missing_photos_and_folders(folder: Path):
    (folder / "images" / "1.png").unlink()
    with pytest.warns(UserWarning, match=r"1 of 2 photos are missing and left out: '1.png'"):
        assert load_capture(folder).names == ("0.png",)
    Image.new("RGB", (70, 40)).save(folder / "images" / "1.png")
    with pytest.raises(ValueError, match=r"1.png: expected an image of the proportions 60 x 40, got 70 x 40"):
        load_capture(folder)
    for i in range(2):
        (folder / "images" / f"{i}.png").unlink()
    with pytest.raises(ValueError, match=r"none of the 2: no '0.png', '1.png'"):
        load_capture(folder)
    with pytest.raises(FileNotFoundError, match="tirender capture FOLDER makes it"):
        load_capture(folder / "images")
    assert not is_capture(folder / "images")


def test_photos_outside_of_the_folder(tmp_path: Path):
    write_text(tmp_path)
    images = tmp_path / "images.txt"
    images.write_text(images.read_text().replace("0.png", "../secret.png"))
    (tmp_path / "images").mkdir()
    with pytest.raises(ValueError, match="folder"):
        load_capture(tmp_path)


@pytest.mark.parametrize("n", [300, pytest.param(20_000, marks=pytest.mark.long)])
def test_mutated_binaries_are_read_or_refused(tmp_path: Path, n: int):
    write_binary(tmp_path)
    good = {name: (tmp_path / f"{name}.bin").read_bytes() for name in ("cameras", "images", "points3D")}
    rng, refused = random.Random(0), 0
    for _ in range(n):
        name = rng.choice([*good])
        broken = bytearray(good[name])
        for _ in range(rng.randrange(1, 5)):
            place = rng.randrange(len(broken))
            broken[place : place + rng.randrange(2)] = bytes([rng.randrange(256)]) * rng.randrange(3)
        (tmp_path / f"{name}.bin").write_bytes(bytes(broken))
        try:
            load_colmap(tmp_path)
        except ValueError:
            refused += 1
        (tmp_path / f"{name}.bin").write_bytes(good[name])
    assert refused > n // 10
