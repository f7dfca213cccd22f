"""Fits of a mesh to views of an object: to silhouettes (section 4.3), or to silhouettes and images (section 4.4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tirender.checks import check_choice, fail
from tirender.fit.models import TextureMap, VertexColors
from tirender.fit.run import Callback, FitRun
from tirender.fit.shape import ShapeConfig, shape_losses
from tirender.fit.views import Lights, Views, choose_views
from tirender.renderer import (
    BlendParams,
    HardPhongShader,
    HardSilhouetteShader,
    MeshRasterizer,
    MeshRenderer,
    RasterizationSettings,
    SoftPhongShader,
    SoftSilhouetteShader,
)
from tirender.structures import Meshes


@dataclass(frozen=True)
class SilhouetteConfig(ShapeConfig):
    """Settings of :func:`fit_silhouettes`; the defaults are the tutorials'.

    Attributes:
        views_per_step: views drawn at random for each step, each at most once.
        edges: "soft" blends many faces at each pixel, with the next three settings; "antialias" shows the nearest face
            and blends outlines (see :func:`~tirender.renderer.antialias`).
        sigma: blur at edges at the first step, in NDC units squared; see ``BlendParams``.
        sigma_final: blur at the last step, reached geometrically; None keeps ``sigma`` constant.
        faces_per_pixel: faces blended in a pixel, nearest first.
        perspective_correct: see ``RasterizationSettings``; None: True for perspective cameras.
        w_silhouette: weight of the squared difference of silhouettes.
    """

    views_per_step: int = 2
    edges: str = "soft"
    sigma: float = 1e-4
    sigma_final: float | None = None
    faces_per_pixel: int = 50
    perspective_correct: bool | None = None
    w_silhouette: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("edges", self.edges, ("soft", "antialias"))
        if self.views_per_step < 1:
            fail("views_per_step", "at least 1", self.views_per_step)
        for name in ("sigma", "sigma_final"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                fail(name, "a finite number above 0", value)

    def edge_settings(self, image_size: tuple[int, int], progress: float = 1.0) -> dict[str, Any]:
        """Arguments of a renderer's call that say how edges are drawn; soft ones reach out to a coverage of 1e-4.

        Args:
            image_size: height and width in pixels.
            progress: the fraction of the fit that is done, in [0, 1].
        """
        is_soft = self.edges == "soft"
        sigma = self.sigma if self.sigma_final is None else self.sigma ** (1 - progress) * self.sigma_final**progress
        settings = RasterizationSettings(
            image_size=image_size,
            blur_radius=math.log(1 / 1e-4 - 1) * sigma if is_soft else 0.0,
            faces_per_pixel=self.faces_per_pixel if is_soft else 1,
            perspective_correct=self.perspective_correct,
        )
        return {"raster_settings": settings, "blend_params": BlendParams(sigma=sigma)}

    def renderer(self, image_size: tuple[int, int], shader: nn.Module) -> MeshRenderer:
        """A renderer with the edges of the last step."""
        settings = self.edge_settings(image_size)
        shader.blend_params = settings["blend_params"]
        return MeshRenderer(MeshRasterizer(raster_settings=settings["raster_settings"]), shader)


@dataclass(frozen=True)
class ImageConfig(SilhouetteConfig):
    """Settings of :func:`fit_images`; the defaults are the tutorials'.

    Attributes:
        texture: "vertex" for a colour at each vertex, "uv" for a texture map.
        texture_size: height of the map in texels; it is twice as wide.
        lr_texture: learning rate of the colours. None: ``lr`` for vertices, and 100 times that for a map, as the
            gradient of a single texel is small.
        w_rgb: weight of the squared difference of colours.
    """

    texture: str = "vertex"
    texture_size: int = 256
    lr_texture: float | None = None
    w_rgb: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("texture", self.texture, ("vertex", "uv"))

    @property
    def texture_rate(self) -> float:
        """The learning rate of the colours."""
        if self.lr_texture is not None:
            return self.lr_texture
        return self.lr if self.texture == "vertex" else 100 * self.lr

    def make_textures(self, source: Meshes) -> nn.Module:
        """The module that holds the colours, grey at first."""
        return VertexColors(source) if self.texture == "vertex" else TextureMap(source, self.texture_size)


# The tutorials' settings leave a smooth mesh inside a blurred outline. These presets fit outlines that are sharp from
# the start, and smooth less. Adam finds thin parts, and its steps shrink as the gradients at sharp edges grow. With
# soft edges, they sharpen on the way.
BEST_SILHOUETTE = SilhouetteConfig(
    edges="antialias", optimizer="adam", lr=0.02, decay=0.02, sigma_final=1e-5, w_laplacian=0.3, w_silhouette=3.0
)
BEST_IMAGES = ImageConfig(
    edges="antialias", optimizer="adam", lr=0.02, decay=0.02, sigma_final=1e-5, w_laplacian=0.3, lr_texture=0.02
)


def fit_silhouettes(
    views: Views,
    source: Meshes | None = None,
    config: SilhouetteConfig | None = None,
    callbacks: Sequence[Callback] = (),
) -> FitRun:
    """Deform a mesh until it covers the same pixels as an object in every view.

    Args:
        views: cameras and silhouettes.
        source: the mesh to start from; a unit sphere by default.
        config: the tutorials' settings by default.
        callbacks: see :func:`~tirender.fit.loop.fit`.
    Returns:
        the run; ``run.module()`` is the fitted mesh.
    Raises:
        NonFiniteLoss: see :func:`~tirender.fit.loop.fit`.
    """
    config = config or SilhouetteConfig()
    module = config.make_module(source, views.silhouettes.device)
    render = silhouette_renderer(views.image_size, config)

    def losses(step: int) -> dict[str, torch.Tensor]:
        mesh = module()
        chosen, part = choose_views(views, config.views_per_step)
        settings = config.edge_settings(views.image_size, step / config.steps)
        rendered = render(mesh.extend(len(chosen)), cameras=views.cameras[chosen], **settings)
        silhouette = (rendered[..., 3] - views.silhouettes.index_select(0, chosen)).square().mean()
        return {**part.scaled({"silhouette": silhouette}), **shape_losses(mesh)}

    def images() -> dict[str, torch.Tensor]:
        predicted = render(module(), cameras=views.cameras[views.shown])[0, ..., 3]
        return {"prediction": predicted, "target": views.silhouettes[views.shown]}

    return config.fit(losses, module, config.make_optimizer(module), callbacks, images)


def fit_images(
    views: Views,
    source: Meshes | None = None,
    config: ImageConfig | None = None,
    callbacks: Sequence[Callback] = (),
) -> FitRun:
    """Deform and colour a mesh until it looks like an object in every view.

    Args:
        views: cameras, images and silhouettes.
        source: the mesh to start from; a unit sphere by default.
        config: the tutorials' settings by default.
        callbacks: see :func:`~tirender.fit.loop.fit`.
    Returns:
        the run; ``run.module()`` is the fitted mesh, with textures.
    Raises:
        NonFiniteLoss: see :func:`~tirender.fit.loop.fit`.
        ValueError: the views have no images.
    """
    config = config or ImageConfig()
    images = views.images
    if images is None:
        fail("views", "images", "silhouettes only")
    module = config.make_module(source, images.device)
    render = image_renderer(views.image_size, config, views.lights)

    def losses(step: int) -> dict[str, torch.Tensor]:
        mesh = module()
        chosen, part = choose_views(views, config.views_per_step)
        settings = config.edge_settings(views.image_size, step / config.steps)
        rendered = render(mesh.extend(len(chosen)), cameras=views.cameras[chosen], **settings)
        of_views = {
            "rgb": (rendered[..., :3] - images.index_select(0, chosen)).square().mean(),
            "silhouette": (rendered[..., 3] - views.silhouettes.index_select(0, chosen)).square().mean(),
        }
        return {**part.scaled(of_views), **shape_losses(mesh)}

    def shown() -> dict[str, torch.Tensor]:
        predicted = render(module(), cameras=views.cameras[views.shown])[0, ..., :3]
        return {"prediction": predicted, "target": images[views.shown]}

    optimizer = config.make_optimizer(module, config.texture_rate)
    return config.fit(losses, module, optimizer, callbacks, shown)


def silhouette_renderer(image_size: tuple[int, int], config: SilhouetteConfig) -> MeshRenderer:
    """The renderer of :func:`fit_silhouettes`: its alpha is the silhouette; pass cameras at the call."""
    return config.renderer(image_size, SoftSilhouetteShader() if config.edges == "soft" else HardSilhouetteShader())


def image_renderer(image_size: tuple[int, int], config: ImageConfig, lights: Lights) -> MeshRenderer:
    """The renderer of :func:`fit_images`, with Phong shading; pass cameras at the call."""
    is_soft = config.edges == "soft"
    shader = SoftPhongShader if is_soft else HardPhongShader
    return config.renderer(image_size, shader(lights.device, lights=lights, antialias=not is_soft))
