"""Small made-up captures, one for each thing that real ones have: each loads, or says what is wrong."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_capture import write_binary, write_text

from tirender import budget
from tirender.captures import Capture, Photos, cameras_in, load_capture
from tirender.captures.capture import looked_at
from tirender.fit import load_views
from tirender.fit.captured_views import views_of
from tirender.io import IO
from tirender.renderer import PerspectiveCameras, look_at_view_transform
from tirender.structures import Pointclouds

SIZE = (40, 60)  # height and width
POSE = np.array([[1.0, 0, 0, 0.1], [0, 0, -1, 0.2], [0, 1, 0, 0.3], [0, 0, 0, 1]])


def pixels(i: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Smooth, so that JPEG keeps it."""
    y, x = np.mgrid[: size[0], : size[1]]
    return np.stack([4 * x, 5 * y, 0 * x + 40 * (i + 1)], -1).clip(0, 255).astype(np.uint8)


def folder_of(tmp_path: Path, n: int = 2, **more: object) -> Path:
    """Photos with a transforms.json."""
    frames = []
    for i in range(n):
        Image.fromarray(pixels(i)).save(tmp_path / f"{i}.png")
        frames.append({"file_path": f"{i}.png", "transform_matrix": POSE.tolist()})
    (tmp_path / "transforms.json").write_text(json.dumps({"fl_x": 50.0, **more, "frames": frames}))
    return tmp_path


def edit(folder: Path, change: Callable[[dict], object], name: str = "transforms.json") -> Path:
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))
    return folder


def colmap_folder(tmp_path: Path, place: str = "sparse/0", images: str = "images") -> Path:
    sparse = tmp_path / place
    sparse.mkdir(parents=True, exist_ok=True)
    write_binary(sparse)
    (tmp_path / images).mkdir(exist_ok=True)
    for i in range(2):
        Image.fromarray(pixels(i)).save(tmp_path / images / f"{i}.png")
    return tmp_path


def exact(image: torch.Tensor, expected: np.ndarray, off: float = 0.0) -> None:
    assert (image * 255 - torch.from_numpy(expected.astype(np.float32))).abs().max() <= off + 1e-3


# --- COLMAP ---


@pytest.mark.parametrize("place", ["sparse/0", "sparse", ".", "distorted/sparse/0", "sparse/1", "colmap/sparse/0"])
@pytest.mark.parametrize("images", ["images", "input", ".", "images_4", "frames"])
def test_layouts_of_colmap(tmp_path: Path, place: str, images: str):
    capture = load_capture(colmap_folder(tmp_path, place, images))
    exact(capture.image(0), pixels(0))
    assert capture.points is not None
    assert len(capture.points.points_packed()) == 2


def test_photos_beside_a_reconstruction_and_not_in_an_empty_folder(tmp_path: Path):
    folder = colmap_folder(tmp_path, "dense/sparse", "dense/images")
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    exact(load_capture(folder).image(0), pixels(0))


def test_other_endings(tmp_path: Path):
    folder = colmap_folder(tmp_path)
    for i in range(2):
        Image.fromarray(pixels(i)).save(folder / f"images/{i}.jpg", quality=100)
        (folder / f"images/{i}.png").unlink()
    assert load_capture(folder).names == ("0.png", "1.png")
    nerf = edit(folder_of(tmp_path), lambda content: content["frames"][0].update(file_path="0.jpg"))
    assert len(load_capture(nerf / "transforms.json")) == 2


def test_one_of_several_reconstructions(tmp_path: Path):
    folder = colmap_folder(tmp_path, "sparse/1")
    colmap_folder(tmp_path, "sparse/0")
    assert cameras_in(folder) == [folder / "sparse/0", folder / "sparse/1"]


def test_points_in_another_file_or_none(tmp_path: Path):
    folder = colmap_folder(tmp_path)
    cloud = load_capture(folder).points
    (folder / "sparse/0/points3D.bin").unlink()
    with pytest.warns(UserWarning, match="sparse/0: no points3D, so no points are known"):
        assert load_capture(folder).points is None
    IO().save_pointcloud(cloud, folder / "sparse/0/points3D.ply", colors_as_uint8=True)
    found = load_capture(folder).points
    torch.testing.assert_close(found.points_packed(), cloud.points_packed())
    torch.testing.assert_close(found.features_packed(), cloud.features_packed())


