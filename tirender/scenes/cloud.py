"""A point cloud as a scene."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from tirender.checks import fail
from tirender.io.orientation import Orientation
from tirender.ops import knn_points
from tirender.renderer import AlphaCompositor, PointsRasterizationSettings, PointsRasterizer, PointsRenderer
from tirender.renderer.cameras import CamerasBase
from tirender.scenes.base import Look, Scene, depth_picture, framed, from_origin, outermost, placement
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
        orientation: which way up it stands.
    Raises:
        ValueError: no points, or points that are not finite, or all the same.
    """

    shaders = ("unlit", "silhouette", "depth")

    def __init__(
        self,
        cloud: Pointclouds,
        name: str = "cloud",
        radius: float | None = None,
        origin: Sequence[float] | None = None,
        orientation: Orientation | None = None,
    ) -> None:
        points = cloud.points_packed()
        if len(cloud) != 1 or not len(points):
            fail(name, "at least one point", "none" if len(cloud) == 1 else f"{len(cloud)} clouds")
        self.orientation = orientation or Orientation()
        seen = framed(points, self.orientation)
        centre, self.scale = placement(seen, name)
        self.centre = from_origin(centre, origin)
        self._landmarks = outermost((seen - centre) / self.scale)
        points = (points - centre) / self.scale
        features = cloud.features_packed()
        colors = features[:, :3] if features is not None and features.shape[1] >= 3 else self._by_height(points)
        self.radius = _spacing(points) if radius is None else radius
        self.points, self.rgba = points, torch.cat([colors.to(points), torch.ones_like(points[:, :1])], dim=1)

    @property
    def facts(self) -> str:
        return f"{len(self.points)} points"

    @property
    def device(self) -> torch.device:
        return self.points.device

    @property
    def landmarks(self) -> torch.Tensor:
        return self._landmarks

    def draw(self, cameras: CamerasBase, shader: str, look: Look) -> torch.Tensor:
        if shader == "depth":
            depth = self.depth(cameras, look.image_size)[..., None]
            return depth_picture(depth, depth.isfinite().float(), cameras).nan_to_num(0)
        rasterizer, clouds = self._rasterizer(cameras, look.image_size, POINTS_PER_PIXEL)
        images = PointsRenderer(rasterizer, AlphaCompositor())(clouds)
        return images[..., 3:] if shader == "silhouette" else images

    def depth(self, cameras: CamerasBase, image_size: tuple[int, int]) -> torch.Tensor:
        rasterizer, clouds = self._rasterizer(cameras, image_size, 1)
        fragments = rasterizer(clouds)
        return torch.where(fragments.idx >= 0, fragments.zbuf, math.inf)[..., 0]

    def _rasterizer(
        self, cameras: CamerasBase, image_size: tuple[int, int], points_per_pixel: int
    ) -> tuple[PointsRasterizer, Pointclouds]:
        smallest = 1.2 / min(image_size)  # more than half a pixel, so that no point falls between pixels
        radii = self._radii_ndc(cameras).clamp(smallest, WIDEST)
        settings = PointsRasterizationSettings(image_size, radii, points_per_pixel)
        clouds = Pointclouds([self.points], features=[self.rgba]).extend(len(cameras))
        return PointsRasterizer(cameras, settings), clouds

    def _radii_ndc(self, cameras: CamerasBase) -> torch.Tensor:
        """The radius (N, P) of each point on the screens of N cameras."""
        to_the_left = cameras.R[:, :, 0] * self.radius  # the view's X axis in world space
        here, there = (
            cameras.transform_points_ndc(self.points + shift)[..., :2] for shift in (0, to_the_left[:, None])
        )
        return (there - here).norm(dim=-1).nan_to_num(0)

    def _by_height(self, points: torch.Tensor) -> torch.Tensor:
        """Colours (P, 3) from blue at the bottom over green to yellow at the top."""
        stops = points.new_tensor([[0.27, 0.25, 0.55], [0.13, 0.55, 0.55], [0.4, 0.75, 0.35], [0.98, 0.88, 0.2]])
        heights, seen = ((p @ points.new_tensor(self.orientation.up)) for p in (points, self._landmarks))
        place = (heights - seen.amin()) / (seen.amax() - seen.amin()).clamp(min=1e-9) * (len(stops) - 1)
        place = place.clamp(0, len(stops) - 1)
        below = place.long().clamp(max=len(stops) - 2)
        return torch.lerp(stops[below], stops[below + 1], (place - below)[:, None])


def _spacing(points: torch.Tensor) -> float:
    """A radius for which discs at its points cover a surface: the median distance to the seventh neighbour."""
    chosen = points[torch.linspace(0, len(points) - 1, min(len(points), 4096), device=points.device).long()]
    k = min(8, len(points))
    return float(knn_points(chosen[None], points[None], K=k).dists[0, :, -1].median().sqrt())
