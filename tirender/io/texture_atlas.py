"""Per-face texture atlases from images and material colours."""

from __future__ import annotations

import torch
from torch.nn.functional import grid_sample

from tirender.checks import fail
from tirender.io.mtl_io import Materials


def make_mesh_texture_atlas(
    materials: Materials,
    materials_idx: torch.Tensor,
    faces_uvs: torch.Tensor,
    verts_uvs: torch.Tensor | None,
    texture_size: int,
    texture_wrap: str | None,
) -> torch.Tensor:
    """Sample a small square of texels for each face, laid out as ``TexturesAtlas`` reads it.

    Args:
        materials: their diffuse colours and images.
        materials_idx: (F,) int64 into ``materials.names``; faces of no or an unknown material are white.
        faces_uvs: (F, 3) int64 into ``verts_uvs``; faces with a -1 keep their material's colour.
        verts_uvs: (T, 2) texture coordinates, v pointing up, or None.
        texture_size: texels a side, R >= 1.
        texture_wrap: coordinates outside [0, 1]: "repeat", "clamp" or None (each sample, not each corner, is wrapped).
    Returns:
        (F, R, R, 3) float32, bilinear samples (``align_corners=True``) at the centres of the R * R small triangles that
        a face is divided into.
    """
    if texture_size < 1:
        fail("texture_atlas_size", "at least 1", texture_size)
    device = faces_uvs.device
    atlas = torch.ones(len(faces_uvs), texture_size, texture_size, 3, device=device)
    faces_of = _faces_of(materials_idx, len(materials.names))
    for name, faces in zip(materials.names, faces_of):
        if "diffuse_color" in materials.colors.get(name, {}):
            atlas[faces] = materials.colors[name]["diffuse_color"].to(atlas)
    if verts_uvs is None:
        return atlas
    bary = _texel_barycentrics(texture_size).to(device)
    has_uvs = (faces_uvs >= 0).all(dim=1)
    images = materials.images()
    for name, faces in zip(materials.names, faces_of):
        chosen = faces[has_uvs[faces]] if name in images else faces[:0]
        if not len(chosen):
            continue
        uvs = torch.einsum("yxk,fkc->fyxc", bary, verts_uvs[faces_uvs[chosen]])
        layout = materials.records[name].base_map
        if layout is not None and layout.transform is not None:
            transform = uvs.new_tensor(layout.transform)
            uvs = uvs @ transform[:, :2].T + transform[:, 2]
        if texture_wrap == "repeat":
            uvs = torch.where((uvs < 0) | (uvs > 1), uvs - uvs.floor(), uvs)
        grid = torch.stack([uvs[..., 0], 1.0 - uvs[..., 1]], dim=-1) * 2.0 - 1.0
        flat = grid.reshape(1, -1, texture_size, 2)
        image = images[name].to(atlas).permute(2, 0, 1)[None]
        texels = grid_sample(image, flat, mode="bilinear", padding_mode="border", align_corners=True)
        atlas[chosen] = texels[0].permute(1, 2, 0).reshape(-1, texture_size, texture_size, 3)
    return atlas


def _texel_barycentrics(size: int) -> torch.Tensor:
    """Return the (R, R, 3) barycentric coordinates of the texels.

    Texel (x, y) with x + y < R is the small triangle whose right angle is at (x, y) / R; the others are the opposite
    halves of the cells, (R - 1 - x, R - 1 - y).
    """
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    lower = x + y < size
    w0 = torch.where(lower, x + 1.0 / 3.0, size - 1 - x + 2.0 / 3.0) / size
    w1 = torch.where(lower, y + 1.0 / 3.0, size - 1 - y + 2.0 / 3.0) / size
    return torch.stack([w0, w1, 1.0 - w0 - w1], dim=-1)


def _faces_of(materials_idx: torch.Tensor, n: int) -> tuple[torch.Tensor, ...]:
    """The faces of each of n materials, ascending."""
    order = torch.sort(materials_idx, stable=True).indices
    counts = torch.bincount(materials_idx + 1, minlength=n + 1).tolist()  # first those of none, -1
    return order.split(counts)[1:]