def test_files_of_newer_versions_do_not_disturb(tmp_path: Path):
    folder = colmap_folder(tmp_path)
    for name in ("rigs.bin", "frames.bin"):
        (folder / "sparse/0" / name).write_bytes(b"\0" * 8)
    assert len(load_capture(folder)) == 2


def test_a_name_with_spaces_folders_and_letters_beyond_ascii(tmp_path: Path):
    folder = colmap_folder(tmp_path)
    write_text(folder / "sparse/0")
    for path in (folder / "sparse/0").glob("*.bin"):
        path.unlink()
    (folder / "images/cam é").mkdir()
    (folder / "images/1.png").rename(folder / "images/cam é/fünf 5.png")
    listed = folder / "sparse/0/images.txt"
    listed.write_text(listed.read_text("utf-8").replace("1.png", "cam é/fünf 5.png"), "utf-8")
    assert load_capture(folder).names == ("0.png", "cam é/fünf 5.png")


def test_masks_beside_colmap(tmp_path: Path):
    folder = colmap_folder(tmp_path)
    (folder / "masks").mkdir()
    mask = np.zeros(SIZE, np.uint8)
    mask[:20] = 255
    Image.fromarray(mask).save(folder / "masks/0.png.png")  # as COLMAP has them
    Image.fromarray(mask).save(folder / "masks/1.png")
    capture = load_capture(folder)
    assert capture.has_masks
    exact(capture.mask(0), mask)
    exact(capture.image(0), pixels(0) * (mask[..., None] > 0))
    Image.new("L", (7, 7)).save(folder / "masks/1.png")
    with pytest.raises(ValueError, match=r"masks/1.png: expected an image of 60 x 40, got 7 x 7"):
        load_capture(folder)


def test_panoramas_and_unknown_models_are_refused_by_name(tmp_path: Path):
    folder = colmap_folder(tmp_path)
    path = folder / "sparse/0/cameras.bin"
    data = path.read_bytes()
    for number, name in ((17, "EQUIRECTANGULAR"), (99, "model 99")):
        path.write_bytes(data[:12] + struct.pack("<i", number) + data[16:])
        with pytest.raises(ValueError, match=rf"cameras.bin, camera 1: .*, got {name}"):
            load_capture(folder)


# --- transforms.json ---


@pytest.mark.parametrize(
    ("more", "model"),
    [
        ({}, "PINHOLE"),
        ({"camera_model": "OPENCV", "k1": 0.05, "p2": 0.01}, "BROWN"),
        ({"camera_model": "SIMPLE_RADIAL", "k1": 0.05}, "BROWN"),
        ({"k1": 0.05, "k2": -0.01, "k3": 0.01, "k4": -0.001}, "BROWN"),
        ({"camera_model": "FULL_OPENCV", "k1": 0.05, "k6": 0.01}, "FULL_OPENCV"),
        ({"camera_model": "OPENCV_FISHEYE", "k1": 0.02}, "OPENCV_FISHEYE"),
        ({"is_fisheye": True, "k1": 0.02}, "OPENCV_FISHEYE"),
        ({"distortion_params": [0.05, 0.0, 0, 0, 0, 0]}, "BROWN"),
    ],
)
def test_lenses_of_nerfstudio_and_instant_ngp(tmp_path: Path, more: dict, model: str):
    """The photo of a lens, resampled by a search for the direction of each pixel, comes out straight."""
    from tirender.captures.transforms_json import load_transforms

    folder = folder_of(tmp_path, cx=31.0, cy=19.0, w=60, h=40, **more)
    lens = load_transforms(folder / "transforms.json").shots[0].lens
    assert lens.model == model
    assert lens.focal == (50.0, 50.0)
    capture = load_capture(folder)
    assert capture.sizes == (SIZE, SIZE) or model != "PINHOLE"
    focal = capture.cameras.focal_length * min(capture.sizes[0]) / 2
    torch.testing.assert_close(focal, torch.full_like(focal, 50.0))


LENS = {"fl_x": 50.0, "fl_y": 40.0, "cx": 31.0, "cy": 19.0, "w": 60, "h": 40, "k1": 0.01}


