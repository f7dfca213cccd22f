"""PyTorch3D's kinds of textures as materials."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch

from tirender.renderer.mesh.material import Material, TextureMap
from tirender.renderer.mesh.textures import TexturesUV, TexturesVertex
from tirender.renderer.mesh.textures_material import TexturesMaterial
from tirender.structures.meshes import Meshes

LARGEST = 1e9  # of a colour; means of larger ones are not finite
WRAPS = {"border": "clamp", "zeros": "clamp", "reflection": "mirror", "repeat": "repeat"}


def as_material(meshes: Meshes) -> TexturesMaterial | None:
    """The textures of one mesh as materials that look the same; white without textures.

    None where no material does: for an atlas, for features that are no colours, for maps that end in black, and for
    those that repeat from the centre of a texel.
    """
    textures: Any = meshes.textures
    faces = meshes.faces_packed()
    plain = torch.full_like(faces[:, 0], -1)
    if textures is None:
        return TexturesMaterial([], [plain])
    if type(textures) is TexturesVertex and textures.verts_features_packed().shape[1] == 3:
        rgb = textures.verts_features_packed().clamp(-LARGEST, LARGEST)
        return TexturesMaterial(
            [], [plain], colors=[torch.cat([rgb, torch.ones_like(rgb[:, :1])], 1)], faces_colors=[faces]
        )
    if type(textures) is TexturesUV and _is_exact(textures):
        images, image_of_face = textures.distinct_maps()
        materials = [Material(base_map=texture_map_of(textures, image)) for image in images]
        return TexturesMaterial(
            materials, [image_of_face], textures.verts_uvs_list(), [textures.faces_uvs_list()[0][:, None]]
        )
    return None


def _is_exact(textures: TexturesUV) -> bool:
    maps = textures.maps_list()
    borders = textures.padding == ("border", "border")
    return maps[0].shape[-1] == 3 and (borders or (not textures.align_corners and "zeros" not in textures.padding))


def texture_map_of(textures: TexturesUV, image: torch.Tensor) -> TextureMap:
    """One of the maps of textures, an image (H, W, 3), laid as they are; what ends in black ends in its border."""
    transform = None
    if textures.align_corners:  # 0 and 1 are the centres of the outermost texels: move them to where those are
        rows, columns = image.shape[:2]
        transform = np.array([[(columns - 1) / columns, 0, 0.5 / columns], [0, (rows - 1) / rows, 0.5 / rows]])
    u, v = (WRAPS[padding] for padding in textures.padding)
    nearest = textures.sampling_mode == "nearest"
    return TextureMap(partial(_within_range, image), wrap=(u, v), transform=transform, nearest=nearest)


def _within_range(image: torch.Tensor) -> torch.Tensor:
    return image.detach().clamp(-LARGEST, LARGEST)
