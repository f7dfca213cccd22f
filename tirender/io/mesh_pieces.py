"""A mesh in pieces that have one material and one index for all that a corner has, as graphics cards draw them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from tirender.io.colors import decode_srgb
from tirender.io.display import blended, with_shown_normals
from tirender.io.file_mesh import FileMesh, weld
from tirender.io.tangents import orientations, tangents
from tirender.renderer.mesh.material import MAPS, Material, TextureMap

_SHORT = 1e-12  # squared length of a normal that has no direction

Layout = tuple[int, bytes]
"""Where a map is read: the set of texture coordinates, and the bytes of their transform."""


@dataclass(frozen=True)
class Piece:
    """Faces of one material, whose vertices have all that their corners have.

    Attributes:
        material: without the maps that its faces have no texture coordinates for.
        faces: (F, 3) int64 into the arrays below.
        verts: (V, 3) float32.
        normals: (V, 3) float32 of length 1, or None.
        tangents: (V, 4) float32, see :func:`~tirender.io.tangents.tangents`; None without a normal map.
        uvs: (V, 2) float32 each, v pointing up, their transforms applied.
        layouts: of each of ``uvs``.
        rgba: (V, 4) float32, linear, or None.
    """

    material: Material
    faces: np.ndarray
    verts: np.ndarray
    normals: np.ndarray | None
    tangents: np.ndarray | None
    uvs: tuple[np.ndarray, ...]
    layouts: tuple[Layout, ...]
    rgba: np.ndarray | None


def pieces_of(mesh: FileMesh) -> Iterator[Piece]:
    """Split a mesh with faces; where it is one piece whose corners share vertices, these stay as they are.

    Corners of a vertex that differ in normals, texture coordinates or colours become several vertices at one place.
    Faces keep their order within a piece; vertices of no face are left out where there is more than one piece, or a
    vertex is split. Transparent colours make a material blend, as they are shown. Faces with a normal map that have no
    normals get those that are shown.
    """
    mesh = blended(mesh)
    if any(mesh.materials[i].normal_map is not None for i in mesh.used_materials()):
        mesh = with_shown_normals(mesh)
        assert mesh.normals is not None
        is_lost = np.square(mesh.normals.astype(np.float64)).sum(1, keepdims=True) <= _SHORT  # of faces without area
        mesh = replace(mesh, normals=np.where(is_lost, np.array([0, 0, 1], np.float32), mesh.normals))
    materials = [*mesh.materials, Material()]
    index = np.where(mesh.face_materials() < 0, len(mesh.materials), mesh.face_materials())
    order = np.argsort(index, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(index[order])) + 1)
    alike = cache(lambda name: _alike(_tables(mesh)[name]))
    for chosen in sorted(parts, key=lambda faces: int(faces[0])):
        material = materials[index[chosen[0]]]
        layouts = _layouts(mesh, material)
        has = [_has_normals(mesh, chosen), *(_has_uvs(mesh, chosen, layout) for layout in layouts)]
        kinds = np.stack(has, axis=1) @ (1 << np.arange(len(has)))
        for kind in dict.fromkeys(kinds.tolist()):
            own = [layout for k, layout in enumerate(layouts) if kind >> (k + 1) & 1]
            rows = chosen[kinds == kind]
            yield _piece(mesh, rows, _without_maps(material, own), bool(kind & 1), own, alike)


def _tables(mesh: FileMesh) -> dict[str | int, np.ndarray]:
    """What corners index: normals, the sets of texture coordinates by their numbers, and the colours of faces."""
    named = {"normals": mesh.normals, "colors": mesh.faces_rgba}
    tables: dict[str | int, np.ndarray] = {name: table for name, table in named.items() if table is not None}
    return tables | dict(enumerate(mesh.uvs))


def layout_of(found: TextureMap) -> Layout:
    """Where a map is read."""
    is_moved = found.transform is not None and not np.array_equal(found.transform, np.eye(2, 3))
    return found.uv_set, found.transform.astype(
        np.float64
    ).tobytes() if is_moved and found.transform is not None else b""


def moved_uvs(uvs: np.ndarray, transform: bytes) -> np.ndarray:
    """Texture coordinates (T, 2) where maps of a layout are read, float32."""
    if not transform:
        return uvs.astype(np.float32)
    matrix = np.frombuffer(transform).reshape(2, 3)
    return (uvs.astype(np.float64) @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)


def _layouts(mesh: FileMesh, material: Material) -> list[Layout]:
    """Those that the material's maps are read at, then the sets of texture coordinates that no map uses."""
    used = dict.fromkeys(layout for layout in map(layout_of, material.maps()) if layout[0] < len(mesh.uvs))
    taken = {uv_set for uv_set, _ in used}
    return [*used, *((k, b"") for k in range(len(mesh.uvs)) if k not in taken)]


def _has_normals(mesh: FileMesh, chosen: np.ndarray) -> np.ndarray:
    if mesh.normals is None or mesh.faces_normals is None:
        return np.zeros(len(chosen), dtype=bool)
    has_length = np.append(np.square(mesh.normals.astype(np.float64)).sum(1) > _SHORT, False)
    return has_length[mesh.faces_normals[chosen]].all(axis=1)  # type: ignore[no-any-return]


def _has_uvs(mesh: FileMesh, chosen: np.ndarray, layout: Layout) -> np.ndarray:
    return (mesh.faces_uvs[layout[0]][chosen] >= 0).all(axis=1)  # type: ignore[no-any-return]


