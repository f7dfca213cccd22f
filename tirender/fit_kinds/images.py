"""``tirender fit images``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tirender.fit_kinds.base import Option, ViewsTarget
from tirender.fit_kinds.sphere import LEVEL, SphereFit
from tirender.fit_kinds.targets import EDGES, VIEW_OPTIONS, load_views_target

if TYPE_CHECKING:
    import torch

    from tirender.fit import Callback, FitRun, ImageConfig
    from tirender.fit.quality import Watch
    from tirender.renderer import CamerasBase
    from tirender.structures import Meshes

TEXTURE = Option("texture", "colours at vertices (default), or a texture map", ("vertex", "uv"), default="vertex")


class ImageFit(SphereFit):
    """A sphere becomes an object, and takes its colours, by images."""

    name = "images"
    finds, so_that = "a deformation of a sphere, and its colours", "it looks the same in every view"
    options = (*VIEW_OPTIONS, LEVEL, EDGES, TEXTURE)

    def presets(self) -> dict[str, ImageConfig]:
        from tirender.fit.rendering import BEST_IMAGES, ImageConfig

        return {"tutorial": ImageConfig(), "best": BEST_IMAGES}

    def load(self, given: Mapping[str, Any], device: str) -> ViewsTarget:
        return load_views_target(given, device, without_masks="ball")

    def data(self, target: ViewsTarget) -> list[torch.Tensor]:
        images: Any = target.views.images
        return [target.views.silhouettes, images]

    def fit(self, target: ViewsTarget, config: ImageConfig, callbacks: Sequence[Callback]) -> FitRun:
        from tirender.fit import fit_images

        return fit_images(target.views, config=config, callbacks=callbacks)

    def draw(self, run: FitRun, target: ViewsTarget) -> None:
        from tirender import vis

        views, renderer = target.views, self._renderer(run, target)
        images: Any = views.images
        vis.visualize_prediction(
            run.module(),
            lambda mesh: renderer(mesh, cameras=views.cameras[views.shown]),
            images[views.shown],
            title=f"iter: {run.step}",
        )

    def quality(self, run: FitRun, target: ViewsTarget, watch: Watch | None = None) -> dict[str, float]:
        from tirender.fit.quality import image_psnr, silhouette_iou

        mesh, renderer, views = run.module(), self._renderer(run, target), target.views
        if watch is not None:
            images: Any = views.images
            for i in range(len(views)):
                watch(i, images[i], renderer(mesh, cameras=views.cameras[i])[0, ..., :3].detach())
        return {
            "silhouette_iou": silhouette_iou(mesh, renderer, views),
            "image_psnr": image_psnr(mesh, renderer, views),
        }

    def rebuild(self, config: ImageConfig, parameters: Mapping[str, Any], device: Any) -> Meshes:
        if config.texture == "uv":  # the file's settings may claim a huge map
            config = dataclasses.replace(config, texture_size=parameters["textures.levels.0"].shape[2])
        return super().rebuild(config, parameters, device)

    def painter(self, run: FitRun, target: ViewsTarget) -> Callable[[CamerasBase, tuple[int, int]], torch.Tensor]:
        mesh = run.module().detach()
        return lambda cameras, size: self._renderer(run, target, size)(mesh, cameras=cameras)

    def _renderer(self, run: FitRun, target: ViewsTarget, size: tuple[int, int] | None = None) -> Any:
        from tirender.fit.rendering import image_renderer

        config: Any = run.config
        return image_renderer(size or target.views.image_size, config, target.views.lights)
