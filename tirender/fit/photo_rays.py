"""Rays through the pixels of photos, and where in space a scene of photos lies."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tirender.captures import Capture
from tirender.renderer import PerspectiveCameras

INNER = 0.8  # the part of a capture's points that lies in the unit cube after normalisation


def normalized_capture(capture: Capture) -> tuple[Capture, torch.Tensor, float]:
    """The same photos, moved and scaled so that most known points lie in the cube [-1, 1]^3.

    The centre is the median of the points. Where no points are known, it is what the cameras look at, and the cube's
    half side is half their distance from it.

    Returns:
        the capture, and the centre (3,) and scale that lead back: ``new * scale + centre`` is the old place.
    """
    centre, scale = capture.bounds.middle, capture.bounds.reach / 2
    if capture.points is not None:
        points = capture.points.points_packed().detach()
        points = points[:: 1 + len(points) // 1_000_000]
        centre = points.median(0).values
        of_points = float((points - centre).abs().amax(1).quantile(INNER))
        scale = of_points if of_points > 0 else scale
    return capture.moved(centre, scale), centre, scale


def rays_of_pixels(
    cameras: PerspectiveCameras, sizes: torch.Tensor, row: torch.Tensor, column: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rays through the centres of pixels, one a camera.

    Args:
        cameras: R pinholes with intrinsics in NDC.
        sizes: (R, 2), height and width of each image.
        row, column: (R,) integers.
    Returns:
        origins and directions (R, 3) of length 1, in world space; differentiable in the cameras.
    """
    height, width = sizes.to(cameras.T).unbind(1)
    half = torch.minimum(height, width) / 2
    ndc = torch.stack([(width / 2 - column - 0.5) / half, (height / 2 - row - 0.5) / half], dim=1)
    ahead = (ndc - cameras.principal_point) / cameras.focal_length
    ahead = torch.cat([ahead, torch.ones_like(ahead[:, :1])], dim=1)
    directions = (cameras.R @ ahead[..., None])[..., 0]
    origins = -(cameras.R @ cameras.T[..., None])[..., 0]
    return origins, F.normalize(directions, dim=1)
