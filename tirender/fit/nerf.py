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
    """Settings of :func:`fit_nerf`; the defaults are the tutorials', but that the learning rate begins at a tenth.

    With the full one, the network's first steps, in which all of space is alike, overshoot from clear to fog and back
    to clear, and Adam, which remembers the large gradients of the fog, does not come out of that again.

    Attributes:
        field: "harmonic" for :class:`~tirender.fields.NeuralRadianceField`, "hashgrid" for
            :class:`~tirender.fields.HashGridField`, whose samples along rays are its own, ``n_pts_per_ray`` to each
            edge of ``extent``.
        rays_per_view: rays through random places of each view of a step.
        update_every: steps between updates of a hash grid's occupancy.
        samples_per_step: of a hash grid, in occupied cells: only as many of a step's rays are rendered.
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
        """Adam; for a hash grid with an epsilon below the gradients of rows that few samples meet."""
        return torch.optim.Adam(module.parameters(), lr=self.lr, eps=1e-8 if self.field == "harmonic" else 1e-15)


BEST_NERF = NerfConfig()
HASHGRID_NERF = NerfConfig(
    field="hashgrid", steps=1000, lr=1e-2, warmup_steps=0, views_per_step=64, rays_per_view=64, n_pts_per_ray=256
)
"""Presets: one that reaches further than the tutorial's settings, and one for hash grids."""


def fit_nerf(
    views: Views,
    config: NerfConfig | None = None,
    callbacks: Sequence[Callback] = (),
    field: nn.Module | None = None,
) -> FitRun:
    """Fit a radiance field until it looks like an object in all views.

    Args:
        views: cameras, images and silhouettes of an object about the size of the unit sphere at the origin.
        config: the tutorials' settings by default.
        callbacks: see :func:`~tirender.fit.loop.fit`.
        field: the field to begin with; a new one by default.
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
        if isinstance(field, HashGridField):  # on black it may learn that everything is black, and stay there
            background = torch.rand(mine.n, 3, dtype=seen.dtype, device=seen.device)[mine.rows]
            rendered, seen = _over(rendered, background), _over(seen, background)
        return mine.scaled(view_losses(rendered, seen[:, :3], seen[:, 3]))

    return config.fit(losses, module, config.make_optimizer(module), views, callbacks)


class NerfModel(nn.Module):
    """A radiance field and how it is rendered; ``forward(cameras)`` gives images.

    Args:
        field: gives densities and colours of a ray bundle.
        image_size: height and width of the images.
        cameras: those of the views, which decide where rays are sampled.
        config: the settings.
    """

    def __init__(self, field: nn.Module, image_size: tuple[int, int], cameras: CamerasBase, config: NerfConfig) -> None:
        super().__init__()
        self.field = field
        near, far = config.depths(cameras)
        height, width = image_size
        y, x = height / min(image_size), width / min(image_size)
        # a hash grid has samples of its own, and takes no more than directions from the bundle
        n_points = 2 if isinstance(field, HashGridField) else config.n_pts_per_ray
        self._grid = NDCMultinomialRaysampler(
            image_height=height, image_width=width, n_pts_per_ray=n_points, min_depth=near, max_depth=far
        )
        self._random = MonteCarloRaysampler(-x, x, -y, y, config.rays_per_view, n_points, near, far)
        self._march = EmissionAbsorptionRaymarcher()
        self._samples_per_step = config.samples_per_step

    def forward(self, cameras: CamerasBase) -> torch.Tensor:
        """(N, H, W, 4): colours on black and opacity, seen by N cameras, without gradients."""
        bundle = self._grid(cameras)
        parts = zip(*(part.flatten(0, -2).split(RAYS_AT_ONCE) for part in bundle))
        with torch.no_grad():
            rendered = torch.cat([self._render(RayBundle(*part)) for part in parts])
        return rendered.reshape(*bundle.lengths.shape[:-1], 4)

    def sample(self, cameras: CamerasBase, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, Part]:
        """Render rays through random places of N images.

        The rays in order are those of the first image, then of the second, and so on; for a hash grid only the first
        of them, which have no more samples than a step may.

        Args:
            cameras: N cameras.
            images: (N, H, W, C) that they took.
        Returns:
            rendered: (R, 4), colours on black and opacity, of the rays that this process renders; differentiable.
            seen: (R, C), what the images have there.
            part: which of all rays they are.
        """
        bundle = self._random(cameras)
        seen = sample_images_at_mc_locs(images, bundle.xys).transpose(0, 1).flatten(0, 1)
        rays = RayBundle(*(x.transpose(0, 1).flatten(0, 1) for x in bundle))
        if isinstance(self.field, HashGridField):
            # all processes sample all rays, which says how many of them fit into the step, and render their part
            samples = self.field.sample_rays(rays.origins, rays.directions, True, self._samples_per_step)
            mine = part(len(samples.offsets) - 1)
            own = rays.origins[mine.rows], rays.directions[mine.rows], samples.of_rays(mine.rows)
            return self.field.render_samples(*own), seen[mine.rows], mine
        mine = part(len(seen))
        return self._render(RayBundle(*(x[mine.rows] for x in rays))), seen[mine.rows], mine

    def _render(self, bundle: RayBundle) -> torch.Tensor:
        """(R, 4) of rays (R, .)."""
        if isinstance(self.field, HashGridField):
            return self.field.render_rays(bundle.origins, bundle.directions)
        densities, colors = self.field(bundle)
        return self._march(densities, colors)


def _over(rgba: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """Premultiplied colours on a background, and opacity as it was."""
    return torch.cat([rgba[:, :3] + (1 - rgba[:, 3:]) * background, rgba[:, 3:]], dim=1)
