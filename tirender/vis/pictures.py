"""Pictures and depths as files."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image, PngImagePlugin

from tirender.checks import check_tensor, fail
from tirender.io.files import write_file

TRANSPARENT_SUFFIXES = (".png", ".webp", ".tif", ".tiff")
"""The endings of pictures that may be transparent."""
DEPTH_SUFFIXES = (".npy", ".exr")
"""The endings of files of depths, beside pictures."""


def picture_suffixes() -> list[str]:
    """The endings of pictures that Pillow writes."""
    Image.init()
    return [suffix for suffix, kind in Image.EXTENSION.items() if kind in Image.SAVE]


def save_picture(path: str | os.PathLike[str], image: torch.Tensor) -> None:
    """Write a picture.

    Args:
        path: of the file; its ending decides the format.
        image: (H, W, 3), or (H, W, 4) with alpha, floats in [0, 1].
    Raises:
        ValueError: a picture of another shape, or with alpha for a format that has none.
        OSError: the file cannot be written.
    """
    path = Path(path)
    if check_tensor("image", image, ("H", "W", "C")).shape[2] not in (3, 4):
        fail("image", "3 or 4 channels", image.shape[2])
    if image.shape[2] == 4 and path.suffix.lower() not in TRANSPARENT_SUFFIXES:
        fail(str(path), f"an ending that allows alpha: {', '.join(TRANSPARENT_SUFFIXES)}", repr(path.suffix))
    _save(path, Image.fromarray((image * 255).round().byte().cpu().numpy()))


def save_depth(path: str | os.PathLike[str], depth: torch.Tensor) -> str:
    """Write depths: float32 as NPY, or as channel Z of an EXR; or 16-bit grey levels as PNG.

    In a PNG the nearest depth is 65535 and the furthest 1, with even steps between; where nothing is seen it is 0. Its
    texts ``depth of 65535`` and ``depth of 1`` are these depths.

    Args:
        path: ends in .npy, .exr or .png.
        depth: (H, W), inf where nothing is seen.
    Returns:
        what the numbers mean, in a few words.
    Raises:
        ValueError: another ending.
        ImportError: an EXR is asked for, and OpenEXR is not installed.
    """
    path, array = Path(path), check_tensor("depth", depth, ("H", "W")).float().cpu().numpy()
    suffix = path.suffix.lower()
    seen = array[np.isfinite(array)]
    near, far = (float(seen.min()), float(seen.max())) if len(seen) else (0.0, 0.0)
    if suffix == ".npy":
        stream = io.BytesIO()
        np.save(stream, array)
        write_file(path, [stream.getvalue()])
    elif suffix == ".exr":
        _save_exr(path, array)
    elif suffix == ".png":
        steps = np.zeros_like(array) if far == near else (far - array) / (far - near)
        grey = np.where(np.isfinite(array), np.rint(1 + 65534 * np.nan_to_num(steps, posinf=0, neginf=0)), 0)
        texts = PngImagePlugin.PngInfo()
        texts.add_text("depth of 65535", f"{near!r}")
        texts.add_text("depth of 1", f"{far!r}")
        _save(path, Image.fromarray(grey.astype(np.uint16)), pnginfo=texts)
    else:
        fail(str(path), "a file of depths: .npy, .exr or .png", repr(suffix))
    return f"depth {near:.6g} to {far:.6g}" if len(seen) else "nothing is seen"


def _save(path: Path, picture: Image.Image, **options: object) -> None:
    stream = io.BytesIO()
    Image.preinit()
    if path.suffix.lower() not in Image.EXTENSION:
        Image.init()
    picture.save(stream, Image.EXTENSION[path.suffix.lower()], **options)
    write_file(path, [stream.getvalue()])


def _save_exr(path: Path, depth: np.ndarray) -> None:
    try:
        import OpenEXR
    except ImportError as error:
        raise ImportError("EXR needs OpenEXR: pip install 'tirender[exr]'; .npy and .png do not") from error
    partial = path.with_name(f"{path.stem}.{os.getpid()}.partial{path.suffix}")
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    try:
        OpenEXR.File(header, {"Z": np.ascontiguousarray(depth)}).write(str(partial))
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