def _without_maps(material: Material, layouts: list[Layout]) -> Material:
    """The material of faces that have only these texture coordinates."""
    missing: dict[str, Any] = {
        slot: None
        for slot in MAPS
        if getattr(material, slot) is not None and layout_of(getattr(material, slot)) not in layouts
    }
    if "base_map" in missing and material.unmapped_color is not None:
        return replace(material, **missing, base_color=(*material.unmapped_color, material.base_color[3]))
    return replace(material, **missing) if missing else material


def _piece(
    mesh: FileMesh,
    chosen: np.ndarray,
    material: Material,
    has_normals: bool,
    layouts: list[Layout],
    alike: Callable[[str | int], np.ndarray],
) -> Piece:
    """The faces ``chosen``; ``alike`` returns for each row of a table of :func:`_tables` the first that equals it."""
    faces, tables = mesh.faces[chosen], _tables(mesh)
    names: list[str | int] = ["normals"] * has_normals + [uv_set for uv_set, _ in layouts]
    indices = [mesh.faces_normals] * has_normals + [mesh.faces_uvs[uv_set] for uv_set, _ in layouts]
    corners = [of_faces[chosen] for of_faces in indices if of_faces is not None]
    normal_map = material.normal_map if has_normals else None
    mirrored: np.ndarray = np.zeros(len(chosen), dtype=bool)
    if normal_map is not None:  # mirrored halves need tangents of their own
        uv_set, transform = layout_of(normal_map)
        mirrored = orientations(moved_uvs(mesh.uvs[uv_set], transform)[mesh.faces_uvs[uv_set][chosen]]) < 0
    is_whole = len(chosen) == len(mesh.faces) and all(np.array_equal(rows, faces) for rows in corners)
    is_whole &= all(len(tables[name]) == len(mesh.verts) for name in names)
    is_whole &= mesh.faces_rgba is None and not mirrored.any()
    if is_whole:
        new_faces, picked, of_face = faces, [np.arange(len(mesh.verts))] * (1 + len(names)), None
    else:
        of_faces = [np.repeat(mirrored[:, None], 3, axis=1).astype(np.int64)] if mirrored.any() else []
        if mesh.faces_rgba is not None:
            of_faces.append(np.repeat(alike("colors")[chosen][:, None], 3, axis=1))
        new_faces, first = _joined_index([faces, *(alike(n)[rows] for n, rows in zip(names, corners)), *of_faces])
        picked = [rows.reshape(-1)[first] for rows in (faces, *corners)]
        of_face = chosen[first // 3]
    of_uvs = picked[1 + has_normals :]
    uvs = tuple(moved_uvs(mesh.uvs[layout[0]][rows], layout[1]) for layout, rows in zip(layouts, of_uvs))
    normals = _unit(tables["normals"][picked[1]]) if has_normals else None
    verts, found = mesh.verts[picked[0]].astype(np.float32), None
    if normal_map is not None and normals is not None:
        found = tangents(verts, normals, uvs[layouts.index(layout_of(normal_map))], new_faces)
    return Piece(material, new_faces, verts, normals, found, uvs, tuple(layouts), _linear(mesh, picked[0], of_face))


def _linear(mesh: FileMesh, of_vert: np.ndarray, of_face: np.ndarray | None) -> np.ndarray | None:
    """RGBA (V, 4), linear, of vertices times faces; None where the mesh has no colours."""
    if mesh.verts_rgba is None and mesh.faces_rgba is None:
        return None
    rgba = np.ones((len(of_vert), 4), np.float32) if mesh.verts_rgba is None else mesh.verts_rgba[of_vert]
    if mesh.faces_rgba is not None:
        rgba = rgba * mesh.faces_rgba[of_face]
    rgba = np.concatenate([decode_srgb(rgba[:, :3].astype(np.float64)), rgba[:, 3:]], axis=1)
    return rgba.clip(0.0, 1.0).astype(np.float32)  # type: ignore[no-any-return]


def _joined_index(corners: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Faces (F, 3) into what is different among the corners of all these indices (F, 3), and where each comes first.

    Rows are in the order of the first index.
    """
    key = corners[0].reshape(-1)
    for rows in corners[1:]:
        flat = rows.reshape(-1)
        if np.array_equal(flat, key) or not len(flat):
            continue
        low = int(flat.min())
        _, key = np.unique(key * (int(flat.max()) - low + 1) + (flat - low), return_inverse=True)
    _, first, new = np.unique(key, return_index=True, return_inverse=True)
    return new.reshape(-1, 3), first


def _alike(table: np.ndarray) -> np.ndarray:
    """For each row the first that equals it."""
    _, group = weld(table.astype(np.float64))
    _, first = np.unique(group, return_index=True)
    return np.append(first[group], -1)


def _unit(normals: np.ndarray) -> np.ndarray:
    """Normals of length 1; those that have it already stay as they are to the bit."""
    length = np.linalg.norm(normals.astype(np.float64), axis=1, keepdims=True)
    is_unit = np.abs(length - 1.0) < 1e-6
    unit = normals / np.where(is_unit | (length == 0.0), 1.0, length)
    return np.where(length > 0.0, unit, [0.0, 0.0, 1.0]).astype(np.float32)  # type: ignore[no-any-return]
