"""PLY elements to a mesh: faces, strips, normals, textures, and colours under all their names."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sized
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from tirender.checks import fail
from tirender.io.colors import HARMONIC, unit_integers, unit_range, with_alpha
from tirender.io.companions import Images, find_companion
from tirender.io.file_mesh import FileMesh
from tirender.io.files import Source
from tirender.io.ply_parser import Element, parse_ply
from tirender.io.polygons import triangulate
from tirender.io.text import finite_float32
from tirender.renderer.mesh.material import Material, TextureMap

_COLORS = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))
_ALPHAS = ("alpha", "diffuse_alpha", "a")
_HARMONICS = ("f_dc_0", "f_dc_1", "f_dc_2")
_NORMALS = (("nx", "ny", "nz"), ("normal_x", "normal_y", "normal_z"))
_UVS = (
    ("texture_u", "texture_v"),
    ("u", "v"),
    ("s", "t"),
    ("texture_s", "texture_t"),
    ("texcoord_u", "texcoord_v"),
)
_NOT_READ = {"edge": "edges", "range_grid": "the faces of a range_grid"}
_TEXTURE_FILE = re.compile(r"(?i)texturefile\s*[:=]?\s*(.+)")


def read_ply(source: Source, with_faces: bool = True, with_looks: bool = True) -> FileMesh:
    """Read a mesh or cloud.

    Faces are the lists ``vertex_indices`` or ``vertex_index`` (or the only list, whatever its name) of element ``face``
    and the strips of element ``tristrips``. Colours of vertices or faces are ``red``, ``diffuse_red`` or ``r`` and so
    on, with ``alpha``, or spherical harmonics ``f_dc_0`` and so on. Integers are divided by their type's maximum (wide
    ones that stay below 256 by 255, with a warning), floats by 255 where one is above 2. A texture is named by a
    comment ``TextureFile``; its coordinates are lists ``texcoord`` of faces, or two numbers of each vertex. Where a
    ``material_index`` stands, colours are those of element ``material``.

    Args:
        source: the file.
        with_faces: whether to look at faces, and what belongs to them.
        with_looks: whether to look at colours and textures.
    Raises:
        ValueError: naming the file and where, as for ``load_ply``.
    """
    elements, comments = parse_ply(source)
    vertex = elements.get("vertex")
    verts = None if vertex is None else vertex.columns("x", "y", "z")
    if vertex is None or verts is None:
        fail(source.name, "a 'vertex' element with x, y and z", "none")
    finite_float32(verts, "x, y, z", lambda row: _where(source, vertex, row))
    normals = next((n for n in (_single(source, vertex, names) for names in _NORMALS) if n is not None), None)
    rgba = _colors(source, vertex, elements.get("material")) if with_looks else None
    none, unread = np.zeros((0, 3), np.int64), _unread(vertex)
    if not with_faces:
        return FileMesh(source.name, verts.astype(np.float64), none, normals, verts_rgba=rgba, unread=unread)
    for name, what in _NOT_READ.items():
        if name in elements and elements[name].count:
            warnings.warn(f"{source.name}: {what} are not read", stacklevel=3)
    corners, triangles, polygon = _polygons(source, elements, verts)
    strips = _strips(source, elements, len(verts))
    faces = corners[triangles]
    mesh = FileMesh(
        source.name,
        verts.astype(np.float64),
        np.concatenate([faces, strips]) if len(strips) else faces,
        normals,
        verts_rgba=rgba,
        unread=unread,
    )
    return replace(mesh, **_of_faces(source, elements, comments, mesh, triangles, polygon, with_looks))


def _unread(vertex: Element) -> tuple[str, ...]:
    """The properties of vertices that mean nothing here."""
    known = {"x", "y", "z", "material_index", *_ALPHAS, *_HARMONICS}
    known.update(*_NORMALS, *_UVS, *_COLORS)
    names = [name for name in [*vertex.scalars, *vertex.lists] if name not in known]
    return (f"properties {', '.join(names)} of vertices",) if names else ()


def _of_faces(
    source: Source,
    elements: dict[str, Element],
    comments: list[str],
    mesh: FileMesh,
    triangles: np.ndarray,
    polygon: np.ndarray,
    with_looks: bool,
) -> dict[str, Any]:
    """Return the fields that belong to faces: normals' indices, colours, texture coordinates and materials."""
    n_strips = len(mesh.faces) - len(triangles)
    fields: dict[str, Any] = {} if mesh.normals is None else {"faces_normals": mesh.faces}
    if not with_looks:
        return fields
    face = elements["face"] if len(triangles) else Element("face", 0)
    colors = _colors(source, face, elements.get("material"))
    if colors is not None:
        fields["faces_rgba"] = np.concatenate([colors[polygon], np.ones((n_strips, 4), np.float32)])
    wedges = _wedge_uvs(source, face, triangles)
    sets = [] if wedges is not None else [_single(source, elements["vertex"], names) for names in _UVS]
    uvs = next((found for found in sets if found is not None), None)
    if wedges is not None:
        fields |= {"uvs": (wedges[0],), "faces_uvs": (np.concatenate([wedges[1], np.full((n_strips, 3), -1)]),)}
    elif uvs is not None:
        fields |= {"uvs": (uvs,), "faces_uvs": (mesh.faces,)}
    materials = _materials(source, comments)
    if materials and "uvs" not in fields:
        warnings.warn(f"{source.name}: a texture without texture coordinates, ignored", stacklevel=4)
        return fields
    if any(material.base_map is not None for material in materials):
        index = np.zeros(len(mesh.faces), dtype=np.int64)
        if "texnumber" in face.scalars:
            index[: len(triangles)] = _rows(face.scalars["texnumber"], materials)[polygon]
        fields |= {"materials": tuple(materials), "faces_material": index}
    return fields


