"""``gsplat.utils``: small functions that its trainers use."""

from __future__ import annotations

import torch

from tirender.transforms.rotation_conversions import quaternion_to_matrix

__all__ = [
    "depth_to_normal",
    "depth_to_points",
    "inverse_log_transform",
    "log_transform",
    "normalized_quat_to_rotmat",
]


def normalized_quat_to_rotmat(quat: torch.Tensor) -> torch.Tensor:
    """Rotation matrices (..., 3, 3) of quaternions (..., 4), w first."""
    return quaternion_to_matrix(quat)


def log_transform(x: torch.Tensor) -> torch.Tensor:
    """sign(x) log(1 + |x|)."""
    return x.sign() * x.abs().log1p()


def inverse_log_transform(y: torch.Tensor) -> torch.Tensor:
    """The inverse of :func:`log_transform`."""
    return y.sign() * y.abs().expm1()


def depth_to_points(
    depths: torch.Tensor, camtoworlds: torch.Tensor, Ks: torch.Tensor, z_depth: bool = True
) -> torch.Tensor:
    """The points in the world that pixels show.

    Args:
        depths: (..., H, W, 1).
        camtoworlds: (..., 4, 4).
        Ks: (..., 3, 3) in pixels.
        z_depth: whether depths are along the camera's axis; else along the rays.
    Returns:
        (..., H, W, 3); differentiable.
    """
    height, width = depths.shape[-3:-1]
    y, x = torch.meshgrid(
        torch.arange(height, device=depths.device) + 0.5, torch.arange(width, device=depths.device) + 0.5, indexing="ij"
    )
    focal = Ks[..., None, None, [0, 1], [0, 1]]
    slopes = (torch.stack([x, y], -1) - Ks[..., None, None, :2, 2]) / focal
    rays = torch.nn.functional.pad(slopes, (0, 1), value=1.0)
    if not z_depth:
        rays = torch.nn.functional.normalize(rays, dim=-1)
    turned = torch.einsum("...ij,...hwj->...hwi", camtoworlds[..., :3, :3], rays * depths)
    return turned + camtoworlds[..., None, None, :3, 3]


def depth_to_normal(
    depths: torch.Tensor, camtoworlds: torch.Tensor, Ks: torch.Tensor, z_depth: bool = True
) -> torch.Tensor:
    """Normals (..., H, W, 3) of the surface that pixels show, from central differences; 0 at the border.

    Arguments are those of :func:`depth_to_points`.
    """
    points = depth_to_points(depths, camtoworlds, Ks, z_depth)
    down = points[..., 2:, 1:-1, :] - points[..., :-2, 1:-1, :]
    right = points[..., 1:-1, 2:, :] - points[..., 1:-1, :-2, :]
    normals = torch.nn.functional.normalize(torch.linalg.cross(down, right), dim=-1)
    return torch.nn.functional.pad(normals, (0, 0, 1, 1, 1, 1))
