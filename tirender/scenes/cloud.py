"""A point cloud as a scene."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tirender.checks import fail
from tirender.ops import knn_points
from tirender.renderer import AlphaCompositor, PointsRasterizationSettings, PointsRasterizer, PointsRenderer
from tirender.renderer.cameras import CamerasBase
from tirender.scenes.base import Look, Scene, depth_picture, from_origin, over_background, placement
from tirender.structures import Pointclouds

POINTS_PER_PIXEL = 12
WIDEST = 0.1  # largest radius of a point on the screen, in NDC units, so that a near point hides little


class CloudScene(Scene):
    """A point cloud, moved and scaled into the unit sphere; its points are discs of one size in the world.

    Features of three or more channels are its colours; other clouds are coloured by height.

    Args:
        cloud: a batch of one.
        name: for messages.
        radius: of points, after scaling; None: neighbours overlap.
        origin: what was taken off its points, which the scene's ``centre`` includes.
    Raises:
        ValueError: no points, or points that are not finite, or all the same.
    """

    shaders = ("color", "silhouette", "depth")

    def __init__(
        self,
        cloud: Pointclouds,
        name: str = "cloud",
        radius: float | None = None,
        origin: Sequence[float] | None = None,
    ) -> None:
        points = cloud.points_packed()
        if len(cloud) != 1 or not len(points):
            fail(name, "at least one point", "none" if len(cloud) == 1 else f"{len(cloud)} clouds")
        centre, self.scale = placement(points, name)
        self.centre = from_origin(centre, origin)
        points = (points - centre) / self.scale
        features = cloud.features_packed()
        colors = features[:, :3] if features is not None and features.shape[1] >= 3 else _by_height(points)
        self.radius = _spacing(points) if radius is None else radius
        self.points, self.rgba = points, torch.cat([colors.to(points), torch.ones_like(points[:, :1])], dim=1)

    @property
    def facts(self) -> str:
        return f"{len(self.points)} points"

    @property
    def device(self) -> torch.device:
        return self.points.device

    def draw(self, cameras: CamerasBase, shader: str, look: Look) -> torch.Tensor:
        n = len(cameras)
        smallest = 1.2 / min(look.image_size)  # more than half a pixel, so that no point falls between pixels
        radii = self._radii_ndc(cameras).clamp(smallest, WIDEST)
        settings = PointsRasterizationSettings(look.image_size, radii, POINTS_PER_PIXEL)
        rasterizer = PointsRasterizer(cameras, settings)
        clouds = Pointclouds([self.points], features=[self.rgba]).extend(n)
        if shader == "depth":
            settings.points_per_pixel = 1
            fragments = rasterizer(clouds)
            return depth_picture(fragments.zbuf, (fragments.idx >= 0).float(), cameras)
        images = PointsRenderer(rasterizer, AlphaCompositor())(clouds)
        colors, opacity = images[..., :3], images[..., 3:]
        return opacity if shader == "silhouette" else over_background(colors, opacity, look)

    def _radii_ndc(self, cameras: CamerasBase) -> torch.Tensor:
        """The radius (N, P) of each point on the screens of N cameras."""
        to_the_left = cameras.R[:, :, 0] * self.radius  # the view's X axis in world space
        here, there = (
            cameras.transform_points_ndc(self.points + shift)[..., :2] for shift in (0, to_the_left[:, None])
        )
        return (there - here).norm(dim=-1).nan_to_num(0)


def _by_height(points: torch.Tensor) -> torch.Tensor:
    """Colours (P, 3) from blue at the bottom over green to yellow at the top."""
    stops = points.new_tensor([[0.27, 0.25, 0.55], [0.13, 0.55, 0.55], [0.4, 0.75, 0.35], [0.98, 0.88, 0.2]])
    y = points[:, 1]
    place = (y - y.amin()) / (y.amax() - y.amin()).clamp(min=1e-9) * (len(stops) - 1)
    below = place.long().clamp(max=len(stops) - 2)
    return torch.lerp(stops[below], stops[below + 1], (place - below)[:, None])


def _spacing(points: torch.Tensor) -> float:
    """A radius for which discs at its points cover a surface: the median distance to the seventh neighbour."""
    chosen = points[torch.linspace(0, len(points) - 1, min(len(points), 4096), device=points.device).long()]
    k = min(8, len(points))
    return float(knn_points(chosen[None], points[None], K=k).dists[0, :, -1].median().sqrt())
