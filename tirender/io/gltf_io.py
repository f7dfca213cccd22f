"""glTF 2.0 scenes (.glb and .gltf) as one mesh."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np

from tirender.budget import spend
from tirender.checks import fail
from tirender.io.colors import encode_srgb, with_alpha
from tirender.io.file_mesh import FileMesh, cofactors, join, join_points
from tirender.io.files import Source, read_source, write_file
from tirender.io.gltf_draco import decode_draco
from tirender.io.gltf_materials import read_material
from tirender.io.gltf_parser import GltfFile, unit_integers
from tirender.io.gltf_scene import GltfScene, Instance
from tirender.io.gltf_writer import gltf_chunks
from tirender.io.mesh_building import cloud_of
from tirender.io.mesh_records import record_of_cloud, record_of_mesh
from tirender.io.pluggable_formats import MeshRecordFormat, PointcloudFormatInterpreter, has_suffix
from tirender.io.text import finite_float32
from tirender.io.view_records import file_cameras, file_lights
from tirender.renderer.cameras import CamerasBase
from tirender.renderer.mesh.material import Material
from tirender.structures.meshes import Meshes
from tirender.structures.pointclouds import Pointclouds
from tirender.structures.words import several

_POINTS, _TRIANGLES, _TRIANGLE_STRIP, _TRIANGLE_FAN = 0, 4, 5, 6
_MAX_SETS = 8

BYTES_A_PART, BYTES_A_VERTEX = 1 << 18, 150
"""What a primitive, wherever its mesh stands, and its vertices take of the budget while a scene is read and shown."""


def read_gltf(source: Source) -> FileMesh:
    """Read the scene's triangles as one mesh in world space, with materials, normals, colours, cameras and lights.

    A scene of points without triangles is a cloud. Skinned meshes stand in the pose of their joints' nodes, morph
    targets at their default weights. Animations, skins and other scenes are named in ``unread``. Lines, and points
    beside triangles, are left out with a warning. Linear factors and vertex colours are encoded as sRGB.

    Raises:
        ValueError: naming the file and where: lengths or offsets that do not fit, indices out of range, nodes that
            form no tree, required extensions that are not read, a buffer file that is missing or outside of the
            folder, a scene without triangles or points, NaN and infinity.
        ImportError: a package that decodes a required extension is not installed.
    """
    gltf = GltfFile(source)
    scene = GltfScene(gltf)
    material = cache(partial(read_material, gltf))
    meshes: list[FileMesh] = []
    clouds: list[FileMesh] = []
    for is_mesh, part in _parts(gltf, scene, material):
        spend(gltf.name, BYTES_A_PART, "a scene of so many primitives, instances of meshes counted")
        (meshes if is_mesh else clouds).append(part)
    if not meshes and not clouds:
        fail(gltf.name, "a scene with triangles or points", "none")
    if meshes and clouds:
        warnings.warn(f"{gltf.name}: points beside triangles, left out", stacklevel=3)
    joined = join(gltf.name, meshes) if meshes else join_points(gltf.name, clouds)
    return replace(joined, cameras=tuple(scene.cameras), lights=tuple(scene.lights), unread=_unread(gltf))


def _unread(gltf: GltfFile) -> tuple[str, ...]:
    """What a file holds beside the scene as it stands."""
    found = {name: len(gltf.get("", gltf.root, name, list, [])) for name in ("animations", "skins", "scenes")}
    parts = [several(found[name], name[:-1]) for name in ("animations", "skins") if found[name]]
    parts += [several(found["scenes"] - 1, "other scene")] * (found["scenes"] > 1)
    has_variants = gltf.extension("", gltf.root, "KHR_materials_variants") is not None
    return (*parts, *["variants of materials"] * has_variants)


class MeshGlbFormat(MeshRecordFormat):
    """glTF 2.0 in the ``IO`` registry: paths that end in .glb or .gltf."""

    known_suffixes = (".glb", ".gltf")
    read_record = staticmethod(read_gltf)

    def save(
        self,
        data: Meshes,
        path: Any,
        path_manager: Any = None,
        binary: bool | None = None,
        cameras: CamerasBase | None = None,
        lights: Any = None,
        **kwargs: Any,
    ) -> bool:
        """Write one mesh, all that its textures say, and the normals that it was given, as :func:`gltf_chunks` does.

        Args:
            data, path, path_manager: see ``MeshFormatInterpreter``.
            binary: None, or what the ending says: .glb is binary, .gltf text.
            cameras: to be written, too; pinhole or orthographic ones.
            lights: ``PointLights`` or ``DirectionalLights`` to be written, too, see
                :func:`~tirender.io.view_records.file_lights`.
        Raises:
            ValueError: ``binary`` is not what the ending says, or ``data`` is not one mesh with vertices.
        """
        if not has_suffix(path, self.known_suffixes):
            return False
        _check_binary(path, binary)
        mesh = record_of_mesh(data, path)
        centre = 0.5 * (mesh.verts.min(axis=0) + mesh.verts.max(axis=0)) if len(mesh.verts) else np.zeros(3)
        mesh = replace(mesh, cameras=file_cameras(cameras), lights=file_lights(lights, centre))
        write_file(path, gltf_chunks(mesh, path), path_manager)
        return True


class PointcloudGlbFormat(PointcloudFormatInterpreter):
    """Points of glTF 2.0 in the ``IO`` registry: paths that end in .glb or .gltf; of meshes, the vertices."""

    known_suffixes = (".glb", ".gltf")

    def read(self, path: Any, device: Any, path_manager: Any = None, **kwargs: Any) -> Pointclouds | None:
        """Read points, their normals, and colours as RGB features."""
        if not has_suffix(path, self.known_suffixes):
            return None
        return cloud_of(read_gltf(read_source(path, path_manager)), device)

    def save(
        self, data: Pointclouds, path: Any, path_manager: Any = None, binary: bool | None = None, **kwargs: Any
    ) -> bool:
        """Write one cloud, its normals, and features of 3 channels as colours, of 4 with alpha.

        Raises:
            ValueError: ``binary`` is not what the ending says, or ``data`` is not one cloud with points.
        """
        if not has_suffix(path, self.known_suffixes):
            return False
        _check_binary(path, binary)
        write_file(path, gltf_chunks(record_of_cloud(data, path), path), path_manager)
        return True


def _check_binary(path: Any, binary: bool | None) -> None:
    if binary is False and has_suffix(path, (".glb",)):
        fail("binary", "None or True, as GLB is binary", binary)
    if binary and has_suffix(path, (".gltf",)):
        fail("binary", "None or False, as .gltf is text (.glb is binary)", binary)


def _parts(gltf: GltfFile, scene: GltfScene, material: Callable[[int], Material]) -> Iterator[tuple[bool, FileMesh]]:
    """Yield the primitives, and whether they are of triangles."""
    known: dict[tuple[int, int], _Primitive] = {}
    for instance in scene.instances():
        place, mesh = f"meshes[{instance.mesh}]", gltf.item("meshes", instance.mesh)
        weights = instance.weights
        if weights is None:
            n_weights = len(gltf.get(place, mesh, "weights", list, []))
            weights = gltf.floats(place, mesh, "weights", [0.0] * n_weights)
        for i, primitive in enumerate(gltf.get(place, mesh, "primitives", list)):
            if not isinstance(primitive, dict):
                fail(gltf.where(f"{place}.primitives[{i}]"), "an object", repr(primitive)[:80])
            key = instance.mesh, i
            if key not in known:
                known[key] = _Primitive(gltf, f"{place}.primitives[{i}]", primitive)
            part = known[key].part(instance, weights, material)
            if part is not None:
                yield known[key].mode != _POINTS, part


class _Primitive:
    """A primitive and what its attributes hold."""

    def __init__(self, gltf: GltfFile, place: str, primitive: dict) -> None:
        self.gltf, self.place, self.primitive = gltf, place, primitive
        self.attributes: dict = gltf.get(place, primitive, "attributes", dict)
        self.n_verts: int | None = None
        self.mode: int = gltf.get(place, primitive, "mode", int, _TRIANGLES)
        self.draco = decode_draco(gltf, place, primitive)
        self._kept: dict[str, Any] = {}  # what instances share

    def part(self, instance: Instance, weights: np.ndarray, material: Callable[[int], Material]) -> FileMesh | None:
        """Return all instances of the primitive in world space; None, with a warning, for lines."""
        gltf, place = self.gltf, self.place
        if self.mode not in (_POINTS, _TRIANGLES, _TRIANGLE_STRIP, _TRIANGLE_FAN):
            warnings.warn(f"{gltf.where(place)}: lines, left out", stacklevel=2)
            return None
        positions = self._keep("POSITION", lambda: self._values("POSITION", ("VEC3",)).astype(np.float64))
        self.n_verts = n_verts = len(positions)
        faces = self._keep("faces", lambda: self._faces(self.mode))
        n = len(instance.matrices)
        spend(gltf.name, BYTES_A_VERTEX * n * max(n_verts, len(faces) // 2), f"{n} x {n_verts} vertices of {place}")
        positions = positions + self._morphed("POSITION", weights)
        normals = self.floats("NORMAL", "VEC3")
        if normals is not None:
            normals = normals + self._morphed("NORMAL", weights)
        matrices = instance.matrices if instance.joints is None else self._skinned(instance.joints)
        # (I or V, 4, 4) against (V, 3): instances in turn, or each vertex by its own.
        order = "nij,vj->nvi" if instance.joints is None else "vij,vj->vi"
        with np.errstate(over="ignore", invalid="ignore"):
            shift = matrices[:, None, :3, 3] if instance.joints is None else matrices[:, :3, 3]
            is_moved = n > 1 or instance.joints is not None or not np.array_equal(matrices[0], np.eye(4))
            verts = (
                np.einsum(order, matrices[:, :3, :3], positions) + shift if is_moved else positions
            )  # which keeps -0
            verts = verts.reshape(-1, 3)
            mirrored = np.linalg.det(matrices[:, :3, :3]) < 0
        finite_float32(verts, "POSITION", lambda row: gltf.where(f"{place}, POSITION {row % n_verts}"))
        if normals is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                turned = np.einsum(order, cofactors(matrices[:, :3, :3]), normals).reshape(-1, 3)
                length = np.linalg.norm(turned, axis=1, keepdims=True)
                turned /= np.where(length > 0, length, 1.0)
            normals = finite_float32(turned, "NORMAL", lambda row: gltf.where(f"{place}, NORMAL {row % n_verts}"))
        flips = np.array([mirrored.mean() > 0.5]) if instance.joints is not None else mirrored
        faces = np.where(flips[:, None, None], faces[:, ::-1], faces) + (np.arange(n) * n_verts)[:, None, None]
        faces = faces.reshape(-1, 3)
        return FileMesh(
            gltf.name, verts, faces, normals, None if normals is None else faces, **self._looks(n, faces, material)
        )

    def _keep(self, name: str, make: Callable[[], Any]) -> Any:
        """What ``make`` returns, made once."""
        if name not in self._kept:
            self._kept[name] = make()
        return self._kept[name]

    def _looks(self, n: int, faces: np.ndarray, material: Callable[[int], Material]) -> dict[str, Any]:
        """Return the fields of texture coordinates, colours and material, for n instances."""
        gltf, place = self.gltf, self.place
        fields: dict[str, Any] = {}
        index = gltf.get(place, self.primitive, "material", int, -1)
        n_materials = len(gltf.get("", gltf.root, "materials", list, []))
        if index >= n_materials:
            fail(gltf.where(place), f"an index into its {n_materials} materials", index)
        n_sets = max((k + 1 for k in range(_MAX_SETS) if f"TEXCOORD_{k}" in self.attributes), default=0)
        fields["uvs"], fields["faces_uvs"] = (), ()
        for k in range(n_sets):
            table = self.floats(f"TEXCOORD_{k}", "VEC2")
            down = np.zeros((0, 2), np.float32) if table is None else table
            fields["uvs"] += (np.tile(np.stack([down[:, 0], 1.0 - down[:, 1]], axis=1), (n, 1)),)
            fields["faces_uvs"] += (np.full_like(faces, -1) if table is None else faces,)
        if index >= 0:
            fields |= {"materials": (material(index),), "faces_material": np.zeros(len(faces), np.int64)}
        colors = self.floats("COLOR_0", "VEC3", "VEC4", unit=True)
        if colors is not None:
            has_alpha = colors.shape[1] == 4 and index >= 0 and material(index).alpha_mode != "opaque"
            rgb = encode_srgb(colors[:, :3].clip(0.0, 1.0)).astype(np.float32)
            rgba = with_alpha(rgb, colors[:, 3].clip(0.0, 1.0) if has_alpha else None)
            fields["verts_rgba"] = np.tile(rgba, (n, 1))
        return fields

    def _values(self, key: str, types: tuple[str, ...]) -> np.ndarray:
        """Return an attribute as stored, or normalized where its accessor says so."""
        gltf, index = self.gltf, self.gltf.get(self.place, self.attributes, key, int)
        if self.draco is None or key not in self.draco[1]:
            return gltf.accessor(index, types, self.n_verts)
        values = self.draco[1][key]
        widths = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
        if values.shape[1] not in [widths[kind] for kind in types]:
            fail(gltf.where(self.place), f"{key} of {' or '.join(types)}", f"{values.shape[1]} numbers")
        return gltf.normalized(f"accessors[{index}]", gltf.item("accessors", index), values)

    def floats(self, key: str, *types: str, unit: bool = False) -> np.ndarray | None:
        """Return an attribute as finite float32, None where there is none; ``unit`` divides all integers."""
        if key not in self.attributes:
            return None
        return self._keep(f"{key} {types} {unit}", partial(self._read_floats, key, types, unit))  # type: ignore[no-any-return]

    def _read_floats(self, key: str, types: tuple[str, ...], unit: bool) -> np.ndarray:
        values = self._values(key, types)
        values = unit_integers(values) if unit and values.dtype.kind in "iu" else values
        return finite_float32(values, key, partial(self._where, self.place, key))

    def _faces(self, mode: int) -> np.ndarray:
        gltf, place, n_verts = self.gltf, self.place, self.n_verts or 0
        if mode == _POINTS:
            return np.zeros((0, 3), np.int64)
        corners: np.ndarray = np.arange(n_verts)
        if self.draco is not None:
            corners, mode = self.draco[0], _TRIANGLES
        elif "indices" in self.primitive:
            corners = gltf.accessor(gltf.get(place, self.primitive, "indices", int), ("SCALAR",))[:, 0]
            if corners.dtype.kind != "u" and len(corners):
                fail(gltf.where(place), "indices of an unsigned integer type", corners.dtype)
        if len(corners) and corners.max() >= n_verts:
            fail(gltf.where(place), f"indices of its {n_verts} vertices", corners.max())
        return _triangles(gltf, place, corners.astype(np.int64), mode)

    def _morphed(self, key: str, weights: np.ndarray) -> np.ndarray | float:
        """Return what the morph targets add to an attribute."""
        gltf, total = self.gltf, -0.0  # which keeps -0
        for i, target in enumerate(gltf.get(self.place, self.primitive, "targets", list, [])):
            place = f"{self.place}.targets[{i}]"
            if not isinstance(target, dict):
                fail(gltf.where(place), "an object", repr(target)[:80])
            if i < len(weights) and weights[i] != 0.0 and key in target:
                values = gltf.accessor(gltf.get(place, target, key, int), ("VEC3",), self.n_verts)
                finite_float32(values, key, partial(self._where, place, key))
                total = total + weights[i] * values.astype(np.float64)
        return total

    def _where(self, place: str, key: str, row: int) -> str:
        return self.gltf.where(f"{place}, {key} {row}")

    def _skinned(self, joints: np.ndarray) -> np.ndarray:
        """Return the matrix (V, 4, 4) of each vertex: its joints' by its weights."""
        gltf, place = self.gltf, self.place
        total, sums = np.zeros((self.n_verts or 0, 4, 4)), np.zeros(self.n_verts or 0)
        for k in range(_MAX_SETS):
            weights = self.floats(f"WEIGHTS_{k}", "VEC4", unit=True)
            if weights is None:
                break
            index = self._values(f"JOINTS_{k}", ("VEC4",))
            if index.dtype.kind != "u" or (len(index) and index.max() >= len(joints)):
                fail(gltf.where(place), f"JOINTS_{k} that count the skin's {len(joints)} joints", index.dtype)
            for column in range(4):
                total += weights[:, column, None, None] * joints[index[:, column]]
                sums += weights[:, column]
        if not (sums > 0).all():
            fail(gltf.where(place), "weights of joints above 0 at every vertex", "none")
        return total / sums[:, None, None]


def _triangles(gltf: GltfFile, place: str, corners: np.ndarray, mode: int) -> np.ndarray:
    if mode == _TRIANGLES:
        if len(corners) % 3:
            fail(gltf.where(place), "a multiple of 3 indices", len(corners))
        return corners.reshape(-1, 3)
    i = np.arange(max(len(corners) - 2, 0))
    if mode == _TRIANGLE_FAN:
        return corners[np.stack([i + 1, i + 2, np.zeros_like(i)], axis=1)]
    return corners[np.stack([i, i + 1 + i % 2, i + 2 - i % 2], axis=1)]
