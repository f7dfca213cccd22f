"""Fits of a radiance field to views of an object (section 6 of the tutorials)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from tirender.checks import check_choice, fail
from tirender.fields import HashGridConfig, HashGridField, NeuralRadianceField
from tirender.fit.distributed import Part, part
from tirender.fit.radiance import RadianceConfig, view_losses
from tirender.fit.run import Callback, FitRun
from tirender.fit.views import Views, draw_views
from tirender.renderer import (
    CamerasBase,
    EmissionAbsorptionRaymarcher,
    MonteCarloRaysampler,
    NDCMultinomialRaysampler,
    RayBundle,
)
from tirender.utils import sample_images_at_mc_locs

FIELDS = ("harmonic", "hashgrid")
RAYS_AT_ONCE = 1 << 13


@dataclass(frozen=True)
class NerfConfig(RadianceConfig):
    """Settings of :func:`fit_nerf`; the defaults are the tutorials', except for a warm-up of the learning rate.

    Without the warm-up the network stays empty: its first steps overshoot from empty space to fog and back. Adam
    remembers the large gradients of the fog, so its later steps are too small.

    Attributes:
        field: "harmonic" for :class:`~tirender.fields.NeuralRadianceField`, "hashgrid" for
            :class:`~tirender.fields.HashGridField`. A hash grid places its own samples along rays, ``n_pts_per_ray``
            along each edge of ``extent``.
        rays_per_view: rays through random places of each view of a step.
        update_every: steps between updates of a hash grid's occupancy.
        samples_per_step: upper bound of a hash grid's samples in occupied cells; rays beyond it are not rendered.
    """

    steps: int = 3000
    warmup_steps: int = 200
    views_per_step: int = 6
    field: str = "harmonic"
    rays_per_view: int = 750
    update_every: int = 16
    samples_per_step: int = 1 << 16

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("field", self.field, FIELDS)
        for name in ("rays_per_view", "update_every", "samples_per_step"):
            if getattr(self, name) < 1:
                fail(name, "at least 1", getattr(self, name))

    def make_field(self) -> nn.Module:
        """The field before the first step."""
        if self.field == "harmonic":
            return NeuralRadianceField()
        return HashGridField(HashGridConfig(extent=self.extent, steps_per_extent=self.n_pts_per_ray))

    def make_optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        """Adam; a hash grid needs an epsilon below the small gradients of rows that few samples touch."""
        return torch.optim.Adam(module.parameters(), lr=self.lr, eps=1e-8 if self.field == "harmonic" else 1e-15)


HASHGRID_NERF = NerfConfig(
    field="hashgrid", steps=1000, lr=1e-2, warmup_steps=0, views_per_step=64, rays_per_view=64, n_pts_per_ray=256
)
"""A preset for hash grids, of better quality than the tutorial's network."""


def fit_nerf(
    views: Views,
    config: NerfConfig | None = None,
    callbacks: Sequence[Callback] = (),
    field: nn.Module | None = None,
) -> FitRun:
    """Fit a radiance field until it looks like an object in every view.

    Args:
        views: cameras, images and silhouettes of an object at the origin, about as large as the unit sphere.
        config: the tutorials' settings by default.
        callbacks: see :func:`~tirender.fit.loop.fit`.
        field: the field to start from; a new one by default.
    Returns:
        the run; ``run.module`` is a :class:`NerfModel`.
    Raises:
        NonFiniteLoss: see :func:`~tirender.fit.loop.fit`.
        ValueError: the views have no images.
    """
    config = config or NerfConfig()
    targets = torch.cat([views.on_black, views.silhouettes[..., None]], dim=-1)
    with torch.random.fork_rng(enabled=config.seed is not None):
        if config.seed is not None:
            torch.manual_seed(config.seed)
        field = config.make_field() if field is None else field
    module = NerfModel(field, views.image_size, views.cameras, config).to(targets)

    def losses(step: int) -> dict[str, torch.Tensor]:
        if isinstance(field, HashGridField) and step % config.update_every == 0:
            field.update_occupancy()
        chosen = draw_views(views, config.views_per_step)
        rendered, seen, mine = module.sample(views.cameras[chosen], targets.index_select(0, chosen))
        if isinstance(field, HashGridField):  # on black alone it could settle for black everywhere
            background = torch.rand(mine.n, 3, dtype=seen.dtype, device=seen.device)[mine.rows]
            rendered, seen = _over(rendered, background), _over(seen, background)
        return mine.scaled(view_losses(rendered, seen[:, :3], seen[:, 3]))

    return config.fit(losses, module, config.make_optimizer(module), views, callbacks)


