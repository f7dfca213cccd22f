"""glTF 2.0 files (.glb and .gltf) to checked arrays (https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html).

pygltflib was judged and not used: it trusts lengths, offsets and types, so that all checks below would stand beside it.
"""

from __future__ import annotations

import base64
import json
import struct
import warnings
from typing import Any
from urllib.parse import unquote

import numpy as np
import torch

from tirender.checks import fail
from tirender.io.files import Source, decode_image

_COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_EXTENSIONS = ("KHR_texture_transform", "KHR_mesh_quantization", "KHR_lights_punctual", "EXT_texture_webp")
_REQUIRED: Any = object()


class GltfFile:
    """A parsed file; every look-up checks types and bounds and names what is wrong.

    Args:
        source: the file.
    Raises:
        ValueError: not glTF 2.0, damaged, or in need of an extension that is not read (compression, for one).
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.name = source.name
        self._binary: bytes | None = None
        text = source.data
        if text[:4] == b"glTF":
            text, self._binary = self._split_glb(text)
        try:
            self.root = json.loads(text.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            fail(self.name, "glTF JSON", error)
        if not isinstance(self.root, dict):
            fail(self.name, "glTF JSON with an object", type(self.root).__name__)
        version = self.get("asset", self.get("", self.root, "asset", dict), "version", str)
        if not version.startswith("2."):
            fail(self.name, "glTF of version 2", repr(version))
        for extension in self.get("", self.root, "extensionsRequired", list, []):
            if extension not in _EXTENSIONS and not str(extension).startswith("KHR_materials_"):
                fail(self.name, "a file that needs no extension but " + ", ".join(_EXTENSIONS), repr(extension))
        self._buffers: dict[int, bytes] = {}
        self._images: dict[int, torch.Tensor | None] = {}

    def _split_glb(self, data: bytes) -> tuple[bytes, bytes | None]:
        if len(data) < 20:
            fail(self.name, "a GLB header", f"a file of {len(data)} bytes")
        version, length = struct.unpack("<II", data[4:12])
        if version != 2:
            fail(self.name, "GLB of version 2", version)
        if length > len(data):
            fail(self.name, f"{length} bytes, as its header says", len(data))
        chunks: list[tuple[bytes, bytes]] = []
        offset = 12
        while offset + 8 <= length:
            size, kind = struct.unpack("<I4s", data[offset : offset + 8])
            if offset + 8 + size > length:
                fail(f"{self.name}, chunk {len(chunks)}", f"at most {length - offset - 8} bytes", size)
            chunks.append((kind, data[offset + 8 : offset + 8 + size]))
            offset += 8 + size
        if not chunks or chunks[0][0] != b"JSON":
            fail(f"{self.name}, chunk 0", "JSON", chunks[0][0] if chunks else "no chunk")
        binary = chunks[1][1] if len(chunks) > 1 and chunks[1][0] == b"BIN\0" else None
        return chunks[0][1], binary

    def where(self, place: str) -> str:
        return f"{self.name}, {place}" if place else self.name

    def get(self, place: str, owner: dict, key: str, kind: type, default: Any = _REQUIRED) -> Any:
        """Return ``owner[key]`` if it is of this kind (int means >= 0), the default if absent, else ValueError."""
        if key not in owner and default is not _REQUIRED:
            return default
        value: Any = owner.get(key)
        fits = isinstance(value, kind) and not (kind is not bool and isinstance(value, bool))
        if not fits or (kind is int and value < 0):
            fail(self.where(place), f"{key} of type {kind.__name__}", repr(value)[:80])
        return value

    def item(self, kind: str, index: int) -> dict:
        """Return entry ``index`` of a top-level list, as ``item("accessors", 3)``."""
        items = self.get("", self.root, kind, list, [])
        if not isinstance(index, int) or not 0 <= index < len(items) or not isinstance(items[index], dict):
            fail(self.name, f"an index into its {len(items)} {kind}", repr(index)[:80])
        return items[index]

    def floats(self, place: str, owner: dict, key: str, default: list[float]) -> np.ndarray:
        """Return ``owner[key]`` as finite numbers, as many as the default has."""
        values = self.get(place, owner, key, list, default)
        numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) < 1e30 for v in values)
        if not numeric or len(values) != len(default):
            fail(self.where(place), f"{key} of {len(default)} finite numbers", repr(values)[:80])
        return np.array(values, dtype=np.float64)

    def _bytes_of(self, place: str, uri: str) -> bytes | None:
        """Return what a data: URI holds, or the file that a relative one names; None if there is no such file."""
        if uri.startswith("data:"):
            header, comma, payload = uri.partition(",")
            if not comma or not header.endswith(";base64"):
                fail(self.where(place), "a base64 data: URI", repr(uri[:40]))
            try:
                return base64.b64decode(payload, validate=True)
            except ValueError as error:
                fail(self.where(place), "valid base64", error)
        found = self.source.read_sibling(unquote(uri))
        return None if found is None else found.data

    def _buffer(self, index: int) -> bytes:
        if index not in self._buffers:
            place = f"buffers[{index}]"
            buffer = self.item("buffers", index)
            uri = self.get(place, buffer, "uri", str, "")
            data = self._bytes_of(place, uri) if uri else (self._binary if index == 0 else None)
            size = self.get(place, buffer, "byteLength", int)
            if data is None:
                expected = "a buffer file beside the mesh" if uri else "a GLB binary chunk"
                fail(self.where(place), expected, repr(uri[:80]) if uri else "none")
            if size > len(data):
                fail(self.where(place), f"{size} bytes", len(data))
            self._buffers[index] = data[:size]
        return self._buffers[index]

    def _buffer_view(self, index: int) -> tuple[memoryview, int]:
        """Return the bytes and the stride, 0 if packed."""
        place, view = f"bufferViews[{index}]", self.item("bufferViews", index)
        buffer = self._buffer(self.get(place, view, "buffer", int))
        offset, size = self.get(place, view, "byteOffset", int, 0), self.get(place, view, "byteLength", int)
        if offset + size > len(buffer):
            fail(self.where(place), f"a range inside the buffer's {len(buffer)} bytes", f"{offset} to {offset + size}")
        return memoryview(buffer)[offset : offset + size], self.get(place, view, "byteStride", int, 0)

    def accessor(self, index: int, types: tuple[str, ...], count: int | None = None) -> np.ndarray:
        """Return an accessor's values (count, width), normalized integers as float64 in [-1, 1].

        Args:
            index: which one.
            types: what it may be: "SCALAR", "VEC2", "VEC3", "VEC4".
            count: how many values it must have.
        """
        place, accessor = f"accessors[{index}]", self.item("accessors", index)
        kind, n = self.get(place, accessor, "type", str), self.get(place, accessor, "count", int)
        component = self.get(place, accessor, "componentType", int)
        if kind not in types or component not in _COMPONENTS:
            fail(self.where(place), f"{' or '.join(types)} of a known componentType", f"{kind} of {component}")
        if "sparse" in accessor or "bufferView" not in accessor:
            fail(self.where(place), "values in a bufferView", "a sparse or empty accessor, which are not read")
        if count is not None and n != count:
            fail(self.where(place), f"{count} values, one a vertex", n)
        view, stride = self._buffer_view(self.get(place, accessor, "bufferView", int))
        offset, dtype, width = (
            self.get(place, accessor, "byteOffset", int, 0),
            np.dtype(_COMPONENTS[component]),
            _WIDTHS[kind],
        )
        size = dtype.itemsize * width
        stride = stride or size
        if stride < size or stride > 252:
            fail(self.where(place), f"a stride from {size} to 252 bytes", stride)
        end = offset + stride * (n - 1) + size if n else 0
        if end > len(view):
            fail(self.where(place), f"a range inside the bufferView's {len(view)} bytes", f"{offset} to {end}")
        if not n:
            return np.zeros((0, width))
        values: np.ndarray = np.ndarray((n, width), dtype, view, offset, (stride, dtype.itemsize)).copy()
        if not self.get(place, accessor, "normalized", bool, False) or dtype.kind == "f":
            return values
        return np.maximum(values / float(np.iinfo(dtype).max), -1.0)

    def image(self, index: int) -> torch.Tensor | None:
        """Return an image as float32 (H, W, 3); None, with a warning, if its file is missing or outside the folder."""
        if index not in self._images:
            place, image = f"images[{index}]", self.item("images", index)
            data: bytes | None
            if "bufferView" in image:
                data = bytes(self._buffer_view(self.get(place, image, "bufferView", int))[0])
            else:
                uri = self.get(place, image, "uri", str)
                problem = f"{self.where(place)}: {uri[:80]!r} not found, ignored"
                try:
                    data = self._bytes_of(place, uri)
                except ValueError as error:
                    if uri.startswith("data:"):
                        raise
                    data, problem = None, f"{error}; it is not read"
                if data is None:
                    warnings.warn(problem, stacklevel=2)
            self._images[index] = None if data is None else decode_image(data, self.where(place))
        return self._images[index]
