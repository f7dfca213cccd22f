"""Images of materials as files beside a mesh."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tirender.io.colors import decode_srgb, encode_srgb
from tirender.io.image_files import image_file, source_of
from tirender.renderer.mesh.material import TextureMap


class TextureFiles:
    """Names the images of a file that is to be written: STEM.png, STEM_2.jpg ...; equal ones are one.

    A file that is there and holds something else keeps its name, unless the mesh file that is replaced names it.

    Args:
        path: of the mesh.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stem = re.sub(r"[^\w.\- ]", "_", path.stem).strip() or "mesh"
        self._names: dict[bytes, str] = {}
        self._known: dict[tuple[int, tuple[float, ...]], str] = {}
        self._kept: list[Any] = []  # so that ids stay theirs

    def name_of(self, found: TextureMap, factor: tuple[float, ...] = (1.0, 1.0, 1.0)) -> str:
        """Add the image of a map, times a colour as light, and return its name."""
        read = source_of(found)
        key = id(read), tuple(factor)
        if key in self._known:
            return self._known[key]
        if tuple(factor) != (1.0, 1.0, 1.0):
            image = found.image.detach().cpu()
            rgb = encode_srgb(decode_srgb(image[..., :3].numpy()) * decode_srgb(np.array(factor)))
            changed = torch.cat([torch.from_numpy(rgb.astype(np.float32)), image[..., 3:]], dim=2)
            found = TextureMap(lambda: changed)
        data, ending = image_file(found, str(self.path))
        if data not in self._names:
            numbers = (f"_{i}" if i > 1 else "" for i in itertools.count(len(self._names) + 1))
            self._names[data] = next(name for n in numbers if self._is_free(name := f"{self.stem}{n}{ending}", data))
        self._kept.append(read)
        self._known[key] = self._names[data]
        return self._names[data]

    def _is_free(self, name: str, data: bytes) -> bool:
        path = self.path.with_name(name)
        if name in self._names.values() or path.is_dir():
            return False
        if not path.exists() or path.read_bytes() == data:
            return True
        names = [self.path, self.path.with_suffix(".mtl")][: 1 + (self.path.suffix.lower() == ".obj")]
        return any(name.encode() in place.read_bytes() for place in names if place.is_file())

    def files(self) -> Iterator[tuple[Path, list[bytes]]]:
        """The files that are to be written."""
        for data, name in self._names.items():
            yield self.path.with_name(name), [data]
