"""Gaussians as a scene."""

from __future__ import annotations

import torch

from tirender.checks import fail
from tirender.renderer import GaussiansRasterizationSettings, GaussiansRenderer
from tirender.renderer.cameras import CamerasBase
from tirender.scenes.base import Look, Scene, depth_picture, from_origin
from tirender.structures import Gaussians
from tirender.transforms import Scale, Translate

VISIBLE = 0.05  # opacity of Gaussians that count for the placement
MOST = 0.95  # of these lie in the unit sphere; the rest may be the scene's surroundings


class GaussianScene(Scene):
    """Gaussians, moved and scaled so that most of them lie in the unit sphere; their harmonics are evaluated.

    Args:
        gaussians: what to show.
        name: for messages.
        place: whether to move and scale them.
    Raises:
        ValueError: no Gaussians, or all at one place.
    """

    shaders = ("color", "silhouette", "depth")
    supersample = 1

    def __init__(self, gaussians: Gaussians, name: str = "gaussians", place: bool = True) -> None:
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
        settings = GaussiansRasterizationSettings(look.image_size)
        rendered = GaussiansRenderer(cameras, settings, look.background).render(self.gaussians)
        if shader == "silhouette":
            return rendered.alphas
        if shader == "depth":
            return depth_picture(rendered.depths, rendered.alphas, cameras)
        return rendered.colors


def _placement(gaussians: Gaussians, name: str) -> tuple[torch.Tensor, float]:
    """The middle of the visible Gaussians, and the radius that most of them are within."""
    visible = gaussians.opacities > VISIBLE
    points = gaussians.means[visible] if bool(visible.any()) else gaussians.means
    centre = points.median(0).values
    distances = (points - centre).norm(dim=1).sort().values
    radius = float(distances[int(MOST * (len(distances) - 1))]) or float(distances[-1])
    if not radius > 0:
        radius = float(gaussians.scales.max()) * 3
    if not radius > 0:
        fail(name, "Gaussians that are not all at one place", "others")
    return centre, radius
