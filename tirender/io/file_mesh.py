"""What a file says of a mesh, before it becomes ``Meshes``: all readers end here."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tirender.io.colors import decode_srgb, encode_srgb
from tirender.io.orientation import Orientation
from tirender.renderer.mesh.material import Material

FAR = 64.0
"""Coordinates this many times larger than the mesh's extent are centred if asked for: float32 keeps 18 bits of it."""


BLURRED = 4096.0
"""From here on it keeps 12 bits or less, which shows: a warning where they are not centred."""


@dataclass(frozen=True)
class FileCamera:
    """A camera that a file lists.

    Attributes:
        name: as in the file.
        kind: "perspective" or "orthographic".
        matrix: (4, 4) from its own space to the mesh's; it looks along its -z, y points up.
        fov_y: vertical field of view, in radians.
        aspect: width over height, or None for the picture's.
        half_width, half_height: of what an orthographic one sees.
        near, far: distances; far may be None, for infinity.
    """

    name: str
    kind: str
    matrix: np.ndarray
    fov_y: float | None = None
    aspect: float | None = None
    half_width: float | None = None
    half_height: float | None = None
    near: float | None = None
    far: float | None = None


@dataclass(frozen=True)
class FileLight:
    """A light that a file lists, in the units of glTF (KHR_lights_punctual).

    Attributes:
        name: as in the file.
        kind: "point", "directional" or "spot".
        matrix: (4, 4) from its own space to the mesh's; it shines along its -z.
        color: linear RGB.
        intensity: in lux of a directional one, else in candela.
        reach: where a point light or spot ends, or None.
        inner, outer: angles from the axis of a spot where it begins to fade, and where it ends, in radians.
    """

    name: str
    kind: str
    matrix: np.ndarray
    color: tuple[float, float, float] = (1.0, 1.0, 1.0)
    intensity: float = 1.0
    reach: float | None = None
    inner: float = 0.0
    outer: float = np.pi / 4


@dataclass(frozen=True)
class FileMesh:
    """A triangle mesh, or points where it has no faces.

    Attributes:
        name: of the file, for messages.
        verts: (V, 3) float64, less ``origin``.
        faces: (F, 3) int64.
        normals: (N, 3) float32, or None; an attribute of corners, indexed like texture coordinates; of points, of each.
        faces_normals: (F, 3) int64 into ``normals``, -1 where a face has none.
        uvs: the sets of texture coordinates, (T, 2) float32 each, v pointing up.
        faces_uvs: for each set (F, 3) int64 into it, -1 where a face has none.
        verts_rgba: (V, 4) float32 in [0, 1], sRGB, or None; multiplies the materials' base colours.
        faces_rgba: (F, 4), the same for whole faces.
        materials: what ``faces_material`` counts.
        faces_material: (F,) int64, -1 for no material, or None.
        cameras: those that the file lists.
        lights: those that the file lists.
        origin: (3,) float64, what was taken off all positions, not off the cameras' and lights'.
        orientation: which way up it stands.
        unread: what else its file holds, in words; files that are written lack it.
    """

    name: str
    verts: np.ndarray
    faces: np.ndarray
    normals: np.ndarray | None = None
    faces_normals: np.ndarray | None = None
    uvs: tuple[np.ndarray, ...] = ()
    faces_uvs: tuple[np.ndarray, ...] = ()
    verts_rgba: np.ndarray | None = None
    faces_rgba: np.ndarray | None = None
    materials: tuple[Material, ...] = ()
    faces_material: np.ndarray | None = None
    cameras: tuple[FileCamera, ...] = ()
    lights: tuple[FileLight, ...] = ()
    origin: np.ndarray = field(default_factory=lambda: np.zeros(3))
    orientation: Orientation = Orientation()
    unread: tuple[str, ...] = ()

    def placed_verts(self) -> np.ndarray:
        """Return (V, 3) positions, ``origin`` included; to the bit where there is none, which keeps -0."""
        return self.verts + self.origin if self.origin.any() else self.verts

    def verts_normals(self) -> np.ndarray | None:
        """Return (V, 3) normals where each vertex has one and the same at all its corners, else None."""
        if self.normals is None or self.faces_normals is None:
            return None
        if len(self.normals) == len(self.verts) and np.array_equal(self.faces_normals, self.faces):
            return self.normals
        if not len(self.faces) or (self.faces_normals < 0).any():
            return None
        result = np.zeros((len(self.verts), 3), dtype=np.float32)
        corners = self.normals[self.faces_normals]
        result[self.faces] = corners
        return result if (result[self.faces] == corners).all() else None

    def used_materials(self) -> list[int]:
        """Return which of the materials some face has."""
        if self.faces_material is None:
            return []
        return (np.flatnonzero(np.bincount(self.faces_material + 1, minlength=1)[1:])).tolist()

    def face_materials(self) -> np.ndarray:
        """Return ``faces_material``, -1 for all faces where it is None."""
        return np.full(len(self.faces), -1) if self.faces_material is None else self.faces_material


