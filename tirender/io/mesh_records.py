"""``Meshes`` and ``Pointclouds`` as records of files, for the writers of files."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from tirender.checks import fail
from tirender.io.colors import with_alpha
from tirender.io.file_mesh import FileMesh
from tirender.io.files import MAX_IMAGE_SIDE
from tirender.io.pluggable_formats import check_indices, check_rows, one_cloud, one_mesh
from tirender.renderer.mesh.as_material import texture_map_of
from tirender.renderer.mesh.material import Material, TextureMap
from tirender.renderer.mesh.textures import TexturesAtlas, TexturesUV, TexturesVertex
from tirender.renderer.mesh.textures_material import TexturesMaterial
from tirender.structures.meshes import Meshes
from tirender.structures.pointclouds import Pointclouds


def record_of_mesh(data: Meshes, path: Any) -> FileMesh:
    """Return one mesh as a record, with the normals that it was given, and its textures as materials or colours.

    Args:
        data: a batch of one.
        path: of the file that it is for, for messages.
    Raises:
        ValueError: ``data`` is not one mesh, or has maps that are not RGB.
    """
    verts, faces = one_mesh(data, path)
    check_rows("verts", verts, 3)
    check_indices("faces", faces, len(verts))
    name = os.fsdecode(path)
    fields: dict[str, Any] = {}
    normals, rows = data.corner_normals_packed() if _has_normals(data) else (None, None)
    if normals is not None and rows is not None:
        fields |= {"normals": _array(normals).astype(np.float32), "faces_normals": _array(rows)}
    fields |= _looks(data, name)
    return FileMesh(name, _array(verts).astype(np.float64), _array(faces).astype(np.int64), **fields)


def record_of_cloud(data: Pointclouds, path: Any) -> FileMesh:
    """Return one cloud as a record; features of 3 channels are its colours, of 4 with alpha, others warn.

    Raises:
        ValueError: ``data`` is not one cloud.
    """
    points, normals, features = one_cloud(data, path)
    check_rows("points", points, 3)
    name, rgba = os.fsdecode(path), None
    if features is not None and features.shape[1] in (3, 4):
        colors = _array(features).astype(np.float32).clip(0.0, 1.0)
        rgba = with_alpha(colors[:, :3], colors[:, 3] if colors.shape[1] == 4 else None)
    elif features is not None:
        warnings.warn(f"{name}: features of {features.shape[1]} channels are no RGB, left out", stacklevel=2)
    return FileMesh(
        name,
        _array(points).astype(np.float64),
        np.zeros((0, 3), np.int64),
        None if normals is None or not len(normals) else _array(normals).astype(np.float32),
        verts_rgba=rgba,
    )


def _array(values: torch.Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()


def _has_normals(data: Meshes) -> bool:
    return data.has_verts_normals() or data._geometry.corners is not None


def _looks(data: Meshes, name: str) -> dict[str, Any]:
    """The fields of colours, texture coordinates and materials."""
    textures: Any = data.textures
    if textures is None:
        return {}
    if isinstance(textures, TexturesVertex) and textures.verts_features_packed().shape[1] == 3:
        rgb = _array(textures.verts_features_list()[0]).astype(np.float32)
        return {"verts_rgba": with_alpha(rgb.clip(0.0, 1.0))}
    if isinstance(textures, TexturesUV):
        return _of_maps(textures, name)
    if isinstance(textures, TexturesMaterial):
        return _of_materials(textures, data)
    if isinstance(textures, TexturesAtlas) and textures.atlas_list()[0].shape[-1] == 3:
        return _of_atlas(textures.atlas_list()[0], name)
    warnings.warn(f"{name}: {type(textures).__name__} cannot be saved in this format, left out", stacklevel=3)
    return {}


def _of_maps(textures: TexturesUV, name: str) -> dict[str, Any]:
    maps = textures.maps_list()[0]
    if maps.shape[-1] != 3:
        fail("textures", "maps of 3 channels, to be saved", f"{maps.shape[-1]} channels")
    if "zeros" in textures.padding:
        warnings.warn(f"{name}: the black beyond a map is saved as its border", stacklevel=4)
    images, image_of_face = textures.distinct_maps()
    materials = [Material(base_map=texture_map_of(textures, image)) for image in images]
    return {
        "uvs": (_array(textures.verts_uvs_list()[0]).astype(np.float32).reshape(-1, 2),),
        "faces_uvs": (_array(textures.faces_uvs_list()[0]),),
        "materials": tuple(materials),
        "faces_material": _array(image_of_face),
    }


def _of_materials(textures: TexturesMaterial, data: Meshes) -> dict[str, Any]:
    packed = textures.packed()
    index = _array(packed.faces_material)
    fields: dict[str, Any] = {
        "materials": tuple(map(_of_numbers, textures.materials)),
        "faces_material": np.where(index == len(textures.materials), -1, index),
        "uvs": tuple(_array(packed.uvs).astype(np.float32) for _ in range(packed.faces_uvs.shape[1])),
        "faces_uvs": tuple(_array(packed.faces_uvs[:, k]) for k in range(packed.faces_uvs.shape[1])),
    }
    rows = _array(packed.faces_colors)
    if not (rows >= 0).any():
        return fields
    table = np.append(_array(packed.colors), np.ones((1, 4), np.float32), axis=0).astype(np.float32)
    corners, faces = table[rows], _array(data.faces_packed())
    of_verts = np.ones((len(data.verts_packed()), 4), np.float32)
    of_verts[faces] = corners
    if (of_verts[faces] == corners).all():
        return {**fields, "verts_rgba": of_verts}
    if (corners == corners[:, :1]).all():
        return {**fields, "faces_rgba": corners[:, 0]}
    return {**fields, "verts_rgba": of_verts, **_no_corner_colors(data)}


def _of_numbers(material: Material) -> Material:
    """A material whose factors were tensors, as those of a fit are, with numbers in their place."""
    fields: dict[str, Any] = {}
    for name, value in vars(material).items():
        if isinstance(value, torch.Tensor):
            numbers = value.detach().cpu().tolist()
            fields[name] = tuple(numbers) if isinstance(numbers, list) else numbers
        elif isinstance(value, tuple) and any(isinstance(part, torch.Tensor) for part in value):
            fields[name] = tuple(float(part) for part in value)
    return replace(material, **fields) if fields else material


def _no_corner_colors(data: Meshes) -> dict[str, Any]:
    warnings.warn("colours that differ at the corners of a vertex are saved as one of them", stacklevel=5)
    return {}


def _of_atlas(atlas: torch.Tensor, name: str) -> dict[str, Any]:
    """A colour of each face where it has one texel; else a map in which each face has a square of its own."""
    n_faces, size = atlas.shape[:2]
    if size == 1:
        return {"faces_rgba": with_alpha(_array(atlas[:, 0, 0]).astype(np.float32).clip(0.0, 1.0))}
    side = 2 * size + 2  # a cell has two halves of colours of their own; a rim keeps neighbours away
    columns = max(math.ceil(math.sqrt(n_faces)), 1)
    if columns * side > MAX_IMAGE_SIDE:
        warnings.warn(f"{name}: TexturesAtlas of {n_faces} faces is too large for an image, left out", stacklevel=4)
        return {}
    # Texel (row, column) shows the barycentric coordinates b0 = x, b1 = y of its face.
    place = ((np.arange(side) - 0.5) / (side - 2)).clip(1e-6, 1.0 - 1e-6)
    x, y = np.meshgrid(place, place)
    over = np.maximum((x + y - (1.0 - 1e-6)) / 2, 0.0)
    x, y = x - over, y - over
    cell_x, cell_y = (np.floor(c * size).astype(np.int64).clip(0, size - 1) for c in (x, y))
    beyond = (x + y) * size - (cell_x + cell_y) > 1.0
    cell_x, cell_y = (np.where(beyond, size - 1 - c, c) for c in (cell_x, cell_y))
    squares = atlas[:, torch.from_numpy(cell_y), torch.from_numpy(cell_x)].clamp(0.0, 1.0)  # (F, side, side, 3)
    squares = torch.cat([squares, squares.new_zeros(columns**2 - n_faces, side, side, 3)])
    image = squares.view(columns, columns, side, side, 3).transpose(1, 2).reshape(columns * side, columns * side, 3)
    index = np.arange(n_faces)
    origin = np.stack([index % columns, index // columns], axis=1) * side + 1
    corners = origin[:, None] + np.array([[1, 0], [0, 1], [0, 0]]) * (side - 2)
    uvs = corners.reshape(-1, 2) / (columns * side)
    uvs[:, 1] = 1.0 - uvs[:, 1]
    found = TextureMap(lambda: image.detach().cpu(), wrap=("clamp", "clamp"), nearest=True)
    return {
        "uvs": (uvs.astype(np.float32),),
        "faces_uvs": (np.arange(3 * n_faces).reshape(-1, 3),),
        "materials": (Material(base_map=found),),
        "faces_material": np.zeros(n_faces, np.int64),
    }
