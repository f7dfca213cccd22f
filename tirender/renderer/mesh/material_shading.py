"""The colours of faces with materials, in torch: the twin of the kernel that draws them without gradients.

Phong's reflection (1975) of the lights, with the material's base colour in place of the texel, then emission. sRGB
colours are multiplied and blended as they are, as PyTorch3D does. Double-sided faces are lit from the side that is
seen.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from tirender.engine.compositing import composite
from tirender.renderer.lighting import per_point, unit_vectors
from tirender.renderer.mesh.textures_material import SLOTS, MapTable, TexturesMaterial
from tirender.structures.fragments import PackedFragments
from tirender.structures.meshes import Meshes

MASK, BLEND = 1, 2  # alpha modes


class SurfacePoints(NamedTuple):
    """Points (M, 3) in world space, unit normals (M, 3) that look to the camera's side where the face is double-sided,
    and the material of each (M,)."""

    points: torch.Tensor
    normals: torch.Tensor
    material: torch.Tensor


def shade_materials(
    fragments: PackedFragments, meshes: Meshes, lights: Any, cameras: Any, background: torch.Tensor
) -> torch.Tensor:
    """Light the fragments and blend them front to back.

    Args:
        fragments: of the meshes; all of them, where a material is transparent.
        meshes: N meshes with ``TexturesMaterial``.
        lights, cameras: one for all images, or N.
        background: (3,).
    Returns:
        (N, H, W, 4) RGBA; the background is behind what is transparent, and alpha says how much is covered.
        Differentiable in vertices, colours, lights and cameras.
    """
    textures: TexturesMaterial = meshes.textures
    table, faces = textures.maps(), fragments.pix_to_face.long()
    surface = surface_points(fragments, meshes, cameras)
    base = textures.base_color(faces, fragments.bary_coords)
    emission, _ = textures.sample("emission_map", faces, fragments.bary_coords)
    color = _lit(surface, base[:, :3], _occlusion(textures, fragments), table, lights, cameras, fragments.image_index)
    color = color + table.emission[surface.material] * emission[:, :3]
    alpha = opacity(base[:, 3], table, surface.material)
    index = torch.arange(len(faces), dtype=torch.int32, device=color.device)
    features = torch.cat([color, torch.ones_like(color[:, :1])], 1)
    image = composite(fragments.offsets, index, alpha, features, "alpha")
    rgb = image[:, :3] + (1 - image[:, 3:]) * background.to(image)
    return torch.cat([rgb, image[:, 3:]], 1).view(fragments.n_images, *fragments.image_size, 4)


def opacity(alpha: torch.Tensor, table: MapTable, material: torch.Tensor) -> torch.Tensor:
    """(M,): 1 for opaque materials, 0 or 1 for masked ones, else alpha."""
    mode, cutoff = table.settings[material, 0], table.settings[material, 1]
    masked = (alpha >= cutoff).to(alpha.dtype)
    return torch.where(mode == BLEND, alpha.clamp(0, 1), torch.where(mode == MASK, masked, 1.0))


def surface_points(fragments: PackedFragments, meshes: Meshes, cameras: Any) -> SurfacePoints:
    """Where the fragments lie, and the normals there, with normal maps."""
    textures: TexturesMaterial = meshes.textures
    table, packed = textures.maps(), textures.packed()
    faces, bary = fragments.pix_to_face.long(), fragments.bary_coords
    material = packed.faces_material.index_select(0, faces)
    points = interpolate(meshes.verts_packed(), meshes.faces_packed(), faces, bary)
    normals, rows = meshes.corner_normals_packed()
    smooth = unit_vectors(interpolate(normals, rows, faces, bary))
    eye = cameras.get_camera_center()
    eye = eye if len(eye) == 1 else eye.index_select(0, fragments.image_index)
    mapped = _with_normal_map(smooth, textures, meshes, faces, bary, material)
    away = (meshes.faces_normals_packed().index_select(0, faces) * (eye - points)).sum(1, keepdim=True) < 0
    turned = away & table.flags[material, :1]
    return SurfacePoints(points, torch.where(turned, -mapped, mapped), material)


def interpolate(values: torch.Tensor, rows: torch.Tensor, faces: torch.Tensor, bary: torch.Tensor) -> torch.Tensor:
    """(M, D): values (n, D) at the corners' rows (F, 3), at barycentric coordinates (M, 3) of faces (M,)."""
    corners = values.index_select(0, rows.index_select(0, faces).flatten()).view(-1, 3, values.shape[1])
    return (bary[:, :, None] * corners).sum(1)


