"""What all scenes share: their look, their placement, and their pixels."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import avg_pool2d

from tirender.checks import check_choice, fail
from tirender.io.orientation import Orientation
from tirender.renderer.cameras import CamerasBase

if TYPE_CHECKING:
    from tirender.renderer import EnvironmentLights
    from tirender.scenes.cameras import SceneCamera
    from tirender.scenes.shadow import ShadowedGround

GREY = 0.7
MANY = 100_000  # points are enough to tell strays
MAX_SAMPLES = 1 << 29  # of a picture: kernels index fewer than 2^31 numbers
SMALL = 0.4  # what is smaller by this factor is worth to be looked at alone
EDGES = ("antialias", "hard")
FAR_GREY = 0.2
GREYS = ("silhouette", "depth")
"""The shaders whose pictures are grey and opaque, without a background."""


@dataclass(frozen=True)
class Look:
    """How a scene is drawn.

    Attributes:
        image_size: height and width in pixels.
        shader: one of the scene's ``shaders``; None for the first.
        background: RGB in [0, 1]; None for a transparent one, in images RGBA.
        light: its position in world space, for shaders with a light; None: above the camera and to its right.
        supersample: n x n samples are averaged in each pixel; None for the scene's own n.
        wireframe: whether to draw the edges of visible faces, too; meshes only.
        edges: "antialias" smooths the outlines of opaque meshes (see :func:`~tirender.renderer.antialias`), and filters
            textures by mipmaps; "hard" does neither.
        shadow: whether the scene casts a soft shadow from above onto the ground, the plane below it.
        backfaces: whether to colour faces red that are seen from behind; meshes only.
        environment: the surroundings for the shader "pbr"; None: a studio. Their +Y is up and their +Z in front, as the
            scene stands.
        environment_turn: degrees by which they are turned about the vertical.
        exposure: multiplies the light of "pbr".
        tone_mapping: of "pbr", see :func:`~tirender.renderer.tone_mapping.tone_map`.
    """

    image_size: tuple[int, int] = (512, 512)
    shader: str | None = None
    background: tuple[float, float, float] | None = (1.0, 1.0, 1.0)
    light: tuple[float, float, float] | None = None
    supersample: int | None = None
    wireframe: bool = False
    edges: str = "antialias"
    shadow: bool = False
    backfaces: bool = False
    environment: EnvironmentLights | None = None
    environment_turn: float = 0.0
    exposure: float = 1.0
    tone_mapping: str = "neutral"


class Scene(ABC):
    """Something to look at, in the unit sphere around the origin; strays, and a floor that is larger, may reach out.

    Attributes:
        shaders: the names of the ways to draw it.
        supersample: n, if n x n samples a pixel suit it.
        centre, scale: the way back: ``place * scale + centre`` is a place of the scene in the coordinates of its file;
            (3,) float64, and a number.
        orientation: which way up it stands, and which way it faces.
        cameras: those that its file lists, or that took the views of a fit.
        backdrop: the colour behind it when it was fitted to whole photos, which it needs to look like them; None for
            any.
    """

    shaders: tuple[str, ...]
    supersample: int = 2
    centre: torch.Tensor = torch.zeros(3, dtype=torch.float64)
    scale: float = 1.0
    orientation: Orientation = Orientation()
    cameras: tuple[SceneCamera, ...] = ()
    backdrop: tuple[float, float, float] | None = None
    _ground: ShadowedGround | None = None  # with the shadow, once it is asked for

    @property
    @abstractmethod
    def facts(self) -> str:
        """Its size in a few words."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """The device of its tensors; cameras must be on the same."""

    @property
    def landmarks(self) -> torch.Tensor:
        """Points (P, 3) that a picture of the whole scene shows; here, on the unit sphere."""
        return directions(self.device)

    @torch.no_grad()
    def render(self, cameras: CamerasBase, look: Look | None = None) -> torch.Tensor:
        """Draw the scene, without gradients.

        Args:
            cameras: N cameras that look at the origin from outside of the unit sphere; from inside, near parts may be
                cut off.
            look: how to draw it.
        Returns:
            (N, H, W, 3) float32 images in [0, 1]; (N, H, W, 4), colours not multiplied by alpha, where the background
            is transparent; colours without alpha are white.
        Raises:
            ValueError: an unknown shader, or a size that is not positive.
        """
        look = look or Look()
        shader = check_choice("shader", look.shader or self.shaders[0], self.shaders)
        check_choice("edges", look.edges, EDGES)
        n = look.supersample or self.supersample
        if n < 1 or min(look.image_size) < 1:
            fail("image_size, supersample", "positive integers", (look.image_size, n))
        height, width = look.image_size
        if n * n * height * width >= MAX_SAMPLES:
            got = f"{width} x {height} px of {n} x {n} samples"
            fail("image_size, supersample", "fewer than 2^29 samples: make one of them smaller", got)
        images = self.draw(cameras, shader, replace(look, image_size=(n * height, n * width))).clamp(0, 1)
        if n > 1:
            images = avg_pool2d(images.permute(0, 3, 1, 2), n).permute(0, 2, 3, 1)
        if images.shape[3] == 1:
            return images.expand(-1, -1, -1, 3)
        colors, alpha = images[..., :3], images[..., 3:]
        if look.shadow:
            alpha = 1 - (1 - alpha) * (1 - self._cast_shadow(cameras, look))
        if look.background is not None:
            return (colors + (1 - alpha) * colors.new_tensor(look.background)).clamp(0, 1)
        straight = torch.where(alpha > 0, colors / alpha.clamp(min=1e-6), 1.0).clamp(0, 1)
        return torch.cat([straight, alpha], dim=3)

    @abstractmethod
    def draw(self, cameras: CamerasBase, shader: str, look: Look) -> torch.Tensor:
        """Draw images of ``look.image_size``, one sample a pixel.

        Returns:
            (N, H, W, 4), colours multiplied by alpha, and alpha; or (N, H, W, 1) for the ``GREYS``.
        """

    @abstractmethod
    def depth(self, cameras: CamerasBase, image_size: tuple[int, int]) -> torch.Tensor:
        """Depths (N, H, W) along the cameras' axes, in the scene's units, at the centres of pixels; inf: nothing.

        Args:
            cameras: N cameras.
            image_size: H and W.
        """

    def _cast_shadow(self, cameras: CamerasBase, look: Look) -> torch.Tensor:
        """The opacity (N, H, W, 1) of the shadow on the ground."""
        from tirender.scenes.shadow import ShadowedGround

        if self._ground is None:
            self._ground = ShadowedGround(self, look)
        return self._ground.shadow(cameras, look.image_size)


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


def framed(points: torch.Tensor, orientation: Orientation) -> torch.Tensor:
    """Those of points (P, 3) that a picture should hold: all but strays and a floor, if the rest is far smaller.

    A stray is further out from the middle 98 % than these are wide. A floor is the lowest 5 % of the height, except
    what lies below the rest.
    """
    up = points.new_tensor(orientation.up)
    for is_left_out in (_is_stray, lambda kept: _is_floor(kept, up), _is_stray):
        rest = points[~is_left_out(points)]
        if len(rest) > 3 and _diagonal(rest) < SMALL * _diagonal(points):
            points = rest
    return points


def directions(device: torch.device) -> torch.Tensor:
    """Unit vectors (600, 3), evenly spread."""
    steps = torch.arange(600, device=device)
    height, turn = (steps + 0.5) / 300 - 1, steps * (math.pi * (5**0.5 - 1))
    radius = (1 - height**2).sqrt()
    return torch.stack([radius * turn.cos(), height, radius * turn.sin()], dim=1)


def outermost(points: torch.Tensor) -> torch.Tensor:
    """Those of points (P, 3) that lie furthest out in some of many directions: about their convex hull."""
    towards = directions(points.device)
    if len(points) <= len(towards):
        return points
    parts = points.split(1 << 13)  # whose products stay in a CPU's cache
    best = torch.stack([(towards @ part.T).amax(1) for part in parts]).argmax(0)
    found = []
    for i in best.unique().tolist():
        found.append(parts[i][(towards[best == i] @ parts[i].T).argmax(1).unique()])
    return torch.cat(found)


def _is_stray(points: torch.Tensor) -> torch.Tensor:
    sample = points[:: len(points) // MANY + 1]
    ordered = sample.sort(0).values
    low, high = (ordered[round(share * (len(sample) - 1))] for share in (0.01, 0.99))
    return ((points < 2 * low - high) | (points > 2 * high - low)).any(1)


def _is_floor(points: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    heights = points @ up
    is_low = heights <= heights.amin() + 0.05 * (heights.amax() - heights.amin())
    if bool(is_low.all()):
        return is_low
    plan = points - heights[:, None] * up
    least, most = plan[~is_low].amin(0), plan[~is_low].amax(0)
    margin = 0.05 * (most - least).amax()
    return is_low & ((plan < least - margin) | (plan > most + margin)).any(1)


def _diagonal(points: torch.Tensor) -> float:
    return float((points.amax(0) - points.amin(0)).norm())


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
    return coverage * (1 - (1 - FAR_GREY) * distance.clamp(0, 1))


def mean_depth(positions: torch.Tensor, opacity: torch.Tensor, cameras: CamerasBase) -> torch.Tensor:
    """Depths (N, H, W, 1) of mean positions (N, H, W, 3), which are multiplied by opacities (N, H, W, 1)."""
    means = positions / opacity.clamp(min=1e-9)
    return cameras.get_world_to_view_transform().transform_points(means.flatten(1, 2))[..., 2].view_as(opacity)


def depth_of_half(images: torch.Tensor, cameras: CamerasBase) -> torch.Tensor:
    """Depths (N, H, W) of mean positions, multiplied by opacity, and opacity (N, H, W, 4); inf where that is < 0.5."""
    opacity = images[..., 3:]
    return torch.where(opacity >= 0.5, mean_depth(images[..., :3], opacity, cameras), math.inf)[..., 0]
