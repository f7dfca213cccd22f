"""Fits of a voxel volume to views of an object (section 5 of the tutorials)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tirender.checks import fail
from tirender.fields import VolumeModel
from tirender.fit.radiance import RadianceConfig, view_losses
from tirender.fit.run import Callback, FitRun
from tirender.fit.views import Views, choose_views
from tirender.renderer import CamerasBase, EmissionAbsorptionRaymarcher, NDCMultinomialRaysampler, VolumeRenderer


@dataclass(frozen=True)
class VolumeConfig(RadianceConfig):
    """Settings of :func:`fit_volume`; the defaults are the tutorials'.

    Attributes:
        volume_size: voxels along an axis at the end.
        double_at: steps before which the number of voxels doubles along each axis. The first steps have a volume that
            is coarser by these factors.
    """

    steps: int = 300
    n_pts_per_ray: int = 150
    lr: float = 0.1
    volume_size: int = 128
    double_at: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        coarsest, rest = divmod(self.volume_size, 2 ** len(self.double_at))
        if coarsest < 1 or rest:
            fail("volume_size", f"a positive multiple of {2 ** len(self.double_at)}, for double_at", self.volume_size)
        if any(step < 1 for step in self.double_at) or len({*self.double_at}) < len(self.double_at):
            fail("double_at", "different steps of at least 1", self.double_at)


BEST_VOLUME = VolumeConfig(steps=400, double_at=(80, 160))
"""A preset of better quality than the tutorial's settings."""


def fit_volume(views: Views, config: VolumeConfig | None = None, callbacks: Sequence[Callback] = ()) -> FitRun:
    """Fit the opacities and colours of voxels until they look like an object in every view.

    Args:
        views: cameras, images and silhouettes of an object at the origin, about as large as the unit sphere.
        config: the tutorials' settings by default.
        callbacks: see :func:`~tirender.fit.loop.fit`.
    Returns:
        the run; ``run.module`` is a :class:`~tirender.fields.VolumeModel`.
    Raises:
        NonFiniteLoss: see :func:`~tirender.fit.loop.fit`.
        ValueError: the views have no images.
    """
    config = config or VolumeConfig()
    colors, silhouettes = views.on_black, views.silhouettes
    module = volume_model(views.image_size, views.cameras, config).to(colors)
    optimizer = config.make_optimizer(module)

    def losses(step: int) -> dict[str, torch.Tensor]:
        if step in config.double_at:
            module.refine()
            optimizer.state.clear()  # it holds the moments of the coarser grid
        chosen, part = choose_views(views, config.views_per_step)
        rendered = module(views.cameras[chosen])
        of_views = view_losses(rendered, colors.index_select(0, chosen), silhouettes.index_select(0, chosen))
        return part.scaled(of_views)

    return config.fit(losses, module, optimizer, views, callbacks)


def volume_model(image_size: tuple[int, int], cameras: CamerasBase, config: VolumeConfig) -> VolumeModel:
    """The model of :func:`fit_volume` before its first step.

    Args:
        image_size: height and width of the images that it renders.
        cameras: of the views; they decide where rays are sampled.
        config: the settings.
    """
    size = config.volume_size // 2 ** len(config.double_at)
    return VolumeModel(volume_renderer(image_size, cameras, config), [size] * 3, config.extent / size)


def volume_renderer(image_size: tuple[int, int], cameras: CamerasBase, config: VolumeConfig) -> VolumeRenderer:
    """The renderer of :func:`volume_model`, whose arguments it has."""
    near, far = config.depths(cameras)
    raysampler = NDCMultinomialRaysampler(
        image_height=image_size[0],
        image_width=image_size[1],
        n_pts_per_ray=config.n_pts_per_ray,
        min_depth=near,
        max_depth=far,
    )
    return VolumeRenderer(raysampler, EmissionAbsorptionRaymarcher())
