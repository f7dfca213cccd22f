"""The exponential and logarithm map of the group SE(3) of rigid motions.

Matrices are 4x4 transforms of row vectors, as in PyTorch3D: [[R, 0], [T, 1]] with x' = x @ R + T.
"""

from __future__ import annotations

import torch

from tirender.checks import FLOATS, check_tensor, fail
from tirender.transforms.math import matmul, sine_ratios
from tirender.transforms.so3 import hat, so3_exp_map, so3_log_map


def se3_exp_map(log_transform: torch.Tensor, eps: float = 1e-4) -> torch.Tensor:
    """The exponential map: logarithms to rigid motions (Murray, Li, Sastry 1994).

    Args:
        log_transform: (N, 6), log-translation, then log-rotation in radians.
        eps: ignored; the map is exact and smooth at every angle.
    Returns:
        (N, 4, 4), row-vector transforms, differentiable.
    Raises:
        ValueError: if the shape or dtype is wrong.
    """
    check_tensor("log_transform", log_transform, ("N", 6), FLOATS)
    log_translation, log_rotation = log_transform[:, :3], log_transform[:, 3:]
    rotation = so3_exp_map(log_rotation)
    translation = matmul(_left_jacobian(log_rotation), log_translation[..., None])
    affine = torch.cat([rotation, translation], -1)
    last = affine.new_tensor([0, 0, 0, 1]).expand(len(affine), 1, 4)
    return torch.cat([affine, last], 1).transpose(1, 2)


def se3_log_map(transform: torch.Tensor, eps: float = 1e-4, cos_bound: float = 1e-4) -> torch.Tensor:
    """The logarithm map of rigid motions: the inverse of :func:`se3_exp_map` for angles up to pi.

    Args:
        transform: (N, 4, 4), row-vector transforms [[R, 0], [T, 1]].
        eps: tolerance of the check that the trace of R is in [-1, 3].
        cos_bound: ignored; the map is exact at every angle.
    Returns:
        (N, 6), log-translation, then log-rotation with an angle in [0, pi]; differentiable with finite gradients.
    Raises:
        ValueError: if the shape or dtype is wrong, or a matrix is not a rigid motion.
    """
    check_tensor("transform", transform, ("N", 4, 4), FLOATS)
    if not torch.allclose(transform[:, :3, 3], torch.zeros_like(transform[:, :3, 3])):
        fail("transform", "a last column of (0, 0, 0, 1)", transform[:, :, 3].tolist())
    log_rotation = so3_log_map(transform[:, :3, :3].transpose(1, 2), eps, cos_bound)
    log_translation = torch.linalg.solve(_left_jacobian(log_rotation), transform[:, 3, :3])
    return torch.cat([log_translation, log_rotation], -1)


def _left_jacobian(log_rotation: torch.Tensor) -> torch.Tensor:
    """The matrices (N, 3, 3) that map log-translations to translations, given log-rotations (N, 3)."""
    _, b, c = sine_ratios((log_rotation * log_rotation).sum(-1)[:, None, None])
    cross = hat(log_rotation)
    return torch.eye(3, dtype=cross.dtype, device=cross.device) + b * cross + c * matmul(cross, cross)
