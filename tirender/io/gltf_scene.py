"""The nodes of a glTF scene: where its meshes and cameras stand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tirender.budget import spend
from tirender.checks import fail
from tirender.io.file_mesh import FileCamera, FileLight
from tirender.io.gltf_parser import GltfFile

MAX_NODES = 1 << 16
"""The largest number of nodes of a scene."""

BYTES_A_CAMERA = 1 << 18
"""What a camera, or a light, takes of the budget while it is read and shown."""
MAX_INSTANCES = 1 << 18
"""The largest number of instances of one node."""
_MOVES = {"matrix", "translation", "rotation", "scale"}


@dataclass(frozen=True)
class Instance:
    """A node that shows a mesh.

    Attributes:
        mesh: its index.
        matrices: (I, 4, 4) to world space, one an instance.
        joints: (J, 4, 4) from the rest pose to world space, of a skinned mesh, or None.
        weights: (M,) of the mesh's morph targets, or None for the mesh's own.
    """

    mesh: int
    matrices: np.ndarray
    joints: np.ndarray | None
    weights: np.ndarray | None


class GltfScene:
    """The scene that is shown: the file's default one, or all nodes that no other holds.

    Args:
        gltf: the file.
    Raises:
        ValueError: nodes that form no tree, fields of a wrong type, indices out of range.
    """

    def __init__(self, gltf: GltfFile) -> None:
        self.gltf = gltf
        self.cameras: list[FileCamera] = []
        self.lights: list[FileLight] = []
        self._parents: dict[int, int] | None = None
        self._worlds: dict[int, np.ndarray] = {}
        self._skins: dict[int, np.ndarray] = {}

    def instances(self) -> Iterator[Instance]:
        """Yield the nodes that have a mesh, and collect ``cameras`` and ``lights`` on the way."""
        gltf = self.gltf
        n_nodes = len(gltf.get("", gltf.root, "nodes", list, []))
        if not n_nodes:
            for i in range(len(gltf.get("", gltf.root, "meshes", list, []))):
                yield Instance(i, np.eye(4)[None], None, None)
        stack = [(root, np.eye(4)) for root in reversed(self._roots(n_nodes))]
        seen: set[int] = set()
        while stack:
            index, parent = stack.pop()
            place, node = f"nodes[{index}]", gltf.item("nodes", index)
            if len(seen) == MAX_NODES:
                fail(gltf.name, f"a scene of at most {MAX_NODES} nodes", "more, too large")
            if index in seen:
                fail(gltf.where(place), "nodes that form trees", "a node that is reached twice")
            seen.add(index)
            visibility = gltf.extension(place, node, "KHR_node_visibility") or {}
            if not gltf.get(place, visibility, "visible", bool, True):
                continue
            world = parent @ local_matrix(gltf, place, node) if _MOVES & node.keys() else parent
            if "camera" in node:
                spend(gltf.name, BYTES_A_CAMERA, "so many cameras")
                self.cameras.append(_camera(gltf, gltf.get(place, node, "camera", int), world))
            shining = gltf.extension(place, node, "KHR_lights_punctual")
            if shining is not None:
                spend(gltf.name, BYTES_A_CAMERA, "so many lights")
                self.lights.append(_light(gltf, f"{place}.extensions.KHR_lights_punctual", shining, world))
            if "mesh" in node:
                yield self._instance(place, node, world)
            stack.extend((child, world) for child in reversed(gltf.get(place, node, "children", list, [])))

    def _roots(self, n_nodes: int) -> list:
        gltf = self.gltf
        if n_nodes and gltf.get("", gltf.root, "scenes", list, []):
            scene = gltf.get("", gltf.root, "scene", int, 0)
            return gltf.get(f"scenes[{scene}]", gltf.item("scenes", scene), "nodes", list, [])
        parents = self._parent_of(n_nodes)
        return [i for i in range(n_nodes) if i not in parents]

    def _parent_of(self, n_nodes: int) -> dict[int, int]:
        if self._parents is None:
            self._parents = {}
            for i in range(n_nodes):
                for child in self.gltf.get(f"nodes[{i}]", self.gltf.item("nodes", i), "children", list, []):
                    if isinstance(child, int):
                        self._parents[child] = i
        return self._parents

    def _world(self, index: int) -> np.ndarray:
        """Return the world matrix (4, 4) of any node."""
        parents = self._parent_of(len(self.gltf.get("", self.gltf.root, "nodes", list, [])))
        chain: list[int] = []
        node: int | None = index
        while node is not None and node not in self._worlds:
            if len(chain) > len(parents):
                fail(self.gltf.where(f"nodes[{index}]"), "nodes that form trees", "a circle")
            chain.append(node)
            node = parents.get(node)
        world = np.eye(4) if node is None else self._worlds[node]
        for node in reversed(chain):
            world = world @ local_matrix(self.gltf, f"nodes[{node}]", self.gltf.item("nodes", node))
            self._worlds[node] = world
        return world

    def _instance(self, place: str, node: dict, world: np.ndarray) -> Instance:
        gltf = self.gltf
        n_weights = len(gltf.get(place, node, "weights", list, []))
        weights = gltf.floats(place, node, "weights", [0.0] * n_weights) if n_weights else None
        matrices, joints = world[None], None
        instancing = gltf.extension(place, node, "EXT_mesh_gpu_instancing")
        if "skin" in node:
            skin = gltf.get(place, node, "skin", int)
            joints = self._skins[skin] = self._joints(skin) if skin not in self._skins else self._skins[skin]
        elif instancing is not None:
            matrices = world @ _instance_matrices(gltf, f"{place}.extensions.EXT_mesh_gpu_instancing", instancing)
        return Instance(gltf.get(place, node, "mesh", int), matrices, joints, weights)

    def _joints(self, index: int) -> np.ndarray:
        """Return what takes a skin's vertices to world space: each joint's matrix times its inverse bind matrix."""
        gltf = self.gltf
        place, skin = f"skins[{index}]", gltf.item("skins", index)
        joints = gltf.get(place, skin, "joints", list)
        if not joints:
            fail(gltf.where(place), "at least one joint", "none")
        for joint in joints:
            gltf.item("nodes", joint)
        worlds = np.stack([self._world(joint) for joint in joints])
        if "inverseBindMatrices" not in skin:
            return worlds
        inverse = gltf.accessor(gltf.get(place, skin, "inverseBindMatrices", int), ("MAT4",)).astype(np.float64)
        if len(inverse) < len(joints) or not np.isfinite(inverse).all():
            fail(gltf.where(place), f"{len(joints)} finite inverseBindMatrices", len(inverse))
        return worlds @ inverse[: len(joints)].reshape(-1, 4, 4).transpose(0, 2, 1)


def local_matrix(gltf: GltfFile, place: str, node: dict) -> np.ndarray:
    """Return a node's own transform (4, 4)."""
    if "matrix" in node:
        return gltf.floats(place, node, "matrix", [0.0] * 16).reshape(4, 4).T
    translation = gltf.floats(place, node, "translation", [0.0, 0.0, 0.0])
    x, y, z, w = gltf.floats(place, node, "rotation", [0.0, 0.0, 0.0, 1.0]).tolist()
    scale = gltf.floats(place, node, "scale", [1.0, 1.0, 1.0])
    norm = x * x + y * y + z * z + w * w
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(_rows(x, y, z, w, 2.0 / norm if norm > 0.0 else 0.0)) * scale
    matrix[:3, 3] = translation
    return matrix


