"""The colours of faces with materials, in torch: the twin of the kernel that draws them without gradients.

Phong's reflection (1975) of the lights, with the material's base colour in place of the texel, then emission. sRGB
colours are multiplied and blended as they are, as PyTorch3D does. Double-sided faces are lit from the side that is
seen.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from tirender.engine.compositing import composite
from tirender.renderer.cameras import FoVOrthographicCameras, OrthographicCameras
from tirender.renderer.lighting import per_point, unit_vectors
from tirender.renderer.mesh.material import MAPS, Material
from tirender.renderer.mesh.material_table import MapTable, roughness_of
from tirender.renderer.mesh.textures_material import TexturesMaterial
from tirender.renderer.tone_mapping import decode_srgb
from tirender.structures.fragments import PackedFragments
from tirender.structures.meshes import Meshes

FAR_BEHIND = 1e6  # world units


class Looks(NamedTuple):
    """What materials say of M fragments.

    Attributes:
        base: (M, 3) colour.
        opacity: (M,): 1 for opaque materials, 0 or 1 for masked ones, else alpha.
        emission: (M, 3).
        occlusion: (M, 1), the part of the ambient light that arrives.
        phong: (M, 4), colour and exponent of highlights.
        metallic_roughness: (M, 2); without their map, where colours are not linear.
        double_sided, unlit: (M, 1) bool.
    """

    base: torch.Tensor
    opacity: torch.Tensor
    emission: torch.Tensor
    occlusion: torch.Tensor
    phong: torch.Tensor
    metallic_roughness: torch.Tensor
    double_sided: torch.Tensor
    unlit: torch.Tensor


class MaterialShading(NamedTuple):
    """How faces are shaded.

    Attributes:
        flat: light each face by its own normal.
        gouraud: shade the corners of faces and interpolate, after Gouraud (1971).
        mipmaps: pixels that are larger than texels show means of them.
    """

    flat: bool = False
    gouraud: bool = False
    mipmaps: bool = False


class SurfacePoints(NamedTuple):
    """Points (M, 3) in world space and unit normals (M, 3)."""

    points: torch.Tensor
    normals: torch.Tensor


def shade_materials(
    fragments: PackedFragments,
    meshes: Meshes,
    lights: Any,
    cameras: Any,
    background: torch.Tensor,
    mode: MaterialShading | None = None,
) -> torch.Tensor:
    """Light the fragments and blend them front to back.

    Args:
        fragments: of the meshes; all of them, where a material is transparent.
        meshes: N meshes with textures; others than ``TexturesMaterial`` give the base colour of a plain material.
        lights, cameras: one for all images, or N.
        background: (3,).
        mode: how faces are shaded; smoothly by default.
    Returns:
        (N, H, W, 4) RGBA; the background is behind what is transparent, and alpha says how much is covered.
        Differentiable in vertices, colours, lights and cameras.
    """
    mode = mode or MaterialShading()
    if mode.gouraud:
        faces, which = torch.unique(fragments.pix_to_face.long(), return_inverse=True)
        image = torch.zeros_like(faces).index_copy(0, which, fragments.image_index.long())
        eye = torch.eye(3, dtype=fragments.bary_coords.dtype, device=faces.device)
        corners = _Corners(faces.repeat_interleave(3), eye.repeat(len(faces), 1), image.repeat_interleave(3))
        shaded = _shaded(corners, meshes, lights, cameras, mode).view(-1, 3, 4).index_select(0, which)
        rgba = (fragments.bary_coords[:, :, None] * shaded).sum(1)
    else:
        rgba = _shaded(fragments, meshes, lights, cameras, mode)
    image = blend_in_order(rgba, fragments)
    rgb = image[:, :3] + (1 - image[:, 3:]) * background.to(image)
    return torch.cat([rgb, image[:, 3:]], 1).view(fragments.n_images, *fragments.image_size, 4)


def blend_in_order(rgba: torch.Tensor, fragments: PackedFragments) -> torch.Tensor:
    """(pixels, 4): colours and opacities (M, 4) of fragments blended front to back; colours multiplied by alpha."""
    index = torch.arange(len(rgba), dtype=torch.int32, device=rgba.device)
    features = torch.cat([rgba[:, :3], torch.ones_like(rgba[:, :1])], 1)
    return composite(fragments.offsets, index, rgba[:, 3].contiguous(), features, "alpha")


def _shaded(fragments: Any, meshes: Meshes, lights: Any, cameras: Any, mode: MaterialShading) -> torch.Tensor:
    """(M, 4): the lit colours of fragments, emission included, and their opacities."""
    slopes = fragments.bary_slopes() if mode.mipmaps and not mode.gouraud else None
    looks = looks_of(fragments, meshes, slopes)
    surface, eye = facing_points(fragments, meshes, cameras, looks, mode.flat, slopes)
    color = _lit(looks, surface, lights, eye, fragments.image_index) + looks.emission
    return torch.cat([color, looks.opacity.to(color.dtype)[:, None]], 1)


def facing_points(
    fragments: Any, meshes: Meshes, cameras: Any, looks: Looks, flat: bool = False, slopes: torch.Tensor | None = None
) -> tuple[SurfacePoints, torch.Tensor]:
    """As :func:`surface_points`, double-sided faces turned to the camera; and where it is, (1 or M, 3)."""
    surface = surface_points(fragments, meshes, flat, slopes)
    eye = eyes_of(cameras)
    eye = eye if len(eye) == 1 else eye.index_select(0, fragments.image_index)
    face_normals = _outward(meshes).index_select(0, fragments.pix_to_face.long())
    away = (face_normals * (eye - surface.points)).sum(1, keepdim=True) < 0
    return surface._replace(normals=torch.where(away & looks.double_sided, -surface.normals, surface.normals)), eye


class _Corners(NamedTuple):
    """Points at the corners of faces, as much of fragments as shading needs."""

    pix_to_face: torch.Tensor
    bary_coords: torch.Tensor
    image_index: torch.Tensor


def eyes_of(cameras: Any) -> torch.Tensor:
    """(N, 3): where cameras look from, in world space; far behind them where all their rays are parallel."""
    centres = cameras.get_camera_center()
    if isinstance(cameras, FoVOrthographicCameras | OrthographicCameras):
        return centres - FAR_BEHIND * cameras.R[:, :, 2]
    return centres


def looks_of(
    fragments: PackedFragments, meshes: Meshes, slopes: torch.Tensor | None = None, linear: bool = False
) -> Looks:
    """What the meshes' textures say of fragments.

    Args:
        fragments, meshes: M fragments of the meshes.
        slopes: (M, 3, 2) as for ``TexturesMaterial.sample``.
        linear: whether colours are wanted as linear light, and how metallic and rough the surface is; else in sRGB.
    """
    textures, faces, bary = meshes.textures, fragments.pix_to_face.long(), fragments.bary_coords
    if not isinstance(textures, TexturesMaterial):
        base = meshes.sample_textures(fragments)[:, :3]
        one = torch.ones_like(base[:, :1])
        plain = roughness_of(Material())
        return Looks(
            base=decode_srgb(base) if linear else base,
            opacity=one[:, 0],
            emission=torch.zeros_like(base),
            occlusion=one,
            phong=torch.cat([one, one, one, 64 * one], 1),
            metallic_roughness=torch.cat([0 * one, plain * one], 1),
            double_sided=one > 0,
            unlit=one < 0,
        )
    table = textures.maps(slopes is not None, linear)
    material = textures.packed().faces_material.index_select(0, faces)
    base = textures.base_color(faces, bary, slopes, table, linear)
    emission, _ = textures.sample("emission_map", faces, bary, slopes, table)
    shadow, has_shadow = textures.sample("occlusion_map", faces, bary, slopes, table)
    mode, cutoff, _, strength = table.settings.index_select(0, material).unbind(1)
    masked = torch.where(base[:, 3] >= cutoff, 1.0, 0.0)
    metallic_roughness = table.metallic_roughness.index_select(0, material)
    if linear:
        sampled, _ = textures.sample("metallic_roughness_map", faces, bary, slopes, table)
        metallic_roughness = metallic_roughness * sampled[:, [2, 1]]
    return Looks(
        base=base[:, :3],
        opacity=torch.where(mode == 2, base[:, 3].clamp(0, 1), torch.where(mode == 1, masked, 1.0)),
        emission=table.emission.index_select(0, material) * emission[:, :3],
        occlusion=torch.where(has_shadow, 1 + strength * (shadow[:, 0] - 1), 1.0)[:, None],
        phong=table.phong.index_select(0, material),
        metallic_roughness=metallic_roughness,
        double_sided=table.flags[material, :1],
        unlit=table.flags[material, 1:],
    )


def surface_points(
    fragments: PackedFragments, meshes: Meshes, flat: bool = False, slopes: torch.Tensor | None = None
) -> SurfacePoints:
    """Where the fragments lie, and the normals there, with normal maps; or those of the faces."""
    faces, bary = fragments.pix_to_face.long(), fragments.bary_coords
    points = _interpolate(meshes.verts_packed(), meshes.faces_packed(), faces, bary)
    if flat:
        return SurfacePoints(points, _outward(meshes).index_select(0, faces))
    normals = unit_vectors(_interpolate(*meshes.corner_normals_packed(), faces, bary))
    if isinstance(meshes.textures, TexturesMaterial):
        normals = _with_normal_map(normals, meshes, faces, bary, slopes)
    return SurfacePoints(points, normals)


def _outward(meshes: Meshes) -> torch.Tensor:
    """The normals (F, 3) of faces, on the side where those of their corners point, whichever way they are wound."""
    values, rows = meshes.corner_normals_packed()
    of_faces, of_corners = meshes.faces_normals_packed(), values.index_select(0, rows.flatten()).view(-1, 3, 3).sum(1)
    return torch.where((of_faces * of_corners).sum(1, keepdim=True) < 0, -of_faces, of_faces)


def tangents_of(meshes: Meshes, uvs: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """The direction in which u rises at each row of uvs, the mean over faces.

    Args:
        uvs: (T, 2).
        rows: (F, K, 3) int64, the rows of K sets at the faces' corners; -1 for none.
    Returns:
        (T + 1, 4): the direction, and 1 or -1: v rises along normal x direction times this. The last row is for -1.
    """
    n_sets = rows.shape[1]
    corners = meshes.verts_packed().index_select(0, meshes.faces_packed().flatten()).view(-1, 1, 3, 3)
    corners = corners.expand(-1, n_sets, 3, 3).flatten(0, 1)
    table = torch.cat([uvs, uvs.new_zeros(1, 2)])
    places = torch.where(rows < 0, len(uvs), rows).flatten()
    coords = table.index_select(0, places).view(-1, 3, 2)
    e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    d1, d2 = coords[:, 1] - coords[:, 0], coords[:, 2] - coords[:, 0]
    sign = (d1[:, 0] * d2[:, 1] - d1[:, 1] * d2[:, 0]).sign()[:, None]
    tangent = unit_vectors((e1 * d2[:, 1:] - e2 * d1[:, 1:]) * sign)
    of_face = torch.cat([tangent, sign], 1)
    sums = table.new_zeros(len(table), 4).index_add(0, places, of_face.repeat_interleave(3, 0))
    return torch.cat([unit_vectors(sums[:, :3]), torch.where(sums[:, 3:] < 0, -1.0, 1.0)], 1)


def _interpolate(values: torch.Tensor, rows: torch.Tensor, faces: torch.Tensor, bary: torch.Tensor) -> torch.Tensor:
    """(M, D): values (n, D) at the corners' rows (F, 3), at barycentric coordinates (M, 3) of faces (M,)."""
    corners = values.index_select(0, rows.index_select(0, faces).flatten()).view(-1, 3, values.shape[1])
    return (bary[:, :, None] * corners).sum(1)


