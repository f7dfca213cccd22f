"""Photos from a ``transforms.json``, as nerfstudio, instant-ngp and NeRF's synthetic scenes have it.

The file is untrusted: its numbers are checked, and no file outside its folder is read.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tirender.captures.lenses import Lens
from tirender.captures.shots import MAX_PHOTOS, Shot, check_new, photo_path, points_of_ply, warn_of_missing
from tirender.checks import fail
from tirender.io.files import Source, read_image_header, read_source

MAX_JSON_BYTES = 64 << 20
MAX_NUMBER = 1e12
ROTATION_TOLERANCE = 1e-3
MIN_VOLUME = 1e-12  # of the axes of a camera
OTHER_PARTS = ("test", "val")  # of NeRF's synthetic scenes; the first that exists is set aside
FOR_QUALITY = ("test_filenames", "val_filenames")
RADIAL = ("k1", "k2", "k3", "k4", "k5", "k6")
COEFFICIENTS = (*RADIAL, "p1", "p2")
NOT_SUPPORTED = ("s1", "s2", "s3", "s4", "sk_x", "sk_y")
STRAIGHT_MODELS = ("PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE", "OPENCV", "FULL_OPENCV", "SIMPLE_RADIAL", "RADIAL")
FISHEYE_MODELS = ("OPENCV_FISHEYE", "FISHEYE", "SIMPLE_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")
"""What ``camera_model`` may be, in upper or lower case; their coefficients have the same names."""
FISHEYE_FLAGS = ("is_fisheye", "fisheye")
OTHER_LENSES = ("equirectangular", "latlong", "orthographic", "rolling_shutter", "ftheta_p0")
"""Entries of instant-ngp that are neither, unless they are false or 0."""


class Transforms(NamedTuple):
    """What a ``transforms.json`` says.

    Attributes:
        shots: the photos, in its order; those set aside come last.
        points, colors: (P, 3) floats and 8 bits of its ``ply_file_path``, or None.
    """

    shots: list[Shot]
    points: np.ndarray | None
    colors: np.ndarray | None


def load_transforms(path: Path, allow_parent: bool = False) -> Transforms:
    """Read the photos and cameras of a file with ``frames``.

    Each frame has a ``file_path`` (its ending may be left out, or be another), a ``transform_matrix`` (4x4 or its first
    3 rows, camera to world, +X right, +Y up, looking along -Z) and optionally a ``mask_path``. For all frames or for
    each there is, along x, along y or both, ``fl_x`` (pixels of an image of ``w`` x ``h``), ``camera_angle_x`` (radians
    across the image) or ``x_fov`` (degrees), maybe ``cx`` and ``cy``, and a ``camera_model`` with k1 to k6, p1 and p2.
    An axis without a focal length has that of the other. Numbers may be in quotes, the rows of a matrix in one list,
    and axes of a camera of any length, if of the same; ``null`` is as nothing. Entries that only concern other programs
    (``aabb_scale``, ``applied_transform``, depth) are not read: poses and points share one space.

    Args:
        path: of the file. Of ``transforms_train.json``, the photos of ``transforms_test.json``, or else of
            ``transforms_val.json``, are set aside; so are those of ``test_filenames`` and ``test_frames``.
        allow_parent: whether images may lie in the folder above the file's, and what is in it, too.
    Raises:
        ValueError: naming the file and frame: a missing entry, no number, no rotation; a lens that is none of
            ``STRAIGHT_MODELS`` and ``FISHEYE_MODELS``; a path out of the folder.
        OSError: a file cannot be opened.
    """
    source = read_source(path, allow_parent=allow_parent)
    frames, shared = _frames(source)
    shots = _shots(source, frames, shared)
    names = {name for key in FOR_QUALITY for name in _names(source, shared, key)}
    shots = [replace(shot, is_aside=_plain(shot.name) in names) for shot in shots]
    test_frames = shared.get("test_frames")
    if isinstance(test_frames, list) and test_frames:
        shots += [replace(shot, is_aside=True) for shot in _shots(source, test_frames, shared, "test frame")]
    if path.name == "transforms_train.json":
        other = next((p for p in (path.with_name(f"transforms_{x}.json") for x in OTHER_PARTS) if p.is_file()), None)
        if other is not None:
            source = read_source(other, allow_parent=allow_parent)
            frames, of_others = _frames(source)
            shots += [replace(shot, is_aside=True) for shot in _shots(source, frames, of_others)]
    return Transforms(shots, *_points(source, shared))


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
    if len(frames) > MAX_PHOTOS:
        fail(source.name, f"at most {MAX_PHOTOS} frames", f"{len(frames)}, too large")
    return frames, _given({key: value for key, value in content.items() if key != "frames"})


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Entries without those of null, which some programs write for what they do not know."""
    return {key: value for key, value in values.items() if value is not None}


