"""Meshes, clouds, cameras and lights as glTF 2.0, in one file: .glb, or .gltf with the data inside."""

from __future__ import annotations

import base64
import json
import math
import os
import struct
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from tirender.checks import fail
from tirender.io.colors import decode_srgb
from tirender.io.file_mesh import FileCamera, FileLight, FileMesh, centered
from tirender.io.gltf_document import GltfDocument
from tirender.io.gltf_material_writer import MaterialWriter
from tirender.io.mesh_pieces import pieces_of
from tirender.io.orientation import Orientation

_POINTS = 0
_LIGHTS = "KHR_lights_punctual"
_MOST_BYTES = (1 << 32) - 1  # of a GLB file, which counts them in 32 bits
NEAR, FAR = 0.01, 1000.0  # of cameras that say nothing


def gltf_chunks(mesh: FileMesh, path: Any) -> Iterator[bytes]:
    """Return the contents of a .glb or .gltf file.

    Each material becomes a primitive. Vertices are repeated where corners differ, see
    :func:`~tirender.io.mesh_pieces.pieces_of`; else geometry keeps its bits. An ``origin`` and an ``orientation`` that
    is not glTF's go into the matrices of nodes. Colours become linear. Images that were read from PNG or JPEG stay as
    they are, others become PNG.

    Args:
        mesh: a mesh with faces, or a cloud.
        path: of the file; ``.gltf`` gets JSON with the data as base64, other endings GLB.
    Raises:
        ValueError: nothing to write, positions that are not finite in float32, or more than a GLB file can hold.
    """
    name = os.fsdecode(path)
    if not len(mesh.verts):
        fail(name, "at least one vertex, as glTF holds no empty mesh", "none")
    with np.errstate(over="ignore"):
        is_finite = np.isfinite(mesh.verts.astype(np.float32)).all()
    if not is_finite:
        fail(name, "positions finite in float32", "others")
    document = GltfDocument()
    content = centered(mesh)
    primitives = list(_primitives(document, content, name)) if len(mesh.faces) else [_cloud(document, content)]
    stem = os.path.splitext(os.path.basename(mesh.name))[0]
    document.root["meshes"] = [{"primitives": primitives} | ({"name": stem} if stem else {})]
    node: dict[str, Any] = {"mesh": 0}
    if content.origin.any():
        node["translation"] = content.origin.tolist()
    document.root["nodes"] = [node]
    for camera in mesh.cameras:
        _add_camera(document, camera, name)
    for light in mesh.lights:
        _add_light(document, light, name)
    nodes: list[dict[str, Any]] = document.root["nodes"]
    roots = [*range(len(nodes))]
    turn = _turn(mesh.orientation)
    if turn is not None:
        nodes.append({"name": "upright", "matrix": turn, "children": roots})
        roots = [len(nodes) - 1]
    document.root |= {"scenes": [{"nodes": roots}], "scene": 0}
    return _text(document) if name.lower().endswith(".gltf") else _glb(document, name)


def _primitives(document: GltfDocument, mesh: FileMesh, name: str) -> Iterator[dict[str, Any]]:
    materials = MaterialWriter(document, name)
    for piece in pieces_of(mesh):
        attributes = {"POSITION": document.array(piece.verts, "VEC3", bounds=True)}
        if piece.normals is not None:
            attributes["NORMAL"] = document.array(piece.normals, "VEC3")
        if piece.tangents is not None:
            attributes["TANGENT"] = document.array(piece.tangents, "VEC4")
        for k, uvs in enumerate(piece.uvs):
            attributes[f"TEXCOORD_{k}"] = document.array(np.stack([uvs[:, 0], 1.0 - uvs[:, 1]], axis=1), "VEC2")
        if piece.rgba is not None:
            attributes["COLOR_0"] = _add_colors(document, piece.rgba)
        yield {
            "attributes": attributes,
            "indices": document.indices(piece.faces),
            "material": materials.add(piece.material, piece.layouts),
        }


def _cloud(document: GltfDocument, mesh: FileMesh) -> dict[str, Any]:
    attributes = {"POSITION": document.array(mesh.verts.astype(np.float32), "VEC3", bounds=True)}
    normals = mesh.normals
    if normals is not None and len(normals) == len(mesh.verts):
        length = np.linalg.norm(normals.astype(np.float64), axis=1, keepdims=True)
        unit = np.where(length > 0.0, normals / np.where(length > 0.0, length, 1.0), [0.0, 0.0, 1.0])
        attributes["NORMAL"] = document.array(unit.astype(np.float32), "VEC3")
    material: dict[str, Any] = {"pbrMetallicRoughness": {"metallicFactor": 0.0}}
    material["extensions"] = {"KHR_materials_unlit": {}}
    document.use("KHR_materials_unlit")
    rgba = mesh.verts_rgba
    if rgba is not None:
        linear = np.concatenate([decode_srgb(rgba[:, :3].astype(np.float64)), rgba[:, 3:]], axis=1).clip(0.0, 1.0)
        attributes["COLOR_0"] = _add_colors(document, linear.astype(np.float32))
        if (rgba[:, 3] < 1.0).any():
            material["alphaMode"] = "BLEND"
    return {"attributes": attributes, "mode": _POINTS, "material": document.add("materials", material)}


