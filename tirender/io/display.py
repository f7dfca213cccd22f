"""What a mesh file says, as ``Meshes`` for display: with its materials, colours, normals and creases."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import torch

from tirender.io.file_mesh import FileMesh
from tirender.renderer.mesh.material import Material
from tirender.renderer.mesh.textures_material import TexturesMaterial
from tirender.structures import Meshes
from tirender.structures.creases import creased_normals, has_mixed_winding, places

CREASE_ANGLE = 60.0


def display_mesh(mesh: FileMesh, device: torch.device | str = "cpu", crease_angle: float = CREASE_ANGLE) -> Meshes:
    """What a file says of a mesh, for display: a batch of one with ``TexturesMaterial`` and normals of corners.

    Args:
        mesh: with faces.
        device: of the result.
        crease_angle: in degrees; faces without normals of their own are smooth over edges that bend by less.
    """
    verts = torch.from_numpy(mesh.verts.astype(np.float32)).to(device)
    faces = torch.from_numpy(mesh.faces).to(device)
    _warn_of_missing_uvs(mesh)
    normals, rows = _corner_normals(mesh, verts, faces, crease_angle)
    looks = _lit_on_both_sides(blended(mesh), verts, faces)
    return Meshes([verts], [faces], _textures(looks, device), corner_normals=[normals], faces_corner_normals=[rows])


def with_shown_normals(mesh: FileMesh, crease_angle: float = CREASE_ANGLE) -> FileMesh:
    """The mesh with the normals that :func:`display_mesh` gives its faces: its own, and computed ones elsewhere."""
    verts, faces = torch.from_numpy(mesh.verts.astype(np.float32)), torch.from_numpy(mesh.faces)
    normals, rows = _corner_normals(mesh, verts, faces, crease_angle)
    return replace(mesh, normals=normals.numpy(), faces_normals=rows.numpy())


def _warn_of_missing_uvs(mesh: FileMesh) -> None:
    """Warn of textures on faces that lack the texture coordinates for them."""
    bare = np.zeros(len(mesh.faces), dtype=bool)
    for i in mesh.used_materials():
        for found in mesh.materials[i].maps():
            has_set = found.uv_set < len(mesh.uvs)
            bare |= (mesh.face_materials() == i) & (mesh.faces_uvs[found.uv_set][:, 0] < 0 if has_set else True)
    if bare.any():
        warnings.warn(f"{mesh.name}: {bare.sum()} faces have a texture and no texture coordinates for it", stacklevel=4)


def _corner_normals(
    mesh: FileMesh, verts: torch.Tensor, faces: torch.Tensor, crease_angle: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The file's normals, and computed ones where it has none."""
    if mesh.normals is None or mesh.faces_normals is None:
        return creased_normals(verts, faces, crease_angle)
    normals, rows = (torch.from_numpy(a).to(verts.device) for a in (mesh.normals, mesh.faces_normals))
    table = torch.cat([normals, normals.new_zeros(1, 3)])
    missing = (table.square().sum(1) < 1e-12)[rows]
    if not bool(missing.any()):
        return normals, rows
    computed, computed_rows = creased_normals(verts, faces, crease_angle)
    return torch.cat([normals, computed]), torch.where(missing, computed_rows + len(normals), rows)


def blended(mesh: FileMesh) -> FileMesh:
    """The mesh, with materials that blend where colours of vertices or faces are transparent."""
    colors = [rgba for rgba in (mesh.verts_rgba, mesh.faces_rgba) if rgba is not None and (rgba[:, 3] < 1.0).any()]
    if not colors:
        return mesh
    see_through = np.zeros(len(mesh.faces), dtype=bool)
    for rgba in colors:
        is_clear = rgba[:, 3] < 1.0
        see_through |= is_clear if rgba is mesh.faces_rgba else is_clear[mesh.faces].any(axis=1)
    materials = [*mesh.materials, Material()]
    index = np.where(mesh.face_materials() < 0, len(mesh.materials), mesh.face_materials())
    for i in np.unique(index[see_through]).tolist():
        if materials[i].alpha_mode == "opaque":
            index[see_through & (index == i)] = len(materials)
            materials.append(replace(materials[i], alpha_mode="blend"))
    return replace(mesh, materials=tuple(materials), faces_material=index)


def _lit_on_both_sides(mesh: FileMesh, verts: torch.Tensor, faces: torch.Tensor) -> FileMesh:
    """The mesh, with materials whose back faces are lit, too, where faces disagree on what is the back."""
    if all(material.double_sided is not False for material in mesh.materials):
        return mesh
    if not has_mixed_winding(places(verts)[faces]):
        return mesh
    return replace(mesh, materials=tuple(replace(material, double_sided=True) for material in mesh.materials))


def _textures(mesh: FileMesh, device: torch.device | str) -> TexturesMaterial | None:
    """The file's materials and colours; None where it has neither, so that the scene chooses a grey."""
    has_colors = mesh.verts_rgba is not None or mesh.faces_rgba is not None
    if not mesh.materials and not has_colors:
        return None
    given = {"faces_material": mesh.face_materials(), "verts_uvs": None, "faces_uvs": None}
    if mesh.uvs:
        starts = np.cumsum([0, *(len(uvs) for uvs in mesh.uvs)])
        moved = [np.where(rows < 0, -1, rows + start) for rows, start in zip(mesh.faces_uvs, starts)]
        given |= {"verts_uvs": np.concatenate(mesh.uvs), "faces_uvs": np.stack(moved, 1)}
    if has_colors:
        colors, rows = _corner_colors(mesh)
        given |= {"colors": colors, "faces_colors": rows}
    tensors = {name: None if a is None else [torch.from_numpy(a).to(device)] for name, a in given.items()}
    return TexturesMaterial(mesh.materials, **tensors)  # type: ignore[arg-type]


def _corner_colors(mesh: FileMesh) -> tuple[np.ndarray, np.ndarray]:
    """RGBA and its rows at the corners: the product of the colours of vertices and of faces."""
    corners = np.repeat(np.arange(len(mesh.faces))[:, None], 3, axis=1)
    if mesh.faces_rgba is None:
        assert mesh.verts_rgba is not None
        return mesh.verts_rgba, mesh.faces
    if mesh.verts_rgba is None:
        return mesh.faces_rgba, corners
    product = mesh.verts_rgba[mesh.faces] * mesh.faces_rgba[:, None]
    return product.reshape(-1, 4), np.arange(3 * len(mesh.faces)).reshape(-1, 3)