def _shots(source: Source, frames: list[Any], shared: Mapping[str, Any], word: str = "frame") -> list[Shot]:
    shots, missing = [], []
    seen: set[str] = set()
    for i, frame in enumerate(frames):
        where = f"{source.name}, {word} {i}"
        if not isinstance(frame, dict):
            fail(where, "an object", type(frame).__name__)
        frame = _given(frame)
        path, mask = _sibling(source, frame, "file_path", where), None
        rotation, translation = _pose(frame, where)
        if path is None:
            missing.append(frame["file_path"])
            continue
        check_new(seen, path, f"{where}, file_path")
        if "mask_path" in frame:
            mask = _sibling(source, frame, "mask_path", where)
            if mask is None:
                fail(f"{where}, mask_path", "a file that exists", repr(frame["mask_path"]))
        lens = _lens({**shared, **frame}, frame, path, where)
        shots.append(Shot(frame["file_path"], path, lens, rotation, translation, mask))
    warn_of_missing(source.name, missing, len(frames))
    return shots


def _names(source: Source, shared: Mapping[str, Any], key: str) -> Iterator[str]:
    names = shared.get(key, [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        fail(f"{source.name}, {key}", "a list of names", repr(names)[:100])
    yield from map(_plain, names)


def _plain(name: str) -> str:
    return os.path.normpath(name)


def _sibling(source: Source, frame: Mapping[str, Any], key: str, where: str) -> str | None:
    reference = frame.get(key)
    if not isinstance(reference, str):
        fail(f"{where}, {key}", "a path", repr(reference))
    return photo_path(source, reference)


def _pose(frame: Mapping[str, Any], where: str) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and translation from world to camera, x right, y down, z forward."""
    where = f"{where}, transform_matrix"
    rows: Any = frame.get("transform_matrix")
    is_nested = isinstance(rows, list) and all(isinstance(row, list) and len(row) == 4 for row in rows)
    numbers = _numbers([value for row in rows for value in row] if is_nested else rows)
    if len(numbers) not in (12, 16):
        fail(where, "4 rows of 4 finite numbers", str(rows)[:200])
    matrix = np.array([*numbers, 0, 0, 0, 1][:16]).reshape(4, 4)
    volume = float(np.linalg.det(matrix[:3, :3]))
    rotation = matrix[:3, :3] / max(volume, MIN_VOLUME) ** (1 / 3)  # a program may have scaled the camera itself
    off = float(np.abs(rotation @ rotation.T - np.eye(3)).max())
    if not volume > MIN_VOLUME or off > ROTATION_TOLERANCE or matrix[3].tolist() != [0, 0, 0, 1]:
        fail(where, "a rotation and a translation above the row 0 0 0 1", str(rows)[:200])
    to_camera = (rotation * [1, -1, -1]).T
    return to_camera, -to_camera @ matrix[:3, 3]


def _lens(values: Mapping[str, Any], frame: Mapping[str, Any], path: str, where: str) -> Lens:
    """The lens of a frame; its own entries precede those of all frames."""
    model, k = _coefficients(values, where)

    def number(key: str, default: float | None = None, positive: bool = True) -> float:
        value = values.get(key, default)
        found = _number(value)
        if found is None or (positive and found <= 0):
            fail(f"{where}, {key}", "a finite number" + " above 0" * positive, repr(value)[:100])
        return found

    stored: dict[str, float] = {}
    if not ("w" in values and "h" in values):
        header = read_image_header(path)
        stored = {"w": header.width, "h": header.height}
    width, height = (number(key, stored.get(key)) for key in ("w", "h"))

    def focal(axis: str, size: float) -> float | None:
        for of in (frame, values):
            if f"fl_{axis}" in of:
                return number(f"fl_{axis}")
            for key, full_turn in ((f"camera_angle_{axis}", 2 * math.pi), (f"{axis}_fov", 360.0)):
                if key in of:
                    angle = number(key)
                    if angle >= full_turn / 2:
                        fail(f"{where}, {key}", "radians below pi" if "angle" in key else "degrees below 180", angle)
                    return 0.5 * size / math.tan(math.pi * angle / full_turn)
        return None

    fl_x, fl_y = focal("x", width), focal("y", height)
    fl_x = fl_x or fl_y
    if fl_x is None:
        fail(where, "fl_x, camera_angle_x or x_fov, or one of them along y", "none of them")
    focals = (fl_x, fl_y or fl_x)
    centre = number("cx", width / 2, positive=False), number("cy", height / 2, positive=False)
    try:
        return Lens(model, round(width), round(height), focals, centre, _in_order(model, k, where))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _in_order(model: str, k: Mapping[str, float], where: str) -> tuple[float, ...]:
    """The coefficients of a model as :class:`Lens` has them."""
    radial = [k[name] for name in RADIAL]
    if model == "OPENCV_FISHEYE":
        odd = [name for name in ("k5", "k6", "p1", "p2") if k[name]]
        if odd:
            fail(where, "a fisheye lens with k1 to k4 only", ", ".join(odd))
        return tuple(radial[:4])
    if model == "FULL_OPENCV":
        return (*radial[:2], k["p1"], k["p2"], *radial[2:])
    return (*radial[:4], k["p1"], k["p2"]) if model == "BROWN" else ()


def _coefficients(values: Mapping[str, Any], where: str) -> tuple[str, dict[str, float]]:
    """The model of a lens and its coefficients by name; others are refused by name."""
    is_fisheye = any(_is_set(values.get(key)) for key in FISHEYE_FLAGS)
    model = values.get("camera_model", FISHEYE_MODELS[0] if is_fisheye else STRAIGHT_MODELS[0])
    if not isinstance(model, str) or model.upper() not in (*STRAIGHT_MODELS, *FISHEYE_MODELS):
        fail(f"{where}, camera_model", f"one of {', '.join((*STRAIGHT_MODELS, *FISHEYE_MODELS))}", repr(model)[:100])
    for key in OTHER_LENSES:
        if _is_set(values.get(key)):
            fail(f"{where}, {key}", "the images of a camera (false, 0, or nothing)", repr(values[key])[:100])
    found = {}
    for key in (*COEFFICIENTS, *NOT_SUPPORTED):
        number = _number(values.get(key, 0.0))
        if number is None:
            fail(f"{where}, {key}", "a finite number", repr(values[key])[:100])
        if number and key in NOT_SUPPORTED:
            fail(f"{where}, {key}", "a lens without thin prisms and skew (0, or nothing)", number)
        found[key] = number
    k = {key: found[key] for key in COEFFICIENTS}
    listed = values.get("distortion_params")
    if listed is not None:
        numbers = _numbers(listed)
        if len(numbers) != 6:
            fail(f"{where}, distortion_params", "the numbers k1, k2, k3, k4, p1, p2", repr(listed)[:100])
        k |= zip(("k1", "k2", "k3", "k4", "p1", "p2"), numbers)
    if is_fisheye or model.upper() in FISHEYE_MODELS:
        return "OPENCV_FISHEYE", k
    if not any(k.values()):
        return "PINHOLE", k
    return "FULL_OPENCV" if model.upper() == "FULL_OPENCV" or k["k5"] or k["k6"] else "BROWN", k


def _points(source: Source, shared: Mapping[str, Any]) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The points of ``ply_file_path``, and their colours as bytes."""
    reference = shared.get("ply_file_path")
    if reference is None:
        return None, None
    if not isinstance(reference, str):
        fail(f"{source.name}, ply_file_path", "a path", repr(reference)[:100])
    found = source.read_sibling(reference)
    if found is None:
        fail(f"{source.name}, ply_file_path", "a file that exists", repr(reference))
    return points_of_ply(found)


def _is_set(value: Any) -> bool:
    return any(value) if isinstance(value, list) else bool(value)


def _numbers(values: Any) -> list[float]:
    """The finite numbers of a list; none unless all are."""
    numbers = [_number(value) for value in values] if isinstance(values, list) else []
    finite = [number for number in numbers if number is not None]
    return finite if len(finite) == len(numbers) else []


def _number(value: Any) -> float | None:
    """The finite number that a value is, or has in quotes; None for others."""
    try:
        number = None if isinstance(value, bool | list) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number is not None and abs(number) < MAX_NUMBER else None  # as NaN is not
