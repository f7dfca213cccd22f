"""Views from a folder of images with cameras in a ``transforms.json``, as written by NeRF and instant-ngp.

The file is untrusted: its numbers are checked, and no file outside its folder is read.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from tirender.budget import bounded
from tirender.checks import fail
from tirender.fit.views import Views
from tirender.io.files import Source, decode_image, read_source
from tirender.renderer import AmbientLights, PerspectiveCameras

MAX_JSON_BYTES = 64 << 20
MAX_FRAMES = 10_000
MAX_NUMBER = 1e12
ROTATION_TOLERANCE = 1e-3
DISTORTION = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2", "s1", "s2", "s3", "s4", "distortion_params")
PINHOLE_MODELS = ("PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE", "OPENCV", "FULL_OPENCV", "SIMPLE_RADIAL", "RADIAL")
"""What ``camera_model`` may be, without distortion; upper or lower case."""
OTHER_LENSES = ("is_fisheye", "fisheye", "equirectangular", "latlong", "orthographic", "rolling_shutter", "ftheta_p0")
"""Entries of instant-ngp that are no pinhole, unless they are false or 0."""


@bounded
def load_views(path: str | os.PathLike[str], device: torch.device | str = "cpu", allow_parent: bool = False) -> Views:
    """Read images, masks and cameras.

    ``transforms.json`` holds ``frames``. Each has a ``file_path`` (".png" may be left out), a ``transform_matrix``
    (4x4 or its first 3 rows, camera to world, +X right, +Y up, looking along -Z) and optionally a ``mask_path``.
    For all frames or for each there is, along x, along y or both, ``fl_x`` (pixels of an image of ``w`` x ``h``),
    ``camera_angle_x`` (radians across the image) or ``x_fov`` (degrees), and maybe ``cx`` and ``cy``. An axis without
    one has the focal length of the other. Without a ``mask_path``, the mask is the image's alpha. Colours are laid on
    white. Entries that only concern other programs (``aabb_scale``, ``applied_transform``, depth) are not read.

    Args:
        path: the JSON file, or its folder, where it is ``transforms.json`` or ``transforms_train.json``.
        device: of the views.
        allow_parent: whether images may lie in the folder above the file's, and what is in it, too.
    Returns:
        views in world space, lit by ambient light.
    Raises:
        ValueError: naming the file and frame: a missing entry, no number, no rotation; a lens that is not a pinhole
            (distortion, fisheye, panoramas); images of different sizes; a path out of the folder.
        OSError: a file cannot be opened.
    """
    path = Path(path)
    if path.is_dir():
        of_training = path / "transforms_train.json"  # in NeRF's synthetic scenes
        path = path / "transforms.json"
        path = of_training if of_training.is_file() and not path.exists() else path
    source = read_source(path, allow_parent=allow_parent)
    frames, shared = _frames(source)
    pictures: list[torch.Tensor] = []
    poses, intrinsics = [], []
    for i, frame in enumerate(frames):
        where = f"{path}, frame {i}"
        if not isinstance(frame, dict):
            fail(where, "an object", type(frame).__name__)
        picture = _picture(source, frame, where)
        if pictures and picture.shape != pictures[0].shape:
            fail(where, f"an image of {_size(pictures[0])} as frame 0", _size(picture))
        pictures.append(picture)
        poses.append(_pose(frame, where))
        _check_lens({**shared, **frame}, where)
        intrinsics.append(_intrinsics(frame, shared, picture.shape[0], picture.shape[1], where))
    rgb, alpha = torch.stack(pictures).to(device).split([3, 1], dim=-1)
    if float(alpha.min()) == 1:
        fail(str(path), "images with alpha, or a mask_path in each frame", "neither")
    cameras = _cameras(torch.stack(poses), torch.tensor(intrinsics), device)
    return Views(cameras, alpha[..., 0].contiguous(), rgb * alpha + (1 - alpha), AmbientLights(device=device))


def _frames(source: Source) -> tuple[list[Any], dict[str, Any]]:
    """The frames, and the entries that hold for all of them."""
    if len(source.data) > MAX_JSON_BYTES:
        fail(source.name, f"at most {MAX_JSON_BYTES} bytes", len(source.data))
    try:
        content = json.loads(source.data)
    except (ValueError, RecursionError) as error:
        fail(source.name, "JSON", error)
    frames = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(frames, list) or not frames:
        fail(source.name, "an object with a list of frames", "none")
    if len(frames) > MAX_FRAMES:
        fail(source.name, f"at most {MAX_FRAMES} frames", f"{len(frames)}, too large")
    return frames, {key: value for key, value in content.items() if key != "frames"}


def _picture(source: Source, frame: Mapping[str, Any], where: str) -> torch.Tensor:
    """Colours and coverage (H, W, 4) of a frame."""
    found = _sibling(source, frame, "file_path", where)
    picture = decode_image(found.data, found.name, alpha=True)
    if "mask_path" not in frame:
        return picture
    found = _sibling(source, frame, "mask_path", where)
    mask = decode_image(found.data, found.name)
    if mask.shape[:2] != picture.shape[:2]:
        fail(f"{where}, mask_path", f"an image of {_size(picture)}", _size(mask))
    return torch.cat([picture[..., :3], mask[..., :1]], dim=-1)


def _sibling(source: Source, frame: Mapping[str, Any], key: str, where: str) -> Source:
    reference = frame.get(key)
    if not isinstance(reference, str):
        fail(f"{where}, {key}", "a path", repr(reference))
    found = source.read_sibling(reference) or source.read_sibling(f"{reference}.png")
    if found is None:
        fail(f"{where}, {key}", "a file that exists", repr(reference))
    return found


def _pose(frame: Mapping[str, Any], where: str) -> torch.Tensor:
    """The matrix (4, 4) from camera to world."""
    where = f"{where}, transform_matrix"
    rows: Any = frame.get("transform_matrix")
    is_list = isinstance(rows, list) and len(rows) in (3, 4) and all(isinstance(r, list) and len(r) == 4 for r in rows)
    if not is_list or not all(_is_finite(value) for row in rows for value in row):  # type: ignore[union-attr]
        fail(where, "4 rows of 4 finite numbers", str(rows)[:200])
    matrix = torch.tensor((rows + [[0, 0, 0, 1]])[:4], dtype=torch.float64)
    rotation = matrix[:3, :3]
    off = float((rotation @ rotation.T - torch.eye(3)).abs().max())
    if off > ROTATION_TOLERANCE or rotation.det() < 0 or matrix[3].tolist() != [0, 0, 0, 1]:
        fail(where, "a rotation and a translation above the row 0 0 0 1", str(rows)[:200])
    return matrix


def _check_lens(values: Mapping[str, Any], where: str) -> None:
    """Refuse what a pinhole camera does not show, by name."""
    model = values.get("camera_model", PINHOLE_MODELS[0])
    if not isinstance(model, str) or model.upper() not in PINHOLE_MODELS:
        fail(f"{where}, camera_model", f"one of {', '.join(PINHOLE_MODELS)}", repr(model)[:100])
    for key in OTHER_LENSES:
        if any(_flat(values.get(key))):
            fail(f"{where}, {key}", "the images of a pinhole camera (false, 0, or nothing)", repr(values[key])[:100])
    distorted = []
    for key in DISTORTION:
        numbers = _flat(values.get(key, 0.0))
        if not all(map(_is_finite, numbers)):
            fail(f"{where}, {key}", "a finite number", repr(values[key])[:100])
        if any(numbers):
            distorted.append(f"{key} {values[key]}")
    if distorted:
        fail(where, "images without lens distortion (undistort them first)", f"distorted ones: {', '.join(distorted)}")


def _flat(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _intrinsics(
    frame: Mapping[str, Any], shared: Mapping[str, Any], height: int, width: int, where: str
) -> list[float]:
    """Focal lengths and principal point, x and y each, in NDC; a frame's own entries precede those of all frames."""

    def number(key: str, default: float | None = None, positive: bool = True) -> float:
        value = frame.get(key, shared.get(key, default))
        if not _is_finite(value) or (positive and value <= 0):
            fail(f"{where}, {key}", "a finite number" + " above 0" * positive, repr(value)[:100])
        return float(value)

    # lengths are in pixels of the original size, w x h; the images may have been scaled since
    across, down = width / number("w", width), height / number("h", height)

    def focal(axis: str, size: int, scaled: float) -> float | None:
        for values in (frame, shared):
            if f"fl_{axis}" in values:
                return number(f"fl_{axis}") * scaled
            for key, full_turn in ((f"camera_angle_{axis}", 2 * math.pi), (f"{axis}_fov", 360.0)):
                if key in values:
                    angle = number(key)
                    if angle >= full_turn / 2:
                        fail(f"{where}, {key}", "radians below pi" if "angle" in key else "degrees below 180", angle)
                    return 0.5 * size / math.tan(math.pi * angle / full_turn)
        return None

    fl_x, fl_y = focal("x", width, across), focal("y", height, down)
    fl_x = fl_x or fl_y or number("camera_angle_x")  # which is missing, as are its alternatives
    fl_y = fl_y or fl_x
    cx = number("cx", width / 2 / across, positive=False) * across
    cy = number("cy", height / 2 / down, positive=False) * down
    half = min(height, width) / 2
    return [fl_x / half, fl_y / half, (width / 2 - cx) / half, (height / 2 - cy) / half]


def _cameras(poses: torch.Tensor, intrinsics: torch.Tensor, device: torch.device | str) -> PerspectiveCameras:
    """Cameras in tirender's conventions: +X left, +Y up, +Z ahead, row vectors."""
    R = poses[:, :3, :3] * poses.new_tensor([-1, 1, -1])
    T = -(poses[:, None, :3, 3] @ R)[:, 0]
    return PerspectiveCameras(
        focal_length=intrinsics[:, :2], principal_point=intrinsics[:, 2:], R=R.float(), T=T.float(), device=device
    )


def _is_finite(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < MAX_NUMBER  # False for NaN


def _size(image: torch.Tensor) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"