def tangents_of(meshes: Meshes, uvs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """(T + 1, 4): the direction in which u rises at each row of uvs (T, 2), the mean over faces, with the sign of the
    direction in which v rises beside normal x tangent; 0 at the row after the last, and where u does not rise.

    Args:
        rows: (F, 3) int64, the rows of the faces' corners; -1 for none.
    """
    corners = meshes.verts_packed().index_select(0, meshes.faces_packed().flatten()).view(-1, 3, 3)
    table = torch.cat([uvs, uvs.new_zeros(1, 2)])
    places = torch.where(rows < 0, len(uvs), rows)
    coords = table.index_select(0, places.flatten()).view(-1, 3, 2)
    e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    d1, d2 = coords[:, 1] - coords[:, 0], coords[:, 2] - coords[:, 0]
    area = d1[:, 0] * d2[:, 1] - d1[:, 1] * d2[:, 0]
    sign = area.sign()
    tangent = unit_vectors((e1 * d2[:, 1:] - e2 * d1[:, 1:]) * sign[:, None])
    of_face = torch.cat([tangent, sign[:, None]], 1)
    sums = table.new_zeros(len(table), 4).index_add(0, places.flatten(), of_face.repeat_interleave(3, 0))
    sums[-1] = 0
    return torch.cat([unit_vectors(sums[:, :3]), torch.where(sums[:, 3:] < 0, -1.0, 1.0)], 1)


def _with_normal_map(
    normals: torch.Tensor,
    textures: TexturesMaterial,
    meshes: Meshes,
    faces: torch.Tensor,
    bary: torch.Tensor,
    material: torch.Tensor,
) -> torch.Tensor:
    texel, has_map = textures.sample("normal_map", faces, bary)
    points = has_map.nonzero()[:, 0]
    if not len(points):
        return normals
    table, packed, out = textures.maps(), textures.packed(), normals
    channel = SLOTS.index("normal_map")
    sets = table.uv_set[material[points], channel]
    for uv_set in sets.unique().tolist():
        here = points[sets == uv_set]
        of_points, normal = material[here], normals[here]
        rows = packed.faces_uvs[:, uv_set]
        tangent = interpolate(tangents_of(meshes, packed.uvs, rows), rows, faces[here], bary[here])
        along_u = unit_vectors(tangent[:, :3] - normal * (normal * tangent[:, :3]).sum(1, keepdim=True))
        along_v = torch.linalg.cross(normal, along_u) * torch.where(tangent[:, 3:] < 0, -1.0, 1.0)
        x, y, z = (texel[here, i : i + 1] * 2 - 1 for i in range(3))
        # the map's own directions, where its coordinates are turned
        turn = torch.linalg.pinv(table.transform[of_points, channel, :, :2])
        turn = turn / turn.norm(dim=1, keepdim=True).clamp(min=1e-12)
        scale = table.settings[of_points, 2:3]
        u, v = (scale * (x * turn[:, i, :1] + y * turn[:, i, 1:]) for i in range(2))
        out = out.index_copy(0, here, unit_vectors(u * along_u + v * along_v + z * normal))
    return out


def _occlusion(textures: TexturesMaterial, fragments: PackedFragments) -> torch.Tensor:
    """(M, 1): the part of the ambient light that arrives."""
    faces = fragments.pix_to_face.long()
    texel, has_map = textures.sample("occlusion_map", faces, fragments.bary_coords)
    strength = textures.maps().settings[textures.packed().faces_material[faces], 3]
    return torch.where(has_map, 1 + strength * (texel[:, 0] - 1), 1.0)[:, None]


def _lit(
    surface: SurfacePoints,
    base: torch.Tensor,
    occlusion: torch.Tensor,
    table: MapTable,
    lights: Any,
    cameras: Any,
    image_index: torch.Tensor,
) -> torch.Tensor:
    """(M, 3): base colours under the lights; as they are where the material is unlit."""
    lights = lights.clone().gather_props(image_index)
    eye = cameras.get_camera_center()
    eye = eye if len(eye) == 1 else eye.index_select(0, image_index)
    phong = table.phong[surface.material]
    diffuse = lights.diffuse(normals=surface.normals, points=surface.points)
    specular = lights.specular(
        normals=surface.normals, points=surface.points, camera_position=eye, shininess=phong[:, 3]
    )
    ambient = per_point("ambient_color", lights.ambient_color, surface.points) * occlusion
    lit = (ambient + diffuse) * base + phong[:, :3] * specular
    return torch.where(table.flags[surface.material, 1:], base, lit)
