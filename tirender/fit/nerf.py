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
from tirender.fields import HashGridConfig, HashGridField, NeuralRadianceField, OccupancyGrid
from tirender.fit.distributed import Part, part
from tirender.fit.exposure import EXPOSURES, Exposure
from tirender.fit.photo_rays import rays_of_pixels
from tirender.fit.photos import as_capture
from tirender.fit.radiance import RadianceConfig, view_losses
from tirender.fit.refinement import as_pinholes, rate_of_cameras, refinement_of
from tirender.fit.run import Callback, FitRun
from tirender.fit.views import Views, draw_views
from tirender.renderer import (
    CamerasBase,
    EmissionAbsorptionRaymarcher,
    MonteCarloRaysampler,
    NDCMultinomialRaysampler,
    PerspectiveCameras,
    RayBundle,
)
from tirender.utils import sample_images_at_mc_locs

FIELDS = ("harmonic", "hashgrid")
RAYS_AT_ONCE = 1 << 13
BACKGROUNDS = ("random", "learned")
PIXELS = 1024  # of a photo, in a step that aligns a camera with a fitted scene
NEGLIGIBLE = 0.01  # opacity of a network's sample
NEAREST = 0.05  # the least depth of a sample of an unbounded scene whose points are not known
COARSE_LEVELS, ALL_LEVELS_AT = 0.4, 0.6  # of a hash grid, at first; and when all are used, where cameras are refined
SCENE_LAYOUT = HashGridLayout(n_levels=8, log2_rows=17, base_resolution=16, finest_resolution=512)

Sampling = Callable[["NerfModel"], tuple[torch.Tensor, torch.Tensor, Part]]


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

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("field", self.field, FIELDS)
        check_choice("background", self.background, BACKGROUNDS)
        check_choice("exposure", self.exposure, EXPOSURES)
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
            return NeuralRadianceField()
        if not self.unbounded:
            return HashGridField(HashGridConfig(extent=self.extent, steps_per_extent=self.n_pts_per_ray))
        config = HashGridConfig(
            self.extent,
            SCENE_LAYOUT,
            steps_per_extent=self.n_pts_per_ray,
            min_depth=self.min_depth or NEAREST,
            unbounded=True,
            background="learned" if self.background == "learned" else "none",
        )
        return HashGridField(config)

    def make_optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        """Adam; a hash grid needs an epsilon below the small gradients of rows that few samples touch.

        Cameras and exposures have groups of their own, after the field's.
        """
        eps = 1e-8 if self.field == "harmonic" else 1e-15
        refinement, exposure = getattr(module, "refinement", None), getattr(module, "exposure", None)
        if refinement is None and exposure is None:
            return torch.optim.Adam(module.parameters(), lr=self.lr, eps=eps)
        groups: list[dict[str, Any]] = [{"params": [*module.field.parameters()], "lr": self.lr}]  # type: ignore[union-attr]
        if exposure is not None:
            groups.append({"params": [*exposure.parameters()], "lr": self.lr_exposure})
        if refinement is not None:
            groups += [{**group, "eps": 1e-8} for group in refinement.groups(self.lr_cameras)]
        return torch.optim.Adam(groups, lr=self.lr, eps=eps)

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
        cameras = _some(pinholes, photo) if module.refinement is None else module.refinement(photo)
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


