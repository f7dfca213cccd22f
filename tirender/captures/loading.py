"""Captures from folders, whatever program made them."""

from __future__ import annotations

import os
from pathlib import Path

from tirender.budget import bounded
from tirender.captures.capture import Capture
from tirender.captures.colmap import load_colmap
from tirender.captures.shots import Reduction, Shot, capture_of, warn_of_missing
from tirender.checks import fail
from tirender.io.files import Source

IMAGES = ("images", "input", "rgb", ".")
RECONSTRUCTIONS = ("sparse/0", "sparse", "colmap/sparse/0", "distorted/sparse/0", ".")


def is_capture(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds a reconstruction by COLMAP."""
    return _reconstruction_in(Path(folder)) is not None


@bounded
def load_capture(folder: str | os.PathLike[str], short_side: int | None = None, downscale: float = 1.0) -> Capture:
    """Read photos with their cameras; lens distortion is taken out when a photo is made ready.

    Args:
        folder: holds the photos in ``images``, and the reconstruction, as ``.bin`` or ``.txt``, in ``sparse/0``,
            ``sparse``, ``colmap/sparse/0`` or itself.
        short_side: of the photos in pixels; larger ones are averaged over areas. None leaves them as they are.
        downscale: a factor by which photos are made smaller.
    Returns:
        the photos in the order of their names, in the reconstruction's space.
    Raises:
        ValueError: naming the file: damaged, missing, or a camera that is not understood.
        OSError: a file cannot be opened.
    """
    folder = Path(folder)
    sparse = _reconstruction_in(folder)
    if sparse is None:
        fail(str(folder), "a reconstruction by COLMAP in sparse/0", "none")
    reconstruction = load_colmap(sparse)
    images = next((folder / name for name in IMAGES if (folder / name).is_dir()), folder)
    files = Source(b"", str(sparse), str(images))
    masks = Source(b"", str(sparse), str(folder / "masks")) if (folder / "masks").is_dir() else None
    shots, missing = [], []
    for photo in reconstruction.images:
        path = files.sibling(photo.name)
        if path is None:
            missing.append(photo.name)
            continue
        mask = None if masks is None else masks.sibling(f"{photo.name}.png") or masks.sibling(_as_png(photo.name))
        shots.append(Shot(photo.name, path, photo.lens, photo.rotation, photo.translation, mask))
    warn_of_missing(str(images), missing, len(reconstruction.images))
    reduction = Reduction(short_side, downscale)
    return capture_of(str(folder), shots, reconstruction.points, reconstruction.colors, reduction)


def _as_png(name: str) -> str:
    return os.path.splitext(name)[0] + ".png"


def _reconstruction_in(folder: Path) -> Path | None:
    """The folder below this one, or itself, that has the files of a reconstruction."""
    folders = [folder / name for name in RECONSTRUCTIONS]
    return next((f for f in folders if any((f / f"cameras.{end}").is_file() for end in ("bin", "txt"))), None)
