"""Materials and texture atlases, as separate steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from tirender.io import texture_atlas
from tirender.io.files import read_source
from tirender.io.mtl_io import Materials, _Maps, parse_mtl
from tirender.pytorch3d.shims.common.datatypes import Device
from tirender.renderer.mesh.material import Material, TextureMap

MaterialProperties = dict[str, dict[str, torch.Tensor]]
TextureFiles = dict[str, str]
TextureImages = dict[str, torch.Tensor]


def load_mtl(
    f: Any, *, material_names: Sequence[str], data_dir: str, device: Device = "cpu", path_manager: Any = None
) -> tuple[MaterialProperties, TextureImages]:
    """Read materials and their diffuse images from an MTL file.

    Args:
        f: a path or a stream.
        material_names: the materials to return; those that the file lacks are left out.
        data_dir: the folder of the images. One that is missing, or lies elsewhere, is left out with a warning.
        device: of the tensors.
        path_manager: an iopath ``PathManager``, or None for the local file system.
    Returns:
        "ambient_color", "diffuse_color", "specular_color" (3,) and "shininess" (1,) of each material, as far as the
        file has them; and images (H, W, 3) in [0, 1] by material.
    Raises:
        ValueError: the file or an image is damaged.
    """
    source = read_source(f, path_manager)
    defined = parse_mtl(source)
    maps = _Maps(dataclasses.replace(source, folder=str(data_dir)))
    used = {name: defined[name] for name in material_names if name in defined}
    properties = {
        name: {key: value.to(device) for key, value in material.colors.items()} for name, material in used.items()
    }
    found = {name: maps.find(material, "map_kd") for name, material in used.items()}
    return properties, {name: each.image[..., :3].to(device) for name, each in found.items() if each is not None}


def make_mesh_texture_atlas(
    material_properties: MaterialProperties,
    texture_images: TextureImages,
    face_material_names: Sequence[str] | np.ndarray,
    faces_uvs: torch.Tensor,
    verts_uvs: torch.Tensor,
    texture_size: int,
    texture_wrap: str | None,
) -> torch.Tensor:
    """Sample a small square of texels for each face, laid out as ``TexturesAtlas`` reads it.

    Args:
        material_properties, texture_images: as :func:`load_mtl` returns them.
        face_material_names: the material of each of F faces; those of no known one are white.
        faces_uvs: (F, 3) int64 into ``verts_uvs``.
        verts_uvs: (T, 2), v pointing up.
        texture_size: texels a side, R.
        texture_wrap: coordinates outside [0, 1]: "repeat", "clamp" or None.
    Returns:
        (F, R, R, 3) float32.
    """
    names, index = np.unique(np.asarray(face_material_names), return_inverse=True)
    records = {name: Material(base_map=TextureMap(image.contiguous)) for name, image in texture_images.items()}
    materials = Materials(names.tolist(), material_properties, records)
    material_of_face = torch.from_numpy(index).to(faces_uvs.device)
    return texture_atlas.make_mesh_texture_atlas(
        materials, material_of_face, faces_uvs, verts_uvs, texture_size, texture_wrap
    )


def make_material_atlas(image: torch.Tensor, faces_verts_uvs: torch.Tensor, texture_size: int) -> torch.Tensor:
    """The texels (F, R, R, 3) of one image (H, W, 3), for uv coordinates (F, 3, 2) in [0, 1]."""
    faces = torch.arange(3 * len(faces_verts_uvs), device=faces_verts_uvs.device).view(-1, 3)
    names = ["image"] * len(faces)
    return make_mesh_texture_atlas(
        {}, {"image": image}, names, faces, faces_verts_uvs.reshape(-1, 2), texture_size, "clamp"
    )