def centered(mesh: FileMesh) -> FileMesh:
    """Take an origin off the positions of a mesh that lies so far away that float32 would blur it.

    The origin is its centre, rounded to a power of two of about its extent, so that the difference is exact.
    """
    verts = mesh.verts[_used(mesh)]
    if not len(verts):
        return mesh
    low, high = verts.min(axis=0), verts.max(axis=0)
    extent = float((high - low).max())
    if max(-low.min(), high.max()) <= FAR * extent:
        return mesh
    step = 2.0 ** np.floor(np.log2(extent)) if extent > 0.0 else 0.0
    center = 0.5 * low + 0.5 * high
    origin = np.round(center / step) * step if step > 0.0 else center
    return replace(mesh, verts=mesh.verts - origin, origin=mesh.origin + origin)


def without_strays(mesh: FileMesh) -> FileMesh:
    """Drop vertices that no face has."""
    used = _used(mesh)
    if used.all():
        return mesh
    rgba = None if mesh.verts_rgba is None else mesh.verts_rgba[used]
    return replace(mesh, verts=mesh.verts[used], faces=(np.cumsum(used) - 1)[mesh.faces], verts_rgba=rgba)


def _used(mesh: FileMesh) -> np.ndarray:
    """Return (V,) which vertices some face has; all of them where there are no faces."""
    used = np.full(len(mesh.verts), not len(mesh.faces))
    used[mesh.faces] = True
    return used


def warn_if_blurred(name: str, verts: np.ndarray) -> None:
    """Warn of positions (V, 3) of a file that lie so far from the origin that float32 visibly blurs them."""
    if not len(verts):
        return
    bounds = [(column.min(), column.max()) for column in verts.T]  # five times as fast as along an axis
    if max(max(-low, high) for low, high in bounds) > BLURRED * max(high - low for low, high in bounds) > 0.0:
        problem = "positions far from the origin lose digits in float32; load_scene and read_mesh_file centre them"
        warnings.warn(f"{name}: {problem}", stacklevel=4)


