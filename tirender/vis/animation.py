"""Animations as files: GIF, animated PNG, WebP, or MP4."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from tirender.checks import check_choice, fail

ANIMATIONS = (".gif", ".png", ".webp", ".mp4")


def save_animation(
    frames: torch.Tensor | np.ndarray | Iterable[torch.Tensor | np.ndarray],
    path: str | os.PathLike[str],
    fps: float = 15,
) -> None:
    """Write frames as an animation; GIF, PNG and WebP repeat for ever.

    Frames may come from a generator; they are kept only as long as the format needs them. The file appears when all
    frames are written. MP4 is H.264 and needs ``pip install 'tirender[video]'``; an odd side gets one more row or
    column, a copy of the last.

    Args:
        frames: images (H, W, 3), (H, W, 1) or (H, W) of one size: floats in [0, 1] (clipped) or uint8.
        path: of the file; it ends in .gif, .png, .webp or .mp4.
        fps: frames per second; a GIF rounds durations to hundredths of a second.
    Raises:
        ValueError: another ending, no frames, frames of another shape or of different sizes, or fps not above 0.
        ImportError: imageio-ffmpeg is not installed, and the file is an MP4.
    """
    path = Path(path)
    kind = check_choice("path's ending", path.suffix.lower(), ANIMATIONS)
    if not 0 < fps <= 1000:
        fail("fps", "a number above 0, at most 1000", fps)
    pictures = _pictures(frames)
    try:
        first = next(pictures)
    except StopIteration:
        fail("frames", "at least one", "none")
    partial = path.with_name(f"{path.stem}.{uuid.uuid4().hex[:8]}.partial{path.suffix}")
    try:
        write = _write_video if kind == ".mp4" else _write_images
        write(first, pictures, partial, fps)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _pictures(frames: Iterable[Any]) -> Iterator[np.ndarray]:
    """The frames as uint8 (H, W, 3); raises if they are no images of one size."""
    size = None
    for i, frame in enumerate(frames):
        array = frame.detach().cpu().numpy() if isinstance(frame, torch.Tensor) else np.asarray(frame)
        if array.ndim not in (2, 3) or array.shape[2:] not in ((), (1,), (3,)) or array.size == 0:
            fail(f"frames[{i}]", "shape (H, W, 3), (H, W, 1) or (H, W)", array.shape)
        size = size or array.shape[:2]
        if array.shape[:2] != size:
            fail(f"frames[{i}]", f"height and width {size}, as the first has", array.shape[:2])
        if np.issubdtype(array.dtype, np.floating):
            array = np.rint(np.clip(np.nan_to_num(array), 0, 1) * 255).astype(np.uint8)
        elif array.dtype != np.uint8:
            fail(f"frames[{i}]", "floats or uint8", array.dtype)
        yield np.ascontiguousarray(np.broadcast_to(array.reshape(*size, -1), (*size, 3)))


def _write_images(first: np.ndarray, others: Iterator[np.ndarray], path: Path, fps: float) -> None:
    kind = path.suffix[1:].upper()
    rest: Iterable[Image.Image] = map(Image.fromarray, others)
    if kind == "PNG":
        rest = list(rest)  # Pillow iterates over them twice
    options: dict[str, Any] = {"quality": 90, "method": 3} if kind == "WEBP" else {}
    options |= {"save_all": True, "append_images": rest, "loop": 0, "duration": max(round(1000 / fps), 1)}
    with path.open("wb") as stream:
        Image.fromarray(first).save(stream, kind, **options)


def _write_video(first: np.ndarray, others: Iterator[np.ndarray], path: Path, fps: float) -> None:
    try:
        from imageio_ffmpeg import write_frames
    except ImportError as error:
        raise ImportError("MP4 needs imageio-ffmpeg: pip install 'tirender[video]'; GIF and WebP do not") from error

    height, width = first.shape[:2]
    odd = ((0, height % 2), (0, width % 2), (0, 0))  # H.264 stores colours for 2 x 2 pixels
    writer = write_frames(
        str(path),
        (width + width % 2, height + height % 2),
        fps=fps,
        codec="libx264",
        macro_block_size=2,
        quality=None,
        ffmpeg_log_level="error",
        output_params=["-crf", "18", "-movflags", "+faststart"],
    )
    writer.send(None)
    try:
        for picture in chain([first], others):
            writer.send(np.ascontiguousarray(np.pad(picture, odd, mode="edge")))
    finally:
        writer.close()
