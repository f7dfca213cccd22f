"""A voxel volume as a scene."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from tirender.checks import fail
from tirender.io.orientation import Orientation
from tirender.renderer import EmissionAbsorptionRaymarcher, NDCMultinomialRaysampler, VolumeRenderer
from tirender.renderer.cameras import CamerasBase
from tirender.scenes.base import (
    GREY,
    Look,
    Scene,
    depth_of_half,
    depth_picture,
    from_origin,
    mean_depth,
    outermost,
    placement,
)
from tirender.structures import Volumes
from tirender.structures.volumes import voxel_sizes

NEAREST = 0.02  # distance of the first sample for a camera inside the volume
SAMPLES_MAX = 4096  # along a ray
EMPTY = 0.1  # fraction of the highest density; voxels below it count as empty


class VolumeScene(Scene):
    """A volume, moved and scaled so that its voxels lie in the unit sphere, except for those that are nearly empty.

    Features of three or more channels are its colours, fewer are grey levels; a volume without features is grey.

    Args:
        volume: a batch of one; its densities are the opacities of samples.
        name: for messages.
        step: the distance between samples along a ray, in the volume's world units; None: the least voxel size.
        place: whether to move and scale it.
        orientation: which way up it stands.
    Raises:
        ValueError: a batch of another size, densities of several channels, or voxels that are far too thin.
    """

    shaders = ("unlit", "silhouette", "depth")
    supersample = 1

    def __init__(
        self,
        volume: Volumes,
        name: str = "volume",
        step: float | None = None,
        place: bool = True,
        orientation: Orientation | None = None,
    ) -> None:
        self.orientation = orientation or Orientation()
        densities, features = volume.densities().float(), volume.features()
        if len(volume) != 1 or densities.shape[1] != 1:
            fail(name, "one volume with densities of one channel", f"densities {tuple(densities.shape)}")
        centres = volume.get_coord_grid()[0]
        dense = densities[0, 0] > EMPTY * densities.amax()
        spacing = voxel_sizes(volume)[0]
        middle = centres.reshape(-1, 3).double().mean(0).float()
        if bool((middle.abs() * torch.finfo(torch.float32).eps > spacing).any()):
            fail(name, "voxels that float32 tells apart where they are", f"a volume at {middle.tolist()}")
        centre, radius = torch.zeros_like(spacing), 1.0
        seen = centres[_ends_of_rows(dense if bool(dense.any()) else torch.ones_like(dense))]
        if place:
            centre, radius = placement(seen, name, spacing)
            self.centre, self.scale = from_origin(centre, None), radius
        outwards = (seen - (seen.amin(0) + seen.amax(0)) / 2).sign() * spacing / 2
        self._landmarks = outermost((seen + outwards - centre) / radius)
        self.step = (float(spacing.min()) if step is None else step) / radius
        self.reach = float((centres.reshape(-1, 3) - centre).norm(dim=1).max() + spacing.norm()) / radius
        if not 2 * self.reach / self.step < SAMPLES_MAX:
            sides = " x ".join(f"{x:g}" for x in spacing.tolist())
            fail(name, f"a volume of at most {SAMPLES_MAX} times its least voxel side", f"voxels of {sides}, too small")
        colors = torch.full_like(densities, GREY) if features is None else features.float()
        colors = colors[:, :3] if colors.shape[1] >= 3 else colors[:, :1].expand(-1, 3, -1, -1, -1)
        placed: dict[str, Any] = {
            "voxel_size": spacing / radius,
            "volume_translation": (centre - middle) / radius,
        }
        densities = F.pad(densities, (1,) * 6)
        colors = F.pad(colors, (1,) * 6, mode="replicate")  # only opacity fades at the border
        self.colored = Volumes(densities, colors.expand(-1, 3, -1, -1, -1), **placed)
        self.located = Volumes(densities, self.colored.get_coord_grid().permute(0, 4, 1, 2, 3), **placed)

    @property
    def facts(self) -> str:
        return " x ".join(str(n - 2) for n in self.colored.densities().shape[2:]) + " voxels"

    @property
    def device(self) -> torch.device:
        return self.colored.device

    @property
    def landmarks(self) -> torch.Tensor:
        return self._landmarks

    def draw(self, cameras: CamerasBase, shader: str, look: Look) -> torch.Tensor:
        if shader != "depth":
            images = self._march(cameras, look.image_size, self.colored)
            return images[..., 3:] if shader == "silhouette" else images
        images = self._march(cameras, look.image_size, self.located)
        opacity = images[..., 3:]
        return depth_picture(mean_depth(images[..., :3], opacity, cameras), opacity, cameras)

    def depth(self, cameras: CamerasBase, image_size: tuple[int, int]) -> torch.Tensor:
        return depth_of_half(self._march(cameras, image_size, self.located), cameras)

    def _march(self, cameras: CamerasBase, image_size: tuple[int, int], volume: Volumes) -> torch.Tensor:
        """Features, multiplied by opacity, and opacity (N, H, W, 4)."""
        distance = cameras.get_camera_center().norm(dim=-1)
        near = max(float(distance.min()) - self.reach, NEAREST)
        far = float(distance.max()) + self.reach
        sampler = NDCMultinomialRaysampler(
            image_height=image_size[0],
            image_width=image_size[1],
            n_pts_per_ray=math.ceil((far - near) / self.step) + 1,
            min_depth=near,
            max_depth=far,
            unit_directions=True,
        )
        return VolumeRenderer(sampler, EmissionAbsorptionRaymarcher())(cameras, volume)[0]


def _ends_of_rows(dense: torch.Tensor) -> torch.Tensor:
    """The first and the last dense voxel of each row along x (D, H, W): those of a convex hull are among them."""
    along = torch.arange(dense.shape[2], device=dense.device)
    first = torch.where(dense, along, dense.shape[2]).amin(2, keepdim=True)
    last = torch.where(dense, along, -1).amax(2, keepdim=True)
    return (along == first) | (along == last)
