"""Records as OBJ files, with MTL and images beside them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from tirender.io.file_mesh import FileMesh
from tirender.io.losses import float32_if_exact
from tirender.io.mesh_pieces import Layout, layout_of, moved_uvs
from tirender.io.orientation import orientation_of_format, to_comment
from tirender.io.text import format_rows, number_format
from tirender.io.texture_files import TextureFiles
from tirender.renderer.mesh.material import Material, TextureMap

NONE = -1
_CHUNK = 1 << 16  # faces
_CORNERS = (("%d", [0]), ("%d//%d", [0, 2]), ("%d/%d", [0, 1]), ("%d/%d/%d", [0, 1, 2]))
"""How corners are written, and of what: without and with a normal, then the same with texture coordinates."""


def obj_files(
    mesh: FileMesh, path: Path, comment: str | None = None, decimal_places: int | None = None
) -> list[tuple[Path, Iterable[bytes]]]:
    """Return images, then materials, then the mesh: vertices, faces and their order stay as they are.

    Colours of vertices stand behind their positions, as in many programs. Colours of faces become materials. What
    multiplies a texture is put into its image, as MTL knows no factors.

    Args:
        mesh: what to write.
        path: of the mesh; the others lie beside it.
        comment: a line that comes first; None: how the mesh stands, where that is unusual.
        decimal_places: digits behind the point; None for as many as bring the same floats back.
    """
    mesh = _with_color_materials(mesh)
    used = mesh.used_materials()
    textures = TextureFiles(path)
    names = _names(mesh, used)
    mtl = [line for i in used for line in _material(mesh, i, names[i], textures)]
    files: list[tuple[Path, Iterable[bytes]]] = [*textures.files()]
    library = path.with_name(f"{textures.stem}.mtl") if used else None
    if library is not None:
        files.append((library, [("\n".join(mtl) + "\n").encode()]))
    if comment is None and mesh.orientation != orientation_of_format(".obj"):
        comment = to_comment(mesh.orientation)
    return [*files, (path, _lines(mesh, library, names, comment, decimal_places))]


def _with_color_materials(mesh: FileMesh) -> FileMesh:
    """The mesh, whose colours of faces, if there are no others, are materials."""
    if mesh.faces_rgba is None or mesh.verts_rgba is not None:
        return mesh
    index = mesh.face_materials()
    keys, rows = np.unique(np.concatenate([index[:, None], mesh.faces_rgba], 1), axis=0, return_inverse=True)
    materials = []
    for key in keys:
        of = Material() if key[0] < 0 else mesh.materials[int(key[0])]
        red, green, blue, alpha = (float(a * b) for a, b in zip(of.base_color, key[1:]))
        mode = "blend" if alpha < 1.0 and of.alpha_mode == "opaque" else of.alpha_mode
        materials.append(replace(of, base_color=(red, green, blue, alpha), alpha_mode=mode, unmapped_color=None))
    return replace(mesh, faces_rgba=None, materials=tuple(materials), faces_material=rows.reshape(-1))


def _names(mesh: FileMesh, used: list[int]) -> dict[int, str]:
    """A name for each material: its own, with a number where others have it."""
    names: dict[int, str] = {NONE: "none"}
    taken = {"none"}
    for i in used:
        name = stem = re.sub(r"[\s#\"'\\]+", "_", mesh.materials[i].name).strip("_") or "material"
        n = 2
        while name.lower() in taken:
            name, n = f"{stem}_{n}", n + 1
        names[i] = name
        taken.add(name.lower())
    return names


def _material(mesh: FileMesh, index: int, name: str, textures: TextureFiles) -> Iterator[str]:
    material = mesh.materials[index]
    base = material.base_map
    yield f"newmtl {name}"
    color = material.base_color[:3] if base is None else (1.0, 1.0, 1.0)
    if base is not None and material.unmapped_color is not None and _has_bare_faces(mesh, index, base):
        color = material.unmapped_color
    yield f"Kd {_numbers(color)}"
    if material.specular is not None:
        yield f"Ks {_numbers(material.specular)}"
    if material.shininess is not None:
        yield f"Ns {_numbers([material.shininess])}"
    if material.alpha_mode != "opaque":
        yield f"d {_numbers([material.base_color[3]])}"
    if material.metallic is not None:
        yield f"Pm {_numbers([material.metallic])}"
    if material.roughness is not None:
        yield f"Pr {_numbers([material.roughness])}"
    if material.unlit:
        yield "illum 0"
    if base is not None:
        file = textures.name_of(base, material.base_color[:3])
        yield f"map_Kd {_wrap(base)}{file}"
        if material.alpha_mode != "opaque" and base.image.shape[2] == 4:
            yield f"map_d {_wrap(base)}{file}"
    layout = None if base is None else layout_of(base)
    glow = material.emission_map
    if max(material.emission) > 0.0:
        yield f"Ke {_numbers(material.emission)}"
    if glow is not None and layout in (None, layout_of(glow)):
        yield f"map_Ke {_wrap(glow)}{textures.name_of(glow)}"
    normal = material.normal_map
    if normal is not None and layout in (None, layout_of(normal)):
        scale = "" if material.normal_scale == 1.0 else f"-bm {_numbers([material.normal_scale])} "
        yield f"norm {scale}{_wrap(normal)}{textures.name_of(normal)}"
    yield ""


def _has_bare_faces(mesh: FileMesh, index: int, base: TextureMap) -> bool:
    if base.uv_set >= len(mesh.uvs):
        return True
    return bool((mesh.faces_uvs[base.uv_set][mesh.face_materials() == index] < 0).any())


def _wrap(found: TextureMap) -> str:
    return "-clamp on " if found.wrap == ("clamp", "clamp") else ""


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{value:.9g}" for value in values)


def _lines(
    mesh: FileMesh, library: Path | None, names: dict[int, str], comment: str | None, decimals: int | None
) -> Iterator[bytes]:
    if comment:
        yield f"# {comment}\n".encode()
    if library is not None:
        yield b"mtllib " + os.fsencode(library.name) + b"\n"
    verts = torch.from_numpy(float32_if_exact(mesh.placed_verts()))
    if mesh.verts_rgba is None:
        yield from statement("v", verts, decimals)
    else:
        yield from statement("v", verts, decimals, torch.from_numpy(mesh.verts_rgba[:, :3].copy()))
    if not len(mesh.faces):
        return
    uvs, faces_uvs = _coordinates(mesh)
    yield from statement("vt", torch.from_numpy(uvs), decimals)
    faces_normals = np.full_like(mesh.faces, NONE)
    if mesh.normals is not None and mesh.faces_normals is not None:
        yield from statement("vn", torch.from_numpy(mesh.normals), decimals)
        faces_normals = mesh.faces_normals
    corners = torch.from_numpy(np.stack([mesh.faces, faces_uvs, faces_normals], axis=2))
    index = mesh.face_materials()
    starts: list[int] = np.flatnonzero(np.diff(index, prepend=-2)).tolist() if library is not None else []
    yield from face_lines(corners, {face: f"usemtl {names[int(index[face])]}\n" for face in starts})


def _coordinates(mesh: FileMesh) -> tuple[np.ndarray, np.ndarray]:
    """The texture coordinates of all faces: those of their base colour, else of another map, else of the first set."""
    index = mesh.face_materials()
    faces_uvs = np.full_like(mesh.faces, NONE)
    chosen: dict[Layout, list[int]] = {}
    for i in [NONE, *mesh.used_materials()]:
        maps = [] if i == NONE else mesh.materials[i].maps()
        layout = layout_of(maps[0]) if maps else (0, b"")
        if layout[0] < len(mesh.uvs):
            chosen.setdefault(layout, []).append(i)
    tables: list[np.ndarray] = [np.zeros((0, 2), np.float32)]
    for (uv_set, transform), members in chosen.items():
        faces = np.isin(index, members)
        if not faces.any():
            continue
        rows, start = mesh.faces_uvs[uv_set][faces], sum(map(len, tables))
        faces_uvs[faces] = np.where(rows < 0, NONE, rows + start)
        tables.append(moved_uvs(mesh.uvs[uv_set], transform))
    return np.concatenate(tables), faces_uvs


def face_lines(corners: torch.Tensor, before: dict[int, str] | None = None) -> Iterator[bytes]:
    """Lines of faces (F, 3 corners, 3): vertex, texture coordinate and normal; -1 at a corner for none in its face.

    ``before`` has texts that stand before the lines of some faces.
    """
    before = before or {}
    has = (corners >= 0).all(1)
    kinds = (2 * has[:, 1] + has[:, 2].long()).numpy()
    rows = (corners + 1).numpy()
    for start in range(0, len(rows), _CHUNK):
        of_chunk, chunk = kinds[start : start + _CHUNK], rows[start : start + _CHUNK]
        lines = np.empty(len(chunk), dtype=object)
        for kind, (corner, columns) in enumerate(_CORNERS):
            chosen = np.flatnonzero(of_chunk == kind)
            line = f"f {corner} {corner} {corner}\n"
            numbers = chunk[chosen][:, :, columns].reshape(len(chosen), 3 * len(columns)).tolist()
            lines[chosen] = [line % tuple(row) for row in numbers]
        for face in range(start, start + len(chunk)) if before else ():
            if face in before:
                lines[face - start] = before[face] + lines[face - start]
        yield "".join(lines).encode()


def statement(
    keyword: str, values: torch.Tensor, decimal_places: int | None, colors: torch.Tensor | None = None
) -> Iterator[bytes]:
    """Lines of a keyword and the numbers of a row (N, C), and of one of colours (N, 3) behind them."""
    if values.numel():
        tables = [values] if colors is None else [values, colors]
        numbers = "".join(f" {number_format(t, decimal_places)}" * t.shape[1] for t in tables)
        yield from format_rows(f"{keyword}{numbers}\n", *tables)