def _with_normal_map(
    normals: torch.Tensor, meshes: Meshes, faces: torch.Tensor, bary: torch.Tensor, slopes: torch.Tensor | None
) -> torch.Tensor:
    """Unit normals (M, 3), bent where a material has a normal map."""
    textures: TexturesMaterial = meshes.textures
    if all(material.normal_map is None for material in textures.materials):
        return normals
    table, packed = textures.maps(slopes is not None), textures.packed()
    texel, has_map = textures.sample("normal_map", faces, bary, slopes, table)
    points, slot, out = has_map.nonzero()[:, 0], MAPS.index("normal_map"), normals
    material = packed.faces_material.index_select(0, faces)
    if not len(points):
        return normals
    tangents = tangents_of(meshes, packed.uvs, packed.faces_uvs)
    sets = table.uv_set[:, slot].index_select(0, material.index_select(0, points))
    for uv_set in sets.unique().tolist():
        here = points[sets == uv_set]
        of_points, normal = material.index_select(0, here), normals.index_select(0, here)
        rows = packed.faces_uvs[:, uv_set]
        tangent = _interpolate(tangents, rows, faces.index_select(0, here), bary.index_select(0, here))
        along_u = unit_vectors(tangent[:, :3] - normal * (normal * tangent[:, :3]).sum(1, keepdim=True))
        along_v = torch.linalg.cross(normal, along_u) * torch.where(tangent[:, 3:] < 0, -1.0, 1.0)
        x, y, z = (texel.index_select(0, here) * 2 - 1).split((1, 1, 1, 1), 1)[:3]
        turn = normal_map_turns(table).index_select(0, of_points)
        scale = table.settings[:, 2:3].index_select(0, of_points)
        u, v = (scale * (x * turn[:, i, :1] + y * turn[:, i, 1:]) for i in range(2))
        out = out.index_copy(0, here, unit_vectors(u * along_u + v * along_v + z * normal))
    return out


def normal_map_turns(table: MapTable) -> torch.Tensor:
    """(M + 1, 2, 2): the directions of normal maps' own coordinates, which may be turned against the mesh's."""
    turn = torch.linalg.pinv(table.transform[:, MAPS.index("normal_map"), :, :2])
    return turn / turn.norm(dim=1, keepdim=True).clamp(min=1e-12)


def _lit(
    looks: Looks, surface: SurfacePoints, lights: Any, eye: torch.Tensor, image_index: torch.Tensor
) -> torch.Tensor:
    """(M, 3): base colours under the lights; as they are where the material is unlit."""
    lights = lights.clone().gather_props(image_index)
    diffuse = lights.diffuse(normals=surface.normals, points=surface.points)
    specular = lights.specular(
        normals=surface.normals, points=surface.points, camera_position=eye, shininess=looks.phong[:, 3]
    )
    ambient = per_point("ambient_color", lights.ambient_color, surface.points) * looks.occlusion
    lit = (ambient + diffuse) * looks.base + looks.phong[:, :3] * specular
    return torch.where(looks.unlit, looks.base, lit)