def _rows(x: Any, y: Any, z: Any, w: Any, s: Any) -> list[list[Any]]:
    """The rotation of a quaternion, or of arrays of them; s is 2 over its squared norm."""
    return [
        [1 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)],
        [s * (x * y + z * w), 1 - s * (x * x + z * z), s * (y * z - x * w)],
        [s * (x * z - y * w), s * (y * z + x * w), 1 - s * (x * x + y * y)],
    ]


def _matrices(translation: np.ndarray, rotation: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return (I, 4, 4) of translations (I, 3), quaternions (I, 4), x y z w, and scales (I, 3)."""
    x, y, z, w = rotation.T
    norm = x * x + y * y + z * z + w * w
    rows = _rows(x, y, z, w, np.where(norm > 0.0, 2.0 / np.where(norm > 0.0, norm, 1.0), 0.0))
    matrices = np.tile(np.eye(4), (len(translation), 1, 1))
    matrices[:, :3, :3] = np.stack([np.stack(row, axis=1) for row in rows], axis=1) * scale[:, None, :]
    matrices[:, :3, 3] = translation
    return matrices


def _instance_matrices(gltf: GltfFile, place: str, instancing: dict) -> np.ndarray:
    attributes = gltf.get(place, instancing, "attributes", dict)
    parts: dict[str, np.ndarray] = {}
    for key, kind in (("TRANSLATION", "VEC3"), ("ROTATION", "VEC4"), ("SCALE", "VEC3")):
        if key in attributes:
            count = len(next(iter(parts.values()))) if parts else None
            values = gltf.accessor(gltf.get(place, attributes, key, int), (kind,), count).astype(np.float64)
            if len(values) > MAX_INSTANCES or not np.isfinite(values).all():
                fail(gltf.where(place), f"finite {key} of at most {MAX_INSTANCES} instances", len(values))
            parts[key] = values
    n = len(next(iter(parts.values()))) if parts else 1
    zeros, ones = np.zeros((n, 3)), np.ones((n, 3))
    rotation = parts.get("ROTATION", np.tile([0.0, 0.0, 0.0, 1.0], (n, 1)))
    return _matrices(parts.get("TRANSLATION", zeros), rotation, parts.get("SCALE", ones))


def _camera(gltf: GltfFile, index: int, world: np.ndarray) -> FileCamera:
    place, camera = f"cameras[{index}]", gltf.item("cameras", index)
    kind = gltf.get(place, camera, "type", str)
    if kind not in ("perspective", "orthographic"):
        fail(gltf.where(place), "type perspective or orthographic", repr(kind)[:80])
    lens = gltf.get(place, camera, kind, dict)

    def number(key: str) -> float | None:
        return gltf.number(place, lens, key, 0.0) if key in lens else None

    name = gltf.get(place, camera, "name", str, "")
    numbers = {key: number(key) for key in ("yfov", "aspectRatio", "xmag", "ymag", "znear", "zfar")}
    return FileCamera(name, kind, world, *numbers.values())


def _light(gltf: GltfFile, place: str, shining: dict, world: np.ndarray) -> FileLight:
    """The light that a node's KHR_lights_punctual names."""
    index = gltf.get(place, shining, "light", int)
    lights = gltf.get("", gltf.root, "extensions", dict, {}).get("KHR_lights_punctual")
    lights = gltf.get("extensions", {"KHR_lights_punctual": lights}, "KHR_lights_punctual", dict)
    lights = gltf.get("extensions.KHR_lights_punctual", lights, "lights", list)
    if index >= len(lights) or not isinstance(lights[index], dict):
        fail(gltf.where(place), f"an index into its {len(lights)} lights", index)
    place, light = f"extensions.KHR_lights_punctual.lights[{index}]", lights[index]
    kind = gltf.get(place, light, "type", str)
    if kind not in ("point", "directional", "spot"):
        fail(gltf.where(place), "type point, directional or spot", repr(kind)[:80])
    red, green, blue = gltf.floats(place, light, "color", [1.0, 1.0, 1.0]).tolist()
    spot = gltf.get(place, light, "spot", dict, {})
    return FileLight(
        gltf.get(place, light, "name", str, ""),
        kind,
        world,
        (red, green, blue),
        gltf.number(place, light, "intensity", 1.0),
        gltf.number(place, light, "range", 0.0) if "range" in light else None,
        gltf.number(f"{place}.spot", spot, "innerConeAngle", 0.0),
        gltf.number(f"{place}.spot", spot, "outerConeAngle", np.pi / 4),
    )
