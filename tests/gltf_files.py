"""Small glTF files for the tests of the reader."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

COMPONENTS = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}
TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


def glb(root: dict, binary: bytes) -> bytes:
    """The binary container of a glTF root and its buffer."""
    text = json.dumps(root).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


class GltfBuilder:
    """Collects arrays in one buffer; ``root`` is the JSON, to be changed at will."""

    def __init__(self) -> None:
        self.binary = b""
        self.root: dict[str, Any] = {"asset": {"version": "2.0"}, "scenes": [{"nodes": []}], "nodes": []}
        for kind in ("meshes", "accessors", "bufferViews", "materials", "textures", "images"):
            self.root[kind] = []

    def add(self, kind: str, item: dict) -> int:
        self.root[kind].append(item)
        return len(self.root[kind]) - 1

    def view(self, data: bytes, **extra: Any) -> int:
        view = {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data), **extra}
        self.binary += data + b"\0" * (-len(data) % 4)
        return self.add("bufferViews", view)

    def array(self, values: Any, dtype: str = "f4", **extra: Any) -> int:
        array = np.asarray(values, dtype="<" + dtype)
        width = 1 if array.ndim == 1 else array.shape[1]
        item = {"bufferView": self.view(array.tobytes()), "componentType": COMPONENTS[dtype], "count": len(array)}
        return self.add("accessors", {**item, "type": TYPES[width], **extra})

    def image(self, png: bytes) -> int:
        """A texture of an image inside the buffer."""
        source = self.add("images", {"bufferView": self.view(png), "mimeType": "image/png"})
        return self.add("textures", {"source": source})

    def mesh(self, *primitives: dict, **node: Any) -> int:
        """A mesh and a root node that shows it."""
        mesh = self.add("meshes", {"primitives": list(primitives)})
        self.root["scenes"][0]["nodes"].append(self.add("nodes", {"mesh": mesh, **node}))
        return mesh

    def glb(self) -> bytes:
        return glb({**self.root, "buffers": [{"byteLength": len(self.binary)}]}, self.binary)