class NerfModel(nn.Module):
    """A radiance field and how it is rendered; ``forward(cameras)`` returns images.

    Args:
        field: returns densities and colours of a ray bundle.
        image_size: height and width of the images where none is asked for.
        cameras: of the views; they decide where rays are sampled.
        config: the settings.
        photos: those fitted to, if their cameras are to be refined, or they have exposures, or are a capture.
    Attributes:
        occupancy: the cells of the cube of ``extent`` where samples are taken, or None.
        refinement: of the cameras, or None.
        exposure: of the photos, or None.
    """

    background = None  # images are on black

    def __init__(
        self,
        field: nn.Module,
        image_size: tuple[int, int],
        cameras: CamerasBase,
        config: NerfConfig,
        photos: Views | Capture | None = None,
    ) -> None:
        super().__init__()
        self.field, self.image_size = field, image_size
        height, width = image_size
        y, x = height / min(image_size), width / min(image_size)
        self._places_samples = isinstance(field, HashGridField)
        # a hash grid places its own samples and takes only origins and directions from the bundle
        self._n_points = 2 if self._places_samples else config.n_pts_per_ray
        self._depths = (1.0, 2.0) if config.unbounded else config.depths(cameras)
        self._random = MonteCarloRaysampler(-x, x, -y, y, config.rays_per_view, self._n_points, *self._depths)
        self._march = EmissionAbsorptionRaymarcher()
        self._config = config
        self.occupancy = OccupancyGrid(threshold=NEGLIGIBLE) if config.skip_empty else None
        self.refinement = self.exposure = None
        if photos is not None and config.refine_cameras:
            self.refinement = refinement_of(as_capture(photos))
        if photos is not None and config.exposure != "none":
            self.exposure = Exposure(len(photos), config.exposure)

    def update_occupancy(self, step: int) -> None:
        """Find the occupied cells anew at a step of a fit, where cells count."""
        if isinstance(self.field, HashGridField):
            self.field.update_occupancy()
        elif isinstance(self.field, NeuralRadianceField) and self.occupancy and step >= 2 * self._config.warmup_steps:
            opacities = self.field.opacities
            self.occupancy.update(lambda unit: opacities(self._config.extent * (unit - 0.5)))

    def forward(self, cameras: CamerasBase, image_size: tuple[int, int] | None = None) -> torch.Tensor:
        """Images (N, H, W, 4) for N cameras, colours on black and opacity, without gradients."""
        height, width = image_size or self.image_size
        near, far = self._depths
        grid = NDCMultinomialRaysampler(
            image_height=height, image_width=width, n_pts_per_ray=self._n_points, min_depth=near, max_depth=far
        )
        bundle = grid(cameras)
        parts = zip(*(part.flatten(0, -2).split(RAYS_AT_ONCE) for part in bundle))
        with torch.no_grad():
            rendered = torch.cat([self._render(RayBundle(*part)) for part in parts])
        return rendered.reshape(*bundle.lengths.shape[:-1], 4)

    def sample(
        self, cameras: CamerasBase, images: torch.Tensor, chosen: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, Part]:
        """Render rays through random places of N images.

        The rays of the first image come first, then those of the second, and so on. A hash grid renders only the first
        of them, up to the samples that a step may have.

        Args:
            cameras: N cameras.
            images: (N, H, W, C), their images.
            chosen: (N,) their numbers among the photos, for exposures; None for those of a new photo.
        Returns:
            rendered: (R, 4), colours on black and opacity of the rays that this process renders; differentiable.
            seen: (R, C), the values of the images there.
            part: the rays that this process renders.
        """
        bundle = self._random(cameras)
        seen = sample_images_at_mc_locs(images, bundle.xys).transpose(0, 1).flatten(0, 1)
        rays = RayBundle(*(x.transpose(0, 1).flatten(0, 1) for x in bundle))
        photo = None if chosen is None else chosen.repeat_interleave(len(seen) // len(chosen))
        rendered, mine = self._render_some(rays, photo)
        return rendered, seen[mine.rows], mine

    def sample_pixels(
        self,
        photos: Capture,
        cameras: PerspectiveCameras,
        photo: torch.Tensor,
        row: torch.Tensor,
        column: torch.Tensor,
        exposed: bool = True,
    ) -> tuple[torch.Tensor, torch.Tensor, Part]:
        """Render rays through pixels of photos; returns what :meth:`sample` does.

        Args:
            photos: the truth.
            cameras: R cameras, one for each ray.
            photo, row, column: (R,) where the ray is.
            exposed: whether colours are as the photos' exposures show them.
        """
        seen = photos.pixels(photo, row, column)
        place = row.to(seen.device), column.to(seen.device)
        sizes = torch.tensor(photos.sizes)[photo].to(seen.device)
        origins, directions = rays_of_pixels(cameras, sizes, *place)
        lengths = torch.linspace(*self._depths, self._n_points, device=seen.device).expand(len(seen), -1)
        rays = RayBundle(origins, directions, lengths, torch.stack([place[1], place[0]], 1))
        rendered, mine = self._render_some(rays, photo.to(seen.device) if exposed else None)
        return rendered, seen[mine.rows], mine

    def photo_loss(self, photos: Capture, i: int, camera: PerspectiveCameras) -> torch.Tensor:
        """How a photo differs from what a camera sees, at random pixels; differentiable in the camera."""
        row, column = (torch.randint(size, (PIXELS,)) for size in photos.sizes[i])
        photo = torch.full((PIXELS,), i)
        cameras = _some(camera, torch.zeros_like(photo))
        rendered, seen, _ = self.sample_pixels(photos, cameras, photo, row, column, exposed=False)
        return (rendered[:, :3] - seen[:, :3]).abs().mean()

    def _render_some(self, rays: RayBundle, photo: torch.Tensor | None) -> tuple[torch.Tensor, Part]:
        """Render this process's part of rays, as photos show them."""
        if isinstance(self.field, HashGridField):
            # each process samples all rays, to know how many fit into the step, and renders its part of them
            samples = self.field.sample_rays(rays.origins, rays.directions, True, self._config.samples_per_step)
            mine = part(len(samples.offsets) - 1)
            own = rays.origins[mine.rows], rays.directions[mine.rows], samples.of_rays(mine.rows)
            rendered = self.field.render_samples(*own)
        else:
            wanted = self._wanted(rays)
            mine = part(len(rays.origins) if wanted is None else self._fitting(wanted))
            rendered = self._render(RayBundle(*(x[mine.rows] for x in rays)))
        if self.exposure is not None and photo is not None:
            colors = self.exposure(rendered[:, :3], rendered[:, 3:], photo[mine.rows])
            rendered = torch.cat([colors, rendered[:, 3:]], dim=1)
        return rendered, mine

    def _render(self, bundle: RayBundle) -> torch.Tensor:
        """Colours on black and opacity (R, 4) of R rays."""
        if isinstance(self.field, HashGridField):
            return self.field.render_rays(bundle.origins, bundle.directions)
        if self.occupancy is None:
            return self._march(*self.field(bundle))
        return self._march(*self.field(bundle, self._wanted(bundle)))

    def _wanted(self, rays: RayBundle) -> torch.Tensor | None:
        """(R, P) bool: the samples in occupied cells; None for all."""
        if self.occupancy is None:
            return None
        points = rays.origins[:, None] + rays.lengths[..., None] * rays.directions[:, None]
        unit = points.detach() / self._config.extent + 0.5
        return self.occupancy.contains(unit.flatten(0, 1)).view(rays.lengths.shape)

    def _fitting(self, wanted: torch.Tensor) -> int:
        """How many rays fit into a step, at least one."""
        return max(int((wanted.sum(1).cumsum(0) <= self._config.samples_per_step).sum()), 1)


def _some(cameras: PerspectiveCameras, index: torch.Tensor) -> PerspectiveCameras:
    """Some cameras; differentiable in them."""
    index = index.to(cameras.T.device)
    parts = (cameras.focal_length, cameras.principal_point, cameras.R, cameras.T)
    focal, principal, R, T = (part.index_select(0, index) for part in parts)
    return PerspectiveCameras(focal, principal, R, T, device=index.device)


def _over(rgba: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """Premultiplied colours (R, 3), laid on a background, beside the unchanged opacity."""
    return torch.cat([rgba[:, :3] + (1 - rgba[:, 3:]) * background, rgba[:, 3:]], dim=1)
