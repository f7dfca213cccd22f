"""Materials and texture atlases, as separate steps."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from tirender.io import texture_atlas
from tirender.io.files import decode_image, read_source
from tirender.io.mtl_io import Materials, parse_mtl
from tirender.pytorch3d.shims.common.datatypes import Device

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
    images_source = dataclasses.replace(source, folder=str(data_dir))
    properties: MaterialProperties = {}
    images: TextureImages = {}
    for name in material_names:
        if name in defined:
            properties[name] = {key: value.to(device) for key, value in defined[name].colors.items()}
            file = defined[name].image_file
            found = None if file is None else images_source.read_sibling(file)
            if found is not None:
                images[name] = decode_image(found.data, found.name).to(device)
            elif file is not None:
                warnings.warn(f"{source.name}: texture {file!r} not found, ignored", stacklevel=2)
    return properties, images


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
        texture_wrap: coordinates outside [0, 1]: "repeat" or "clamp".
    Returns:
        (F, R, R, 3) float32.
    """
    names, index = np.unique(np.asarray(face_material_names), return_inverse=True)
    materials = Materials(names.tolist(), material_properties, texture_images)
    material_of_face = torch.from_numpy(index).to(faces_uvs.device)
    return texture_atlas.make_mesh_texture_atlas(
        materials,
        material_of_face,
        faces_uvs,
        verts_uvs,
        texture_size,
        texture_wrap,  # type: ignore[arg-type]
    )


def make_material_atlas(image: torch.Tensor, faces_verts_uvs: torch.Tensor, texture_size: int) -> torch.Tensor:
    """The texels (F, R, R, 3) of one image (H, W, 3), for uv coordinates (F, 3, 2) in [0, 1]."""
    faces = torch.arange(3 * len(faces_verts_uvs), device=faces_verts_uvs.device).view(-1, 3)
    names = ["image"] * len(faces)
    return make_mesh_texture_atlas(
        {}, {"image": image}, names, faces, faces_verts_uvs.reshape(-1, 2), texture_size, "clamp"
    )
