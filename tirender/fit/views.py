"""Views of an object: images, silhouettes and the cameras that took them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F

from tirender.captures.capture import nearest_to_lines
from tirender.checks import FLOATS, check_tensor, fail
from tirender.fit.distributed import Part, part
from tirender.renderer import AmbientLights, CamerasBase, PointLights
from tirender.structures import Meshes
from tirender.utils.render_mesh import render_mesh_around

Lights = AmbientLights | PointLights


@dataclass(frozen=True)
class Views:
    """N views of one object.

    Attributes:
        cameras: N cameras.
        silhouettes: (N, H, W) in [0, 1], the fraction of a pixel that the object covers.
        images: (N, H, W, 3) in [0, 1] on a white background; None if only silhouettes are known.
        lights: the light of the images.
    """

    cameras: CamerasBase
    silhouettes: torch.Tensor
    images: torch.Tensor | None
    lights: Lights

    def __post_init__(self) -> None:
        check_tensor("silhouettes", self.silhouettes, ("N", "H", "W"), FLOATS)
        n = len(self.silhouettes)
        if self.images is not None:
            check_tensor("images", self.images, (*self.silhouettes.shape, 3), like=self.silhouettes)
        if len(self.cameras) != n or n == 0:
            fail("cameras", f"at least one, and one for each of the {n} silhouettes", len(self.cameras))

    def __len__(self) -> int:
        return len(self.silhouettes)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.silhouettes.shape[1], self.silhouettes.shape[2]

    @property
    def shown(self) -> int:
        """The index of the view that previews and figures show."""
        return min(1, len(self) - 1)

    @property
    def on_black(self) -> torch.Tensor:
        """The images (N, H, W, 3) on a black background.

        Raises:
            ValueError: there are no images.
        """
        if self.images is None:
            fail("views", "images", "silhouettes only")
        return (self.images - (1 - self.silhouettes[..., None])).clamp(min=0)

    def __getitem__(self, index: slice | list[int]) -> Views:
        """Some of the views."""
        images = None if self.images is None else self.images[index]
        return replace(self, cameras=self.cameras[index], silhouettes=self.silhouettes[index], images=images)

    def resized(self, size: int) -> Views:
        """The same views with ``size`` pixels on the short side, averaged over areas; views are never enlarged.

        The cameras' intrinsics must be in NDC.
        """
        height, width = self.image_size
        scale = size / min(height, width)
        if scale >= 1:
            return self
        small = (max(round(height * scale), 1), max(round(width * scale), 1))
        images = self.images
        if images is not None:
            images = F.interpolate(images.movedim(3, 1), small, mode="area").movedim(1, 3).contiguous()
        silhouettes = F.interpolate(self.silhouettes[:, None], small, mode="area")[:, 0]
        return replace(self, images=images, silhouettes=silhouettes)

    def normalized(self) -> tuple[Views, torch.Tensor, float]:
        """The same views, moved and scaled so that the object fills about the unit sphere around the origin.

        The centre is the point closest to the rays through the middles of the silhouettes. Each silhouette just fits
        into a sphere around the centre; the radius is the median of theirs.

        Returns:
            the views, and the centre (3,) and scale that lead back: ``new * scale + centre`` is the old place.
        Raises:
            ValueError: a silhouette is empty.
        """
        small = self.resized(64)
        eyes = self.cameras.get_camera_center()
        middles, all_rays = [], []
        for i in range(len(self)):
            points = _covered_ndc(small.silhouettes[i])
            if not len(points):
                fail(f"silhouettes[{i}]", "a covered pixel", "none")
            camera = self.cameras[i]
            middles.append(_directions(camera, (points.amin(0) + points.amax(0))[None] / 2)[0])
            all_rays.append(_directions(camera, points))
        centre = nearest_to_lines(eyes, torch.stack(middles))
        radii = [
            torch.linalg.cross(rays, (centre - eye).expand_as(rays)).norm(dim=1).max()
            for eye, rays in zip(eyes, all_rays)
        ]
        scale = float(torch.stack(radii).median())
        return self.moved(centre, scale), centre, scale

    def moved(self, centre: torch.Tensor, scale: float) -> Views:
        """The same views, moved and scaled so that ``new * scale + centre`` is the old place."""
        cameras = self.cameras.clone()
        cameras.T = ((centre @ cameras.R) + cameras.T) / scale
        return replace(self, cameras=cameras)


def camera_record(views: Any) -> dict[str, Any]:
    """What a checkpoint keeps of the cameras of ``Views`` or of a ``Capture``: pinholes, in NDC."""
    cameras = views.cameras
    ahead = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], device=cameras.device)
    seen = cameras.get_projection_transform().transform_points(ahead.expand(len(cameras), 3, 3))[..., :2]
    principal = seen[:, 0]
    focal = torch.stack([seen[:, 1, 0] - principal[:, 0], seen[:, 2, 1] - principal[:, 1]], dim=1)
    R, T = (part.expand(len(cameras), *part.shape[1:]) for part in (cameras.R, cameras.T))
    tensors = {"R": R, "T": T, "focal": focal, "principal": principal}
    return {name: part.detach().cpu().clone() for name, part in tensors.items()} | {"image_size": [*views.image_size]}


def render_views(
    mesh: Meshes,
    n_views: int = 20,
    image_size: int = 128,
    *,
    elev: torch.Tensor | None = None,
    azim: torch.Tensor | None = None,
    dist: float = 2.7,
) -> Views:
    """Render views of a textured mesh from all around, as section 4.2 of the tutorials does.

    Args:
        mesh: one mesh with textures, within the unit sphere; its light is at (0, 0, -3).
        n_views: number of views.
        image_size: side of the images in pixels.
        elev, azim: (n_views,) angles in degrees; by default a full turn of each, from 0 and from -180.
        dist: distance of the cameras from the origin.
    Returns:
        the views; a silhouette is 1 where the centre of the pixel is covered, 0 elsewhere, and between them where what
        covers it is transparent.
    """
    elev = torch.linspace(0, 360, n_views) if elev is None else elev
    azim = torch.linspace(-180, 180, n_views) if azim is None else azim
    cameras, images, silhouettes, lights = render_mesh_around(mesh, elev, azim, dist, image_size)
    return Views(cameras, silhouettes, images, lights)


def draw_views(views: Views, n: int) -> torch.Tensor:
    """The indices of n random views, each at most once."""
    return torch.randperm(len(views))[:n].to(views.silhouettes.device)


def choose_views(views: Views, n: int) -> tuple[torch.Tensor, Part]:
    """Draw n random views, each at most once, and choose those that this process renders.

    Returns:
        their indices, and this process's part of the n views.
    """
    chosen = draw_views(views, n)
    mine = part(len(chosen))
    return chosen[mine.rows], mine


def render_views_between(mesh: Meshes, n_views: int, n_between: int = 8, image_size: int = 128) -> Views:
    """Render views from halfway between those of :func:`render_views`, to measure quality where nothing was fitted.

    Args:
        mesh, image_size: as there.
        n_views: number of views there.
        n_between: largest number of views between them, evenly spread.
    """
    between = torch.linspace(0, max(n_views - 2, 0), min(n_views, n_between)).round() + 0.5
    angles = between * 360 / max(n_views - 1, 1)
    return render_views(mesh, len(angles), image_size, elev=angles, azim=angles - 180)


def _covered_ndc(silhouette: torch.Tensor) -> torch.Tensor:
    """The centres (P, 2) of covered pixels, in NDC."""
    height, width = silhouette.shape
    rows, columns = (silhouette > 0.5).nonzero().unbind(1)
    half = min(height, width) / 2
    return torch.stack([(width / 2 - columns - 0.5) / half, (height / 2 - rows - 0.5) / half], dim=1)


def _directions(camera: CamerasBase, points_ndc: torch.Tensor) -> torch.Tensor:
    """Unit directions (P, 3) in world space of a perspective camera's rays through points (P, 2)."""
    at_depth_1 = torch.cat([points_ndc, torch.ones_like(points_ndc[:, :1])], dim=1)
    points = camera.unproject_points(at_depth_1[None], world_coordinates=True, from_ndc=True)
    return F.normalize(points.reshape(-1, 3) - camera.get_camera_center(), dim=1)
