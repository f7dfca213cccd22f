"""Formats that the optional package trimesh reads: 3MF, COLLADA and a few more."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import numpy as np
import torch

from tirender.budget import open_archive, read_members
from tirender.checks import fail
from tirender.io.colors import with_alpha
from tirender.io.companions import find_companion
from tirender.io.file_mesh import FileMesh, cofactors, join, weld
from tirender.io.files import Source, read_source
from tirender.io.pluggable_formats import MeshRecordFormat
from tirender.io.text import finite_float32
from tirender.io.xml_instances import spend_instances
from tirender.renderer.mesh.material import Material, TextureMap

_TURNS = {
    b"X": np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=np.float32),
    b"Z": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]], dtype=np.float32),
}
"""What row vectors are multiplied with, by COLLADA's axis that points up."""
_MODEL_LOOKS = re.compile(rb"\s(?:pid|paint_color|slic3rpe:mmu_segmentation)\s*=")


def read_by_trimesh(source: Source) -> FileMesh:
    """Read a scene's triangles as one mesh in world space, with materials, colours and texture coordinates.

    COLLADA's Z_UP and X_UP are turned, so that Y points up as in the other formats that say so. Colours and textures of
    3MF are left out, with a warning.

    Raises:
        ImportError: trimesh, or what it needs for this format, is not installed.
        ValueError: naming the file: damaged, an archive that is too large, a scene without triangles, NaN and infinity.
    """
    kind = source.name.lower().rpartition(".")[2]
    try:
        import trimesh
    except ImportError as error:
        raise ImportError(_needed(source, kind)) from error
    data = _stored(source, kind) if source.data[:2] == b"PK" else source.data
    if kind == "dae":
        spend_instances(source.name, [data])
    resolver: Any = _Resolver(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scene = trimesh.load_scene(io.BytesIO(data), file_type=kind, resolver=resolver)
            parts = list(_parts(source, scene))
    except ImportError as error:
        raise ImportError(f"{_needed(source, kind)} ({error})") from error
    except Exception as error:  # a parser may raise anything on hostile input
        if "not supported" in str(error) or "No module" in str(error):
            raise ImportError(f"{_needed(source, kind)} ({error})") from error
        fail(source.name, f"an undamaged {kind.upper()} file", f"{type(error).__name__}: {error}")
    if not parts:
        fail(source.name, "a scene with triangles", "none")
    for problem in resolver.problems:
        warnings.warn(problem, stacklevel=3)
    mesh = join(source.name, parts)
    if mesh.faces.min() < 0 or mesh.faces.max() >= len(mesh.verts):
        fail(source.name, f"indices of its {len(mesh.verts)} vertices", mesh.faces.max())
    up = re.search(rb"<up_axis>\s*([XZ])_UP", source.data) if kind == "dae" else None
    if up is not None:
        turn = _TURNS[up[1]]
        normals = None if mesh.normals is None else mesh.normals @ turn
        mesh = replace(mesh, verts=mesh.verts @ turn, normals=normals)
    finite_float32(mesh.verts, "positions", lambda row: f"{source.name}, vertex {row}")
    return mesh


class MeshTrimeshFormat(MeshRecordFormat):
    """What trimesh reads, in the ``IO`` registry: paths that end in .3mf, .dae, .zae, .xaml or .3dxml; reading only."""

    known_suffixes = (".3mf", ".dae", ".zae", ".xaml", ".3dxml")
    read_record = staticmethod(read_by_trimesh)


def _needed(source: Source, kind: str) -> str:
    return f"{source.name}: .{kind} files are read by trimesh; install it with: pip install tirender[formats]"


def _stored(source: Source, kind: str) -> bytes:
    """The archive without compression: trimesh would inflate all of what says to be small."""
    with open_archive(source.name, source.data) as archive:
        contents = read_members(source.name, archive, archive.infolist())
    ending = {"3mf": ".model", "zae": ".dae"}.get(kind, "\0")
    models = [data for name, data in contents.items() if name.lower().endswith(ending)]
    spend_instances(source.name, models)
    if any(_MODEL_LOOKS.search(model) for model in models if kind == "3mf"):
        warnings.warn(f"{source.name}: colours and textures of 3MF are not read", stacklevel=4)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return stream.getvalue()


class _Resolver:
    """Lets trimesh read what lies beside the file, and nothing else."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[str] = []

    def get(self, name: str) -> bytes:
        path, problem = find_companion(self.source, f"companion {name!r}", [name, unquote(name)])
        if path is None:
            self.problems.append(problem)
            raise FileNotFoundError(name)
        return read_source(path, self.source.path_manager).data

    def __getitem__(self, name: str) -> bytes:
        return self.get(name)

    def namespaced(self, namespace: str) -> _Resolver:
        return self


def _parts(source: Source, scene: Any) -> Iterator[FileMesh]:
    """The scene's meshes in world space."""
    looks: dict[int, Material] = {}
    for node in scene.graph.nodes_geometry:
        matrix, name = scene.graph[node]
        geometry = scene.geometry[name]
        faces = getattr(geometry, "faces", None)
        if faces is None or not len(faces):
            continue
        faces = np.asarray(faces, dtype=np.int64)
        if np.linalg.det(matrix[:3, :3]) < 0:
            faces = faces[:, ::-1].copy()
        verts = np.asarray(geometry.vertices, dtype=np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
        fields = _looks(geometry.visual, faces, looks)
        if "vertex_normals" in geometry._cache:  # else it computes them when asked
            turned = np.asarray(geometry.vertex_normals) @ cofactors(matrix[None, :3, :3])[0].T
            length = np.linalg.norm(turned, axis=1, keepdims=True)
            normals = (turned / np.where(length > 0.0, length, 1.0)).astype(np.float32)
            fields |= {"normals": normals, "faces_normals": faces}
        if "verts_rgba" not in fields:  # trimesh splits vertices along seams
            verts, rows = weld(verts)
            faces = rows[faces]
        yield FileMesh(source.name, verts, faces, **fields)


def _looks(visual: Any, faces: np.ndarray, known: dict[int, Material]) -> dict[str, Any]:
    """Return the fields of colours, texture coordinates and materials."""
    if visual.kind in ("vertex", "face"):
        rgba = np.asarray(visual.vertex_colors if visual.kind == "vertex" else visual.face_colors) / 255.0
        return {"verts_rgba" if visual.kind == "vertex" else "faces_rgba": with_alpha(rgba[:, :3], rgba[:, 3])}
    material = getattr(visual, "material", None)
    if material is None:
        return {}
    record = known.setdefault(id(material), _record(material))
    fields: dict[str, Any] = {"materials": (record,), "faces_material": np.zeros(len(faces), np.int64)}
    uvs = getattr(visual, "uv", None)
    if uvs is not None:
        fields |= {"uvs": (np.ascontiguousarray(uvs, dtype=np.float32),), "faces_uvs": (faces,)}
    return fields


def _record(material: Any) -> Material:
    """A material of trimesh's: of Phong's kind, or of glTF's."""
    base_map = _map(getattr(material, "baseColorTexture", None) or getattr(material, "image", None))
    color = getattr(material, "baseColorFactor", None)
    color = getattr(material, "diffuse", None) if color is None else color
    red, green, blue, alpha = (1.0,) * 4 if color is None else (np.asarray(color).ravel()[:4] / 255.0).tolist()
    alpha = alpha or 1.0  # many programs leave it at 0 and mean nothing by it
    glow = getattr(material, "emissiveFactor", None)
    return Material(
        str(getattr(material, "name", "")),
        (red, green, blue, alpha) if base_map is None else (1.0, 1.0, 1.0, alpha),
        base_map,
        None if base_map is None else (red, green, blue),
        "blend" if alpha < 1.0 else "opaque",
        emission=(0.0, 0.0, 0.0) if glow is None else tuple(np.asarray(glow, dtype=np.float64).ravel()[:3].tolist()),
        emission_map=_map(getattr(material, "emissiveTexture", None)),
        normal_map=_map(getattr(material, "normalTexture", None)),
    )


def _map(image: Any) -> TextureMap | None:
    """A Pillow image as a map."""
    if image is None:
        return None
    mode = "RGBA" if "A" in image.getbands() else "RGB"
    pixels = torch.from_numpy(np.asarray(image.convert(mode), dtype=np.float32) / 255.0)
    return TextureMap(lambda: pixels)
