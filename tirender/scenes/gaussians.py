"""Gaussians as a scene."""

from __future__ import annotations

import math

import torch

from tirender.checks import fail
from tirender.io.orientation import Orientation
from tirender.renderer import GaussiansRasterizationSettings, GaussiansRenderer
from tirender.renderer.cameras import CamerasBase
from tirender.renderer.gaussians.renderer import RenderedGaussians
from tirender.scenes.base import Look, Scene, depth_picture, from_origin
from tirender.structures import Gaussians
from tirender.transforms import Scale, Translate

VISIBLE = 0.05  # opacity of Gaussians that count for the placement
RADII = (1e-30, 1e30)  # of scenes that float32 can move and scale
MOST = 0.95  # of these lie in the unit sphere; the rest may be the scene's surroundings


class GaussianScene(Scene):
    """Gaussians, moved and scaled so that most of them lie in the unit sphere; their harmonics are evaluated.

    Args:
        gaussians: what to show.
        name: for messages.
        place: whether to move and scale them.
        orientation: which way up they stand.
    Raises:
        ValueError: no Gaussians, or all at one place.
    """

    shaders = ("unlit", "silhouette", "depth")
    supersample = 1

    def __init__(
        self,
        gaussians: Gaussians,
        name: str = "gaussians",
        place: bool = True,
        orientation: Orientation | None = None,
    ) -> None:
        self.orientation = orientation or Orientation()
        if not len(gaussians):
            fail(name, "at least one Gaussian", "none")
        gaussians = gaussians.detach()
        if place:
            centre, self.scale = _placement(gaussians, name)
            self.centre = from_origin(centre, None)
            move = Translate(-centre[None]).compose(Scale(1 / self.scale, device=centre.device))
            gaussians = gaussians.transform(move)
        self.gaussians = gaussians

    @property
    def facts(self) -> str:
        return f"{len(self.gaussians)} Gaussians"

    @property
    def device(self) -> torch.device:
        return self.gaussians.device

    def draw(self, cameras: CamerasBase, shader: str, look: Look) -> torch.Tensor:
        rendered = self._render(cameras, look.image_size)
        if shader == "silhouette":
            return rendered.alphas
        if shader == "depth":
            return depth_picture(rendered.depths, rendered.alphas, cameras)
        return torch.cat([rendered.colors, rendered.alphas], dim=3)

    def depth(self, cameras: CamerasBase, image_size: tuple[int, int]) -> torch.Tensor:
        rendered = self._render(cameras, image_size)
        return torch.where(rendered.alphas >= 0.5, rendered.depths, math.inf)[..., 0]

    def _render(self, cameras: CamerasBase, image_size: tuple[int, int]) -> RenderedGaussians:
        return GaussiansRenderer(cameras, GaussiansRasterizationSettings(image_size)).render(self.gaussians)


def _placement(gaussians: Gaussians, name: str) -> tuple[torch.Tensor, float]:
    """The middle of the visible Gaussians, and the radius that most of them are within."""
    visible = gaussians.opacities > VISIBLE
    points = gaussians.means[visible] if bool(visible.any()) else gaussians.means
    centre = points.median(0).values
    distances = (points - centre).norm(dim=1).sort().values
    radius = float(distances[int(MOST * (len(distances) - 1))]) or float(distances[-1])
    if not radius > 0:
        radius = float(gaussians.scales.max()) * 3
    if not RADII[0] < radius < RADII[1] or not bool(gaussians.scales.isfinite().all()):
        fail(name, "Gaussians of finite sizes that are not all at one place", f"a radius of {radius}")
    return centre, radius