@pytest.mark.parametrize(
    ("lens", "pose"),
    [
        ({key: str(value) for key, value in LENS.items()}, POSE.tolist()),
        ({**LENS, "k2": None, "p1": None, "camera_model": None, "mask_path": None}, POSE.tolist()),
        (LENS, POSE.flatten().tolist()),
        (LENS, POSE[:3].flatten().tolist()),
        (LENS, (POSE @ np.diag([3.0, 3, 3, 1])).tolist()),  # as of a camera that is scaled in Blender
    ],
)
def test_what_can_only_mean_one_thing(tmp_path: Path, lens: dict, pose: list):
    def change(content: dict) -> None:
        for frame in content["frames"]:
            frame |= {**lens, "transform_matrix": pose}

    expected = load_capture(folder_of(tmp_path, **LENS))
    found = load_capture(edit(tmp_path, change))
    for name in ("R", "T", "focal_length", "principal_point"):
        torch.testing.assert_close(getattr(found.cameras, name), getattr(expected.cameras, name))
    assert torch.equal(found.image(0), expected.image(0))


@pytest.mark.parametrize(
    ("name", "program"),
    [("poses_bounds.npy", "LLFF"), ("cameras_sphere.npz", "IDR and NeuS"), ("cams/00000000_cam.txt", "MVSNet")],
)
def test_cameras_of_other_programs_are_named(tmp_path: Path, name: str, program: str):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=rf"sparse/0 .*; not read: {name} \({program}\)"):
        load_capture(tmp_path)
    with pytest.raises(ValueError, match=rf"{name}: expected a folder of photos, or a transforms.json"):
        load_capture(tmp_path / name)


def test_points_and_names_that_are_set_aside(tmp_path: Path):
    more = {"ply_file_path": "p.ply", "test_filenames": ["./2.png"], "applied_transform": [[0, 1, 0, 0]]}
    folder = folder_of(tmp_path, n=4, **more)
    head = "ply\nformat ascii 1.0\nelement vertex 2\n" + "".join(f"property float {c}\n" for c in "xyz")
    head += "".join(f"property uchar {c}\n" for c in ("red", "green", "blue"))
    (folder / "p.ply").write_text(head + "end_header\n1 2 3 255 0 128\n4 5 6 0 255 0\n")
    capture = load_capture(folder)
    assert capture.points.points_packed().tolist() == [[1, 2, 3], [4, 5, 6]]
    assert capture.points.features_packed()[0].tolist() == pytest.approx([1, 0, 128 / 255])
    fitted, held_out = capture.split()
    assert (fitted.names, held_out.names) == (("0.png", "1.png", "3.png"), ("2.png",))
    assert capture[[2, 3]].aside == (True, False)
    edit(folder, lambda c: c.update(ply_file_path="../p.ply"))
    with pytest.raises(ValueError, match="a path inside its own folder"):
        load_capture(folder)
    edit(folder, lambda c: c.update(ply_file_path="q.ply"))
    with pytest.raises(ValueError, match="ply_file_path: expected a file that exists, got 'q.ply'"):
        load_capture(folder)


def test_parts_of_a_synthetic_scene(tmp_path: Path):
    folder = folder_of(tmp_path, n=3)
    content = (folder / "transforms.json").read_text()
    (folder / "transforms.json").unlink()
    for part in ("train", "val", "test"):
        (folder / f"transforms_{part}.json").write_text(content)
    edit(folder, lambda c: c["frames"].pop(), "transforms_test.json")
    fitted, held_out = load_capture(folder).split()
    assert (len(fitted), len(held_out)) == (3, 2)
    (folder / "transforms_test.json").unlink()
    assert len(load_capture(folder).split()[1]) == 3  # of val


def test_frames_of_scannetpp_for_tests(tmp_path: Path):
    folder = edit(folder_of(tmp_path, n=3), lambda c: c.update(test_frames=[c["frames"].pop()]))
    assert load_capture(folder).aside == (False, False, True)


def test_missing_photos_are_left_out_with_a_warning(tmp_path: Path):
    folder = folder_of(tmp_path, n=3)
    (folder / "1.png").unlink()
    with pytest.warns(UserWarning, match=r"1 of 3 photos are missing and left out: '1.png'"):
        assert load_capture(folder).names == ("0.png", "2.png")


# --- images ---


