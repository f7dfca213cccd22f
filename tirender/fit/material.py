"""Fits of the material of a known shape, and of the light around it, to images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from tirender.checks import check_integer, fail
from tirender.fit.loop import fit
from tirender.fit.run import Callback, FitConfig, FitRun
from tirender.fit.views import Views, choose_views
from tirender.renderer import (
    AmbientLights,
    BlendParams,
    EnvironmentLights,
    FoVPerspectiveCameras,
    Material,
    MeshRasterizer,
    MeshRenderer,
    PBRShader,
    RasterizationSettings,
    TextureMap,
    TexturesMaterial,
    look_at_view_transform,
    studio_lights,
)
from tirender.renderer.environment import check_side
from tirender.renderer.mesh.as_material import as_material
from tirender.structures import Meshes

FIRST_LIGHT = 0.8  # of the surroundings, before the first step
FIRST_METALLIC, FIRST_ROUGHNESS = 0.1, 0.5
DARKEST = 1e-3  # light that counts as none where colours of light are compared


@dataclass(frozen=True)
class MaterialConfig(FitConfig):
    """Settings of :func:`fit_material`.

    Attributes:
        steps, seed, progress, smoothing: see :class:`FitConfig`.
        lr: learning rate of Adam, of base colours.
        lr_light: that of metallic, roughness and the surroundings.
        decay: ratio of the last learning rate to the first; it decays exponentially over the steps.
        views_per_step: views drawn at random for each step, each at most once.
        texture_size: side of the map of base colours, where the mesh has texture coordinates; else it has a colour at
            each vertex.
        surface_size: side of the map of metallic and roughness; 1 is one number of each for the whole surface.
        environment_size: side of the cube map of the surroundings, a power of 2 from 4 to 1024.
        w_rgb: weight of the squared difference of colours.
        w_grey: weight of the saturation of the surroundings, relative to their light. Without it, a red surface may be
            a white one in red light.
        w_smooth: weight of the differences between neighbouring texels of metallic and roughness.
        w_even: weight of the differences between neighbouring texels of the surroundings, as logarithms.
    """

    steps: int = 600
    lr: float = 0.03
    lr_light: float = 0.1
    decay: float = 0.1
    views_per_step: int = 2
    texture_size: int = 256
    surface_size: int = 1
    environment_size: int = 16
    w_rgb: float = 1.0
    w_grey: float = 0.003
    w_smooth: float = 0.02
    w_even: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("views_per_step", "texture_size", "surface_size"):
            check_integer(name, getattr(self, name), 1)
        check_side("environment_size", self.environment_size)
        if not 0 < self.decay <= 1:
            fail("decay", "a number in (0, 1]", self.decay)

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each loss, by its name."""
        return {name.removeprefix("w_"): value for name, value in vars(self).items() if name.startswith("w_")}


BEST_MATERIAL = MaterialConfig(steps=2000, environment_size=32, texture_size=512)


GEOMETRY = ("verts", "faces", "normals", "normal_rows", "uvs", "uv_rows")  # the known part of a model


