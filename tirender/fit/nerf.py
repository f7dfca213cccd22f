"""Fits of a radiance field to views of an object (section 6 of the tutorials), or to photos of a whole scene."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from tirender.captures import Capture
from tirender.checks import check_choice, check_kind, fail
from tirender.engine.hash_grid import HashGridLayout
from tirender.fields import HashGridConfig, HashGridField, NeuralRadianceField
from tirender.fields.precision import PRECISIONS
from tirender.fit.adam import adam
from tirender.fit.distributed import Part
from tirender.fit.exposure import EXPOSURES
from tirender.fit.nerf_model import NerfModel, some_cameras
from tirender.fit.radiance import RadianceConfig, view_losses
from tirender.fit.refinement import as_pinholes, rate_of_cameras
from tirender.fit.run import Callback, FitRun
from tirender.fit.views import Views, draw_views

FIELDS = ("harmonic", "hashgrid")
BACKGROUNDS = ("random", "learned")
NEAREST = 0.05  # the least depth of a sample of an unbounded scene whose points are not known
COARSE_LEVELS, ALL_LEVELS_AT = 0.4, 0.6  # of a hash grid, at first; and when all are used, where cameras are refined
SCENE_LAYOUT = HashGridLayout(n_levels=8, log2_rows=17, base_resolution=16, finest_resolution=512)

Sampling = Callable[[NerfModel], tuple[torch.Tensor, torch.Tensor, Part]]


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
        update_every: steps between updates of the occupancy.
        samples_per_step: upper bound of the samples in occupied cells; rays beyond it are not rendered. For a hash
            grid, and where ``skip_empty``.
        skip_empty: whether a network is asked about samples in occupied cells alone, see
            :class:`~tirender.fields.OccupancyGrid`; all cells are, until the learning rate has risen.
        unbounded: whether photos show a scene all around, and not an object alone: the hash grid then fills all of
            space, contracted around the cube of ``extent``, and there is no loss of silhouettes. True for a capture
            without masks, whatever is given.
        background: of an unbounded scene: "random", a colour drawn anew for each ray, so that all becomes opaque; or
            "learned", a colour for each direction.
        refine_cameras: whether cameras are fitted with the scene: their places, directions and focal lengths.
        exposure: of each photo: "none", "gain" or "affine", see :class:`~tirender.fit.exposure.Exposure`.
        lr_cameras, lr_exposure: learning rates of Adam, of these.
        precision: of the products of networks: "float32", or "bf16" on machines that multiply bfloat16 faster.
    """

    steps: int = 3000
    warmup_steps: int = 200
    views_per_step: int = 6
    field: str = "harmonic"
    rays_per_view: int = 750
    update_every: int = 16
    samples_per_step: int = 1 << 16
    skip_empty: bool = False
    unbounded: bool = False
    background: str = "random"
    refine_cameras: bool = False
    exposure: str = "none"
    lr_cameras: float = 5e-4
    lr_exposure: float = 1e-3
    precision: str = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("field", self.field, FIELDS)
        check_choice("background", self.background, BACKGROUNDS)
        check_choice("exposure", self.exposure, EXPOSURES)
        check_choice("precision", self.precision, PRECISIONS)
        if self.skip_empty and self.field != "harmonic":
            fail("skip_empty", "False for a hash grid, which skips empty cells anyway", True)
        if self.unbounded and self.field != "hashgrid":
            fail("field", "'hashgrid' for an unbounded scene", repr(self.field))
        for name in ("rays_per_view", "update_every", "samples_per_step"):
            if getattr(self, name) < 1:
                fail(name, "at least 1", getattr(self, name))

    def make_field(self) -> nn.Module:
        """The field before the first step."""
        if self.field == "harmonic":
            return NeuralRadianceField(precision=self.precision)
        config = HashGridConfig(self.extent, steps_per_extent=self.n_pts_per_ray, precision=self.precision)
        if self.unbounded:
            background = "learned" if self.background == "learned" else "none"
            nearest = self.min_depth or NEAREST
            config = replace(config, layout=SCENE_LAYOUT, min_depth=nearest, unbounded=True, background=background)
        return HashGridField(config)

    def make_optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        """Adam; a hash grid needs an epsilon below the small gradients of rows that few samples touch.

        Cameras and exposures have groups of their own, after the field's.
        """
        eps = 1e-8 if self.field == "harmonic" else 1e-15
        refinement, exposure = getattr(module, "refinement", None), getattr(module, "exposure", None)
        if refinement is None and exposure is None:
            return adam(module, lr=self.lr, eps=eps)
        groups: list[dict[str, Any]] = [{"params": [*module.field.parameters()], "lr": self.lr}]  # type: ignore[union-attr]
        if exposure is not None:
            groups.append({"params": [*exposure.parameters()], "lr": self.lr_exposure})
        if refinement is not None:
            groups += [{**group, "eps": 1e-8} for group in refinement.groups(self.lr_cameras)]
        return adam(module, groups, lr=self.lr, eps=eps)

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each loss, by its name."""
        return {"color": self.w_color} if self.unbounded else super().weights

    def rate_factors(self, optimizer: torch.optim.Optimizer) -> list[Callable[[int], float]]:
        """The factor of the learning rate at a step, for each group of parameters; cameras are the last two."""
        factors = super().rate_factors(optimizer)
        if self.refine_cameras:
            factors[-2:] = [lambda step: rate_of_cameras(step, self.steps)] * 2
        return factors


HARMONIC_NERF = NerfConfig(skip_empty=True, views_per_step=64, rays_per_view=64)
"""A preset for the tutorial's network, which learns as much in a fraction of the time."""