def test_sixteen_bits_grey_palettes_and_alpha(tmp_path: Path):
    folder = folder_of(tmp_path, n=4)
    grey = (np.arange(40 * 60).reshape(SIZE) * 27).astype(np.uint16)
    Image.fromarray(grey).save(folder / "0.png")
    Image.fromarray((grey >> 8).astype(np.uint8)).save(folder / "1.png")
    Image.fromarray(pixels(2)).quantize(256).save(folder / "2.png")
    rgba = np.concatenate([pixels(3), np.full((*SIZE, 1), 128, np.uint8)], 2)
    Image.fromarray(rgba).save(folder / "3.png")
    capture = load_capture(folder)
    exact(capture.image(0), np.repeat(grey[..., None], 3, 2) / 257.0, off=0.51)
    exact(capture.image(1), np.repeat((grey >> 8)[..., None], 3, 2))
    exact(capture.image(2), np.asarray(Image.open(folder / "2.png").convert("RGB")))
    exact(capture.image(3), pixels(3) * (128 / 255), off=0.51)
    assert capture.has_masks
    assert capture.mask(3).mean().item() == pytest.approx(128 / 255)
    assert capture.mask(0).mean() == 1


def test_opaque_alpha_is_no_mask(tmp_path: Path):
    folder = folder_of(tmp_path)
    for i in range(2):
        Image.fromarray(pixels(i)).convert("RGBA").save(folder / f"{i}.png")
    assert not load_capture(folder).has_masks
    assert load_capture(folder).mask(0) is None


@pytest.mark.parametrize("turn", [1, 3, 6, 8])
def test_turned_photos(tmp_path: Path, turn: int):
    """A point stays at its pixel, whether cameras are those of the stored rows or of the shown ones."""
    stored = pixels()
    shown = {1: stored, 3: stored[::-1, ::-1], 6: np.rot90(stored, -1), 8: np.rot90(stored)}[turn]
    folder = folder_of(tmp_path, n=1, w=60, h=40, cx=33.0, cy=18.0, fl_y=55.0)
    edit(folder, lambda c: c["frames"][0].update(file_path="t.jpg"))
    exif = Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(stored).save(folder / "t.jpg", quality=100, subsampling=0, exif=exif)
    capture = load_capture(folder)
    assert capture.sizes == (shown.shape[:2],)
    exact(capture.image(0), shown, off=6)
    (folder / "t.jpg").unlink()
    Image.fromarray(stored).save(folder / "t.jpg", quality=100, subsampling=0)
    points = torch.tensor([[0.5, 3.0, 0.4], [0.0, 2.0, 0.3], [0.3, 4.0, 0.0]])  # in front of the camera, along y

    def places(capture: Capture) -> torch.Tensor:
        height, width = capture.sizes[0]
        x, y, _ = capture.cameras.transform_points_screen(points, image_size=((height, width),)).unbind(-1)
        return torch.stack([x, y], -1)

    x, y = places(load_capture(folder)).unbind(-1)
    expected = {1: (x, y), 3: (60 - x, 40 - y), 6: (40 - y, x), 8: (y, 60 - x)}[turn]
    torch.testing.assert_close(places(capture), torch.stack(expected, -1), atol=1e-3, rtol=0)


def test_a_lens_of_the_shown_photo(tmp_path: Path):
    """Its size tells that a program has turned the photo before it found the camera."""
    folder = folder_of(tmp_path, n=1, w=40, h=60)
    edit(folder, lambda c: c["frames"][0].update(file_path="t.jpg"))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels()).save(folder / "t.jpg", quality=100, subsampling=0, exif=exif)
    capture = load_capture(folder)
    exact(capture.image(0), np.rot90(pixels(), -1), off=6)
    assert capture.cameras.R[0, :, 1].tolist() == pytest.approx([0, 0, 1])  # up, of POSE


def test_mixed_sizes(tmp_path: Path):
    folder = folder_of(tmp_path, n=3)
    Image.fromarray(pixels(1, (60, 40))).save(folder / "1.png")
    capture = load_capture(folder)
    assert capture.sizes == ((40, 60), (60, 40), (40, 60))
    assert capture.image_size == (40, 60)
    exact(capture.image(1), pixels(1, (60, 40)))
    photo, row, column = torch.tensor([0, 1, 2, 1]), torch.tensor([3, 59, 39, 0]), torch.tensor([59, 2, 0, 39])
    expected = torch.stack([capture.image(p)[r, c] for p, r, c in zip(photo, row, column)])
    found = capture.pixels(photo, row, column)
    assert torch.equal(found[:, :3], expected)
    assert (found[:, 3] == 1).all()
    small = capture.cropped(40, 40)
    exact(small.image(0), pixels(0)[:, 10:50])
    exact(small.image(1), pixels(1, (60, 40))[10:50])
    ahead = torch.tensor([[0.1, 2.0, 0.35]])
    for i in range(2):
        a = capture.cameras[[i]].transform_points_screen(ahead, image_size=(capture.sizes[i],))[0, :2]
        b = small.cameras[[i]].transform_points_screen(ahead, image_size=((40, 40),))[0, :2]
        cut = torch.tensor([10.0, 0.0] if i == 0 else [0.0, 10.0])
        torch.testing.assert_close(a - cut, b, atol=1e-3, rtol=0)


