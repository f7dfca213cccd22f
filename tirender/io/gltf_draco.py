"""Primitives of glTF files that Draco compressed (KHR_draco_mesh_compression), decoded by the optional DracoPy."""

from __future__ import annotations

import numpy as np

from tirender.checks import fail
from tirender.io.gltf_parser import GltfFile


def decode_draco(gltf: GltfFile, place: str, primitive: dict) -> tuple[np.ndarray, dict[str, np.ndarray]] | None:
    """Decode a primitive.

    Returns:
        The corners of its faces (3 F,) and its attributes (V, width) by name, as stored; None where it is not
        compressed, or where DracoPy is not installed and the file does not require it.
    Raises:
        ImportError: DracoPy is not installed, and the file requires it.
        ValueError: damaged data.
    """
    extension = gltf.extension(place, primitive, "KHR_draco_mesh_compression")
    if extension is None:
        return None
    try:
        import DracoPy
    except ImportError as error:
        if "KHR_draco_mesh_compression" not in gltf.get("", gltf.root, "extensionsRequired", list, []):
            return None
        needed = "KHR_draco_mesh_compression is decoded by DracoPy; install it with: pip install tirender[formats]"
        raise ImportError(f"{gltf.where(place)}: {needed}") from error
    place = f"{place}.extensions.KHR_draco_mesh_compression"
    data = bytes(gltf.buffer_view(gltf.get(place, extension, "bufferView", int))[0])
    try:
        mesh = DracoPy.decode(data)
        corners = np.asarray(mesh.faces, dtype=np.int64).reshape(-1)
        by_id = {a["unique_id"]: np.asarray(a["data"]) for a in mesh.attributes}
    except Exception as error:  # whatever its decoder makes of damaged data
        fail(gltf.where(place), "undamaged Draco data", f"{type(error).__name__}: {error}")
    attributes = {}
    for key in gltf.get(place, extension, "attributes", dict):
        number = gltf.get(place, extension["attributes"], key, int)
        if number not in by_id:
            fail(gltf.where(place), f"attribute {key} in the compressed data", f"no id {number}")
        attributes[key] = by_id[number].reshape(len(by_id[number]), -1)
    if len({len(values) for values in attributes.values()}) > 1:
        fail(gltf.where(place), "attributes of one length", "different lengths")
    return corners, attributes
