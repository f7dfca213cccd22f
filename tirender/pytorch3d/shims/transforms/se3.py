"""The matrices that take logarithms of translations to translations."""

from __future__ import annotations

import torch

from tirender.pytorch3d.shims.transforms.so3 import _so3_exp_map
from tirender.transforms.se3 import _left_jacobian
from tirender.transforms.so3 import hat, so3_exp_map, so3_log_map

__all__ = ["_get_se3_V_input", "_se3_V_matrix", "_so3_exp_map", "hat", "so3_exp_map", "so3_log_map"]


def _se3_V_matrix(
    log_rotation: torch.Tensor,
    log_rotation_hat: torch.Tensor,
    log_rotation_hat_square: torch.Tensor,
    rotation_angles: torch.Tensor,
    eps: float = 1e-4,
) -> torch.Tensor:
    """(N, 3, 3): how log-translations become translations; only the axis-angle vectors ``log_rotation`` are read."""
    return _left_jacobian(log_rotation)


def _get_se3_V_input(
    log_rotation: torch.Tensor, eps: float = 1e-4
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """What :func:`_se3_V_matrix` takes: vectors (N, 3), cross matrices and their squares (N, 3, 3), and angles (N,)."""
    _, angles, cross, squared = _so3_exp_map(log_rotation, eps)
    return log_rotation, cross, squared, angles
