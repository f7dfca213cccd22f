"""Captures from folders, whatever program made them."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from tirender.budget import bounded
from tirender.captures.capture import Capture
from tirender.captures.colmap import load_colmap
from tirender.captures.shots import Reduction, Shot, capture_of, check_new, photo_path, warn_of_missing
from tirender.captures.transforms_json import load_transforms
from tirender.checks import fail
from tirender.io.files import Source

IMAGES = ("images", "input", "rgb", ".", "images_2", "images_4", "images_8")  # the first with any of the photos
RECONSTRUCTIONS = ("sparse/0", "sparse", ".", "dense/sparse", "distorted/sparse/0")
NERFSTUDIO = "colmap/sparse/0"
LOOKED_FOR = 100  # photos, in each folder
TRANSFORMS = ("transforms.json", "transforms_train.json")
OF_OTHERS = {
    "poses_bounds.npy": "LLFF",
    "cameras*.npz": "IDR and NeuS",
    "cameras*.xml": "Metashape",
    "bundle*.out": "Bundler",
    "*.nvm": "VisualSFM",
    "*.sfm": "Meshroom",
    "reconstruction.json": "OpenSfM",
    "cameras.json": "3D Gaussian splatting",
    "keyframes/corrected_cameras": "Polycam",
    "cams/*_cam.txt": "MVSNet",
    "*.p4p": "Pix4D",
}
"""Cameras that are not read, and the programs that have written them."""


def cameras_in(path: str | os.PathLike[str]) -> list[Path]:
    """What there is to read cameras from, the first of which :func:`load_capture` reads.

    Args:
        path: a JSON file; or a folder with one, or with a reconstruction by COLMAP. A reconstruction in ``sparse``
            comes first, as it has points; one in ``colmap/sparse`` comes last, as nerfstudio derives its own from it.
            COLMAP numbers them where photos do not all hang together.
    """
    path = Path(path)
    if not path.is_dir():
        return [path] if path.suffix.lower() == ".json" and path.is_file() else []
    usual = dict.fromkeys([*(path / name for name in RECONSTRUCTIONS), *sorted(path.glob("sparse/*"))])
    own, of_nerfstudio = ([f for f in folders if _is_reconstruction(f)] for folders in (usual, [path / NERFSTUDIO]))
    of_nerf = [path / name for name in TRANSFORMS if (path / name).is_file()]
    return [*own, *of_nerf[:1], *of_nerfstudio]


def cameras_of_others(folder: str | os.PathLike[str]) -> str:
    """What to say of the cameras in a folder that only other programs read; "" where there are none."""
    found = ((next(Path(folder).glob(pattern), None), program) for pattern, program in OF_OTHERS.items())
    known = [f"{path.relative_to(folder)} ({program})" for path, program in found if path is not None]
    return f"; not read: {', '.join(known)}" if known else ""


def is_capture(path: str | os.PathLike[str]) -> bool:
    """Whether there are cameras of photos: a reconstruction by COLMAP, or a ``transforms.json``."""
    return bool(cameras_in(path))


@bounded
def load_capture(
    path: str | os.PathLike[str],
    short_side: int | None = None,
    downscale: float = 1.0,
    allow_parent: bool = False,
) -> Capture:
    """Read photos with their cameras; pixels are read, and lens distortion is taken out, when a photo is asked for.

    Args:
        path: a folder that holds the photos, in ``images`` or another folder, and a reconstruction by COLMAP, as
            ``.bin`` or ``.txt``, in ``sparse/0``, ``sparse``, ``dense/sparse``, ``sparse/1`` and so on,
            ``colmap/sparse/0`` or itself, maybe with masks in ``masks``; or a ``transforms.json`` or
            ``transforms_train.json``, or its folder: see
            :func:`~tirender.captures.transforms_json.load_transforms`.
        short_side: of the photos in pixels; larger ones are averaged over areas. None leaves them as they are.
        downscale: a factor by which photos are made smaller.
        allow_parent: whether photos may lie in the folder above the file's, and what is in it, too.
    Returns:
        the photos, in the order of their names (of a JSON file, in its own), in the files' space. Where that is far
        from the cameras, as in coordinates of the earth, an ``origin`` is taken off.
    Raises:
        ValueError: naming the file: damaged, missing, or a camera that is not understood.
        OSError: a file cannot be opened, or there are no cameras.
    """
    path = Path(path)
    reduction = Reduction(short_side, downscale)
    found = cameras_in(path)
    if not found:
        if path.is_file():
            fail(str(path), "a folder of photos, or a transforms.json", "another file")
        words = os.strerror(errno.ENOENT)
        if not path.is_dir():
            raise FileNotFoundError(errno.ENOENT, words, str(path))
        words += "; photos need it or COLMAP's sparse/0 (tirender capture FOLDER makes it)" + cameras_of_others(path)
        raise FileNotFoundError(errno.ENOENT, words, str(path / TRANSFORMS[0]))
    if found[0].suffix.lower() == ".json":
        read = load_transforms(found[0], allow_parent)
        return capture_of(str(path), read.shots, read.points, read.colors, reduction)
    return _of_colmap(path, found[0], reduction)


def _of_colmap(folder: Path, sparse: Path, reduction: Reduction) -> Capture:
    reconstruction = load_colmap(sparse)
    images = _images_folder(folder, sparse, [photo.name for photo in reconstruction.images])
    files = Source(b"", str(sparse), str(images))
    masks = Source(b"", str(sparse), str(folder / "masks")) if (folder / "masks").is_dir() else None
    shots, missing = [], []
    seen: set[str] = set()
    for photo in reconstruction.images:
        path = photo_path(files, photo.name)
        if path is None:
            missing.append(photo.name)
            continue
        check_new(seen, path, f"{sparse}, image {photo.name!r}")
        stem = os.path.splitext(photo.name)[0]
        mask = None if masks is None else masks.sibling(f"{photo.name}.png") or masks.sibling(f"{stem}.png")
        shots.append(Shot(photo.name, path, photo.lens, photo.rotation, photo.translation, mask))
    warn_of_missing(str(images), missing, len(reconstruction.images))
    return capture_of(str(folder), shots, reconstruction.points, reconstruction.colors, reduction)


def _images_folder(folder: Path, sparse: Path, names: Sequence[str]) -> Path:
    """Where the photos of a reconstruction are: in a folder with a usual name, or else any in the capture's."""
    roots = [root for root in (folder, sparse.parent) if root.is_relative_to(folder)]
    usual = [root / name for root in roots for name in IMAGES]
    others = sorted(path for path in folder.iterdir() if path.is_dir() and path.name != "masks")
    for candidate in (*usual, *others):
        files = Source(b"", str(sparse), str(candidate))
        if candidate.is_dir() and any(photo_path(files, name) for name in names[:: len(names) // LOOKED_FOR + 1]):
            return candidate
    return next((path for path in usual if path.is_dir()), folder)


def _is_reconstruction(folder: Path) -> bool:
    return any((folder / f"cameras.{end}").is_file() and (folder / f"images.{end}").is_file() for end in ("bin", "txt"))
