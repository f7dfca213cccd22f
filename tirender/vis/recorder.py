"""Pictures that are kept and written as a video."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tirender.vis.animation import save_animation
from tirender.vis.display import Event

PICTURES_MAX = 300


class Recorder:
    """A :class:`~tirender.vis.display.Display` that shows nothing; closing it writes a video.

    Whenever it has more than 300 pictures, it drops every second one.

    Args:
        path: see :func:`~tirender.vis.save_animation`.
        size: height and width that pictures should have.
        fps: frames per second of the video.
    """

    def __init__(self, path: str | os.PathLike[str], size: tuple[int, int], fps: float = 15) -> None:
        self.path, self.size, self.fps = Path(path), size, fps
        self.is_open = True
        self._pictures: list[bytes] = []
        self._shown, self._stride = 0, 1

    def show(self, picture: np.ndarray) -> None:
        self._shown += 1
        if (self._shown - 1) % self._stride:
            return
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, "JPEG", quality=95, subsampling=0)
        self._pictures.append(stream.getvalue())
        if len(self._pictures) > PICTURES_MAX:
            self._pictures = self._pictures[::2]
            self._stride *= 2

    def events(self) -> list[Event]:
        return []

    def close(self) -> None:
        if self.is_open and self._pictures:
            save_animation(self._decoded(), self.path, self.fps)
        self.is_open = False

    def _decoded(self) -> Iterator[np.ndarray]:
        for data in self._pictures:
            yield np.asarray(Image.open(io.BytesIO(data)))
