"""Photos of a scene with their cameras, and points of it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from tirender.captures.photos import Photos
from tirender.checks import fail
from tirender.renderer import CamerasBase
from tirender.structures import Pointclouds

HELD_OUT = 8  # every so manieth photo measures quality
NEAREST_POINTS, FURTHEST_POINTS = 0.01, 0.99  # quantiles of the depths of points that bound a scene
NEAR_SHARE, FAR_SHARE = 0.05, 10.0  # of the reach, where no points are known


@dataclass(frozen=True)
class Bounds:
    """Where a scene is, in its own space.

    Attributes:
        middle: (3,) what the cameras look at; the middle of the cameras where they look at nothing together.
        reach: the greatest distance of a camera from it.
        near, far: depths in front of the cameras between which there is something.
    """

    middle: torch.Tensor
    reach: float
    near: float
    far: float


@dataclass(frozen=True)
class Capture:
    """N photos of a scene, without lens distortion.

    Attributes:
        photos: the pictures, made ready when they are asked for; a tensor (N, H, W, 3) in [0, 1] becomes such.
        cameras: N cameras; those of files are ``PerspectiveCameras`` with intrinsics in NDC.
        points: one cloud of points of the scene, with colours as features; None where none are known.
        names: of the photos.
        aside: for each photo whether its files set it aside to measure quality; empty where they say nothing.
        origin: what was taken off places that lie so far out that float32 would blur them.
    Raises:
        ValueError: their numbers differ, or there are none.
    """

    photos: Photos
    cameras: CamerasBase
    points: Pointclouds | None
    names: tuple[str, ...]
    aside: tuple[bool, ...] = ()
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if isinstance(self.photos, torch.Tensor):
            object.__setattr__(self, "photos", Photos.of(self.photos))
        n = len(self.photos)
        if not len(self.cameras) == len(self.names) == n or n == 0:
            fail("cameras", f"at least one, and one for each of the {n} photos", len(self.cameras))
        if len(self.aside) not in (0, n):
            fail("aside", f"none, or one for each of the {n} photos", len(self.aside))

    def __len__(self) -> int:
        return len(self.photos)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of each photo in pixels."""
        return self.photos.sizes

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels, of the most photos where they differ."""
        return max(self.sizes, key=self.sizes.count)

    @property
    def has_masks(self) -> bool:
        """Whether masks or alpha say which part of the photos is the object."""
        return self.photos.has_masks

    def image(self, i: int) -> torch.Tensor:
        """Photo i, (H, W, 3) float32 in [0, 1], on black where it has a mask, on the device of the cameras."""
        return self._floats(self.photos[i][..., :3])

    def mask(self, i: int) -> torch.Tensor | None:
        """What photo i shows of the object, (H, W) in [0, 1]; None where nothing is masked in any photo."""
        return self._floats(self.photos[i][..., 3]) if self.has_masks else None

    def pixels(self, photo: torch.Tensor, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
        """Pixels of photos, each at a row and a column.

        Args:
            photo, row, column: (R,) integers.
        Returns:
            (R, 4) float32 in [0, 1]: colours, on black, and the mask, 1 where there is none.
        """
        found = self._floats(self.photos.pixels(photo.cpu(), row.cpu(), column.cpu()))
        return found if found.shape[1] == 4 else torch.cat([found, torch.ones_like(found[:, :1])], 1)

    def _floats(self, pixels: torch.Tensor) -> torch.Tensor:
        pixels = pixels.to(self.cameras.device)
        return pixels if pixels.is_floating_point() else pixels.float() / 255

    def __getitem__(self, index: Sequence[int]) -> Capture:
        """Some of the photos."""
        cameras = self.cameras[[*index]]
        names = tuple(self.names[i] for i in index)
        aside = tuple(self.aside[i] for i in index) if self.aside else ()
        return replace(self, photos=self.photos.subset(index), cameras=cameras, names=names, aside=aside)

    def split(self, every: int = HELD_OUT) -> tuple[Capture, Capture | None]:
        """The photos to fit to, and others to measure quality with.

        These are what the files set aside, else every so manieth, from the first on; None of fewer.
        """
        if any(self.aside):
            return self.split_aside()
        if len(self) < every:
            return self, None
        return replace(self, aside=tuple(i % every == 0 for i in range(len(self)))).split_aside()

    def split_aside(self) -> tuple[Capture, Capture | None]:
        """The photos to fit to, and those that files set aside; None if they say nothing, or set aside all."""
        if all(self.aside) or not any(self.aside):
            return self, None
        fitted, held_out = (self[[i for i, x in enumerate(self.aside) if x is which]] for which in (False, True))
        return fitted, held_out

    def cropped(self, height: int, width: int) -> Capture:
        """The middle of each photo, of one size in pixels, which none of them is smaller than."""
        if set(self.sizes) == {(height, width)}:
            return self
        cameras = self.cameras.clone()
        sizes = cameras.T.new_tensor(self.sizes)  # height, width
        half, new_half = sizes.min(1).values[:, None] / 2, min(height, width) / 2
        cut = (sizes - sizes.new_tensor([height, width])).div(2, rounding_mode="floor").flip(1)
        centre = sizes.flip(1) / 2 - cameras.principal_point * half - cut
        cameras.focal_length = cameras.focal_length * half / new_half
        cameras.principal_point = (centre.new_tensor([width, height]) / 2 - centre) / new_half
        return replace(self, photos=self.photos.cropped(height, width), cameras=cameras)

    def to(self, device: torch.device | str) -> Capture:
        """With cameras and points on a device; photos follow when they are asked for."""
        points = None if self.points is None else self.points.to(device)
        cameras = self.cameras.clone().to(device)
        return replace(self, cameras=cameras, points=points)

    def moved(self, centre: torch.Tensor, scale: float) -> Capture:
        """The same photos in a space where ``new * scale + centre`` is the old place."""
        cameras = self.cameras.clone()
        cameras.T = ((centre @ cameras.R) + cameras.T) / scale
        points = self.points
        if points is not None:
            points = points.offset((-centre).expand_as(points.points_packed())).scale(1 / scale)
        return replace(self, cameras=cameras, points=points)

    @functools.cached_property
    def bounds(self) -> Bounds:
        """Where the scene is, by its cameras and points."""
        cameras = self.cameras
        centres, ahead = cameras.get_camera_center().detach(), cameras.R.detach()[:, :, 2]
        middle = looked_at(centres, ahead)
        reach = float((centres - middle).norm(dim=1).max()) or 1.0
        near, far = NEAR_SHARE * reach, FAR_SHARE * reach
        depths = self.seen_depths().flatten()
        depths = depths[~depths.isnan()]
        if len(depths):
            ends = depths.quantile(depths.new_tensor([NEAREST_POINTS, FURTHEST_POINTS]))
            near, far = float(ends[0]) / 2, float(ends[1]) * 2
        return Bounds(middle, reach, near, far)

    def seen_depths(self, most: int = 1 << 20) -> torch.Tensor:
        """(N, P) depths of points in cameras, NaN of those that are not in the image; of some where there are many."""
        if self.points is None:
            return self.cameras.T.new_zeros(len(self), 0)
        points = self.points.points_packed().detach()
        points = points[:: 1 + len(points) * len(self) // most]
        view = points @ self.cameras.R.detach() + self.cameras.T.detach()[:, None]
        seen = self.cameras.get_full_projection_transform().transform_points(points, eps=1e-6)[..., :2].detach()
        half = torch.tensor([(w / min(h, w), h / min(h, w)) for h, w in self.sizes]).to(seen)
        depths = view[..., 2]
        return depths.where((seen.abs() <= half[:, None]).all(-1) & (depths > 0), depths.new_tensor(float("nan")))


def looked_at(centres: torch.Tensor, ahead: torch.Tensor) -> torch.Tensor:
    """The place (3,) that is closest to the axes of cameras; the middle of the cameras if it is not ahead of most.

    Args:
        centres: (N, 3).
        ahead: (N, 3) unit directions of their axes.
    """
    middle = nearest_to_lines(centres, ahead)
    is_ahead = ((middle - centres) * ahead).sum(1) > 0
    return middle if float(is_ahead.float().mean()) > 0.5 else centres.mean(0)


def nearest_to_lines(points: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
    """The place (3,) whose squared distances from N lines have the least sum; the nearest to the origin of several.

    Args:
        points: (N, 3), one on each line.
        directions: (N, 3) of length 1.
    """
    across = torch.eye(3).to(directions) - directions[:, :, None] * directions[:, None]  # project along the lines
    return torch.linalg.pinv(across.sum(0), hermitian=True) @ (across @ points[..., None]).sum(0)[:, 0]
