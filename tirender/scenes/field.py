"""A radiance field as a scene."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from tirender.fields.hash_grid import HashGridField
from tirender.io.orientation import Orientation
from tirender.renderer import EmissionAbsorptionRaymarcher, NDCMultinomialRaysampler, RayBundle
from tirender.renderer.cameras import CamerasBase
from tirender.scenes.base import Look, Scene, depth_of_half, depth_picture, mean_depth

NEAREST = 0.05  # distance of the first sample for a camera inside the field
SAMPLES_AT_ONCE = 1 << 21


class FieldScene(Scene):
    """A radiance field around an object at the origin, about as large as the unit sphere; it is not moved.

    Args:
        field: returns opacities (..., P, 1) and colours (..., P, 3) of a ray bundle's samples; a ``HashGridField``
            places its own samples.
        extent: side of the cube around the origin that it fills.
        step: the distance between samples along a ray.
        orientation: which way up it stands.
    """

    shaders = ("unlit", "silhouette", "depth")
    supersample = 1

    def __init__(
        self,
        field: nn.Module,
        extent: float = 3.0,
        step: float = 3.0 / 127,
        orientation: Orientation | None = None,
    ) -> None:
        self.field, self.extent, self.step = field.eval(), extent, step
        self.orientation = orientation or Orientation()

    @property
    def facts(self) -> str:
        return f"a radiance field of {sum(values.numel() for values in self.field.parameters())} numbers"

    @property
    def device(self) -> torch.device:
        return next(self.field.parameters()).device

    def draw(self, cameras: CamerasBase, shader: str, look: Look) -> torch.Tensor:
        images = self._images(cameras, shader, look.image_size)
        opacity = images[..., 3:]
        if shader == "depth":
            return depth_picture(mean_depth(images[..., :3], opacity, cameras), opacity, cameras)
        return opacity if shader == "silhouette" else images

    def depth(self, cameras: CamerasBase, image_size: tuple[int, int]) -> torch.Tensor:
        return depth_of_half(self._images(cameras, "depth", image_size), cameras)

    def _images(self, cameras: CamerasBase, shader: str, image_size: tuple[int, int]) -> torch.Tensor:
        """Colours, or positions to compute depths from, multiplied by opacity, and opacity (N, H, W, 4)."""
        distance = cameras.get_camera_center().norm(dim=-1)
        near = max(float(distance.min()) - self.extent / 2, NEAREST)
        far = float(distance.max()) + self.extent / 2
        has_own_samples = isinstance(self.field, HashGridField) and shader != "depth"
        n_points = 1 if has_own_samples else math.ceil((far - near) / self.step) + 1
        sampler = NDCMultinomialRaysampler(
            image_height=image_size[0],
            image_width=image_size[1],
            n_pts_per_ray=n_points,
            min_depth=near,
            max_depth=far,
            unit_directions=True,
        )
        bundle = sampler(cameras)
        parts = zip(*(part.flatten(0, -2).split(max(SAMPLES_AT_ONCE // n_points, 1)) for part in bundle))
        images = torch.cat([self._march(RayBundle(*part), shader, has_own_samples) for part in parts])
        return images.reshape(*bundle.origins.shape[:-1], 4)

    def _march(self, rays: RayBundle, shader: str, has_own_samples: bool) -> torch.Tensor:
        """Colours, or positions to compute depths from, and opacity (R, 4) of R rays."""
        field: Any = self.field
        if has_own_samples:
            return field.render_rays(rays.origins, rays.directions)
        densities, features = field(rays)
        if shader == "depth":
            features = rays.origins[:, None] + rays.lengths[..., None] * rays.directions[:, None]
        return EmissionAbsorptionRaymarcher()(densities, features)
