"""tirender's cameras as Gaussian splatting has them: view matrices and intrinsics in pixels."""

from __future__ import annotations

from typing import Any

import torch

from tirender.checks import fail
from tirender.renderer.cameras import CamerasBase, FishEyeCameras, try_get_projection_transform


def pixel_cameras(
    cameras: CamerasBase, image_size: tuple[int, int], kwargs: dict[str, Any] | None = None
) -> tuple[torch.Tensor, torch.Tensor, str]:
    """Cameras with x to the right, y down and z forward, and intrinsics in pixels.

    Args:
        cameras: N cameras with a projection matrix, or fisheye cameras without distortion.
        image_size: (height, width) of the images that they are to take.
        kwargs: override the cameras' own parameters.
    Returns:
        viewmats: (N, 4, 4) for column vectors; differentiable in R and T.
        intrinsics: (N, 3, 3) for column vectors; differentiable in the cameras' own.
        model: ``"pinhole"``, ``"ortho"`` or ``"fisheye"``.
    Raises:
        ValueError: if a projection has skew or a lens is distorted.
    """
    kwargs = dict(kwargs or {})
    if cameras.get_image_size() is None:
        kwargs.setdefault("image_size", (image_size,))
    to_view = cameras.get_world_to_view_transform(**kwargs).get_matrix()
    if isinstance(cameras, FishEyeCameras):
        model, focal, centre = _fisheye(cameras)
        if not cameras.world_coordinates:
            to_view = torch.eye(4).to(to_view).expand_as(to_view)
    else:
        model, focal, centre = _of_matrix(cameras, kwargs)
    height, width = image_size
    short = min(height, width)
    n = max(len(to_view), len(focal))
    axes = to_view.new_tensor([-1, -1, 1, 1]).diag()  # x to the left and y up become x to the right and y down
    viewmats = axes @ to_view.transpose(1, 2)
    intrinsics = torch.eye(3).to(focal).repeat(n, 1, 1)
    intrinsics[:, 0, 0], intrinsics[:, 1, 1] = (focal * (short / 2)).unbind(1)
    intrinsics[:, :2, 2] = (focal.new_tensor([width, height]) - short * centre) / 2
    return viewmats.expand(n, 4, 4), intrinsics, model


def _of_matrix(cameras: CamerasBase, kwargs: dict[str, Any]) -> tuple[str, torch.Tensor, torch.Tensor]:
    """Model, focal lengths and principal points (N, 2) in NDC of cameras with a projection matrix."""
    projection = try_get_projection_transform(cameras, kwargs)
    if projection is None:
        fail("cameras", "a projection matrix, or FishEyeCameras", type(cameras).__name__)
    is_perspective = cameras.is_perspective()
    row = 2 if is_perspective else 3  # of the depth, or of 1
    others = projection.get_matrix().detach().clone()
    others[:, :, 2] = 0  # the depth in NDC is not used
    for i, j in ((0, 0), (1, 1), (row, 0), (row, 1), (row, 3)):
        others[:, i, j] = 0
    if bool(others.any()):
        fail("cameras", "a projection without skew", projection.get_matrix().tolist())
    matrix = projection.compose(cameras.get_ndc_camera_transform(**kwargs)).get_matrix()
    weight = matrix[:, row, 3]
    focal = torch.stack([matrix[:, 0, 0], matrix[:, 1, 1]], 1) / weight[:, None]
    return "pinhole" if is_perspective else "ortho", focal, matrix[:, row, :2] / weight[:, None]


def _fisheye(cameras: FishEyeCameras) -> tuple[str, torch.Tensor, torch.Tensor]:
    """Model, focal lengths and principal points (N, 2) in NDC of cameras without distortion."""
    parameters = (
        (cameras.use_radial, cameras.radial_params),
        (cameras.use_tangential, cameras.tangential_params),
        (cameras.use_thin_prism, cameras.thin_prism_params),
    )
    if any(used and bool(values.any()) for used, values in parameters):
        fail("cameras", "fisheye cameras without distortion", "radial, tangential or thin prism parameters")
    focal = cameras.focal_length.expand(-1, 2)
    return "fisheye" if cameras.use_radial else "pinhole", focal, cameras.principal_point
