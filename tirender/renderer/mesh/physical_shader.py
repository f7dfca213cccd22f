"""The shader of metallic-roughness materials."""

from __future__ import annotations

from typing import Any

import torch

from tirender.checks import check_choice, check_integer, check_number, fail
from tirender.engine.kernels.lighting import AMBIENT, BACKGROUND, CAMERA, N_PARAMS
from tirender.engine.kernels.physical_shading import Curve, Limits, PhysicalInputs, PhysicalLighting
from tirender.engine.physical_shading import draw_physically, join_levels
from tirender.renderer import reflectance, tone_mapping
from tirender.renderer.blending import background_tensor
from tirender.renderer.mesh.fused_shading import SceneProperties
from tirender.renderer.mesh.material_shader import (
    material_inputs,
    packed_fragments,
    picture_wants_grad,
    tangents_for,
)
from tirender.renderer.mesh.material_shading import eyes_of
from tirender.renderer.mesh.physical_shading import Illumination, PhysicalMode, illumination_of, shade_physically
from tirender.renderer.mesh.shader import ShaderBase
from tirender.renderer.mesh.shadow_map import MOST_SOFTNESS, MOST_TEXELS, lamp_visibility
from tirender.renderer.mesh.textures_material import TexturesMaterial
from tirender.renderer.studio import studio_lights
from tirender.structures.fragments import Fragments, as_fragments
from tirender.structures.meshes import Meshes

LIMITS = Limits(
    dielectric=reflectance.DIELECTRIC,
    least_roughness=reflectance.LEAST_ROUGHNESS,
    least_cosine=reflectance.LEAST_COSINE,
    shift=reflectance.SHIFT[0],
    shift_grazing=reflectance.SHIFT[1],
    tiny=1e-12,
)
CURVE = Curve(
    slope=12.92,
    knee=0.0031308,
    scale=1.055,
    gamma=2.4,
    drop=0.055,
    toe=tone_mapping.TOE,
    toe_square=6.25,
    start=tone_mapping.START,
    desaturation=tone_mapping.DESATURATION,
)