def _add_colors(document: GltfDocument, rgba: np.ndarray) -> int:
    has_alpha = bool((rgba[:, 3] < 1.0).any())
    return document.array(rgba if has_alpha else rgba[:, :3], "VEC4" if has_alpha else "VEC3")


def _add_camera(document: GltfDocument, camera: FileCamera, name: str) -> None:
    near = camera.near if camera.near and camera.near > 0.0 else NEAR
    lens: dict[str, Any] = {"znear": near}
    if camera.far is not None and near < camera.far < math.inf:  # without it, pictures reach to infinity
        lens["zfar"] = camera.far
    if camera.kind == "perspective":
        fits = camera.fov_y is not None and 0.0 < camera.fov_y < np.pi
        lens["yfov"] = camera.fov_y
        if camera.aspect and camera.aspect > 0.0:
            lens["aspectRatio"] = camera.aspect
    else:
        height = abs(camera.half_height or 0.0)
        width = abs(camera.half_width or 0.0) or height * (camera.aspect or 1.0)
        fits = height > 0.0
        lens |= {"xmag": width, "ymag": height, "zfar": lens.get("zfar", near + FAR)}
    matrix = _rigid(camera.matrix)
    if not fits or matrix is None:
        warnings.warn(f"{name}: camera {camera.name!r} sees nothing, left out", stacklevel=4)
        return
    item = {"type": camera.kind, camera.kind: lens} | ({"name": camera.name} if camera.name else {})
    _add_node(document, matrix, {"camera": document.add("cameras", item)}, camera.name)


def _add_light(document: GltfDocument, light: FileLight, name: str) -> None:
    matrix = _rigid(light.matrix)
    if matrix is None:
        warnings.warn(f"{name}: light {light.name!r} has no direction, left out", stacklevel=4)
        return
    top = max(*light.color, 1.0)  # colours end at 1, intensities do not
    item: dict[str, Any] = {"type": light.kind, "color": [max(c, 0.0) / top for c in light.color]}
    item["intensity"] = max(light.intensity, 0.0) * top
    if light.reach is not None and light.reach > 0.0 and light.kind != "directional":
        item["range"] = light.reach
    if light.kind == "spot":
        outer = min(max(light.outer, 1e-4), np.pi / 2)
        item["spot"] = {"innerConeAngle": min(max(light.inner, 0.0), outer * 0.999), "outerConeAngle": outer}
    if light.name:
        item["name"] = light.name
    document.use(_LIGHTS)
    lights = document.root.setdefault("extensions", {}).setdefault(_LIGHTS, {"lights": []})["lights"]
    lights.append(item)
    _add_node(document, matrix, {"extensions": {_LIGHTS: {"light": len(lights) - 1}}}, light.name)


def _add_node(document: GltfDocument, matrix: np.ndarray, node: dict[str, Any], name: str) -> None:
    if name:
        node["name"] = name
    if not np.array_equal(matrix, np.eye(4)):
        node["matrix"] = matrix.T.reshape(-1).tolist()
    document.root["nodes"].append(node)


def _rigid(matrix: np.ndarray) -> np.ndarray | None:
    """A matrix (4, 4) with the same place, direction of z and plane of y, but without scales; None if it has none."""
    z, y = matrix[:3, 2], matrix[:3, 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        z = z / np.linalg.norm(z)
        y = y - (y @ z) * z
        y = y / np.linalg.norm(y)
    result = np.eye(4)
    result[:3, :3] = np.stack([np.cross(y, z), y, z], axis=1)
    result[:3, 3] = matrix[:3, 3]
    return result if np.isfinite(result).all() else None


def _turn(orientation: Orientation) -> list[float] | None:
    """The columns of the matrix that turns up to +Y and front to +Z; None where they are there."""
    if orientation == Orientation():
        return None
    up, front = np.array(orientation.up), np.array(orientation.front)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([np.cross(up, front), up, front]) + 0.0
    return matrix.T.reshape(-1).tolist()  # type: ignore[no-any-return]


def _glb(document: GltfDocument, name: str) -> Iterator[bytes]:
    text = json.dumps(document.finished(), allow_nan=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    length = 12 + 8 + len(text) + 8 + document.n_bytes
    if length > _MOST_BYTES:
        fail(name, f"at most {_MOST_BYTES} bytes, as GLB counts them", length)
    yield struct.pack("<4sII", b"glTF", 2, length) + struct.pack("<I4s", len(text), b"JSON") + text
    yield struct.pack("<I4s", document.n_bytes, b"BIN\0")
    yield from document.chunks


def _text(document: GltfDocument) -> Iterator[bytes]:
    data = base64.b64encode(b"".join(document.chunks)).decode()
    root = document.finished()
    root["buffers"][0]["uri"] = f"data:application/octet-stream;base64,{data}"
    yield json.dumps(root, allow_nan=False, indent=1).encode() + b"\n"