def test_downscaled_photos_are_means(tmp_path: Path):
    folder = folder_of(tmp_path, n=1)
    full, half = load_capture(folder), load_capture(folder, downscale=2)
    means = full.image(0).reshape(20, 2, 30, 2, 3).mean((1, 3))
    assert (half.image(0) - means).abs().max() < 0.51 / 255
    assert torch.equal(half.cameras.focal_length, full.cameras.focal_length)
    assert load_capture(folder, downscale=1.5).sizes == ((27, 40),)
    assert load_capture(folder, short_side=10).sizes == ((10, 15),)
    assert load_capture(folder, short_side=400).sizes == (SIZE,)
    for given in ({"downscale": 0.5}, {"short_side": 0}):
        with pytest.raises(ValueError, match=next(iter(given))):
            load_capture(folder, **given)


def test_damaged_photos_are_named(tmp_path: Path):
    folder = folder_of(tmp_path, n=3)
    data = (folder / "1.png").read_bytes()
    (folder / "1.png").write_bytes(data[: len(data) // 2])
    capture = load_capture(folder)
    with pytest.raises(ValueError, match=r"1.png: expected an undamaged image"):
        capture.photos.prepare()
    (folder / "1.png").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"1.png: expected an image file"):
        load_capture(folder)


# --- memory ---


def test_photos_are_made_once_and_not_before_they_are_asked_for(tmp_path: Path):
    calls: list[int] = []

    def make(i: int) -> torch.Tensor:
        calls.append(i)
        return torch.full((4, 6, 3), i, dtype=torch.uint8)

    photos = Photos(make, [(4, 6)] * 9)
    assert not calls
    assert photos.subset([5, 3])[1][0, 0, 0] == 3
    threads = [threading.Thread(target=photos.prepare) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(calls) == list(range(9))
    assert photos.subset([8])[0].float().mean() == 8


def test_many_photos_lie_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With a budget of 1 MB, 200 photos of 30,000 bytes are no more in memory than one at a time."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with budget.budget(1e6):
        photos = Photos(lambda i: torch.full((100, 100, 3), i, dtype=torch.uint8), [(100, 100)] * 200)
    photos.prepare()
    assert [int(photos[i][5, 5, 1]) for i in (0, 77, 199)] == [0, 77, 199]
    assert not list(tmp_path.iterdir())  # it has no name, and vanishes with the photos
    disk = type("Disk", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: disk)
    with budget.budget(1e6):
        photos = Photos(lambda i: torch.zeros(100, 100, 3, dtype=torch.uint8), [(100, 100)] * 200, name="here")
    with pytest.raises(ValueError, match=r"here, space in .*: expected 0.0 GB for 200 photos .*, got 0.0 GB"):
        photos.prepare()


def test_a_photo_beyond_the_budget(tmp_path: Path):
    folder = folder_of(tmp_path)
    with budget.budget(5000):
        capture = load_capture(folder)
    with pytest.raises(ValueError, match=r"0.png: expected at most 5000 bytes in memory"):
        capture.image(0)


# --- scenes ---


def ring(n: int = 8, outwards: bool = False) -> PerspectiveCameras:
    R, T = look_at_view_transform(2.0, 10.0, torch.arange(n) * 360.0 / n, at=((1.0, 2.0, 3.0),))
    if outwards:
        R = R * torch.tensor([-1.0, 1, -1])
        T = T * torch.tensor([-1.0, 1, -1])
    return PerspectiveCameras(1.5, R=R, T=T)


def test_bounds():
    noise = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) / 9
    points = Pointclouds([torch.tensor([1.0, 2, 3]) + noise])
    names = tuple("abcdefgh")
    capture = Capture(torch.zeros(8, 4, 4, 3), ring(), points, names)
    bounds = capture.bounds
    torch.testing.assert_close(bounds.middle, torch.tensor([1.0, 2, 3]), atol=1e-3, rtol=0)
    assert bounds.reach == pytest.approx(2.0, rel=1e-3)
    assert 0.7 < bounds.near < 1.0  # half of the depth of the nearest points
    assert 4.0 < bounds.far < 4.8
    moved = capture.moved(torch.tensor([1.0, 2, 3]), 2.0)
    torch.testing.assert_close(moved.bounds.middle, torch.zeros(3), atol=1e-3, rtol=0)
    assert moved.bounds.reach == pytest.approx(1.0, rel=1e-3)
    assert moved.bounds.near == pytest.approx(bounds.near / 2, rel=1e-3)
    without = Capture(torch.zeros(8, 4, 4, 3), ring(), None, names).bounds
    assert 0 < without.near < without.far


def test_cameras_that_look_at_nothing_together():
    cameras = ring(outwards=True)
    eyes = cameras.get_camera_center()
    torch.testing.assert_close(looked_at(eyes, cameras.R[:, :, 2]), eyes.mean(0))


def test_views_without_masks(tmp_path: Path):
    folder = folder_of(tmp_path)
    capture = load_capture(folder)
    with pytest.raises(ValueError, match=r"expected a mask_path in each frame, .*, got opaque images"):
        load_views(folder)
    full = views_of(capture, without_masks="full")
    assert (full.silhouettes == 1).all()
    exact(full.images[0], pixels(0))
    around = Capture(torch.full((8, 30, 40, 3), 0.5), ring(), None, tuple("abcdefgh"))
    with pytest.warns(UserWarning, match="no masks: only a ball"):
        ball = views_of(around, without_masks="ball")
    assert ball.silhouettes[:, 15, 20].min() == 1
    assert ball.silhouettes[:, 0, 0].max() == 0
    assert 0.3 < ball.silhouettes.mean() < 0.7
    assert (ball.images[0, 0, 0] == 1).all()


def shifted_folder(folder: Path, shift: tuple[float, float, float], n: int = 3) -> Path:
    folder.mkdir()
    frames = []
    for i in range(n):
        Image.fromarray(pixels(i)).save(folder / f"{i}.png")
        pose = POSE.copy()
        pose[:3, 3] += [i, 0.3 * i, 0.0]
        pose[:3, 3] += shift
        frames.append({"file_path": f"{i}.png", "transform_matrix": pose.tolist()})
    (folder / "transforms.json").write_text(json.dumps({"fl_x": 50.0, "frames": frames}))
    return folder


@pytest.mark.parametrize("shift", [(691_000.25, 5_334_000.5, 520.125), (4e9, -3e9, 2e9)])
def test_coordinates_of_the_earth_keep_their_precision(tmp_path: Path, shift: tuple[float, float, float]):
    near = load_capture(shifted_folder(tmp_path / "near", (0.0, 0.0, 0.0)))
    far = load_capture(shifted_folder(tmp_path / "far", shift))
    assert near.origin == (0.0, 0.0, 0.0)
    origin, by = (torch.tensor(v, dtype=torch.float64) for v in (far.origin, shift))
    found, expected = (c.cameras.get_camera_center().double() for c in (far, near))
    torch.testing.assert_close(found + origin - by, expected, atol=1e-5, rtol=0)
    assert float(far.cameras.T.abs().max()) < 10
    assert torch.equal(near.cameras.R, far.cameras.R)


def test_cameras_that_no_number_places(tmp_path: Path):
    folder = shifted_folder(tmp_path / "far", (0.9e12, 0.0, 0.0))
    assert load_capture(folder).origin[0] == pytest.approx(0.9e12)
    write_text(tmp_path)
    images = tmp_path / "images.txt"
    lines = images.read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.endswith("0.png"))
    words = lines[at].split()
    words[5:8] = ["1e13", "0", "0"]
    lines[at] = " ".join(words)
    images.write_text("\n".join(lines))
    (tmp_path / "images").mkdir()
    for i in range(2):
        Image.fromarray(pixels(i)).save(tmp_path / f"images/{i}.png")
    with pytest.raises(ValueError, match=r"0\.png: expected a camera within 1e\+12 of the origin"):
        load_capture(tmp_path)
