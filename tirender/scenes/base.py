"""What all scenes share: their look, their placement, and their pixels."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from tirender.checks import check_choice, fail
from tirender.renderer.cameras import CamerasBase

GREY = 0.7


@dataclass(frozen=True)
class Look:
    """How a scene is drawn.

    Attributes:
        image_size: height and width in pixels.
        shader: one of the scene's ``shaders``; None for the first.
        background: RGB in [0, 1].
        light: its position in world space, for shaders with a light; None: above the camera and to its right.
        supersample: n x n samples are averaged in each pixel; None for the scene's own n.
        wireframe: whether to draw the edges of visible faces, too; meshes only.
        backfaces: whether to colour faces red that are seen from behind; meshes only.
    """

    image_size: tuple[int, int] = (512, 512)
    shader: str | None = None
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    light: tuple[float, float, float] | None = None
    supersample: int | None = None
    wireframe: bool = False
    backfaces: bool = False


class Scene(ABC):
    """Something to look at, in the unit sphere around the origin, +Y up.

    Attributes:
        shaders: the names of the ways to draw it.
        supersample: n, if n x n samples a pixel suit it.
        centre, scale: the way back: ``place * scale + centre`` is a place of the scene in the coordinates of its file;
            (3,) float64, and a number.
    """

    shaders: tuple[str, ...]
    supersample: int = 2
    centre: torch.Tensor = torch.zeros(3, dtype=torch.float64)
    scale: float = 1.0

    @property
    @abstractmethod
    def facts(self) -> str:
        """Its size in a few words."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """The device of its tensors; cameras must be on the same."""

    @torch.no_grad()
    def render(self, cameras: CamerasBase, look: Look | None = None) -> torch.Tensor:
        """Draw the scene, without gradients.

        Args:
            cameras: N cameras that look at the origin from outside of the unit sphere; from inside, near parts may be
                cut off.
            look: how to draw it.
        Returns:
            (N, H, W, 3) float32 images in [0, 1].
        Raises:
            ValueError: an unknown shader, or a size that is not positive.
        """
        look = look or Look()
        shader = check_choice("shader", look.shader or self.shaders[0], self.shaders)
        n = look.supersample or self.supersample
        if n < 1 or min(look.image_size) < 1:
            fail("image_size, supersample", "positive integers", (look.image_size, n))
        height, width = look.image_size
        images = self.draw(cameras, shader, replace(look, image_size=(n * height, n * width))).clamp(0, 1)
        if n > 1:
            images = images.unflatten(1, (height, n)).unflatten(3, (width, n)).mean((2, 4))
        return images.expand(-1, -1, -1, 3)

    @abstractmethod
    def draw(self, cameras: CamerasBase, shader: str, look: Look) -> torch.Tensor:
        """Draw images (N, H, W, 3 or 1) of ``look.image_size``, one sample a pixel."""


def placement(points: torch.Tensor, name: str, size: torch.Tensor | float = 0.0) -> tuple[torch.Tensor, float]:
    """The centre of the bounding box of points (P, 3), and the radius of the sphere around it that holds them.

    Args:
        points: in world space.
        name: for messages.
        size: of a box (3,) or a cube around each point, which the sphere holds too.
    Raises:
        ValueError: the points are not finite, or all the same.
    """
    centre = (points.amin(0) + points.amax(0)) / 2
    radius = float(((points - centre).abs() + size / 2).norm(dim=1).max())
    if not 0 < radius < math.inf:
        fail(name, "finite points that are not all one", f"a radius of {radius}")
    return centre, radius


def from_origin(centre: torch.Tensor, origin: Sequence[float] | None) -> torch.Tensor:
    """A centre (3,) in double precision, seen from where the origin was before it was moved; see ``FileMesh``."""
    moved = (0.0, 0.0, 0.0) if origin is None else origin
    return centre.double().cpu() + torch.tensor([*moved], dtype=torch.float64)


def origin_depth(cameras: CamerasBase) -> torch.Tensor:
    """The depths (N,) of the world's origin in the view space of each camera."""
    origin = torch.zeros(1, 3, device=cameras.device)
    return cameras.get_world_to_view_transform().transform_points(origin).reshape(-1, 3)[:, 2]


def depth_picture(depth: torch.Tensor, coverage: torch.Tensor, cameras: CamerasBase) -> torch.Tensor:
    """Grey images (N, H, W, 1) of depths (N, H, W, 1) with a coverage (N, H, W, 1).

    White is the near end of the unit sphere, dark grey its far end, black the background.
    """
    distance = (depth - origin_depth(cameras)[:, None, None, None] + 1) / 2
    return coverage * (1 - 0.8 * distance.clamp(0, 1))


def mean_depth(positions: torch.Tensor, opacity: torch.Tensor, cameras: CamerasBase) -> torch.Tensor:
    """Depths (N, H, W, 1) of mean positions (N, H, W, 3), which are multiplied by opacities (N, H, W, 1)."""
    means = positions / opacity.clamp(min=1e-9)
    return cameras.get_world_to_view_transform().transform_points(means.flatten(1, 2))[..., 2].view_as(opacity)


def over_background(colors: torch.Tensor, opacity: torch.Tensor, look: Look) -> torch.Tensor:
    """Colours (N, H, W, 3), multiplied by opacities (N, H, W, 1), over the background."""
    return colors + (1 - opacity) * colors.new_tensor(look.background)
