"""A glTF file in the making: its JSON and its one buffer."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

_FLOAT, _USHORT, _UINT = 5126, 5123, 5125
_VERTICES, _INDICES = 34962, 34963
_RESTART = 65535  # may not be an index of 16 bits


class GltfDocument:
    """Collects arrays, images and other items.

    Attributes:
        root: the JSON, without what has no entries.
        chunks: of the buffer, each of a multiple of 4 bytes.
        n_bytes: of the buffer.
    """

    def __init__(self) -> None:
        self.root: dict[str, Any] = {"asset": {"version": "2.0", "generator": "tirender"}}
        self.chunks: list[bytes] = []
        self.n_bytes = 0
        self._images: dict[bytes, int] = {}
        self._known: dict[str, int] = {}

    def use(self, extension: str) -> None:
        """Declare an extension."""
        used = self.root.setdefault("extensionsUsed", [])
        if extension not in used:
            used.append(extension)

    def add(self, kind: str, item: dict[str, Any]) -> int:
        """Add to a list at the top, and return the index; what is there already is not repeated."""
        key = kind + json.dumps(item, sort_keys=True)
        if key not in self._known:
            self._known[key] = self._append(kind, item)
        return self._known[key]

    def array(self, values: np.ndarray, kind: str, bounds: bool = False) -> int:
        """Add floats (N, width) of vertices, ``kind`` "VEC3" for example, and return the accessor."""
        array = np.ascontiguousarray(values, dtype="<f4")
        item = {"bufferView": self._view(array.tobytes(), _VERTICES), "componentType": _FLOAT}
        item |= {"count": len(array), "type": kind}  # type: ignore[dict-item]
        if bounds:
            item |= {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
        return self._append("accessors", item)

    def indices(self, faces: np.ndarray) -> int:
        """Add the corners of faces (F, 3), in 16 bits where that is enough, and return the accessor."""
        is_short = int(faces.max()) < _RESTART
        data = faces.astype("<u2" if is_short else "<u4").tobytes()
        item = {"bufferView": self._view(data, _INDICES), "componentType": _USHORT if is_short else _UINT}
        return self._append("accessors", {**item, "count": faces.size, "type": "SCALAR"})

    def image(self, data: bytes, ending: str) -> int:
        """Add a PNG or JPEG file, and return the image; equal ones are one."""
        if data not in self._images:
            item = {"bufferView": self._view(data), "mimeType": "image/jpeg" if ending == ".jpg" else "image/png"}
            self._images[data] = self._append("images", item)
        return self._images[data]

    def finished(self) -> dict[str, Any]:
        """Return the root, its buffer included."""
        return {**self.root, "buffers": [{"byteLength": self.n_bytes}]}

    def _append(self, kind: str, item: dict[str, Any]) -> int:
        self.root.setdefault(kind, []).append(item)
        return len(self.root[kind]) - 1

    def _view(self, data: bytes, target: int | None = None) -> int:
        item = {"buffer": 0, "byteOffset": self.n_bytes, "byteLength": len(data)}
        if target is not None:
            item["target"] = target
        self.chunks.append(data + b"\0" * (-len(data) % 4))
        self.n_bytes += len(self.chunks[-1])
        return self._append("bufferViews", item)
