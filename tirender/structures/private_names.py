"""PyTorch3D's private attributes of ``Meshes`` and ``Pointclouds``, which published code reads and assigns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from tirender.checks import as_floats, check_tensor
from tirender.structures.geometry import Geometry
from tirender.structures.mesh_input import check_faces
from tirender.structures.packing import PartsOrPadded, check_ragged


class HeededList(list):
    """A list that is assigned anew, as a whole, when one of its items is.

    Args:
        items: what it holds.
        assign: what to call with the changed list.
    """

    def __init__(self, items: Iterable[Any], assign: Callable[[list[Any]], None]) -> None:
        super().__init__(items)
        self._assign = assign

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(index, value)
        self._assign(list(self))

    def __reduce__(self) -> Any:
        return list, (list(self),)


def attribute(read: Callable[[Any], Any], assign: Callable[[Any, Any], None] | None = None) -> Any:
    """An attribute that is read by one function and assigned by another; lists heed the assignment of an item."""

    def get(owner: Any) -> Any:
        value = read(owner)
        if assign is None or not isinstance(value, list):
            return value
        return HeededList(value, lambda changed: assign(owner, changed))

    return property(get, assign)


class PrivateNamesOfMeshes:
    """The attributes of ``Meshes``; to assign vertices or faces replaces them, and drops given vertex normals.

    PyTorch3D computes some of them by the ``_compute_...`` methods. Here each is derived when it is read.
    """

    _geometry: Geometry
    textures: Any

    def _assign_verts(self, verts: PartsOrPadded) -> None:
        if isinstance(verts, torch.Tensor) and verts.shape == self.verts_padded().shape:  # type: ignore[attr-defined]
            self._geometry = self.update_padded(verts)._geometry  # type: ignore[attr-defined]
            return
        positions, topology = check_ragged("verts", verts, as_floats), self._geometry.topology
        if positions.rows.counts != topology.num_verts or positions.like.device != topology.device:
            topology = check_faces(topology.faces_list, positions)
        self._geometry = Geometry(topology, positions)
        self.textures = self.textures  # checks that they fit

    def _assign_faces(self, faces: PartsOrPadded) -> None:
        positions = self._geometry.positions
        self._geometry = Geometry(check_faces(faces, positions), positions)
        self.textures = self.textures  # checks that they fit

    def _assign_normals(self, normals: PartsOrPadded) -> None:
        rows = self._geometry.topology.vert_rows
        if isinstance(normals, torch.Tensor):
            packed = rows.unpad(check_tensor("verts_normals", normals, (rows.n_items, rows.largest, 3)))
        else:
            packed = check_ragged("verts_normals", normals, as_floats).packed()
        self._assign_packed_normals(packed)

    def _assign_packed_normals(self, normals: torch.Tensor) -> None:
        positions = self._geometry.positions
        check_tensor("verts_normals", normals, (positions.rows.n_rows, 3), like=positions.like)
        self._geometry = self._geometry.with_verts(positions, normals)

    def _derive(self, refresh: bool = False) -> None:
        """Do nothing: what this computes in PyTorch3D is always up to date."""

    _set_verts_normals = _assign_normals
    _compute_packed = _compute_padded = _compute_face_areas_normals = _compute_vertex_normals = _derive

    _N = attribute(lambda meshes: len(meshes))
    _V = attribute(lambda meshes: meshes.topology.max_verts)
    _F = attribute(lambda meshes: meshes.topology.max_faces)
    _num_verts_per_mesh = attribute(lambda meshes: meshes.num_verts_per_mesh())
    _num_faces_per_mesh = attribute(lambda meshes: meshes.num_faces_per_mesh())
    _verts_list = attribute(lambda meshes: meshes.verts_list(), _assign_verts)
    _verts_padded = attribute(lambda meshes: meshes.verts_padded(), _assign_verts)
    _verts_packed = attribute(lambda meshes: meshes.verts_packed())
    _faces_list = attribute(lambda meshes: meshes.faces_list(), _assign_faces)
    _faces_padded = attribute(lambda meshes: meshes.faces_padded(), _assign_faces)
    _faces_packed = attribute(lambda meshes: meshes.faces_packed())
    _verts_normals_packed = attribute(lambda meshes: meshes.verts_normals_packed(), _assign_packed_normals)
    _faces_normals_packed = attribute(lambda meshes: meshes.faces_normals_packed())
    _faces_areas_packed = attribute(lambda meshes: meshes.faces_areas_packed())


class PrivateNamesOfClouds:
    """The attributes of ``Pointclouds``; to assign points, normals or features replaces them."""

    def _assign_points(self, points: PartsOrPadded) -> None:
        if isinstance(points, torch.Tensor) and points.shape == self.points_padded().shape:  # type: ignore[attr-defined]
            self._points = self.update_padded(points)._points  # type: ignore[attr-defined]
            return
        changed = type(self)(points, self._normals_list, self._features_list)  # type: ignore[call-arg]
        self.__dict__.update(changed.__dict__)

    def _assign_normals(self, normals: PartsOrPadded | None) -> None:
        self._normals = self._match("normals", normals, 3)  # type: ignore[attr-defined]

    def _assign_features(self, features: PartsOrPadded | None) -> None:
        self._features = self._match("features", features, None)  # type: ignore[attr-defined]

    _N = attribute(lambda clouds: len(clouds))
    _P = attribute(lambda clouds: clouds._rows.largest)
    _num_points_per_cloud = attribute(lambda clouds: clouds.num_points_per_cloud())
    _points_list = attribute(lambda clouds: clouds.points_list(), _assign_points)
    _points_padded = attribute(lambda clouds: clouds.points_padded(), _assign_points)
    _points_packed = attribute(lambda clouds: clouds.points_packed())
    _normals_list = attribute(lambda clouds: clouds.normals_list(), _assign_normals)
    _normals_padded = attribute(lambda clouds: clouds.normals_padded(), _assign_normals)
    _features_list = attribute(lambda clouds: clouds.features_list(), _assign_features)
    _features_padded = attribute(lambda clouds: clouds.features_padded(), _assign_features)
