"""Captures as views of an object: of one size, with silhouettes."""

from __future__ import annotations

import os
import warnings

import torch

from tirender.budget import bounded, spend
from tirender.captures import Capture, load_capture
from tirender.checks import check_choice, fail
from tirender.fit.views import Views
from tirender.renderer import AmbientLights

WITHOUT_MASKS = ("refuse", "full", "ball")


@bounded
def load_views(path: str | os.PathLike[str], device: torch.device | str = "cpu", allow_parent: bool = False) -> Views:
    """Read images, masks and cameras of an object.

    Without masks, the alpha of the images is the mask. Colours are laid on white.

    Args:
        path: see :func:`~tirender.captures.load_capture`.
        device: of the views.
        allow_parent: whether images may lie in the folder above the file's, and what is in it, too.
    Returns:
        views in the files' space, lit by ambient light; all but the middle is cut off where photos differ in size.
    Raises:
        ValueError: as for ``load_capture``; there are neither masks nor alpha.
        OSError: a file cannot be opened.
    """
    capture = load_capture(path, allow_parent=allow_parent)
    return views_of(capture.split_aside()[0].to(device), str(path))


def views_of(capture: Capture, name: str = "capture", without_masks: str = "refuse") -> Views:
    """Photos as views, on the device of the cameras.

    Args:
        capture: photos, of which all but the middle is cut off where they differ in size.
        name: for messages.
        without_masks: what happens where there are none: ``"refuse"``; ``"full"`` takes whole photos for the object;
            ``"ball"`` takes what lies in a ball around what the cameras look at, see :func:`ball_of`.
    Raises:
        ValueError: there are neither masks nor alpha, and these are asked for.
    """
    check_choice("without_masks", without_masks, WITHOUT_MASKS)
    if not capture.has_masks and without_masks == "refuse":
        expected = "a mask_path in each frame, a folder masks, or images whose alpha shows the object"
        fail(name, expected, "opaque images")
    height, width = (min(size[axis] for size in capture.sizes) for axis in (0, 1))
    capture = capture.cropped(height, width)
    n = len(capture)
    spend(name, n * height * width * 16, f"{n} views of {width} x {height}")
    capture.photos.prepare("photos")
    images = torch.stack([capture.image(i) for i in range(n)])
    if capture.has_masks:
        silhouettes = torch.stack([capture.mask(i) for i in range(n)])  # type: ignore[misc]
    elif without_masks == "full":
        silhouettes = torch.ones_like(images[..., 0])
    else:
        centre, radius = ball_of(capture)
        silhouettes = _of_ball(capture, centre, radius, height, width)
        images = images * silhouettes[..., None]
        warnings.warn(f"{name}: no masks: only a ball around what all photos look at is fitted", stacklevel=2)
    on_white = images + (1 - silhouettes[..., None])
    return Views(capture.cameras, silhouettes.contiguous(), on_white, AmbientLights(device=images.device))


def ball_of(capture: Capture) -> tuple[torch.Tensor, float]:
    """Centre (3,) and radius of the ball around what the cameras look at that fits into most of the photos."""
    centre = capture.bounds.middle
    eyes, ahead = capture.cameras.get_camera_center(), capture.cameras.R[:, :, 2]
    depths = ((centre - eyes) * ahead).sum(1).clamp(min=0)
    focal = capture.cameras.get_projection_transform().get_matrix()[:, 0, 0]
    radius = float((depths * torch.sin(torch.atan(1 / focal))).median())
    return centre, radius if radius > 0 else capture.bounds.reach


def _of_ball(capture: Capture, centre: torch.Tensor, radius: float, height: int, width: int) -> torch.Tensor:
    """(N, H, W) 1 where the ray of a pixel's centre meets a ball."""
    half = min(height, width) / 2
    y, x = torch.meshgrid(*(torch.arange(n) + 0.5 for n in (height, width)), indexing="ij")
    ndc = torch.stack([(width / 2 - x) / half, (height / 2 - y) / half, torch.ones_like(x)], -1).view(-1, 3)
    found = []
    for i in range(len(capture)):
        camera = capture.cameras[[i]]
        rays = camera.unproject_points(ndc.to(camera.device)[None], world_coordinates=True, from_ndc=True)[0]
        eye = camera.get_camera_center()[0]
        rays = torch.nn.functional.normalize(rays - eye, dim=1)
        distance = torch.linalg.cross(rays, (centre - eye).expand_as(rays)).norm(dim=1)
        found.append(((distance < radius) & (rays @ (centre - eye) > 0)).float().view(height, width))
    return torch.stack(found)


def normalized_views(views: Views, capture: Capture) -> tuple[Views, torch.Tensor, float]:
    """The views with the object, or the ball without masks, about the unit sphere; see ``Views.normalized``."""
    if capture.has_masks:
        return views.normalized()
    centre, scale = ball_of(capture)
    return views.moved(centre, scale), centre, scale
