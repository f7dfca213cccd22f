"""Meshes as binary glTF 2.0."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import torch

from tirender.io.colors import decode_srgb
from tirender.io.files import encode_png
from tirender.io.pluggable_formats import check_indices, check_rows, one_mesh
from tirender.io.texturing import single_map, vertex_colors
from tirender.renderer.mesh.textures import TexturesVertex
from tirender.structures.meshes import Meshes

_FLOAT, _UINT = 5126, 5125
_WRAPS = {"repeat": 10497, "reflection": 33648, "border": 33071, "zeros": 33071}  # glTF has no zeros


def glb_bytes(data: Meshes, path: Any) -> bytes:
    """Return one mesh as a GLB file.

    Normals are written where the mesh was given some, RGB ``TexturesVertex`` as linear vertex colours, ``TexturesUV``
    as an image, for which vertices with several texture coordinates are repeated; its ``padding_mode`` as the wraps of
    the image, where there is one map. Other textures are left out with a warning. The material is rough and no metal,
    as light in this library falls.

    Args:
        data: a batch of one.
        path: of the file, for messages.
    Raises:
        ValueError: ``data`` is not one mesh, or has maps that are not RGB.
    """
    verts, faces = one_mesh(data, path)
    check_rows("verts", verts, 3)
    check_indices("faces", faces, len(verts))
    normals = data.verts_normals_list()[0] if data.has_verts_normals() else None
    file = _Glb()
    if isinstance(data.textures, TexturesVertex) or data.textures is None:
        colors = vertex_colors(data, path, False)
        attributes = {"POSITION": verts, "NORMAL": normals}
        corners = faces
        linear = None if colors is None else decode_srgb(_array(colors).astype(np.float64).clip(0.0, 1.0))
    else:
        uvs = single_map(data.textures, path)
        attributes, corners, linear = {"POSITION": verts, "NORMAL": normals}, faces, None
        if uvs:
            table = torch.cat([uvs["verts_uvs"].new_zeros(1, 2), uvs["verts_uvs"]])  # row 0 for corners without any
            pairs, corners = torch.unique(faces.long() * len(table) + uvs["faces_uvs"].long() + 1, return_inverse=True)
            attributes = {key: x if x is None else x[pairs // len(table)] for key, x in attributes.items()}
            u, v = table[pairs % len(table)].unbind(1)
            attributes["TEXCOORD_0"] = torch.stack([u, 1.0 - v], dim=1)
            is_joined = data.textures.maps_ids_list() is not None
            file.add_image(encode_png(uvs["texture_map"]), ("border", "border") if is_joined else data.textures.padding)
    accessors = {key: file.add_array(_array(x), key == "POSITION") for key, x in attributes.items() if x is not None}
    if linear is not None:
        accessors["COLOR_0"] = file.add_array(linear)
    return file.contents(accessors, file.add_array(_array(corners).reshape(-1, 1)))


def _array(values: torch.Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()


class _Glb:
    """Collects arrays and images in one buffer."""

    def __init__(self) -> None:
        self.binary = b""
        self.root: dict[str, Any] = {"asset": {"version": "2.0", "generator": "tirender"}}
        self.root |= {"bufferViews": [], "accessors": []}

    def _view(self, data: bytes) -> int:
        self.root["bufferViews"].append({"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data)})
        self.binary += data + b"\0" * (-len(data) % 4)
        return len(self.root["bufferViews"]) - 1

    def add_array(self, values: np.ndarray, has_bounds: bool = False) -> int:
        """Add floats (N, width), or indices (N, 1), and return the accessor."""
        is_float = values.dtype.kind == "f"
        array = values.astype("<f4" if is_float else "<u4")
        accessor: dict[str, Any] = {"bufferView": self._view(array.tobytes()), "count": len(array)}
        accessor |= {"componentType": _FLOAT if is_float else _UINT}
        accessor["type"] = "SCALAR" if array.shape[1] == 1 else f"VEC{array.shape[1]}"
        if has_bounds and len(array):
            accessor |= {"min": array.min(axis=0).tolist(), "max": array.max(axis=0).tolist()}
        self.root["accessors"].append(accessor)
        return len(self.root["accessors"]) - 1

    def add_image(self, png: bytes, padding: tuple[str, str]) -> None:
        """Add the base colour's image, and what lies beyond it along u and v."""
        self.root["images"] = [{"bufferView": self._view(png), "mimeType": "image/png"}]
        self.root["samplers"] = [{"wrapS": _WRAPS[padding[0]], "wrapT": _WRAPS[padding[1]]}]
        self.root["textures"] = [{"source": 0, "sampler": 0}]

    def contents(self, attributes: dict[str, int], indices: int) -> bytes:
        """Return the file of one primitive."""
        look: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": 1.0}
        if "images" in self.root:
            look["baseColorTexture"] = {"index": 0}
        self.root["materials"] = [{"pbrMetallicRoughness": look}]
        primitive = {"attributes": attributes, "indices": indices, "material": 0}
        self.root |= {"meshes": [{"primitives": [primitive]}], "nodes": [{"mesh": 0}], "scenes": [{"nodes": [0]}]}
        self.root |= {"scene": 0, "buffers": [{"byteLength": len(self.binary)}]}
        text = json.dumps(self.root).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text
        chunks += struct.pack("<I4s", len(self.binary), b"BIN\0") + self.binary
        return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
