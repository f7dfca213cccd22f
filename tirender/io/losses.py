"""What files of a format cannot hold."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np

from tirender.io.file_mesh import FileMesh
from tirender.io.mesh_pieces import layout_of, moved_uvs
from tirender.renderer.mesh.material import Material

_HOLDS = {
    ".obj": ("normals", "textures", "colours", "corners", "materials"),
    ".ply": ("normals", "textures", "colours", "alpha", "face colours", "corner uvs"),
    ".off": ("colours", "alpha"),
    ".npz": ("normals", "colours", "alpha"),
    ".stl": (),
}


def warn_of_losses(mesh: FileMesh, name: str, ending: str) -> None:
    """Warn of each thing that a mesh has and a file with this ending does not hold."""
    for feature in mesh.unread:
        warnings.warn(f"{name}: {feature} of {mesh.name}: left out", stacklevel=3)
    if ending in _HOLDS:
        for feature in dict.fromkeys(_losses(mesh, ending)):
            warnings.warn(
                f"{name}: {feature}: no part of {ending.removeprefix('.').upper()} files, left out", stacklevel=3
            )


def _losses(mesh: FileMesh, ending: str) -> Iterator[str]:
    holds = _HOLDS[ending]
    used = [mesh.materials[i] for i in mesh.used_materials()]
    maps = [found for material in used for found in material.maps()]
    of_points = ending == ".obj" and not len(mesh.faces)
    if mesh.normals is not None and of_points:
        yield "normals"
    elif mesh.normals is not None and "corners" not in holds and not _has_point_normals(mesh, holds):
        yield "normals" if "normals" not in holds else "normals that differ at the corners of a vertex"
    if mesh.uvs and "textures" not in holds:
        yield "texture coordinates"
    if any(material.base_map is not None for material in used) and "textures" not in holds:
        yield "textures"
    if len(mesh.uvs) > 1 and "textures" in holds and len({layout_of(found)[0] for found in maps}) < len(mesh.uvs):
        yield "texture coordinates of no texture"
    colors = [rgba for rgba in (mesh.verts_rgba, mesh.faces_rgba) if rgba is not None]
    if colors and "colours" not in holds:
        yield "colours"
    elif len(colors) == 2 and ending in (".off", ".obj"):
        yield "colours of faces beside those of vertices"
    if any((rgba[:, 3] < 1.0).any() for rgba in colors) and "colours" in holds and "alpha" not in holds:
        yield "transparency of colours"
    if any(material.base_color[:3] != (1.0,) * 3 for material in used) and "colours" not in holds:
        yield "colours of materials"
    yield from _of_materials(used, ending)
    beyond = [mesh.materials[i].base_map for i in mesh.used_materials() if _leaves_its_map(mesh, i)]
    for found in (found for found in beyond if found is not None):
        if "mirror" in found.wrap or found.wrap[0] != found.wrap[1]:
            yield "mirrored textures, or ones that repeat along one side only"
        elif found.wrap == ("clamp", "clamp") and ending == ".ply":
            yield "textures that do not repeat"
    if mesh.cameras:
        yield "cameras"
    if mesh.lights:
        yield "lights"


def _has_point_normals(mesh: FileMesh, holds: tuple[str, ...]) -> bool:
    if "normals" not in holds:
        return False
    return mesh.faces_normals is None or mesh.verts_normals() is not None


def _leaves_its_map(mesh: FileMesh, index: int) -> bool:
    """Whether faces of a material reach beyond its base map."""
    found = mesh.materials[index].base_map
    if found is None or found.uv_set >= len(mesh.uvs):
        return False
    rows = mesh.faces_uvs[found.uv_set][mesh.face_materials() == index]
    places = moved_uvs(mesh.uvs[found.uv_set], layout_of(found)[1])[rows[rows >= 0]]
    return bool((places < 0.0).any() or (places > 1.0).any())


def _of_materials(used: list[Material], ending: str) -> Iterator[str]:
    is_obj = ending == ".obj"
    for material in used:
        base = material.base_map
        if material.normal_map is not None and not is_obj:
            yield "normal maps"
        if (max(material.emission) > 0.0 or material.emission_map is not None) and not is_obj:
            yield "emission"
        if material.occlusion_map is not None:
            yield "occlusion maps"
        if material.metallic_roughness_map is not None:
            yield "maps of metal and roughness"
        elif (material.metallic or material.roughness not in (None, 1.0)) and not is_obj:
            yield "metal and roughness"
        if material.alpha_mode == "mask":
            yield "cut-outs (a cutoff of alpha)"
        elif material.alpha_mode == "blend" and not is_obj:
            yield "transparency of materials"
        if material.unlit and not is_obj:
            yield "materials without light"
        if base is not None and base.nearest:
            yield "textures without interpolation"
        if is_obj and base is not None:
            others = [found for found in (material.normal_map, material.emission_map) if found is not None]
            if any(layout_of(found) != layout_of(base) for found in others):
                yield "textures that are laid otherwise than the base colour's"


def float32_if_exact(values: np.ndarray) -> np.ndarray:
    """The values in float32 where that keeps all of them, else in float64."""
    single = values.astype(np.float32)
    return single if (single == values).all() else values
