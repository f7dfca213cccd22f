"""Views from folders of images with a transforms.json: right cameras, and one clear line for every mistake."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tirender.fit import Views, load_views, normalized, render_views
from tirender.fit.quality import silhouette_iou
from tirender.renderer import HardPhongShader, MeshRasterizer, MeshRenderer, RasterizationSettings, TexturesVertex
from tirender.structures import Meshes
from tirender.utils import torus

SIZE = 48


@pytest.fixture(scope="module")
def mesh() -> Meshes:
    """A coloured ring that looks different from everywhere."""
    ring = torus(0.3, 1.0, 12, 24).offset_verts(torch.tensor([0.1, 0.3, 0.2]))
    ring = normalized(ring)[0]
    ring.textures = TexturesVertex(ring.verts_padded() / 2 + 0.5)
    return ring


@pytest.fixture(scope="module")
def views(mesh: Meshes) -> Views:
    return render_views(mesh, 6, SIZE, elev=torch.tensor([0.0, 20, -30, 60, 10, 5]), azim=torch.arange(6) * 60.0)


def write_folder(folder: Path, views: Views, masks: bool = False, scale: float = 1.0) -> dict:
    """Write views as NeRF's files, of a world that is ``scale`` times as large and moved by (1, 2, 3)."""
    frames = []
    for i in range(len(views)):
        rgba = torch.cat([views.images[i], views.silhouettes[i][..., None]], -1).mul(255).round().byte().numpy()
        R, T = views.cameras.R[i], views.cameras.T[i]
        pose = torch.eye(4)
        pose[:3, :3] = R * torch.tensor([-1.0, 1, -1])  # +X right, +Y up, looking along -Z
        pose[:3, 3] = -(R @ T) * scale + torch.tensor([1.0, 2, 3])
        frame = {"file_path": f"./images/r_{i}", "transform_matrix": pose.tolist()}
        (folder / "images").mkdir(parents=True, exist_ok=True)
        if masks:
            Image.fromarray(rgba[..., :3]).save(folder / f"images/r_{i}.png")
            Image.fromarray(rgba[..., 3]).save(folder / f"images/mask_{i}.png")
            frame["mask_path"] = f"images/mask_{i}.png"
        else:
            Image.fromarray(rgba).save(folder / f"images/r_{i}.png")
        frames.append(frame)
    content = {"camera_angle_x": math.radians(60), "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(content))
    return content


def hard_renderer(size: int) -> MeshRenderer:
    return MeshRenderer(MeshRasterizer(raster_settings=RasterizationSettings(size)), HardPhongShader())


@pytest.mark.parametrize("masks", [False, True])
def test_cameras_images_and_masks_are_read(tmp_path: Path, mesh: Meshes, views: Views, masks: bool) -> None:
    write_folder(tmp_path, views, masks)
    loaded = load_views(tmp_path)
    assert torch.equal(loaded.silhouettes, views.silhouettes)
    assert (loaded.images - views.images).abs().max() < 0.5 / 255 + 1e-6
    moved = mesh.offset_verts(torch.tensor([1.0, 2, 3]))
    assert silhouette_iou(moved, hard_renderer(SIZE), loaded) > 0.999
    assert load_views(tmp_path / "transforms.json").image_size == (SIZE, SIZE)


def test_views_of_any_world_are_normalized(tmp_path: Path, mesh: Meshes, views: Views) -> None:
    write_folder(tmp_path, views, scale=5.0)
    loaded, centre, scale = load_views(tmp_path).normalized()
    radius = float(mesh.verts_packed().norm(dim=1).max())
    assert scale == pytest.approx(5 * radius, rel=0.1)
    torch.testing.assert_close(centre, torch.tensor([1.0, 2, 3]), atol=0.5, rtol=0)
    fitted = mesh.scale_verts(5.0).offset_verts(torch.tensor([1.0, 2, 3])).offset_verts(-centre).scale_verts(1 / scale)
    assert silhouette_iou(fitted, hard_renderer(SIZE), loaded) > 0.999


@pytest.mark.parametrize("per_frame", [False, True])
def test_intrinsics_in_pixels_of_a_larger_image(tmp_path: Path, mesh: Meshes, views: Views, per_frame: bool) -> None:
    content = write_folder(tmp_path, views)
    del content["camera_angle_x"]
    focal = 0.5 * 100 / math.tan(math.radians(30))
    pixels = {"w": 100, "h": 100, "fl_x": focal, "fl_y": focal, "cx": 50, "cy": 50, "k1": 0.0}
    for place in content["frames"] if per_frame else [content]:
        place.update(pixels)
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    moved = mesh.offset_verts(torch.tensor([1.0, 2, 3]))
    assert silhouette_iou(moved, hard_renderer(SIZE), load_views(tmp_path)) > 0.999


WIDE, TALL, FULL = 0.5 * 40 / math.tan(0.4), 0.5 * 20 / math.tan(0.3), 0.5 * 20 / math.tan(math.radians(25))


@pytest.mark.parametrize(
    ("shared", "own", "expected"),
    [
        ({"camera_angle_x": 0.8}, {}, (WIDE, WIDE)),
        ({"camera_angle_y": 0.6}, {}, (TALL, TALL)),
        ({"camera_angle_x": 0.8, "camera_angle_y": 0.6}, {}, (WIDE, TALL)),
        ({"y_fov": 50}, {}, (FULL, FULL)),
        ({"fl_x": 30}, {}, (30, 30)),
        ({"fl_y": 35}, {}, (35, 35)),
        ({"fl_x": 30, "fl_y": 35}, {}, (30, 35)),
        ({"fl_x": 60, "fl_y": 70, "w": 80, "h": 40}, {}, (30, 35)),
        ({"fl_x": 30, "camera_angle_x": 2.0, "camera_angle_y": 0.6}, {}, (30, TALL)),
        ({"fl_x": 30, "fl_y": 35}, {"camera_angle_x": 0.8}, (WIDE, 35)),
        ({"camera_angle_x": 0.8}, {"fl_x": 30}, (30, 30)),
        ({"camera_model": "opencv", "k1": 0, "p1": 0.0, "is_fisheye": False, "fl_x": 30}, {}, (30, 30)),
        ({"aabb_scale": 16, "scale": 0.3, "offset": [0, 1, 0], "applied_scale": 2.0, "fl_x": 30}, {}, (30, 30)),
    ],
)
def test_focal_lengths_of_an_image_of_40_by_20(tmp_path: Path, shared: dict, own: dict, expected: tuple) -> None:
    """In pixels of the image; NDC units are half of its shorter side."""
    Image.new("RGBA", (40, 20), (255, 0, 0, 128)).save(tmp_path / "a.png")
    frame = {"file_path": "a", "transform_matrix": np.eye(4).tolist(), **own}
    (tmp_path / "transforms.json").write_text(json.dumps({**shared, "frames": [frame]}))
    focal = load_views(tmp_path).cameras.focal_length[0] * 10
    assert focal.tolist() == pytest.approx(expected, rel=1e-5)


def test_three_rows_of_a_matrix_are_enough(tmp_path: Path, views: Views) -> None:
    content = write_folder(tmp_path, views)
    expected = load_views(tmp_path)
    for frame in content["frames"]:
        frame["transform_matrix"] = frame["transform_matrix"][:3]
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    assert torch.equal(load_views(tmp_path).cameras.T, expected.cameras.T)


def test_images_in_the_folder_above(tmp_path: Path, views: Views) -> None:
    content = write_folder(tmp_path, views)
    (tmp_path / "capture").mkdir()
    for frame in content["frames"]:
        frame["file_path"] = "../" + frame["file_path"]
    (tmp_path / "capture" / "transforms.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"allow_parent=True, or --allow-parent"):
        load_views(tmp_path / "capture")
    assert torch.equal(load_views(tmp_path / "capture", allow_parent=True).silhouettes, views.silhouettes)


def test_an_off_centre_principal_point(tmp_path: Path, mesh: Meshes, views: Views) -> None:
    """Images cropped by 8 pixels at the left and 4 at the top."""
    content = write_folder(tmp_path, views)
    for i in range(len(views)):
        with Image.open(tmp_path / f"images/r_{i}.png") as picture:
            cropped = picture.crop((8, 4, SIZE, SIZE))
        cropped.save(tmp_path / f"images/r_{i}.png")
    focal = 0.5 * SIZE / math.tan(math.radians(30))
    content.update(fl_x=focal, cx=SIZE / 2 - 8, cy=SIZE / 2 - 4)
    (tmp_path / "transforms.json").write_text(json.dumps(content))
    loaded = load_views(tmp_path)
    assert loaded.image_size == (SIZE - 4, SIZE - 8)
    moved = mesh.offset_verts(torch.tensor([1.0, 2, 3]))
    assert silhouette_iou(moved, hard_renderer((SIZE - 4, SIZE - 8)), loaded) > 0.99


def test_resized_views_are_means_and_fit_the_same_cameras(mesh: Meshes, views: Views) -> None:
    small = views.resized(SIZE // 2)
    assert small.image_size == (24, 24)
    expected = views.silhouettes.reshape(6, 24, 2, 24, 2).mean((2, 4))
    torch.testing.assert_close(small.silhouettes, expected)
    assert silhouette_iou(mesh, hard_renderer(24), small) > 0.9
    assert views.resized(SIZE) is views
    assert views.resized(1000) is views


def set_(path: str, value: object):
    """An edit of the JSON: ``path`` as keys and indices with dots."""

    def edit(content: dict) -> dict:
        *parents, last = (int(key) if key.isdigit() else key for key in path.split("."))
        place = content
        for key in parents:
            place = place[key]
        if value is None:
            del place[last]
        else:
            place[last] = value
        return content

    return edit


SQUEEZED = np.diag([1.0, 1, 0.5, 1]).tolist()
MIRRORED = np.diag([1.0, 1, -1, 1]).tolist()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (set_("frames", []), "transforms.json: expected an object with a list of frames, got none"),
        (set_("frames", 3), "transforms.json: expected an object with a list of frames, got none"),
        (set_("frames.1", 3), "frame 1: expected an object, got int"),
        (set_("frames.1.file_path", None), "frame 1, file_path: expected a path, got None"),
        (set_("frames.1.mask_path", "missing"), "frame 1, mask_path: expected a file that exists, got 'missing'"),
        (set_("frames.1.file_path", "../secret.png"), r"expected a path inside .*, got '\.\./secret\.png'"),
        (set_("frames.1.file_path", "/etc/passwd"), "expected a path inside .*, got '/etc/passwd'"),
        (set_("frames.1.file_path", "transforms.json"), r"transforms\.json: expected an image file"),
        (set_("frames.1.mask_path", 5), "frame 1, mask_path: expected a path, got 5"),
        (set_("h", 30), r"r_0\.png: expected an image of the proportions 48 x 30, got 48 x 48"),
        (set_("frames.1.mask_path", "small.png"), r"small\.png: expected an image of 48 x 48, got 5 x 4"),
        (set_("frames.0.transform_matrix", None), "frame 0, transform_matrix: expected 4 rows of 4 finite numbers"),
        (set_("frames.0.transform_matrix.2", [1, 2]), "transform_matrix: expected 4 rows of 4 finite numbers"),
        (set_("frames.0.transform_matrix.2.1", "x"), "transform_matrix: expected 4 rows of 4 finite numbers"),
        (set_("frames.0.transform_matrix.2.3", math.nan), "transform_matrix: expected 4 rows of 4 finite numbers"),
        (set_("frames.0.transform_matrix", SQUEEZED), "transform_matrix: expected a rotation and a translation"),
        (set_("frames.0.transform_matrix", MIRRORED), "transform_matrix: expected a rotation and a translation"),
        (set_("camera_angle_x", None), "frame 0: expected fl_x, camera_angle_x or x_fov, or one of them along y"),
        (set_("camera_angle_x", 3.2), "frame 0, camera_angle_x: expected radians below pi, got 3.2"),
        (set_("camera_angle_x", True), "camera_angle_x: expected a finite number above 0, got True"),
        (set_("fl_x", -1), "frame 0, fl_x: expected a finite number above 0, got -1"),
        (set_("w", 0), "frame 0, w: expected a finite number above 0, got 0"),
        (set_("cx", "middle"), "frame 0, cx: expected a finite number, got 'middle'"),
        (set_("cx", "inf"), "frame 0, cx: expected a finite number, got 'inf'"),
        (set_("cx", 10**400), "frame 0, cx: expected a finite number, got 1000"),
        (set_("s1", 1), "frame 0, s1: expected a lens without thin prisms .*, got 1"),
        (
            set_("distortion_params", [0, 0.2, 0]),
            "frame 0, distortion_params: expected the numbers k1, k2",
        ),
        (set_("k1", -90), r"r_0\.png: lens: expected a straight image of at least 0.2 times the size"),
        (set_("k1", [0.1]), r"frame 0, k1: expected a finite number, got \[0.1\]"),
        (set_("sk_x", 2), "frame 0, sk_x: expected a lens without thin prisms and skew .*, got 2"),
        (set_("equirectangular", True), "frame 0, equirectangular: expected the images of a camera"),
        (set_("latlong", True), "frame 0, latlong: expected the images of a camera"),
        (set_("orthographic", True), "frame 0, orthographic: expected the images of a camera"),
        (set_("ftheta_p0", 0.5), "frame 0, ftheta_p0: expected the images of a camera"),
        (set_("rolling_shutter", [0, 0.1, 0]), "frame 0, rolling_shutter: expected the images of a camera"),
        (set_("camera_model", "EQUIRECTANGULAR"), "camera_model: expected one of PINHOLE, .*, got 'EQUIRECTANGULAR'"),
        (set_("camera_model", "FISHEYE624"), "camera_model: expected one of .*, got 'FISHEYE624'"),
        (lambda content: content | {"is_fisheye": True, "p1": 0.1}, "frame 0: expected a fisheye lens with k1 to k4"),
        (set_("frames.1.camera_model", 5), "frame 1, camera_model: expected one of .*, got 5"),
        (set_("fl_y", 0), "frame 0, fl_y: expected a finite number above 0, got 0"),
        (set_("camera_angle_y", 4), "frame 0, camera_angle_y: expected radians below pi, got 4"),
        (set_("y_fov", 180), "frame 0, y_fov: expected degrees below 180, got 180"),
        (set_("frames.0.transform_matrix", [[1, 0, 0, 0]] * 2), "transform_matrix: expected 4 rows of 4 finite"),
        (lambda content: [content], "transforms.json: expected an object with a list of frames, got none"),
    ],
)
def test_files_that_do_not_fit(tmp_path: Path, views: Views, edit, message: str) -> None:
    (tmp_path / "secret.png").write_bytes(b"")
    folder = tmp_path / "folder"
    content = edit(copy.deepcopy(write_folder(folder, views)))
    Image.new("RGBA", (5, 4)).save(folder / "small.png")
    (folder / "transforms.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        load_views(folder)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\xff", '{"frames": [1' + "0" * 5000 + "]}"])