HASHGRID_NERF = NerfConfig(
    field="hashgrid", steps=1000, lr=1e-2, warmup_steps=0, views_per_step=64, rays_per_view=64, n_pts_per_ray=256
)
"""A preset for hash grids, of better quality than the tutorial's network."""

SCENE_NERF = replace(HASHGRID_NERF, steps=4000, n_pts_per_ray=128, unbounded=True)
"""A preset for photos of a whole scene."""


def fit_nerf(
    photos: Views | Capture,
    config: NerfConfig | None = None,
    callbacks: Sequence[Callback] = (),
    field: nn.Module | None = None,
) -> FitRun:
    """Fit a radiance field until it looks like an object, or a scene, in every photo.

    Args:
        photos: cameras, images and silhouettes of an object at the origin, about as large as the unit sphere; or a
            capture, see :func:`~tirender.fit.photo_rays.normalized_capture`. Its masks are silhouettes; without masks
            it shows a whole scene.
        config: the tutorials' settings by default; of a capture without masks, ``SCENE_NERF``.
        callbacks: see :func:`~tirender.fit.loop.fit`.
        field: the field to start from; a new one by default.
    Returns:
        the run; ``run.module`` is a :class:`NerfModel`.
    Raises:
        NonFiniteLoss: see :func:`~tirender.fit.loop.fit`.
        ValueError: the views have no images; the cameras to refine, or of a capture, are no pinholes.
    """
    check_kind("photos", photos, Views, Capture)
    config = config_for(photos, config)
    with torch.random.fork_rng(enabled=config.seed is not None):
        if config.seed is not None:
            torch.manual_seed(config.seed)
        field = config.make_field() if field is None else field
    module = NerfModel(field, photos.image_size, photos.cameras, config, photos)
    sample = _sampling_pixels(photos, config) if isinstance(photos, Capture) else _sampling_views(photos, config)
    module = module.to(photos.cameras.T if isinstance(photos, Capture) else photos.silhouettes)

    def losses(step: int) -> dict[str, torch.Tensor]:
        if isinstance(field, HashGridField) and module.refinement is not None:
            field.show_levels(share_of_levels(step, config.steps))
        if step % config.update_every == 0:
            module.update_occupancy(step)
        rendered, seen, mine = sample(module)
        if isinstance(field, HashGridField):  # on black alone it could settle for black everywhere
            background = torch.rand(mine.n, 3, dtype=seen.dtype, device=seen.device)[mine.rows]
            rendered, seen = _over(rendered, background), _over(seen, background)
        found = view_losses(rendered, seen[:, :3], seen[:, 3])
        return mine.scaled({name: found[name] for name in config.weights})

    return config.fit(losses, module, config.make_optimizer(module), photos, callbacks)


def share_of_levels(step: int, steps: int) -> float:
    """The share of a hash grid's levels that is used at a step where cameras are refined: coarse ones first."""
    done = step / max(steps, 1)
    return COARSE_LEVELS + (1 - COARSE_LEVELS) * done / ALL_LEVELS_AT


def _sampling_views(views: Views, config: NerfConfig) -> Sampling:
    targets = torch.cat([views.on_black, views.silhouettes[..., None]], dim=-1)

    def sample(module: NerfModel) -> tuple[torch.Tensor, torch.Tensor, Part]:
        chosen = draw_views(views, config.views_per_step)
        cameras = views.cameras[chosen] if module.refinement is None else module.refinement(chosen)
        return module.sample(cameras, targets.index_select(0, chosen), chosen)

    return sample


def _sampling_pixels(photos: Capture, config: NerfConfig) -> Sampling:
    pinholes = as_pinholes(photos)

    def sample(module: NerfModel) -> tuple[torch.Tensor, torch.Tensor, Part]:
        n = config.views_per_step * config.rays_per_view
        photo = torch.randint(len(photos), (n,))
        sizes = torch.tensor(photos.sizes)[photo]
        row, column = ((torch.rand(n) * size).long().minimum(size - 1) for size in sizes.unbind(1))
        cameras = some_cameras(pinholes, photo) if module.refinement is None else module.refinement(photo)
        return module.sample_pixels(photos, cameras, photo, row, column)

    return sample


def config_for(photos: Views | Capture, config: NerfConfig | None) -> NerfConfig:
    """The settings for photos, see :func:`fit_nerf`: a scene has no end, and begins where its points do."""
    if not isinstance(photos, Capture):
        return config or NerfConfig()
    if photos.has_masks:
        return replace(config or NerfConfig(), unbounded=False)
    config = config or SCENE_NERF
    return replace(config, unbounded=True, min_depth=config.min_depth or photos.bounds.near)


def _over(rgba: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """Premultiplied colours (R, 3), laid on a background, beside the unchanged opacity."""
    return torch.cat([rgba[:, :3] + (1 - rgba[:, 3:]) * background, rgba[:, 3:]], dim=1)
