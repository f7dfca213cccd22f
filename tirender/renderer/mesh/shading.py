"""Shading: the colour of each fragment, from its texel, its normal, the lights and the material.

Dense ``Fragments`` with texels (N, H, W, K, C) give colours of that shape, ``PackedFragments`` with texels (M, C) give
(M, C). Lights, materials and cameras hold one value for all images or one an image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from tirender.checks import check_broadcast, check_kind, fail
from tirender.ops.interp_face_attrs import evaluate_filled, interpolate_face_attributes
from tirender.renderer.cameras import CamerasBase
from tirender.renderer.lighting import per_point
from tirender.renderer.mesh.textures import TexturesVertex
from tirender.structures.fragments import Fragments, PackedFragments
from tirender.structures.meshes import Meshes

if TYPE_CHECKING:
    from tirender.renderer.lighting import AmbientLights, DirectionalLights, PointLights
    from tirender.renderer.materials import Materials

    Lights = PointLights | DirectionalLights | AmbientLights


def phong_shading(
    meshes: Meshes,
    fragments: Fragments | PackedFragments,
    lights: Lights,
    cameras: CamerasBase,
    materials: Materials,
    texels: torch.Tensor,
) -> torch.Tensor:
    """Light each fragment at its own point, with the vertex normals interpolated (Phong 1975).

    Args:
        meshes: N meshes, one an image.
        fragments: where they are visible; dense or packed.
        lights, cameras, materials: one for all images, or N.
        texels: (N, H, W, K, C) or (M, C), the unlit colours (``meshes.sample_textures(fragments)``).
    Returns:
        Like ``texels``: (ambient + diffuse) x texel + specular; differentiable in the vertices through coordinates and
        normals, and in texels, lights, materials and cameras. Empty slots have the light's value at point 0.
    """
    return _phong_shading_with_pixels(meshes, fragments, lights, cameras, materials, texels)[0]


def _phong_shading_with_pixels(
    meshes: Meshes,
    fragments: Fragments | PackedFragments,
    lights: Lights,
    cameras: CamerasBase,
    materials: Materials,
    texels: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The colours of :func:`phong_shading`, and the fragments' points in world space (N, H, W, K, 3) or (M, 3)."""
    check_kind("meshes", meshes, Meshes)
    check_kind("cameras", cameras, CamerasBase)
    corner_normals, rows = meshes.corner_normals_packed()
    parts = ((meshes.verts_packed(), meshes.faces_packed()), (corner_normals, rows))
    attributes = torch.cat([v.index_select(0, f.reshape(-1)).view(-1, 3, 3) for v, f in parts], dim=2)
    pixels = interpolate_face_attributes(fragments.pix_to_face, fragments.bary_coords, attributes)
    points, normals = pixels[..., :3], pixels[..., 3:]
    light = _lighting(points, normals, lights, cameras, materials, _image_index(fragments))
    return _reflected(light, texels), points


def flat_shading(
    meshes: Meshes,
    fragments: Fragments | PackedFragments,
    lights: Lights,
    cameras: CamerasBase,
    materials: Materials,
    texels: torch.Tensor,
) -> torch.Tensor:
    """Light each face once, at its centroid with its own normal; arguments and result as :func:`phong_shading`."""
    check_kind("meshes", meshes, Meshes)
    check_kind("cameras", cameras, CamerasBase)
    corners = meshes.faces_packed().reshape(-1)
    centroids = meshes.verts_packed().index_select(0, corners).view(-1, 3, 3).mean(1)
    faces = torch.cat((centroids, meshes.faces_normals_packed()), dim=1)
    pixels = evaluate_filled(fragments.pix_to_face, lambda slots, face: faces.index_select(0, face))
    points, normals = pixels[..., :3], pixels[..., 3:]
    return _reflected(_lighting(points, normals, lights, cameras, materials, _image_index(fragments)), texels)


def gouraud_shading(
    meshes: Meshes,
    fragments: Fragments | PackedFragments,
    lights: Lights,
    cameras: CamerasBase,
    materials: Materials,
) -> torch.Tensor:
    """Light each vertex, and interpolate the colours (Gouraud 1971).

    Args:
        meshes: N meshes with ``TexturesVertex``, one an image.
        fragments: where they are visible; dense or packed.
        lights, cameras, materials: one for all meshes, or N.
    Returns:
        (N, H, W, K, C) or (M, C), 0 in empty slots; differentiable as :func:`phong_shading` is.
    Raises:
        ValueError: where the textures are not ``TexturesVertex``.
    """
    check_kind("meshes", meshes, Meshes)
    check_kind("cameras", cameras, CamerasBase)
    colors = lit_vertex_colors(meshes, lights, cameras, materials)
    face_colors = colors.index_select(0, meshes.faces_packed().reshape(-1)).view(-1, 3, colors.shape[1])
    return interpolate_face_attributes(fragments.pix_to_face, fragments.bary_coords, face_colors)


def lit_vertex_colors(meshes: Meshes, lights: Lights, cameras: CamerasBase, materials: Materials) -> torch.Tensor:
    """The colours that :func:`gouraud_shading` interpolates: (V, C) for the packed vertices.

    Raises:
        ValueError: where the textures are not ``TexturesVertex``.
    """
    if not isinstance(meshes.textures, TexturesVertex):
        fail("meshes.textures", "TexturesVertex", type(meshes.textures).__name__)
    image_index = meshes.verts_packed_to_mesh_idx() if len(meshes) > 1 else None  # not all lights can be gathered
    points, normals = meshes.verts_packed(), meshes.verts_normals_packed()
    light = _lighting(points, normals, lights, cameras, materials, image_index)
    return _reflected(light, meshes.textures.verts_features_packed())


def _lighting(
    points: torch.Tensor,
    normals: torch.Tensor,
    lights: Any,
    cameras: Any,
    materials: Any,
    image_index: torch.Tensor | None,
) -> tuple[torch.Tensor, ...]:
    """Ambient, diffuse and specular light, each to be broadcast with ``points``.

    ``points`` are (N, ..., 3) for N images, or (M, 3) with ``image_index`` (M,), the image that each belongs to.
    """
    camera_position = cameras.get_camera_center()
    if image_index is not None:
        lights = lights.clone().gather_props(image_index)
        materials = materials.clone().gather_props(image_index)
        if len(camera_position) > 1:
            camera_position = camera_position.index_select(0, image_index)
    light = {
        "ambient_color": lights.ambient_color,
        "diffuse_color": lights.diffuse(normals=normals, points=points),
        "specular_color": lights.specular(
            normals=normals, points=points, camera_position=camera_position, shininess=materials.shininess
        ),
    }
    reflected = []
    for name, arriving in light.items():
        arriving, color = (per_point(name, value, points) for value in (arriving, getattr(materials, name)))
        check_broadcast(f"materials.{name}", color, arriving)
        reflected.append(color * arriving)
    return tuple(reflected)


def _reflected(light: tuple[torch.Tensor, ...], texels: torch.Tensor) -> torch.Tensor:
    """The colour of surfaces with these unlit colours (..., C)."""
    ambient, diffuse, specular = light
    check_broadcast("texels", texels, ambient + diffuse)
    return (ambient + diffuse) * texels + specular


def _image_index(fragments: Fragments | PackedFragments) -> torch.Tensor | None:
    return fragments.image_index if isinstance(fragments, PackedFragments) else None