def weld(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Make equal points one.

    Args:
        points: (N, 3) floats.
    Returns:
        (V, 3) different points in the order in which they first come, and (N,) int64 which of them each one is.
    """
    points = points + 0.0  # -0 is 0
    order = np.lexsort(points.T)
    ordered = points[order]
    is_new = np.ones(len(points), dtype=bool)
    is_new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    group = np.empty(len(points), dtype=np.int64)
    group[order] = np.cumsum(is_new) - 1
    first = order[is_new]  # lexsort is stable
    rank = np.empty(len(first), dtype=np.int64)
    by_first = np.argsort(first)
    rank[by_first] = np.arange(len(first))
    return points[first[by_first]], rank[group]


def cofactors(matrices: np.ndarray) -> np.ndarray:
    """Return what turns normals where (N, 3, 3) turn positions, outwards where they mirror; it changes lengths."""
    a, b, c = matrices[:, 0], matrices[:, 1], matrices[:, 2]
    turned = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=1)
    return turned * np.where(np.linalg.det(matrices) < 0, -1.0, 1.0)[:, None, None]


def join(name: str, parts: Sequence[FileMesh]) -> FileMesh:
    """Put parts into one mesh: their vertices one after the other; parts that share a material keep sharing it.

    What only some parts have is filled up for the others: white, -1 for indices.
    """
    if len(parts) == 1:
        return replace(parts[0], name=name)
    n_verts, n_faces = [len(part.verts) for part in parts], [len(part.faces) for part in parts]
    starts = np.cumsum([0, *n_verts])
    materials: dict[int, int] = {}
    all_materials: list[Material] = []
    faces_material = []
    for part in parts:
        for material in part.materials:
            if id(material) not in materials:
                materials[id(material)] = len(all_materials)
                all_materials.append(material)
        index = np.array([materials[id(material)] for material in part.materials] + [-1], dtype=np.int64)
        faces_material.append(index[part.face_materials()])

    normals, faces_normals = _join_indexed(
        [(part.normals, part.faces_normals) for part in parts], n_faces, np.zeros((0, 3), np.float32)
    )
    n_sets = max(len(part.uvs) for part in parts)
    sets = [
        _join_indexed(
            [(p.uvs[k], p.faces_uvs[k]) if k < len(p.uvs) else (None, None) for p in parts],
            n_faces,
            np.zeros((0, 2), np.float32),
        )
        for k in range(n_sets)
    ]
    has_normals = any(part.normals is not None for part in parts)
    return FileMesh(
        name,
        np.concatenate([part.verts for part in parts]),
        np.concatenate([part.faces + start for part, start in zip(parts, starts)]),
        normals if has_normals else None,
        faces_normals if has_normals else None,
        tuple(uvs for uvs, _ in sets),
        tuple(index for _, index in sets),
        _join_colors([part.verts_rgba for part in parts], n_verts),
        _join_colors([part.faces_rgba for part in parts], n_faces),
        tuple(all_materials),
        np.concatenate(faces_material) if all_materials else None,
    )


def join_points(name: str, parts: Sequence[FileMesh]) -> FileMesh:
    """Put clouds into one: positions, colours times those of their materials, and normals where all have them."""
    rgba = []
    for part in parts:
        colors = part.verts_rgba
        if len(part.materials) == 1 and part.materials[0].base_color != (1.0,) * 4:
            factor = np.array(part.materials[0].base_color)
            colors = np.ones((len(part.verts), 4), np.float32) if colors is None else colors
            rgb = encode_srgb(decode_srgb(colors[:, :3]) * decode_srgb(factor[:3]))
            colors = np.concatenate([rgb, colors[:, 3:] * factor[3]], axis=1).astype(np.float32)
        rgba.append(colors)
    normals = [part.normals for part in parts if part.normals is not None]
    return FileMesh(
        name,
        np.concatenate([part.verts for part in parts]),
        np.zeros((0, 3), np.int64),
        np.concatenate(normals) if len(normals) == len(parts) else None,
        verts_rgba=_join_colors(rgba, [len(part.verts) for part in parts]),
    )


def _join_indexed(
    parts: list[tuple[np.ndarray | None, np.ndarray | None]], n_faces: list[int], empty: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    values, start = [empty], 0
    indices: list[np.ndarray] = []
    for (part, index), n in zip(parts, n_faces):
        if part is None or index is None:
            indices.append(np.full((n, 3), -1))
            continue
        values.append(part)
        indices.append(np.where(index < 0, -1, index + start))
        start += len(part)
    return np.concatenate(values), np.concatenate(indices)


def _join_colors(parts: list[np.ndarray | None], counts: list[int]) -> np.ndarray | None:
    if all(part is None for part in parts):
        return None
    filled = [np.ones((n, 4), np.float32) if part is None else part for part, n in zip(parts, counts)]
    return np.concatenate(filled)
