"""``gsplat.utils``: small functions that its trainers use."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

import torch

from tirender.gsplat.exporter import export_splats
from tirender.structures.gaussians import Y00
from tirender.transforms.rotation_conversions import quaternion_to_matrix

__all__ = [
    "depth_to_normal",
    "depth_to_points",
    "get_projection_matrix",
    "inverse_log_transform",
    "log_transform",
    "normalized_quat_to_rotmat",
    "save_ply",
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


def get_projection_matrix(
    znear: float, zfar: float, fovX: float, fovY: float, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """(4, 4) from camera space, z forward, to clip space with z in [0, w]; angles in radians."""
    matrix = torch.zeros(4, 4, device=device)
    matrix[0, 0], matrix[1, 1] = 1 / math.tan(fovX / 2), 1 / math.tan(fovY / 2)
    matrix[2, 2], matrix[2, 3] = zfar / (zfar - znear), -zfar * znear / (zfar - znear)
    matrix[3, 2] = 1.0
    return matrix


def save_ply(
    splats: Mapping[str, torch.Tensor], dir: str | os.PathLike[str], colors: torch.Tensor | None = None
) -> None:
    """Save Gaussians as PLY; :func:`~tirender.gsplat.export_splats` does more.

    Args:
        splats: ``means``, ``scales``, ``quats``, ``opacities``, ``sh0`` and ``shN``, as for ``export_splats``.
        dir: the file.
        colors: (N, 3) in place of the harmonics.
    """
    if colors is None:
        sh0, shN = splats["sh0"], splats["shN"]
    else:
        sh0, shN = ((colors - 0.5) / Y00)[:, None], colors.new_zeros(len(colors), 0, 3)
    export_splats(splats["means"], splats["scales"], splats["quats"], splats["opacities"], sh0, shN, save_to=dir)