def test_what_is_no_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "transforms.json").write_text(text, "latin-1")
    with pytest.raises(ValueError, match=r"transforms\.json"):
        load_views(tmp_path)


def test_images_without_masks(tmp_path: Path, views: Views) -> None:
    write_folder(tmp_path, views)
    for path in (tmp_path / "images").iterdir():
        with Image.open(path) as picture:
            opaque = picture.convert("RGB")
        opaque.save(path)
    with pytest.raises(ValueError, match="expected a mask_path in each frame, .* images whose alpha .*, got opaque"):
        load_views(tmp_path)


def test_masks_that_cover_everything_are_masks(tmp_path: Path, views: Views) -> None:
    write_folder(tmp_path, views)
    content = json.loads((tmp_path / "transforms.json").read_text("utf-8"))
    Image.new("L", views.image_size[::-1], 255).save(tmp_path / "mask.png")
    for frame in content["frames"]:
        frame["mask_path"] = "mask.png"
    (tmp_path / "transforms.json").write_text(json.dumps(content), "utf-8")
    assert float(load_views(tmp_path).silhouettes.min()) == 1


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_views(tmp_path / "missing")


def test_views_that_do_not_fit_together(views: Views) -> None:
    with pytest.raises(ValueError, match="cameras: expected at least one, .* the 5 silhouettes, got 6"):
        Views(views.cameras, views.silhouettes[:5], None, views.lights)
    with pytest.raises(ValueError, match="images: expected shape"):
        Views(views.cameras, views.silhouettes, views.images[..., :2], views.lights)
    empty = Views(views.cameras, torch.zeros_like(views.silhouettes), None, views.lights)
    with pytest.raises(ValueError, match=r"silhouettes\[0\]: expected a covered pixel, got none"):
        empty.normalized()