class PBRShader(ShaderBase):
    """Faces with metallic-roughness materials under lamps and surroundings: glTF 2.0's model, in linear light.

    Colours are decoded from sRGB, multiplied, lit and blended, and then tone-mapped. Lambertian light comes from below
    facets that reflect after Trowbridge and Reitz (GGX); :mod:`tirender.renderer.reflectance` names the papers. A
    material that does not say how metallic and rough it is is a dielectric, and as rough as Phong's exponent says.
    Occlusion maps dim ambient light and surroundings. Transparent faces are blended by depth, so that the rasterizer
    must keep all faces of a pixel (``faces_per_pixel=None``) where ``textures.needs_all_fragments``.

    One kernel draws pictures that want no gradients; with gradients, the same mathematics runs in torch.

    Args:
        lights: one light, or a list: at most one :class:`EnvironmentLights`, any number of ``PointLights``,
            ``DirectionalLights`` and ``AmbientLights``, each with one element or N. A lamp's ``diffuse_color`` is the
            linear colour of a white Lambertian surface that faces it, at any distance, and may exceed 1;
            ``ambient_color`` is the same from everywhere; ``specular_color`` is not read. None: a studio.
        flat: light each face by its own normal, without normal maps.
        mipmaps: pixels that are larger than texels show means of them; see ``TexturesUV``.
        multiple_scattering: count light that is reflected more than once between facets (Fdez-Aguera 2019). Without
            it, rough metals are too dark.
        tone_mapping: "neutral" (Khronos's PBR Neutral), "srgb" (clamped) or "linear" (light as it is, without a bound,
            for fits and HDR pictures). The background is not tone-mapped.
        exposure: multiplies the light.
        shadows: lamps cast hard shadows, by a shadow map of this many texels a side; 0: none. Shadows have no
            gradients.
        shadow_softness: width of the edges of shadows, in texels of the map: the share of (2 n + 1)^2 texels that see
            the lamp. 0: hard.
        kwargs: ``device``, ``cameras``, ``blend_params``, ``antialias`` as for the other shaders.
    Raises:
        ValueError: an unknown tone mapping, or a number out of range.
    """

    def __init__(
        self,
        lights: Any = None,
        flat: bool = False,
        mipmaps: bool = False,
        multiple_scattering: bool = True,
        tone_mapping: str = "neutral",
        exposure: float = 1.0,
        shadows: int = 0,
        shadow_softness: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(lights=studio_lights(device=kwargs.get("device")) if lights is None else lights, **kwargs)
        self.flat, self.mipmaps, self.multiple_scattering = flat, mipmaps, multiple_scattering
        self.tone_mapping, self.exposure = tone_mapping, exposure
        self.shadows, self.shadow_softness = shadows, shadow_softness
        self._mode()

    def to(self, device: Any) -> PBRShader:  # type: ignore[override]
        """Moves cameras and lights."""
        lights: Any = self.lights
        if isinstance(lights, list | tuple):
            self.lights = None
            super().to(device)
            self.lights = [light.to(device) for light in lights]
        else:
            super().to(device)
        return self

    def forward(self, fragments: Fragments, meshes: Meshes, **kwargs: Any) -> torch.Tensor:
        """(N, H, W, 4) RGBA images.

        Differentiable in vertices, in numbers, maps and vertex colours of materials, and in lights and cameras.

        Args:
            fragments: of N images, from the rasterizer.
            meshes: the N meshes they show, with textures.
            kwargs: ``cameras``, ``lights``, ``blend_params`` for this call.
        Raises:
            ValueError: without cameras or textures, or for fragments made by hand or detached.
        """
        scene, fragments, mode = self._scene(meshes, kwargs), as_fragments(fragments), self._mode()
        packed = packed_fragments(fragments, meshes)
        light = illumination_of(scene.lights, len(meshes), meshes.verts_packed())
        visibility = None
        if self.shadows and light.are_places:
            visibility = lamp_visibility(packed, meshes, light, self.shadows, self.shadow_softness)
        rasterization = fragments.rasterization
        is_whole = rasterization is not None and rasterization.clipping is None
        if is_whole and type(meshes.textures) is TexturesMaterial and not _wants_grad(meshes, light, scene):
            images = _draw(fragments, meshes, light, scene, mode, visibility)
        else:
            background = background_tensor(scene.blend_params, meshes.verts_packed())
            images = shade_physically(packed, meshes, light, scene.cameras, background, mode, visibility)
        return self._finish(images, fragments)

    def _mode(self) -> PhysicalMode:
        check_choice("tone_mapping", self.tone_mapping, tone_mapping.TONE_MAPPINGS)
        if check_number("exposure", self.exposure) < 0:
            fail("exposure", "a number of at least 0", self.exposure)
        for name, most in (("shadows", MOST_TEXELS), ("shadow_softness", MOST_SOFTNESS)):
            if check_integer(name, getattr(self, name), 0) > most:
                fail(name, f"an integer of at most {most}", getattr(self, name))
        return PhysicalMode(self.flat, self.mipmaps, self.multiple_scattering, self.tone_mapping, float(self.exposure))


def _wants_grad(meshes: Meshes, light: Illumination, scene: SceneProperties) -> bool:
    """Whether anything that the picture is made of wants a gradient."""
    leaves: list[Any] = [light.vectors, light.colors, light.ambient, scene.blend_params.background_color]
    leaves += scene.cameras._attributes().values()
    if light.surroundings is not None:
        leaves += [light.surroundings.radiance, light.surroundings.intensity, light.surroundings.rotation]
    return picture_wants_grad(meshes, leaves)


@torch.no_grad()
def _draw(
    fragments: Fragments,
    meshes: Meshes,
    light: Illumination,
    scene: SceneProperties,
    mode: PhysicalMode,
    visibility: torch.Tensor | None,
) -> torch.Tensor:
    """The images, by the kernel."""
    rasterization, verts, n = fragments.rasterization, meshes.verts_packed(), len(meshes)
    assert rasterization is not None
    textures: TexturesMaterial = meshes.textures
    params = verts.new_zeros(n, N_PARAMS)
    params[:, AMBIENT : AMBIENT + 3] = light.ambient
    params[:, CAMERA : CAMERA + 3] = eyes_of(scene.cameras)
    params[:, BACKGROUND : BACKGROUND + 3] = background_tensor(scene.blend_params, verts)
    inputs = material_inputs(rasterization, meshes, textures.maps(mode.mipmaps, linear=True), params, linear=True)
    lamp_kind = verts.new_tensor(light.are_places).view(1, -1, 1).expand(n, -1, 1)
    tangents = tangents_for(meshes, inputs)
    if light.surroundings is None:
        levels, texels = join_levels([verts.new_zeros(1, 6, 1, 1, 3)] * 2)
        turn = torch.eye(3).to(verts)
    else:
        levels, texels = light.surroundings.maps().joined
        turn = light.surroundings.rotation.T
    physical = PhysicalInputs(
        tangents=verts.new_zeros(0, 4) if tangents is None else tangents,
        lamps=torch.cat([light.vectors, lamp_kind, light.colors], 2).flatten(0, 1),
        visibility=verts.new_zeros(0, 0) if visibility is None else visibility,
        albedo=reflectance.albedo_table().to(verts),
        levels=levels,
        texels=texels,
        turns=turn.reshape(1, 9).expand(n, 9),
    )
    lighting = PhysicalLighting(
        flat=mode.flat,
        n_sets=inputs.uv_rows.shape[1] // 3,
        mipmapped=mode.mipmaps,
        n_lamps=len(light.are_places),
        compensated=mode.compensated,
        tones=tone_mapping.TONE_MAPPINGS.index(mode.tone_mapping),
        exposure=mode.exposure,
    )
    return draw_physically(rasterization.mode, lighting, (LIMITS, CURVE), inputs, physical)
