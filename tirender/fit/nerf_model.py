"""A radiance field that is fitted to photos, and how it is rendered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from tirender.captures import Capture
from tirender.fields import HashGridField, NeuralRadianceField, OccupancyGrid
from tirender.fit.distributed import Part, part
from tirender.fit.exposure import Exposure
from tirender.fit.photo_rays import rays_of_pixels
from tirender.fit.photos import as_capture
from tirender.fit.refinement import refinement_of
from tirender.fit.views import Views
from tirender.renderer import (
    CamerasBase,
    EmissionAbsorptionRaymarcher,
    MonteCarloRaysampler,
    NDCMultinomialRaysampler,
    PerspectiveCameras,
    RayBundle,
)
from tirender.utils import sample_images_at_mc_locs

if TYPE_CHECKING:
    from tirender.fit.nerf import NerfConfig

RAYS_AT_ONCE = 1 << 13
PIXELS = 1024  # of a photo, in a step that aligns a camera with a fitted scene
NEGLIGIBLE = 0.01  # opacity of a network's sample


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
        rendered, mine = self._render_part(rays, photo)
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
        rendered, mine = self._render_part(rays, photo.to(seen.device) if exposed else None)
        return rendered, seen[mine.rows], mine

    def photo_loss(self, photos: Capture, i: int, camera: PerspectiveCameras) -> torch.Tensor:
        """How a photo differs from what a camera sees, at random pixels; differentiable in the camera."""
        row, column = (torch.randint(size, (PIXELS,)) for size in photos.sizes[i])
        photo = torch.full((PIXELS,), i)
        cameras = some_cameras(camera, torch.zeros_like(photo))
        rendered, seen, _ = self.sample_pixels(photos, cameras, photo, row, column, exposed=False)
        return (rendered[:, :3] - seen[:, :3]).abs().mean()

    def _render_part(self, rays: RayBundle, photo: torch.Tensor | None) -> tuple[torch.Tensor, Part]:
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
            bundle = RayBundle(*(x[mine.rows] for x in rays))
            rendered = self._render(bundle, None if wanted is None else wanted[mine.rows])
        if self.exposure is not None and photo is not None:
            colors = self.exposure(rendered[:, :3], rendered[:, 3:], photo[mine.rows])
            rendered = torch.cat([colors, rendered[:, 3:]], dim=1)
        return rendered, mine

    def _render(self, bundle: RayBundle, wanted: torch.Tensor | None = None) -> torch.Tensor:
        """Colours on black and opacity (R, 4) of R rays; wanted: what ``_wanted`` says of them, where it is known."""
        if isinstance(self.field, HashGridField):
            return self.field.render_rays(bundle.origins, bundle.directions)
        if self.occupancy is None:
            return self._march(*self.field(bundle))
        return self._march(*self.field(bundle, self._wanted(bundle) if wanted is None else wanted))

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


def some_cameras(cameras: PerspectiveCameras, index: torch.Tensor) -> PerspectiveCameras:
    """The cameras (R,) of a batch that an index (R,) names; differentiable in them."""
    index = index.to(cameras.T.device)
    parts = (cameras.focal_length, cameras.principal_point, cameras.R, cameras.T)
    focal, principal, R, T = (part.index_select(0, index) for part in parts)
    return PerspectiveCameras(focal, principal, R, T, device=index.device)
