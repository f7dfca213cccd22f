"""glTF 2.0 files (.glb and .gltf) to checked arrays (https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html).

pygltflib was judged and not used: it trusts lengths, offsets and types, so that all checks below would stand beside it.
"""

from __future__ import annotations

import base64
import json
import struct
import warnings
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np
import torch

from tirender.budget import spend
from tirender.checks import fail
from tirender.io.companions import find_companion
from tirender.io.files import Source, decode_image, read_source

_COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_MAX_EMPTY = 1 << 22
"""Numbers of the largest accessor that holds no data: it takes memory for as much as it claims."""
_EXTENSIONS = (
    "EXT_mesh_gpu_instancing",
    "EXT_texture_webp",
    "KHR_draco_mesh_compression",
    "KHR_lights_punctual",
    "KHR_materials_emissive_strength",
    "KHR_materials_pbrSpecularGlossiness",
    "KHR_materials_unlit",
    "KHR_mesh_quantization",
    "KHR_node_visibility",
    "KHR_texture_transform",
    "MSFT_texture_dds",
)
_WITHOUT_LOOK = ("KHR_materials_variants", "KHR_xmp", "KHR_xmp_json_ld", "KHR_animation_pointer")
_COMPRESSION = ("EXT_meshopt_compression", "KHR_meshopt_compression")
_REQUIRED: Any = object()


