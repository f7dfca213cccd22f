"""Reconstructions by COLMAP: cameras, images and points, from its binary or its text files."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tirender.checks import fail
from tirender.io.files import Source, read_source

# name and how many parameters, by the number in binary files
MODELS = {0: ("SIMPLE_PINHOLE", 3), 1: ("PINHOLE", 4), 2: ("SIMPLE_RADIAL", 4), 3: ("RADIAL", 5), 4: ("OPENCV", 8)}
N_PARAMETERS = dict(MODELS.values())
MAX_SIDE = 1 << 16


@dataclass(frozen=True)
class ColmapCamera:
    """A lens: x = (u, v) + distortion, in units of depth, is at ``focal * x + centre``.

    Attributes:
        width, height: of its images in pixels.
        focal: (2,) in pixels.
        centre: (2,) the principal point in pixels, (0, 0) the upper left corner of the image.
        radial: (2,) k1 and k2: the offset (k1 r^2 + k2 r^4) (u, v).
        tangential: (2,) p1 and p2, as OpenCV has them.
    """

    width: int
    height: int
    focal: tuple[float, float]
    centre: tuple[float, float]
    radial: tuple[float, float] = (0.0, 0.0)
    tangential: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class ColmapImage:
    """A photo: ``rotation @ x + translation`` is a point x in its camera's space: x right, y down, z forward.

    Attributes:
        name: of the file, below the folder of images.
        camera: its lens.
        rotation: (3, 3).
        translation: (3,).
    """

    name: str
    camera: ColmapCamera
    rotation: np.ndarray
    translation: np.ndarray


@dataclass(frozen=True)
class Reconstruction:
    """Photos, by name, and points.

    Attributes:
        images: the photos.
        points: (P, 3) float64.
        colors: (P, 3) uint8.
    """

    images: list[ColmapImage]
    points: np.ndarray
    colors: np.ndarray


def load_colmap(folder: str | os.PathLike[str]) -> Reconstruction:
    """Read a folder with ``cameras``, ``images`` and ``points3D``, all ``.bin`` or all ``.txt``.

    Raises:
        ValueError: naming the file and where: damaged, a camera of another model, no image.
        OSError: a file cannot be opened.
    """
    folder = Path(folder)
    suffix = ".bin" if (folder / "cameras.bin").is_file() else ".txt"
    sources = [read_source(folder / f"{name}{suffix}") for name in ("cameras", "images", "points3D")]
    parsers = _BINARY if suffix == ".bin" else _TEXT
    cameras = {key: _camera(sources[0].name, *values) for key, *values in parsers[0](sources[0])}
    images = []
    for name, camera, quat, translation in parsers[1](sources[1]):
        if camera not in cameras:
            fail(f"{sources[1].name}, image {name!r}", "a camera that exists", camera)
        images.append(ColmapImage(name, cameras[camera], *_pose(sources[1].name, name, quat, translation)))
    if not images:
        fail(sources[1].name, "an image", "none")
    rows = list(parsers[2](sources[2]))
    points = np.array([row[:3] for row in rows], dtype=np.float64).reshape(-1, 3)
    if not np.isfinite(points).all():
        fail(sources[2].name, "finite positions", "others")
    colors = np.array([row[3:] for row in rows], dtype=np.int64).reshape(-1, 3)
    if colors.size and (colors.min() < 0 or colors.max() > 255):
        fail(sources[2].name, "colours of 0 to 255", f"{colors.min()} to {colors.max()}")
    return Reconstruction(sorted(images, key=lambda image: image.name), points, colors.astype(np.uint8))


def _camera(where: str, model: str, width: int, height: int, parameters: tuple[float, ...]) -> ColmapCamera:
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        fail(where, f"images of up to {MAX_SIDE} x {MAX_SIDE} pixels", f"{width} x {height}")
    if not np.isfinite(parameters).all():
        fail(where, "finite parameters", parameters)
    n_focal = 2 if model in ("PINHOLE", "OPENCV") else 1
    focal, centre, rest = parameters[:n_focal], parameters[n_focal : n_focal + 2], parameters[n_focal + 2 :]
    if min(focal) <= 0:
        fail(where, "focal lengths above 0", focal)
    k1, k2, p1, p2, *_ = (*rest, 0.0, 0.0, 0.0, 0.0)
    return ColmapCamera(width, height, (focal[0], focal[-1]), (centre[0], centre[1]), (k1, k2), (p1, p2))


def _pose(where: str, name: str, quat: Any, translation: Any) -> tuple[np.ndarray, np.ndarray]:
    q, t = np.array(quat, dtype=np.float64), np.array(translation, dtype=np.float64)
    length = np.linalg.norm(q)
    if not (np.isfinite(q).all() and np.isfinite(t).all() and 1e-6 < length < 1e6):
        fail(f"{where}, image {name!r}", "a rotation and a translation", [*q, *t])
    w, x, y, z = q / length
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.array(rows), t


# --- binary ---


class _Bytes:
    """Numbers of a binary file, one after the other."""

    def __init__(self, source: Source) -> None:
        self.data, self.name, self.place = source.data, source.name, 0

    def take(self, layout: str) -> tuple[Any, ...]:
        """Numbers of a layout of ``struct``, little-endian."""
        size = struct.calcsize(f"<{layout}")
        self.skip(size)
        return struct.unpack_from(f"<{layout}", self.data, self.place - size)

    def skip(self, size: int) -> None:
        if self.place + size > len(self.data):
            fail(f"{self.name}, byte {self.place}", f"{size} more bytes", f"{len(self.data) - self.place}")
        self.place += size

    def count(self, least: int) -> int:
        """A count of items of at least so many bytes each."""
        (n,) = self.take("Q")
        if n * least > len(self.data) - self.place:
            fail(f"{self.name}, byte {self.place}", "as many items as are announced", f"{n}, more than the file has")
        return int(n)

    def text(self) -> str:
        end = self.data.find(b"\0", self.place)
        if end < 0:
            fail(f"{self.name}, byte {self.place}", "a name that ends", "none")
        raw, self.place = self.data[self.place : end], end + 1
        return raw.decode(errors="replace")


def _binary_cameras(source: Source) -> Iterator[tuple[Any, ...]]:
    file = _Bytes(source)
    for _ in range(file.count(48)):
        key, model, width, height = file.take("iiQQ")
        if model not in MODELS:
            fail(f"{file.name}, camera {key}", f"one of {', '.join(N_PARAMETERS)}", f"model {model}")
        name, n = MODELS[model]
        yield key, name, width, height, file.take(f"{n}d")


def _binary_images(source: Source) -> Iterator[tuple[Any, ...]]:
    file = _Bytes(source)
    for _ in range(file.count(73)):
        _, *pose, camera = file.take("i7di")
        name = file.text()
        file.skip(24 * file.count(24))  # where the points are seen
        yield name, camera, pose[:4], pose[4:]


def _binary_points(source: Source) -> Iterator[tuple[Any, ...]]:
    file = _Bytes(source)
    for _ in range(file.count(51)):
        _, x, y, z, r, g, b, _ = file.take("Q3d3Bd")
        file.skip(8 * file.count(8))  # the images that show it
        yield x, y, z, r, g, b


# --- text ---


def _lines(source: Source, empty: bool = False) -> Iterator[tuple[str, list[str]]]:
    """Where a line is, and its words, for lines that are no comment."""
    for number, line in enumerate(source.data.decode(errors="replace").split("\n"), 1):
        words = line.split()
        if (words or empty) and not line.lstrip().startswith("#"):
            yield f"{source.name}, line {number}", words


def _malformed(where: str, expected: str, words: list[str]) -> NoReturn:
    fail(where, expected, repr(" ".join(words)[:100]))


def _text_cameras(source: Source) -> Iterator[tuple[Any, ...]]:
    for where, words in _lines(source):
        if len(words) < 4 or words[1] not in N_PARAMETERS:
            _malformed(where, f"a camera of {', '.join(N_PARAMETERS)}", words)
        try:
            key, width, height = (int(words[i]) for i in (0, 2, 3))
            parameters = tuple(map(float, words[4:]))
        except ValueError:
            _malformed(where, "numbers", words)
        if len(parameters) != N_PARAMETERS[words[1]]:
            _malformed(where, f"{N_PARAMETERS[words[1]]} parameters", words)
        yield key, words[1], width, height, parameters


def _text_images(source: Source) -> Iterator[tuple[Any, ...]]:
    lines = _lines(source, empty=True)
    for where, words in lines:
        if not words:
            continue
        if len(words) < 10:
            _malformed(where, "10 words for an image", words)
        try:
            pose, camera = [float(word) for word in words[1:8]], int(words[8])
        except ValueError:
            _malformed(where, "numbers", words)
        yield " ".join(words[9:]), camera, pose[:4], pose[4:]
        next(lines, None)  # where the points are seen; may be empty


def _text_points(source: Source) -> Iterator[tuple[Any, ...]]:
    for where, words in _lines(source):
        try:
            yield (*map(float, words[1:4]), *(int(word) for word in words[4:7]))
        except ValueError:
            _malformed(where, "numbers", words)


_BINARY = (_binary_cameras, _binary_images, _binary_points)
_TEXT = (_text_cameras, _text_images, _text_points)