class MaterialModel(nn.Module):
    """A mesh whose material, and the surroundings that light it, are fitted; ``forward()`` returns the mesh.

    Maps are sums of maps, each with a quarter of the side of the one before: coarse ones learn first, and reach texels
    that no pixel sees.

    Args:
        mesh: one mesh; its first set of texture coordinates is used.
        config: the sizes of maps.
    Raises:
        ValueError: more than one mesh, or one without faces.
    """

    verts: torch.Tensor
    faces: torch.Tensor
    normals: torch.Tensor
    normal_rows: torch.Tensor
    uvs: torch.Tensor
    uv_rows: torch.Tensor

    def __init__(self, mesh: Meshes, config: MaterialConfig) -> None:
        super().__init__()
        if len(mesh) != 1 or mesh.isempty():
            fail("mesh", "one mesh with faces", f"{len(mesh)} of {len(mesh.faces_packed())} faces")
        normals, normal_rows = mesh.corner_normals_packed()
        uvs, uv_rows = _texture_coordinates(mesh)
        parts = mesh.verts_packed(), mesh.faces_packed(), normals, normal_rows.long(), uvs, uv_rows
        for name, value in zip(GEOMETRY, parts):
            self.register_buffer(name, value.detach().clone())
        device = mesh.device
        self.base = nn.ParameterList()
        self.surface = _pyramid(2, config.surface_size, device)
        if len(uvs):
            self.base = _pyramid(3, config.texture_size, device)
        else:
            self.base.append(nn.Parameter(torch.zeros_like(mesh.verts_packed())))
        size = config.environment_size
        self.log_light = nn.Parameter(torch.full((6, size, size, 3), math.log(FIRST_LIGHT), device=device))

    @property
    def base_colors(self) -> torch.Tensor:
        """Base colours in [0, 1], sRGB: a map (H, W, 3), or (V, 3) of vertices."""
        if not len(self.uvs):
            return self.base[0].sigmoid()
        return _sum_of(self.base)[0].movedim(0, 2).sigmoid()

    @property
    def metallic_roughness(self) -> torch.Tensor:
        """(H, W, 2) in [0, 1]; 1 x 1 where the surface is the same everywhere."""
        first = self.log_light.new_tensor([FIRST_METALLIC, FIRST_ROUGHNESS]).logit()
        return (_sum_of(self.surface)[0].movedim(0, 2) + first).sigmoid()

    def surroundings(self) -> EnvironmentLights:
        """The light; differentiable."""
        return EnvironmentLights(self.log_light.exp())

    def forward(self) -> Meshes:
        surface, colors = self.metallic_roughness, self.base_colors
        given: dict[str, Any] = {"name": "fitted", "metallic": 1.0, "roughness": 1.0}
        if surface.shape[:2] == (1, 1):
            given["metallic"], given["roughness"] = surface[0, 0].unbind()
        else:
            texels = torch.cat([torch.ones_like(surface[..., :1]), surface[..., 1:], surface[..., :1]], -1)
            given["metallic_roughness_map"] = TextureMap(texels)
        looks: dict[str, Any] = {"faces_material": [torch.zeros_like(self.faces[:, 0])]}
        if len(self.uvs):
            given["base_map"] = TextureMap(colors)
            looks |= {"verts_uvs": [self.uvs], "faces_uvs": [self.uv_rows[:, None]]}
        else:
            looks["colors"] = [torch.cat([colors, torch.ones_like(colors[:, :1])], 1)]
            looks["faces_colors"] = [self.faces]
        textures = TexturesMaterial([Material(**given)], **looks)
        normals: dict[str, Any] = {"corner_normals": [self.normals], "faces_corner_normals": [self.normal_rows]}
        return Meshes([self.verts], [self.faces], textures, **normals)

    def losses(self) -> dict[str, torch.Tensor]:
        """What keeps maps and light plain: "grey", "smooth" and "even"."""
        light, surface = self.log_light.exp(), self.metallic_roughness
        mean = light.mean(-1, keepdim=True)
        return {
            "grey": ((light - mean).abs().mean() / mean.mean().clamp(min=DARKEST)),
            "smooth": _roughness_of(surface[None].movedim(3, 1)),
            "even": _roughness_of(self.log_light.movedim(3, 1)),
        }

    @torch.no_grad()
    def finished(self) -> Meshes:
        """The mesh with its material, without gradients; its numbers are floats."""
        mesh = self()
        (material,) = mesh.textures.materials
        numbers = {"metallic": float(material.metallic), "roughness": float(material.roughness)}
        mesh.textures.materials = (replace(material, **numbers),)
        return mesh

    def _load_from_state_dict(self, state: Any, prefix: str, about: Any, strict: bool, *found: list[str]) -> None:
        """A state must be that of a fit with the same mesh."""
        for name in GEOMETRY:
            given, own = state.get(prefix + name), getattr(self, name)
            if isinstance(given, torch.Tensor) and not torch.equal(given.to(own), own):
                found[-1].append(f"{name}: not those of the mesh")
                state[prefix + name] = own  # torch copies, whatever it has found
        super()._load_from_state_dict(state, prefix, about, strict, *found)

    @staticmethod
    def restored(parameters: Mapping[str, Any]) -> MaterialModel:
        """The model of a state, whose shapes are those of its maps.

        Raises:
            ValueError: the state of something else.
        """
        try:
            faces, uvs, rows = (parameters[name] for name in ("faces", "uvs", "uv_rows"))
            sizes = {
                "texture_size": parameters["base.0"].shape[-1] if len(uvs) else 1,
                "surface_size": parameters["surface.0"].shape[-1],
                "environment_size": parameters["log_light"].shape[1],
            }
            looks = TexturesMaterial([], [torch.full_like(faces[:, 0], -1)], [uvs], [rows[:, None]])
            normals: dict[str, Any] = {
                "corner_normals": [parameters["normals"]],
                "faces_corner_normals": [parameters["normal_rows"]],
            }
            known = Meshes([parameters["verts"]], [faces], looks, **normals)
            model = MaterialModel(known, MaterialConfig(steps=0, **sizes))
            model.load_state_dict(parameters)
        except (KeyError, RuntimeError, IndexError, TypeError) as error:
            fail("checkpoint", "the state of a material", f"another ({' '.join(str(error).split())[:200]})")
        return model


def render_lit_views(mesh: Meshes, n_views: int = 40, image_size: int = 128) -> Views:
    """Render views of a mesh in the studio, from all around and from below to above.

    Args:
        mesh: one mesh with textures, within the unit sphere.
        n_views: number of views.
        image_size: side of the images in pixels.
    """
    index = torch.arange(n_views)
    elevation, azimuth = torch.linspace(-35, 65, n_views), 137.5 * index
    R, T = look_at_view_transform(2.7, elevation, azimuth)
    cameras = FoVPerspectiveCameras(R=R, T=T, device=mesh.device)
    rasterizer = MeshRasterizer(raster_settings=RasterizationSettings(image_size, faces_per_pixel=1))
    shader = _shader(studio_lights(device=mesh.device), mesh.device)
    with torch.no_grad():
        images = MeshRenderer(rasterizer, shader)(mesh.extend(n_views), cameras=cameras)
    lights = AmbientLights(device=mesh.device)
    return Views(cameras, images[..., 3].contiguous(), images[..., :3].contiguous(), lights)


