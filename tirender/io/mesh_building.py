"""``FileMesh`` to ``Meshes``: as much of a file's look as the textures classes can hold."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from tirender.budget import spend
from tirender.io.colors import decode_srgb, encode_srgb
from tirender.io.file_mesh import FileMesh, warn_if_blurred
from tirender.io.texturing import image_textures
from tirender.renderer.mesh.material import Material, TextureMap
from tirender.renderer.mesh.textures import TexturesAtlas, TexturesVertex
from tirender.structures.meshes import Meshes
from tirender.structures.pointclouds import Pointclouds


def meshes_of(mesh: FileMesh, device: Any, include_textures: bool = True) -> Meshes:
    """Make a batch of one.

    Its textures are those of :func:`textures_of`; its vertex normals those of the file where each vertex has one.
    """
    normals = mesh.verts_normals()
    warn_if_blurred(mesh.name, mesh.verts)
    return Meshes(
        [torch.from_numpy(mesh.verts.astype(np.float32)).to(device)],
        [torch.from_numpy(mesh.faces).to(device)],
        textures_of(mesh, device, outer_edges=True) if include_textures else None,
        verts_normals=None if normals is None else [torch.from_numpy(normals).to(device)],
    )


def cloud_of(mesh: FileMesh, device: Any) -> Pointclouds:
    """Make a cloud of the vertices: a batch of one, colours as RGB features; alpha warns."""
    rgba = mesh.verts_rgba
    warn_if_blurred(mesh.name, mesh.verts)
    if rgba is not None and (rgba[:, 3] < 1.0).any():
        warnings.warn(f"{mesh.name}: alpha is not part of a cloud's features, left out", stacklevel=4)
    normals = mesh.normals if mesh.faces_normals is None else mesh.verts_normals()
    return Pointclouds(
        [torch.from_numpy(mesh.verts.astype(np.float32)).to(device)],
        None if normals is None else [torch.from_numpy(normals).to(device)],
        None if rgba is None else [torch.from_numpy(rgba[:, :3].copy()).to(device)],
    )


def textures_of(mesh: FileMesh, device: Any, repeats: bool = True, outer_edges: bool = False) -> Any:
    """Return the textures that show most of what the file says, with a warning of each thing that they leave out.

    ``TexturesUV`` where there are images (all of them, and the plain colours of other faces); else ``TexturesVertex``
    where vertices have colours; else ``TexturesAtlas`` of one texel where faces have; else ``TexturesUV`` of plain
    colours where there are materials; else None.

    Args:
        mesh: what was read.
        device: of the textures.
        repeats: whether faces outside [0, 1] are moved there where their map repeats.
        outer_edges: whether 0 and 1 are the outer edges of a map, as files mean it; PyTorch3D takes the centres of the
            outermost texels for them. Texture coordinates are moved by up to half a texel accordingly.
    """
    used = mesh.used_materials()
    has_images = any(mesh.materials[i].base_map is not None for i in used)
    for feature in _left_out(mesh, [mesh.materials[i] for i in used], has_images):
        warnings.warn(f"{mesh.name}: {feature}: not part of a mesh's textures, left out", stacklevel=2)
    if not used and mesh.verts_rgba is None and mesh.faces_rgba is None:
        return None
    index = mesh.face_materials()
    factors = np.array([m.base_color[:3] for m in mesh.materials] + [(1.0, 1.0, 1.0)])
    if has_images:
        return _uv_textures(mesh, index, factors, device, repeats, outer_edges)
    if mesh.verts_rgba is not None:
        of_vert = np.full(len(mesh.verts), -1)
        of_vert[mesh.faces] = index[:, None]
        colors = _product(mesh.verts_rgba[:, :3], factors[of_vert])
        return TexturesVertex(verts_features=[torch.from_numpy(colors).to(device)])
    if mesh.faces_rgba is not None:
        colors = _product(mesh.faces_rgba[:, :3], factors[index])
        return TexturesAtlas(atlas=[torch.from_numpy(colors)[:, None, None].to(device)])
    return _uv_textures(mesh, index, factors, device, repeats, outer_edges)


def _left_out(mesh: FileMesh, used: list[Material], has_images: bool) -> Iterator[str]:
    colors = [rgba for rgba in (mesh.verts_rgba, mesh.faces_rgba) if rgba is not None]
    if any(m.alpha_mode != "opaque" for m in used) or any((rgba[:, 3] < 1.0).any() for rgba in colors):
        yield "transparency"
    if any(max(m.emission) > 0.0 for m in used):
        yield "emission"
    if any(m.normal_map is not None for m in used):
        yield "normal maps"
    if has_images:
        if any((rgba[:, :3] < 1.0).any() for rgba in colors):
            yield "vertex or face colours beside images"
    elif len(colors) == 2 and (colors[1][:, :3] < 1.0).any():
        yield "face colours beside vertex colours"
    elif mesh.verts_rgba is not None and len({m.base_color[:3] for m in used}) > 1 and _shares_vertices(mesh):
        yield "colours of several materials at one vertex"


def _shares_vertices(mesh: FileMesh) -> bool:
    """Whether faces of different materials meet."""
    index = mesh.face_materials()[:, None]
    of_vert = np.full(len(mesh.verts), -1)
    of_vert[mesh.faces] = index
    return bool((of_vert[mesh.faces] != index).any())


def _product(colors: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Multiply sRGB colours as light."""
    if (factors == 1.0).all():
        return np.ascontiguousarray(colors, dtype=np.float32)
    return encode_srgb(decode_srgb(colors) * decode_srgb(factors)).astype(np.float32)


