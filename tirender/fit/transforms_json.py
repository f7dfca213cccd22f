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

from tirender.checks import fail
from tirender.fit.views import Views
from tirender.io.files import Source, decode_image, read_source
from tirender.renderer import AmbientLights, PerspectiveCameras

MAX_JSON_BYTES = 64 << 20
MAX_PIXELS = 512 << 20
"""The largest number of pixels of all images together."""
MAX_NUMBER = 1e12
ROTATION_TOLERANCE = 1e-3
DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")


def load_views(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> Views:
    """Read images, masks and cameras.

    ``transforms.json`` holds ``frames``. Each has a ``file_path`` (".png" may be left out), a ``transform_matrix``
    (4x4, camera to world, +X right, +Y up, looking along -Z) and optionally a ``mask_path``. For all frames or for each
    there is either ``camera_angle_x`` (radians, across the width) or ``fl_x``, ``fl_y``, ``cx``, ``cy`` (pixels).
    Without a ``mask_path``, the mask is the image's alpha. Colours are laid on white.

    Args:
        path: the JSON file, or its folder, where it is ``transforms.json`` or ``transforms_train.json``.
        device: of the views.
    Returns:
        views in world space, lit by ambient light.
    Raises:
        ValueError: naming the file and frame: a missing entry, no number, no rotation; lens distortion; images of
            different sizes; a path out of the folder.
        OSError: a file cannot be opened.
    """
    path = Path(path)
    if path.is_dir():
        of_training = path / "transforms_train.json"  # in NeRF's synthetic scenes
        path = path / "transforms.json"
        path = of_training if of_training.is_file() and not path.exists() else path
    source = read_source(path)
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
        if (i + 1) * picture[..., 0].numel() > MAX_PIXELS:
            fail(where, f"at most {MAX_PIXELS} pixels in all images", "more")
        pictures.append(picture)
        poses.append(_pose(frame, where))
        intrinsics.append(_intrinsics({**shared, **frame}, picture.shape[0], picture.shape[1], where))
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
    rows = frame.get("transform_matrix")
    is_matrix = isinstance(rows, list) and len(rows) == 4 and all(isinstance(r, list) and len(r) == 4 for r in rows)
    if not is_matrix or not all(_is_finite(value) for row in rows for value in row):  # type: ignore[union-attr]
        fail(where, "4 rows of 4 finite numbers", str(rows)[:200])
    matrix = torch.tensor(rows, dtype=torch.float64)
    rotation = matrix[:3, :3]
    off = float((rotation @ rotation.T - torch.eye(3)).abs().max())
    if off > ROTATION_TOLERANCE or rotation.det() < 0 or matrix[3].tolist() != [0, 0, 0, 1]:
        fail(where, "a rotation and a translation above the row 0 0 0 1", str(rows)[:200])
    return matrix


def _intrinsics(values: Mapping[str, Any], height: int, width: int, where: str) -> list[float]:
    """Focal lengths and principal point, x and y each, in NDC."""

    def number(key: str, default: float | None = None, positive: bool = True) -> float:
        value = values.get(key, default)
        if not _is_finite(value) or (positive and value <= 0):
            fail(f"{where}, {key}", "a finite number" + " above 0" * positive, repr(value)[:100])
        return float(value)

    if any(number(key, 0.0, positive=False) != 0 for key in DISTORTION):
        fail(where, "images without lens distortion (k1, k2, p1 ... 0)", "distorted ones")
    # lengths are in pixels of the original size, w x h; the images may have been scaled since
    across, down = width / number("w", width), height / number("h", height)
    if "fl_x" in values:
        fl_x = number("fl_x") * across
        fl_y = number("fl_y") * down if "fl_y" in values else fl_x
    else:
        angle = number("camera_angle_x")
        if angle >= math.pi:
            fail(f"{where}, camera_angle_x", "radians below pi", angle)
        fl_x = fl_y = 0.5 * width / math.tan(angle / 2)
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
