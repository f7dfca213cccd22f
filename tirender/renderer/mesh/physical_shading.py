"""The colours of faces with metallic-roughness materials, in torch: the twin of the kernel that draws them, with
gradients in all maps and numbers of materials, in lights and in geometry.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from tirender.checks import fail
from tirender.renderer.environment import EnvironmentLights
from tirender.renderer.lighting import AmbientLights, DirectionalLights, PointLights, as_rows, unit_vectors
from tirender.renderer.mesh.material_shading import blend_in_order, facing_points, looks_of
from tirender.renderer.reflectance import Facets, albedos_of, mirrored_view, reflect_lamp, reflect_surroundings
from tirender.renderer.tone_mapping import tone_map
from tirender.structures.fragments import PackedFragments
from tirender.structures.meshes import Meshes
from tirender.transforms.math import matmul


class Illumination(NamedTuple):
    """The light of N pictures.

    Attributes:
        surroundings: at most one.
        vectors: (N, L, 3), where L lamps are, or in which direction.
        are_places: whether each is a place.
        colors: (N, L, 3), of a white Lambertian surface that faces the lamp.
        ambient: (N, 3), light that is the same from everywhere.
    """

    surroundings: EnvironmentLights | None
    vectors: torch.Tensor
    are_places: tuple[bool, ...]
    colors: torch.Tensor
    ambient: torch.Tensor


class PhysicalMode(NamedTuple):
    """How faces are shaded.

    Attributes:
        flat: light each face by its own normal.
        mipmaps: pixels that are larger than texels show means of them.
        compensated: light that is reflected more than once between facets counts.
        tone_mapping: see :func:`~tirender.renderer.tone_mapping.tone_map`.
        exposure: multiplies the light before that.
    """

    flat: bool = False
    mipmaps: bool = False
    compensated: bool = True
    tone_mapping: str = "neutral"
    exposure: float = 1.0


def illumination_of(lights: Any, n_images: int, like: torch.Tensor) -> Illumination:
    """The light of several lights, as shading reads it; differentiable.

    Args:
        lights: one, or a sequence.
        n_images: N; each light has 1 or N elements.
        like: a tensor of the dtype and device that are wanted.
    Raises:
        ValueError: a light of another kind, more than one environment, or another number of elements.
    """
    surroundings = None
    vectors: list[torch.Tensor] = []
    colors: list[torch.Tensor] = []
    are_places: list[bool] = []
    ambient = like.new_zeros(n_images, 3)

    def rows(name: str, value: torch.Tensor) -> torch.Tensor:
        value = as_rows(value).to(like)
        if value.dim() != 2 or value.shape[1] != 3 or len(value) not in (1, n_images):
            fail(f"lights.{name}", f"1 or {n_images} rows of 3 numbers", f"shape {tuple(value.shape)}")
        return value.expand(n_images, 3)

    for light in lights if isinstance(lights, list | tuple) else (lights,):
        if isinstance(light, EnvironmentLights):
            if surroundings is not None:
                fail("lights", "at most one EnvironmentLights", "two")
            surroundings = light
        elif isinstance(light, PointLights | DirectionalLights | AmbientLights):
            ambient = ambient + rows("ambient_color", light.ambient_color)
            if not isinstance(light, AmbientLights):
                is_place = isinstance(light, PointLights)
                name = "location" if is_place else "direction"
                vectors.append(rows(name, getattr(light, name)))
                colors.append(rows("diffuse_color", light.diffuse_color))
                are_places.append(is_place)
        else:
            kinds = "EnvironmentLights, PointLights, DirectionalLights or AmbientLights"
            fail("lights", f"{kinds}, or a list of them", type(light).__name__)
    joined = (torch.stack(parts, 1) if parts else like.new_zeros(n_images, 0, 3) for parts in (vectors, colors))
    places, tints = joined
    return Illumination(surroundings, places, tuple(are_places), tints, ambient)


def shade_physically(
    fragments: PackedFragments,
    meshes: Meshes,
    light: Illumination,
    cameras: Any,
    background: torch.Tensor,
    mode: PhysicalMode,
    visibility: torch.Tensor | None = None,
) -> torch.Tensor:
    """Light the fragments, blend them front to back, and map tones.

    Args:
        fragments: of the meshes; all of them, where a material is transparent.
        meshes: N meshes with textures; others than ``TexturesMaterial`` give the base colour of a plain material.
        light: of the N pictures.
        cameras: one for all images, or N.
        background: (3,), as it is to be seen.
        mode: how faces are shaded.
        visibility: (M, L), the part of each lamp's light that reaches each fragment; None: all.
    Returns:
        (N, H, W, 4) RGBA; the background is behind what is transparent, and alpha says how much is covered.
    """
    slopes = fragments.bary_slopes() if mode.mipmaps else None
    looks = looks_of(fragments, meshes, slopes, linear=True)
    surface, eye = facing_points(fragments, meshes, cameras, looks, mode.flat, slopes)
    view = unit_vectors(eye - surface.points)
    metallic, roughness = looks.metallic_roughness.clamp(0, 1).split(1, dim=1)
    facets = Facets(looks.base, metallic, roughness, surface.normals, view)
    image_index = fragments.image_index.long()
    lit = _lit(facets, surface.points, looks.occlusion, light, image_index, mode.compensated, visibility)
    color = torch.where(looks.unlit, looks.base, lit) + looks.emission
    rgba = torch.cat([color, looks.opacity.to(color.dtype)[:, None]], 1)
    image = blend_in_order(rgba, fragments)
    alpha = image[:, 3:]
    mapped = alpha * tone_map(image[:, :3] * (mode.exposure / torch.where(alpha > 0, alpha, 1)), mode.tone_mapping)
    rgb = torch.where(alpha > 0, mapped, 0) + (1 - alpha) * background.to(image)
    return torch.cat([rgb, alpha], 1).view(fragments.n_images, *fragments.image_size, 4)


def _lit(
    facets: Facets,
    points: torch.Tensor,
    occlusion: torch.Tensor,
    light: Illumination,
    image_index: torch.Tensor,
    compensated: bool,
    visibility: torch.Tensor | None,
) -> torch.Tensor:
    """(M, 3): the light that M points reflect."""
    albedos = albedos_of(facets, compensated)
    ambient = light.ambient.index_select(0, image_index)
    mirrored = scattered = ambient
    if light.surroundings is not None:
        maps, turn = light.surroundings.maps(), light.surroundings.rotation.to(facets.base).T
        mirrored = mirrored + maps.mirrored(matmul(mirrored_view(facets), turn), facets.roughness)
        scattered = scattered + maps.scattered(matmul(facets.normal, turn))
    out = reflect_surroundings(albedos, mirrored, scattered, occlusion)
    for i, is_place in enumerate(light.are_places):
        vector, color = (t[:, i].index_select(0, image_index) for t in (light.vectors, light.colors))
        if visibility is not None:
            color = color * visibility[:, i : i + 1]
        out = out + reflect_lamp(facets, albedos, unit_vectors(vector - points if is_place else vector), color)
    return out