def _where(source: Source, element: Element, row: int) -> str:
    return f"{source.name}, element {element.name!r}, row {row}"


def _single(source: Source, element: Element, names: tuple[str, ...]) -> np.ndarray | None:
    """Return these properties of each row as finite float32; None where one is absent."""
    columns = element.columns(*names)
    if columns is None:
        return None
    return finite_float32(columns, ", ".join(names), lambda row: _where(source, element, row))


def _colors(source: Source, element: Element, materials: Element | None) -> np.ndarray | None:
    """Return the colours of each row or of the material that its ``material_index`` names, (count, 4), or None."""
    names = next((names for names in _COLORS if all(name in element.scalars for name in names)), None)
    if names is not None:
        alpha = next((name for name in _ALPHAS if name in element.scalars), None)
        rgb = _unit_range(source, element, names)
        return with_alpha(rgb, None if alpha is None else _unit_range(source, element, (alpha,))[:, 0])
    harmonics = _single(source, element, _HARMONICS)
    if harmonics is not None:
        return with_alpha((0.5 + HARMONIC * harmonics).clip(0.0, 1.0))
    table = None if materials is None else _colors(source, materials, None)
    index = element.scalars.get("material_index")
    if table is None or index is None:
        return None
    return np.append(table, np.ones((1, 4), np.float32), axis=0)[_rows(index, table)]  # -1 is white


def _rows(index: np.ndarray, table: Sized) -> np.ndarray:
    """Return indices of a table as int64; -1 for what is none."""
    known = (index >= 0) & (index < len(table)) & (index == np.floor(index))
    return np.where(known, index, -1).astype(np.int64)


def _unit_range(source: Source, element: Element, names: tuple[str, ...]) -> np.ndarray:
    columns = [element.scalars[name] for name in names]
    what = f"{source.name}: {', '.join(names)} of element {element.name!r}"
    if any(column.dtype.kind == "f" for column in columns):
        values = np.stack(columns, axis=1).astype(np.float64)
        finite_float32(values, ", ".join(names), lambda row: _where(source, element, row))
        return unit_range(values, what)
    return unit_integers(columns, what)