def material_renderer(image_size: tuple[int, int], model: MaterialModel) -> MeshRenderer:
    """A renderer of the fitted mesh in its surroundings, on white; it is called with cameras."""
    settings = RasterizationSettings(image_size=image_size, faces_per_pixel=1)
    shader = _shader(model.surroundings(), model.log_light.device)
    return MeshRenderer(MeshRasterizer(raster_settings=settings), shader)


def _shader(surroundings: EnvironmentLights, device: torch.device) -> PBRShader:
    white = BlendParams(background_color=(1.0, 1.0, 1.0))
    return PBRShader(surroundings, tone_mapping="srgb", blend_params=white, device=device)


def fit_material(
    views: Views, mesh: Meshes, config: MaterialConfig | None = None, callbacks: Sequence[Callback] = ()
) -> FitRun:
    """Find the base colours, metallic and roughness of a mesh, and the light around it, by images.

    Images count as sRGB; light above 1 is clamped in them. Of base colours and light only the product is seen: where
    one is twice as bright, the other is half as bright. What lies in shadow or reflects the mesh itself is not known.

    Args:
        views: cameras and images, of the mesh where it is.
        mesh: one mesh; with texture coordinates, of its textures of any kind, it gets maps.
        config: the settings.
        callbacks: see :func:`~tirender.fit.loop.fit`.
    Returns:
        the run; ``run.module()`` is the mesh with its material, ``run.module.surroundings()`` the light.
    Raises:
        ValueError: the views have no images.
        NonFiniteLoss: see :func:`~tirender.fit.loop.fit`.
    """
    config = config or MaterialConfig()
    images = views.images
    if images is None:
        fail("views", "images", "silhouettes only")
    module = MaterialModel(mesh, config).to(views.silhouettes.device)
    of_light: dict[str, Any] = {"params": [*module.surface, module.log_light], "lr": config.lr_light}
    optimizer = torch.optim.Adam([{"params": list(module.base)}, of_light], lr=config.lr)

    def losses(step: int) -> dict[str, torch.Tensor]:
        chosen, part = choose_views(views, config.views_per_step)
        rendered = material_renderer(views.image_size, module)(
            module().extend(len(chosen)), cameras=views.cameras[chosen]
        )
        covered = rendered[..., 3:].detach()  # what lies around the mesh is not known
        difference = (covered * (rendered[..., :3] - images.index_select(0, chosen))).square().mean()
        return {**part.scaled({"rgb": difference}), **module.losses()}

    def pictures() -> dict[str, torch.Tensor]:
        seen = material_renderer(views.image_size, module)(module(), cameras=views.cameras[views.shown])
        return {"prediction": seen[0, ..., :3], "target": images[views.shown]}

    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, config.decay ** (1 / max(config.steps, 1)))
    return fit(
        losses,
        module,
        optimizer,
        config,
        weights=config.weights,
        scheduler=scheduler,
        callbacks=callbacks,
        images=pictures,
    )


def _texture_coordinates(mesh: Meshes) -> tuple[torch.Tensor, torch.Tensor]:
    """The first set of texture coordinates (T, 2), and its rows (F, 3) at the corners; (0, 2) where there are none."""
    textures: Any = mesh.textures
    if textures is not None and not isinstance(textures, TexturesMaterial):
        textures = as_material(mesh)
    if isinstance(textures, TexturesMaterial):
        packed = textures.packed()
        if len(packed.uvs) and packed.faces_uvs.shape[1]:
            return packed.uvs, packed.faces_uvs[:, 0]
    return mesh.verts_packed().new_zeros(0, 2), torch.full_like(mesh.faces_packed(), -1)


def _pyramid(channels: int, size: int, device: torch.device) -> nn.ParameterList:
    levels = nn.ParameterList()
    while size >= 1:
        levels.append(nn.Parameter(torch.zeros(1, channels, size, size, device=device)))
        size //= 4
    return levels


def _sum_of(levels: nn.ParameterList) -> torch.Tensor:
    """The sum (1, C, H, W) of maps, as large as the first."""
    finest, *coarser = levels
    total: torch.Tensor = finest
    for level in coarser:
        total = total + F.interpolate(level, finest.shape[2:], mode="bilinear", align_corners=False)
    return total


def _roughness_of(images: torch.Tensor) -> torch.Tensor:
    """The mean difference between neighbours in images (N, C, H, W)."""
    total = images.new_zeros(())
    for axis in (2, 3):
        if images.shape[axis] > 1:
            total = total + images.diff(dim=axis).abs().mean()
    return total