class NerfModel(nn.Module):
    """A radiance field and how it is rendered; ``forward(cameras)`` returns images.

    Args:
        field: returns densities and colours of a ray bundle.
        image_size: height and width of the images.
        cameras: of the views; they decide where rays are sampled.
        config: the settings.
    """

    def __init__(self, field: nn.Module, image_size: tuple[int, int], cameras: CamerasBase, config: NerfConfig) -> None:
        super().__init__()
        self.field = field
        near, far = config.depths(cameras)
        height, width = image_size
        y, x = height / min(image_size), width / min(image_size)
        # a hash grid places its own samples and takes only origins and directions from the bundle
        n_points = 2 if isinstance(field, HashGridField) else config.n_pts_per_ray
        self._grid = NDCMultinomialRaysampler(
            image_height=height, image_width=width, n_pts_per_ray=n_points, min_depth=near, max_depth=far
        )
        self._random = MonteCarloRaysampler(-x, x, -y, y, config.rays_per_view, n_points, near, far)
        self._march = EmissionAbsorptionRaymarcher()
        self._samples_per_step = config.samples_per_step

    def forward(self, cameras: CamerasBase) -> torch.Tensor:
        """Images (N, H, W, 4) for N cameras, colours on black and opacity, without gradients."""
        bundle = self._grid(cameras)
        parts = zip(*(part.flatten(0, -2).split(RAYS_AT_ONCE) for part in bundle))
        with torch.no_grad():
            rendered = torch.cat([self._render(RayBundle(*part)) for part in parts])
        return rendered.reshape(*bundle.lengths.shape[:-1], 4)

    def sample(self, cameras: CamerasBase, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, Part]:
        """Render rays through random places of N images.

        The rays of the first image come first, then those of the second, and so on. A hash grid renders only the first
        of them, up to the samples that a step may have.

        Args:
            cameras: N cameras.
            images: (N, H, W, C), their images.
        Returns:
            rendered: (R, 4), colours on black and opacity of the rays that this process renders; differentiable.
            seen: (R, C), the values of the images there.
            part: the rays that this process renders.
        """
        bundle = self._random(cameras)
        seen = sample_images_at_mc_locs(images, bundle.xys).transpose(0, 1).flatten(0, 1)
        rays = RayBundle(*(x.transpose(0, 1).flatten(0, 1) for x in bundle))
        if isinstance(self.field, HashGridField):
            # each process samples all rays, to know how many fit into the step, and renders its part of them
            samples = self.field.sample_rays(rays.origins, rays.directions, True, self._samples_per_step)
            mine = part(len(samples.offsets) - 1)
            own = rays.origins[mine.rows], rays.directions[mine.rows], samples.of_rays(mine.rows)
            return self.field.render_samples(*own), seen[mine.rows], mine
        mine = part(len(seen))
        return self._render(RayBundle(*(x[mine.rows] for x in rays))), seen[mine.rows], mine

    def _render(self, bundle: RayBundle) -> torch.Tensor:
        """Colours on black and opacity (R, 4) of R rays."""
        if isinstance(self.field, HashGridField):
            return self.field.render_rays(bundle.origins, bundle.directions)
        densities, colors = self.field(bundle)
        return self._march(densities, colors)


def _over(rgba: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """Premultiplied colours (R, 3), laid on a background, beside the unchanged opacity."""
    return torch.cat([rgba[:, :3] + (1 - rgba[:, 3:]) * background, rgba[:, 3:]], dim=1)