class StoredImage(NamedTuple):
    """What decodes an image, and what returns the bytes of its file."""

    decode: Callable[[], torch.Tensor]
    stored: Callable[[], bytes]


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
            fail(
                self.name, "glTF JSON", error if text.lstrip()[:1] == b"{" else f"a file that starts with {text[:12]!r}"
            )
        if not isinstance(self.root, dict):
            fail(self.name, "glTF JSON with an object", type(self.root).__name__)
        version = self.get("asset", self.get("", self.root, "asset", dict), "version", str)
        if version.split(".")[0] != "2":
            fail(self.name, "glTF of version 2", repr(version))
        self._check_extensions()
        self._buffers: dict[int, bytes] = {}
        self._images: dict[int, StoredImage | None] = {}

    def _check_extensions(self) -> None:
        """Refuse what is required and not understood; warn of what is used and not understood."""
        for extension in self.get("", self.root, "extensionsRequired", list, []):
            if extension not in _EXTENSIONS and extension not in _WITHOUT_LOOK:
                way_out = " (decompress it first, as with gltf-transform)" if extension in _COMPRESSION else ""
                expected = "a file that needs no extension but " + ", ".join(_EXTENSIONS)
                fail(self.name, expected, f"{str(extension)[:80]!r}{way_out}")
        used = {str(extension)[:80] for extension in self.get("", self.root, "extensionsUsed", list, [])}
        for extension in sorted(used - {*_EXTENSIONS, *_WITHOUT_LOOK}):
            warnings.warn(f"{self.name}: extension {extension} is not read", stacklevel=5)

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

    def extension(self, place: str, owner: dict, name: str) -> dict | None:
        """Return an extension of an object, or None."""
        extensions = self.get(place, owner, "extensions", dict, {})
        return self.get(f"{place}.extensions", extensions, name, dict) if name in extensions else None

    def number(self, place: str, owner: dict, key: str, default: float) -> float:
        """Return ``owner[key]`` as a finite number."""
        return float(self.floats(place, {key: [owner.get(key, default)]}, key, [default])[0])

    def _bytes_of_data_uri(self, place: str, uri: str) -> bytes:
        header, comma, payload = uri.partition(",")
        if not comma or not header.endswith(";base64"):
            fail(self.where(place), "a base64 data: URI", repr(uri[:40]))
        try:
            return base64.b64decode(payload, validate=True)
        except ValueError as error:
            return fail(self.where(place), "valid base64", error)

    def _buffer(self, index: int) -> bytes:
        if index not in self._buffers:
            place = f"buffers[{index}]"
            buffer = self.item("buffers", index)
            uri = self.get(place, buffer, "uri", str, "")
            data = self._binary if index == 0 and not uri else None
            if uri.startswith("data:"):
                data = self._bytes_of_data_uri(place, uri)
            elif uri:
                found = self.source.read_sibling(unquote(uri)) or self.source.read_sibling(uri)
                data = None if found is None else found.data
            size = self.get(place, buffer, "byteLength", int)
            if data is None:
                expected = "a buffer file beside the mesh" if uri else "a GLB binary chunk"
                fail(self.where(place), expected, repr(uri[:80]) if uri else "none")
            if size > len(data):
                fail(self.where(place), f"{size} bytes", len(data))
            if self._buffers:
                spend(self.name, size, place)  # many may name one file
            self._buffers[index] = data[:size]
        return self._buffers[index]

    def buffer_view(self, index: int) -> tuple[memoryview, int]:
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
            types: what it may be: "SCALAR", "VEC2", "VEC3", "VEC4", "MAT4".
            count: how many values it must have.
        """
        place, accessor = f"accessors[{index}]", self.item("accessors", index)
        kind, n = self.get(place, accessor, "type", str), self.get(place, accessor, "count", int)
        component = self.get(place, accessor, "componentType", int)
        if kind not in types or component not in _COMPONENTS:
            fail(self.where(place), f"{' or '.join(types)} of a known componentType", f"{kind} of {component}")
        if count is not None and n != count:
            fail(self.where(place), f"{count} values, one a vertex", n)
        dtype, width = np.dtype(_COMPONENTS[component]), _WIDTHS[kind]
        if "bufferView" in accessor:
            values = self._values(place, accessor, n, dtype, width)
        elif n * width > _MAX_EMPTY:
            return fail(self.where(place), f"at most {_MAX_EMPTY} numbers without a bufferView", n * width)
        else:
            values = np.zeros((n, width), dtype)
        if "sparse" in accessor:
            self._replace(f"{place}.sparse", self.get(place, accessor, "sparse", dict), values)
        return self.normalized(place, accessor, values)

    def normalized(self, place: str, accessor: dict, values: np.ndarray) -> np.ndarray:
        """Return an accessor's values, integers that it calls normalized as float64 in [-1, 1]."""
        if not self.get(place, accessor, "normalized", bool, False) or values.dtype.kind == "f":
            return values
        return unit_integers(values)

    def _values(self, place: str, owner: dict, n: int, dtype: np.dtype, width: int) -> np.ndarray:
        """Return n rows of numbers at an object's bufferView and byteOffset."""
        view, stride = self.buffer_view(self.get(place, owner, "bufferView", int))
        offset = self.get(place, owner, "byteOffset", int, 0)
        size = dtype.itemsize * width
        stride = stride or size
        if stride < size or stride > 252:
            fail(self.where(place), f"a stride from {size} to 252 bytes", stride)
        end = offset + stride * (n - 1) + size if n else 0
        if end > len(view):
            fail(self.where(place), f"a range inside the bufferView's {len(view)} bytes", f"{offset} to {end}")
        if not n:
            return np.zeros((0, width), dtype)
        return np.ndarray((n, width), dtype, view, offset, (stride, dtype.itemsize)).copy()

    def _replace(self, place: str, sparse: dict, values: np.ndarray) -> None:
        """Put a sparse accessor's own values in."""
        n = self.get(place, sparse, "count", int)
        indices, replaced = self.get(place, sparse, "indices", dict), self.get(place, sparse, "values", dict)
        component = self.get(f"{place}.indices", indices, "componentType", int)
        if component not in (5121, 5123, 5125):
            fail(self.where(f"{place}.indices"), "an unsigned componentType", component)
        rows = self._values(f"{place}.indices", indices, n, np.dtype(_COMPONENTS[component]), 1)[:, 0]
        if n and rows.max() >= len(values):
            fail(self.where(f"{place}.indices"), f"indices below {len(values)}", rows.max())
        values[rows] = self._values(f"{place}.values", replaced, n, values.dtype, values.shape[1])

    def image(self, index: int) -> StoredImage | None:
        """Return what reads an image; None, with a warning, if its file is missing or outside the folder."""
        if index not in self._images:
            place, image = f"images[{index}]", self.item("images", index)
            read: Callable[[], bytes] | None = None
            if "bufferView" in image:
                view = self.buffer_view(self.get(place, image, "bufferView", int))[0]
                read = partial(bytes, view)
            else:
                uri = self.get(place, image, "uri", str)
                if uri.startswith("data:"):
                    read = partial(self._bytes_of_data_uri, place, uri)
                else:
                    path, problem = find_companion(self.source, f"image {uri[:80]!r}", [unquote(uri), uri])
                    if path is None:
                        warnings.warn(problem, stacklevel=2)
                    else:
                        read = partial(self._bytes_of_file, path)
            self._images[index] = None if read is None else StoredImage(cache(partial(self._decode, place, read)), read)
        return self._images[index]

    def _bytes_of_file(self, path: str) -> bytes:
        return read_source(path, self.source.path_manager).data

    def _decode(self, place: str, read: Callable[[], bytes]) -> torch.Tensor:
        return decode_image(read(), self.where(place), None)


def unit_integers(values: np.ndarray) -> np.ndarray:
    """Return integers divided by their type's maximum, float64 in [-1, 1]."""
    return np.maximum(values / float(np.iinfo(values.dtype).max), -1.0)