def _uv_textures(
    mesh: FileMesh, index: np.ndarray, factors: np.ndarray, device: Any, repeats: bool, outer_edges: bool
) -> Any:
    images: list[torch.Tensor] = []
    numbers: dict[tuple[int, tuple[float, ...]], int] = {}
    image_of = np.full(len(mesh.materials) + 1, -1)
    repeats_of = np.zeros(len(mesh.materials) + 1, dtype=bool)
    for i in mesh.used_materials():
        found = mesh.materials[i].base_map
        if found is None:
            continue
        repeats_of[i] = repeats and found.wrap != ("clamp", "clamp")
        image, factor = found.image, tuple(factors[i])
        key = (id(image), factor)
        if key not in numbers:
            numbers[key] = len(images)
            rgb = image[..., :3].to(device)
            if factor != (1.0, 1.0, 1.0):
                spend(mesh.name, rgb.nbytes, f"an image of {rgb.shape[1]} x {rgb.shape[0]} in another colour")
            images.append(rgb if factor == (1.0, 1.0, 1.0) else rgb * rgb.new_tensor(factor))
        image_of[i] = numbers[key]
    plain = np.array([m.unmapped_color or m.base_color[:3] for m in mesh.materials] + [(1.0, 1.0, 1.0)])
    uvs, faces_uvs = _coordinates(mesh, index)
    return image_textures(
        mesh.name,
        torch.from_numpy(uvs).to(device),
        torch.from_numpy(faces_uvs).to(device),
        torch.from_numpy(image_of[index]).to(device),
        images,
        torch.from_numpy(plain.astype(np.float32)[index]).to(device),
        torch.from_numpy(repeats_of[index]).to(device),
        outer_edges,
    )


def _coordinates(mesh: FileMesh, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the texture coordinates of all faces, those of different sets and transforms one after the other."""
    faces_uvs = np.full((len(mesh.faces), 3), -1)
    tables: list[np.ndarray] = []
    layouts: dict[tuple[int, bytes], list[int]] = {}
    for i, material in enumerate(mesh.materials):
        layout = material.base_map
        if layout is not None and layout.uv_set < len(mesh.uvs):
            matrix = b"" if layout.transform is None else layout.transform.tobytes()
            layouts.setdefault((layout.uv_set, matrix), []).append(i)
    for members in layouts.values():
        layout = mesh.materials[members[0]].base_map
        chosen = np.isin(index, members)
        if layout is None or not chosen.any():
            continue
        table, corners = laid_out(mesh, layout)
        start = sum(map(len, tables))
        faces_uvs[chosen] = np.where(corners < 0, -1, corners + start)[chosen]
        tables.append(table)
    return np.concatenate([np.zeros((0, 2), np.float32), *tables]), faces_uvs


def laid_out(mesh: FileMesh, layout: TextureMap) -> tuple[np.ndarray, np.ndarray]:
    """Return the texture coordinates (T, 2) that a map is read at, its transform applied, and (F, 3) indices."""
    uvs, transform = mesh.uvs[layout.uv_set], layout.transform
    if transform is not None:
        uvs = (uvs @ transform[:, :2].T + transform[:, 2]).astype(np.float32)
    return uvs, mesh.faces_uvs[layout.uv_set]
