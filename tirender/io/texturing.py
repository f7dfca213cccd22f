"""Textures for a mesh whose faces take their colour from several images and plain colours."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import interpolate

from tirender.budget import spend
from tirender.checks import fail
from tirender.renderer.mesh.textures import TexturesUV, TexturesVertex
from tirender.structures.meshes import Meshes

BYTES_A_TEXEL = 24  # of maps that are made equally large, and then put together


def image_textures(
    name: str,
    verts_uvs: torch.Tensor,
    faces_uvs: torch.Tensor,
    face_images: torch.Tensor,
    images: Sequence[torch.Tensor],
    face_colors: torch.Tensor,
    face_repeats: torch.Tensor,
    outer_edges: bool = False,
) -> TexturesUV:
    """Make ``TexturesUV`` of one mesh: one map where one image serves all faces, else several (``maps_ids``).

    Maps of different sizes are resized to the largest. Plain colours become one map more, in which each such face lies
    in a block of its colour.

    Args:
        name: of the mesh, for warnings.
        verts_uvs: (T, 2), v pointing up.
        faces_uvs: (F, 3) int64, -1 where a face has none.
        face_images: (F,) int64 into ``images``, -1 for a plain colour.
        images: (H, W, 3) each.
        face_colors: (F, 3) the colours of the faces that have no image, or no texture coordinates.
        face_repeats: (F,) bool: whether a face in another tile than [0, 1] is moved there. Others, and those that lie
            across tiles, see the texture's border beyond it (a warning where that is more than half a tile).
        outer_edges: whether coordinates 0 and 1 are the outer edges of maps, and not the centres of their last texels.
    """
    plain = (face_images < 0) | (faces_uvs < 0).any(dim=1)
    used, map_ids = torch.unique(face_images[~plain], return_inverse=True)
    maps = [images[int(i)] for i in used]
    verts_uvs, faces_uvs = _move_into_tile(name, verts_uvs, faces_uvs, ~plain & face_repeats)
    face_maps = torch.zeros(len(faces_uvs), dtype=torch.int64, device=faces_uvs.device)
    face_maps[~plain] = map_ids
    if outer_edges and maps:
        verts_uvs, faces_uvs = _from_outer_edges(verts_uvs, faces_uvs, ~plain, face_maps, maps)
    height, width = (max((m.shape[axis] for m in maps), default=1) for axis in (0, 1))
    n_maps = len(maps) + bool(plain.any() or not maps)
    if n_maps > 1:
        n_bytes = BYTES_A_TEXEL * n_maps * height * width
        spend(name, n_bytes, f"a texture of {n_maps} maps of {width} x {height}")
    if len(maps) < n_maps:
        colors, color_ids = torch.unique(face_colors[plain], dim=0, return_inverse=True)
        palette, centers = _palette(colors, height, width)
        height, width = palette.shape[:2]
        face_maps[plain] = len(maps)
        faces_uvs[plain] = (len(verts_uvs) + color_ids)[:, None].expand(-1, 3)
        verts_uvs = torch.cat([verts_uvs, centers])
        maps.append(palette)
    maps = [_resize(m, height, width) for m in maps]
    if len(maps) == 1:
        return TexturesUV(maps=maps[0][None], faces_uvs=[faces_uvs], verts_uvs=[verts_uvs])
    return TexturesUV(
        maps=torch.stack(maps)[None], faces_uvs=[faces_uvs], verts_uvs=[verts_uvs], maps_ids=face_maps[None]
    )


def _from_outer_edges(
    verts_uvs: torch.Tensor,
    faces_uvs: torch.Tensor,
    is_mapped: torch.Tensor,
    face_maps: torch.Tensor,
    maps: Sequence[torch.Tensor],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Move coordinates from where 0 and 1 are the edges of a map to where they are the centres of its last texels."""
    size = verts_uvs.new_tensor([(m.shape[1], m.shape[0]) for m in maps])
    n = len(verts_uvs)
    if bool((size != size[0]).any()):  # a corner that two maps share becomes two
        keys = face_maps[is_mapped][:, None] * n + faces_uvs[is_mapped]
        used, rows = torch.unique(keys, return_inverse=True)
        faces_uvs = faces_uvs.clone()
        faces_uvs[is_mapped] = rows
        verts_uvs, size = verts_uvs[used % n], size[used // n]
    else:
        size = size[:1]
    moved = (verts_uvs * size - 0.5) / (size - 1.0).clamp(min=1.0)
    return torch.where(size > 1.0, moved, verts_uvs), faces_uvs


def _palette(colors: torch.Tensor, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a map of blocks of at least 2 x 2 texels, one a colour, and the (C, 2) uvs of their centres."""
    side = max(math.ceil(math.sqrt(len(colors))), 1)
    height, width = max(height, 2 * side), max(width, 2 * side)
    block_y, block_x = height // side, width // side
    palette = torch.ones(height, width, 3, device=colors.device)
    index = torch.arange(len(colors), device=colors.device)
    x, y = index % side, index // side
    for i, color in enumerate(colors):
        top, left = i // side * block_y, i % side * block_x
        palette[top : top + block_y, left : left + block_x] = color
    u = (x * block_x + (block_x - 1) / 2) / (width - 1)
    v = 1.0 - (y * block_y + (block_y - 1) / 2) / (height - 1)
    return palette, torch.stack([u, v], dim=1)


def _resize(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    if image.shape[:2] == (height, width):
        return image
    planes = image.permute(2, 0, 1)[None]
    return interpolate(planes, (height, width), mode="bilinear", align_corners=True)[0].permute(1, 2, 0).contiguous()


def _move_into_tile(
    name: str, verts_uvs: torch.Tensor, faces_uvs: torch.Tensor, repeats: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Move each repeating face that lies in another tile than [0, 1] there, giving it corners of its own."""
    faces_uvs = faces_uvs.clone()
    chosen = torch.nonzero(repeats)[:, 0]
    corners = verts_uvs[faces_uvs[chosen]]
    moved = corners - corners.amin(dim=1, keepdim=True).floor()
    fits = (moved <= 1.0).flatten(1).all(dim=1)
    beyond = (corners - corners.clamp(0.0, 1.0)).abs().flatten(1)
    # A little across the edge is common (a seam) and harmless; more than half a tile is a pattern meant to repeat.
    n_across = int((~fits & (beyond > 0.5).any(dim=1)).sum())
    if n_across:
        warnings.warn(f"{name}: {n_across} faces repeat their texture, which only a texture atlas can do", stacklevel=2)
    changed = fits & (beyond > 0.0).any(dim=1)
    own_corners = len(verts_uvs) + torch.arange(3 * int(changed.sum()), device=faces_uvs.device)
    faces_uvs[chosen[changed]] = own_corners.view(-1, 3)
    return torch.cat([verts_uvs, moved[changed].reshape(-1, 2)]), faces_uvs


def single_map(textures: Any, path: Any) -> dict[str, torch.Tensor]:
    """Return the arguments of ``save_obj`` for the textures of one mesh: none, with a warning, if not ``TexturesUV``.

    Several maps are put side by side; texture coordinates are then clamped to [0, 1], as sampling them does.

    Raises:
        ValueError: the maps are not RGB.
    """
    if not isinstance(textures, TexturesUV):
        warnings.warn(f"{path}: {type(textures).__name__} cannot be saved in this format, left out", stacklevel=2)
        return {}
    verts_uvs, faces_uvs = textures.verts_uvs_list()[0], textures.faces_uvs_list()[0]
    maps = textures.maps_padded()[0]
    if maps.shape[-1] != 3:
        fail("textures", "maps of 3 channels, to be saved", f"{maps.shape[-1]} channels")
    maps_ids = textures.maps_ids_list()
    if maps_ids is None:
        return {"verts_uvs": verts_uvs, "faces_uvs": faces_uvs, "texture_map": maps}
    n_maps, height, width, channels = maps.shape
    side_by_side = maps.permute(1, 0, 2, 3).reshape(height, n_maps * width, channels)
    u, v = verts_uvs.clamp(0.0, 1.0).unbind(dim=1)
    offsets = width * torch.arange(n_maps, device=u.device)[:, None]
    shifted = (u * (width - 1) + offsets) / max(n_maps * width - 1, 1)
    verts_uvs = torch.stack([shifted, v.expand_as(shifted)], dim=-1).reshape(-1, 2)
    moved = torch.where(faces_uvs < 0, -1, faces_uvs + maps_ids[0].clamp(min=0)[:, None] * len(u))
    return {"verts_uvs": verts_uvs, "faces_uvs": moved, "texture_map": side_by_side}


def fill_missing_textures(meshes: list[Meshes]) -> list[Meshes]:
    """Give the meshes without textures white ones of the type that the others have, so that they can be batched."""
    kinds = {type(mesh.textures) for mesh in meshes if mesh.textures is not None}
    if len(kinds) > 1:
        names = " and ".join(sorted(kind.__name__ for kind in kinds))
        fail("files", "meshes with textures of one type (create_texture_atlas=True makes them so)", names)
    several = any(isinstance(mesh.textures, TexturesUV) and mesh.textures.maps_ids_list() for mesh in meshes)
    for mesh in meshes:
        verts, faces = mesh.verts_list()[0], mesh.faces_list()[0]
        if mesh.textures is None and TexturesVertex in kinds:
            mesh.textures = TexturesVertex(verts_features=[torch.ones_like(verts)])
        elif mesh.textures is None and TexturesUV in kinds:
            white, corner = verts.new_ones((1, 1, 1, 3)), verts.new_zeros(1, 2)
            mesh.textures = TexturesUV(maps=white, faces_uvs=[torch.zeros_like(faces)], verts_uvs=[corner])
        if several and mesh.textures.maps_ids_list() is None:
            mesh.textures = TexturesUV(
                maps=[mesh.textures.maps_list()[0][None]],
                faces_uvs=mesh.textures.faces_uvs_list(),
                verts_uvs=mesh.textures.verts_uvs_list(),
                maps_ids=[faces.new_zeros(len(faces))],
            )
    return meshes


def vertex_colors(mesh: Meshes, path: Any, as_uint8: bool) -> torch.Tensor | None:
    """Return the (V, 3) colours of one mesh's ``TexturesVertex``; None, with a warning, for other textures."""
    if mesh.textures is None:
        return None
    colors = mesh.textures.verts_features_list()[0] if isinstance(mesh.textures, TexturesVertex) else None
    if colors is None or colors.shape[1] != 3:
        warnings.warn(f"{path}: {type(mesh.textures).__name__} is no RGB at each vertex, left out", stacklevel=2)
        return None
    return colors_as_bytes(colors) if as_uint8 else colors


def colors_as_bytes(colors: torch.Tensor) -> torch.Tensor:
    """Colours in [0, 1] as uint8, rounded and clamped."""
    return (colors.detach().clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