def _polygons(
    source: Source, elements: dict[str, Element], verts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the vertices of all corners, the triangles (T, 3) that index them, and the row of each."""
    none = np.zeros(0, np.int64), np.zeros((0, 3), np.int64), np.zeros(0, np.int64)
    element = elements.get("face")
    if element is None or not element.count:
        return none
    counts, values = element.lists[_corner_list(source, element)]
    if (counts < 3).any():
        row = int(np.argmax(counts < 3))
        fail(_where(source, element, row), "at least 3 corners", counts[row])
    bad = ~((values >= 0) & (values < len(verts)) & (values == np.floor(values)))
    if bad.any():
        row = int(np.searchsorted(np.cumsum(counts), np.argmax(bad), side="right"))
        fail(_where(source, element, row), f"indices of the {len(verts)} vertices", values[np.argmax(bad)])
    corners = values.astype(np.int64)
    return corners, *triangulate(counts, corners, verts, by_corner=True)


def _strips(source: Source, elements: dict[str, Element], n_verts: int) -> np.ndarray:
    """Return the triangles of element ``tristrips``: -1 ends a strip, every second triangle turns the other way."""
    element = elements.get("tristrips")
    if element is None or not element.count:
        return np.zeros((0, 3), np.int64)
    if len(element.lists) != 1:
        fail(source.name, "one list in element 'tristrips'", len(element.lists))
    counts, values = next(iter(element.lists.values()))
    bad = ~((values >= -1) & (values < n_verts) & (values == np.floor(values)))
    if bad.any():
        row = int(np.searchsorted(np.cumsum(counts), np.argmax(bad), side="right"))
        fail(_where(source, element, row), f"-1 or indices of the {n_verts} vertices", values[np.argmax(bad)])
    strip = np.insert(values.astype(np.int64), np.cumsum(counts), -1)  # no triangle reaches across rows
    position = np.arange(len(strip))
    start = np.maximum.accumulate(np.where(strip < 0, position + 1, 0))
    first = position[: max(len(strip) - 2, 0)]
    odd = (first - start[: len(first)]) % 2
    triangles = np.stack([strip[first + odd], strip[first + 1 - odd], strip[first + 2]], axis=1)
    a, b, c = triangles.T
    return triangles[(triangles >= 0).all(axis=1) & (a != b) & (b != c) & (c != a)]  # equal ones only join strips


def _corner_list(source: Source, face: Element) -> str:
    """Return the name of the list that holds the faces' corners."""
    for name in ("vertex_indices", "vertex_index"):
        if name in face.lists:
            return name
    others = [name for name in face.lists if name != "texcoord"]
    if len(others) != 1:
        got = repr(others) if others else "none"
        fail(source.name, "a list 'vertex_indices' or 'vertex_index', or one single list, in element 'face'", got)
    return others[0]


def _wedge_uvs(source: Source, face: Element, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return (T, 2) texture coordinates of corners from the lists ``texcoord``, and (F, 3) indices, -1 for none."""
    counts, values = face.lists.get("texcoord", (np.zeros(0), np.zeros(0)))
    if not counts.any():
        return None
    corners = face.lists[_corner_list(source, face)][0]
    bad = (counts != 2 * corners) & (counts > 0)
    if bad.any():
        row = int(np.argmax(bad))
        fail(_where(source, face, row), f"{2 * corners[row]} numbers in texcoord", counts[row])
    ends = np.cumsum(counts // 2)
    where = lambda row: _where(source, face, int(np.searchsorted(ends, row, side="right")))  # noqa: E731
    has_uvs = np.repeat(counts > 0, corners)
    index = np.where(has_uvs, np.cumsum(has_uvs) - 1, -1)
    return finite_float32(values.reshape(-1, 2), "texcoord", where), index[triangles]


def _materials(source: Source, comments: list[str]) -> list[Material]:
    """Return a material for each ``TextureFile``; white, with a warning, where there is no such file."""
    images, materials = Images(source), []
    for match in filter(None, map(_TEXTURE_FILE.match, comments)):
        name = match[1].strip().strip("\"'")
        path, problem = find_companion(source, f"texture {name!r}", [name])
        if path is None:
            warnings.warn(problem, stacklevel=3)
        found = None if path is None else TextureMap(partial(images.decode, path), stored=partial(images.stored, path))
        materials.append(Material(name, base_map=found))
    return materials
