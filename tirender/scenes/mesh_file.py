"""Mesh files as scenes: with their materials, normals and creases, however far from the origin they lie."""

from __future__ import annotations

import os

import numpy as np
import torch

from tirender.io.file_mesh import FileMesh
from tirender.io.reading import read_mesh_file
from tirender.renderer.mesh.textures_material import TexturesMaterial
from tirender.scenes.mesh import MeshScene
from tirender.structures import Meshes
from tirender.structures.corner_normals import creased_normals

CREASE_ANGLE = 60.0


def load_mesh_scene(
    path: str | os.PathLike[str], device: torch.device | str = "cpu", allow_parent: bool = False
) -> MeshScene | None:
    """The scene in a mesh file; None where it has no faces.

    Args:
        path: of a mesh in one of tirender's own formats.
        device: of the scene.
        allow_parent: whether materials and images may lie in the folder above the file's.
    Raises:
        ValueError, OSError: as :func:`tirender.io.reading.read_mesh_file`.
    """
    mesh = read_mesh_file(path, allow_parent=allow_parent, center_far=True)
    return MeshScene(display_mesh(mesh, device), str(path)) if len(mesh.faces) else None


def display_mesh(mesh: FileMesh, device: torch.device | str = "cpu", crease_angle: float = CREASE_ANGLE) -> Meshes:
    """What a file says of a mesh, for display: a batch of one with ``TexturesMaterial`` and normals of corners.

    Args:
        mesh: with faces.
        device: of the result.
        crease_angle: in degrees; faces without normals of their own are smooth over edges that bend by less.
    """
    verts = torch.from_numpy(mesh.verts.astype(np.float32)).to(device)
    faces = torch.from_numpy(mesh.faces).to(device)
    normals, rows = _corner_normals(mesh, verts, faces, crease_angle)
    return Meshes([verts], [faces], _textures(mesh, device), corner_normals=[normals], faces_corner_normals=[rows])


def _corner_normals(
    mesh: FileMesh, verts: torch.Tensor, faces: torch.Tensor, crease_angle: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The file's normals, and computed ones where it has none."""
    if mesh.normals is None or mesh.faces_normals is None:
        return creased_normals(verts, faces, crease_angle)
    normals, rows = (torch.from_numpy(a).to(verts.device) for a in (mesh.normals, mesh.faces_normals))
    table = torch.cat([normals, normals.new_zeros(1, 3)])
    missing = table.square().sum(1)[rows] < 1e-12
    if not bool(missing.any()):
        return normals, rows
    computed, computed_rows = creased_normals(verts, faces, crease_angle)
    return torch.cat([normals, computed]), torch.where(missing, computed_rows + len(normals), rows)


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
