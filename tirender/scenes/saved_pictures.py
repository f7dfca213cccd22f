"""Pictures that the user of a viewer keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image


def saver(folder: Path) -> Callable[[np.ndarray], str]:
    """What saves pictures as new files in a folder: ``view_000.png``, or the next number that is free."""

    def save(picture: np.ndarray) -> str:
        number = 0
        while (path := folder / f"view_{number:03d}.png").exists():
            number += 1
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
        return str(path)

    return save
