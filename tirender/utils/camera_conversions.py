"""Camera conversions to and from OpenCV's conventions.

OpenCV has x_view = R @ x_world + tvec with +X right, +Y down and +Z ahead. Image coordinates are in pixels; as in
PyTorch3D, (0, 0) is the upper left corner of the upper left pixel, not its centre.
"""

from __future__ import annotations

import torch

from tirender.checks import FLOATS, check_tensor, fail
from tirender.renderer.cameras import CamerasBase, PerspectiveCameras


def cameras_from_opencv_projection(
    R: torch.Tensor, tvec: torch.Tensor, camera_matrix: torch.Tensor, image_size: torch.Tensor
) -> PerspectiveCameras:
    """Convert OpenCV's ``R``, ``tvec`` and ``camera_matrix`` to cameras with the same projection.

    Args:
        R: (N, 3, 3) floats, rotations for column vectors.
        tvec: (N, 3) floats, translations in world units.
        camera_matrix: (N, 3, 3) floats, focal lengths and principal points in pixels; skew is ignored.
        image_size: (N, 2), height and width in pixels.
    Returns:
        cameras with intrinsics in NDC; differentiable. Their ``transform_points_screen`` gives OpenCV's pixels.
    Raises:
        ValueError: if a shape or dtype is wrong.
    """
    check_tensor("R", R, ("N", 3, 3), FLOATS)
    check_tensor("tvec", tvec, ("N", 3), FLOATS)
    check_tensor("camera_matrix", camera_matrix, ("N", 3, 3), FLOATS)
    half_size, scale = _half_size_and_scale(image_size, camera_matrix)
    focal_length = camera_matrix.diagonal(dim1=1, dim2=2)[:, :2]
    principal_point = camera_matrix[:, :2, 2]
    flip = R.new_tensor([-1, -1, 1])
    return PerspectiveCameras(
        R=R.transpose(1, 2) * flip,
        T=tvec * flip,
        focal_length=focal_length / scale,
        principal_point=(half_size - principal_point) / scale,
        image_size=image_size,
        device=R.device,
    )


def opencv_from_cameras_projection(
    cameras: CamerasBase, image_size: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Convert perspective cameras to OpenCV's ``R``, ``tvec`` and ``camera_matrix``.

    Args:
        cameras: ``PerspectiveCameras``, with intrinsics in NDC or in pixels, or ``FoVPerspectiveCameras``.
        image_size: (N, 2), height and width in pixels.
    Returns:
        R (N, 3, 3), tvec (N, 3) in world units and camera_matrix (N, 3, 3) in pixels; differentiable.
    Raises:
        ValueError: if the cameras are not perspective, or the image size has another shape.
    """
    if not isinstance(cameras, CamerasBase) or not cameras.is_perspective():
        fail("cameras", "perspective cameras", type(cameras).__name__)
    matrix = cameras.get_projection_transform().get_matrix()
    half_size, scale = _half_size_and_scale(image_size, matrix)
    focal_length, principal_point = matrix.diagonal(dim1=1, dim2=2)[:, :2], matrix[:, 2, :2]
    if cameras.in_ndc():
        focal_length, principal_point = focal_length * scale, half_size - principal_point * scale
    last_row = matrix.new_tensor([[[0, 0, 1]]]).expand(len(principal_point), 1, 3)
    camera_matrix = torch.cat(
        [torch.cat([torch.diag_embed(focal_length), principal_point[..., None]], -1), last_row], 1
    )
    flip = cameras.R.new_tensor([-1, -1, 1])
    return (cameras.R * flip).transpose(1, 2), cameras.T * flip, camera_matrix


def _half_size_and_scale(image_size: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Half of (width, height) in pixels, (N, 2), and the pixels in one NDC unit, (N, 1)."""
    check_tensor("image_size", image_size, ("N", 2))
    half_size = image_size.to(like).flip(1) / 2
    return half_size, half_size.amin(1, keepdim=True)
