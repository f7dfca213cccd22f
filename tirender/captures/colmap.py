"""Reconstructions by COLMAP: cameras, images and points, from its binary or its text files."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tirender.budget import bounded, spend
from tirender.captures.lenses import COLMAP_MODELS, Lens, n_parameters
from tirender.captures.shots import points_of_ply
from tirender.checks import fail
from tirender.io.files import Source, read_source

EQUIRECTANGULAR = 17  # its number in binary files
BYTES_AN_IMAGE, BYTES_A_POINT = 100_000, 256  # what they take of the budget
SPENT_TOGETHER = 1024  # points


@dataclass(frozen=True)
class ColmapImage:
    """A photo: ``rotation @ x + translation`` is a point x in its camera's space: x right, y down, z forward.

    Attributes:
        name: of the file, below the folder of images.
        lens: that took it.
        rotation: (3, 3).
        translation: (3,).
    """

    name: str
    lens: Lens
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


@bounded
def load_colmap(folder: str | os.PathLike[str]) -> Reconstruction:
    """Read a folder with ``cameras``, ``images`` and ``points3D``, all ``.bin`` or all ``.txt``.

    Points may be in ``points3D.ply`` instead. Where there are none, there is a warning.

    Raises:
        ValueError: naming the file and where: damaged, a camera of another model, no image, or too large for the
            ``tirender.io.budget``.
        OSError: a file cannot be opened.
    """
    folder = Path(folder)
    suffix = ".bin" if (folder / "cameras.bin").is_file() else ".txt"
    has_points = (folder / f"points3D{suffix}").is_file()
    names = ("cameras", "images", "points3D") if has_points else ("cameras", "images")
    sources = [read_source(folder / f"{name}{suffix}") for name in names]
    parsers = _BINARY if suffix == ".bin" else _TEXT
    cameras: dict[int, Lens] = {}
    for key, *values in parsers[0](sources[0]):
        spend(sources[0].name, BYTES_AN_IMAGE, "so many cameras")
        cameras[key] = _lens(f"{sources[0].name}, camera {key}", *values)
    images = []
    for name, camera, quat, translation in parsers[1](sources[1]):
        spend(sources[1].name, BYTES_AN_IMAGE, "so many images")
        if camera not in cameras:
            fail(f"{sources[1].name}, image {name!r}", "a camera that exists", camera)
        images.append(ColmapImage(name, cameras[camera], *_pose(sources[1].name, name, quat, translation)))
    if not images:
        fail(sources[1].name, "an image", "none")
    images.sort(key=lambda image: image.name)
    if not has_points:
        return Reconstruction(images, *_points_of_ply(folder))
    rows: list[tuple[Any, ...]] = []
    for row in parsers[2](sources[2]):
        if not len(rows) % SPENT_TOGETHER:
            spend(sources[2].name, SPENT_TOGETHER * BYTES_A_POINT, "so many points")
        rows.append(row)
    points = np.array([row[:3] for row in rows], dtype=np.float64).reshape(-1, 3)
    if not np.isfinite(points).all():
        fail(sources[2].name, "finite positions", "others")
    colors = np.array([row[3:] for row in rows], dtype=np.int64).reshape(-1, 3)
    if colors.size and (colors.min() < 0 or colors.max() > 255):
        fail(sources[2].name, "colours of 0 to 255", f"{colors.min()} to {colors.max()}")
    return Reconstruction(images, points, colors.astype(np.uint8))


def _points_of_ply(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The points of ``points3D.ply``, as trainers of Gaussians write them, and their colours."""
    path = folder / "points3D.ply"
    if path.is_file():
        return points_of_ply(read_source(path))
    warnings.warn(f"{folder}: no points3D, so no points are known", stacklevel=5)
    return np.zeros((0, 3)), np.zeros((0, 3), np.uint8)


def _lens(where: str, model: str, width: int, height: int, parameters: tuple[float, ...]) -> Lens:
    try:
        return Lens.of_parameters(model, width, height, parameters)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


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
        if not 0 <= model < len(COLMAP_MODELS):
            name = "EQUIRECTANGULAR" if model == EQUIRECTANGULAR else f"model {model}"
            fail(f"{file.name}, camera {key}", f"one of {', '.join(COLMAP_MODELS)}", name)
        name = COLMAP_MODELS[model]
        yield key, name, width, height, file.take(f"{n_parameters(name)}d")


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
        if len(words) < 4:
            _malformed(where, "a camera", words)
        try:
            key, width, height = (int(words[i]) for i in (0, 2, 3))
            parameters = tuple(map(float, words[4:]))
        except ValueError:
            _malformed(where, "numbers", words)
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
        if len(words) < 7:
            _malformed(where, "a point with a place and a colour", words)
        try:
            yield (*map(float, words[1:4]), *(min(max(int(word), -1), 256) for word in words[4:7]))
        except ValueError:
            _malformed(where, "numbers", words)


_BINARY = (_binary_cameras, _binary_images, _binary_points)
_TEXT = (_text_cameras, _text_images, _text_points)
