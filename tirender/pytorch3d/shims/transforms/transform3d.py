"""Products of matrices, and the check of rotations."""

from __future__ import annotations

import warnings

import torch

from tirender.pytorch3d.shims.common.datatypes import Device, get_device, make_device
from tirender.pytorch3d.shims.common.workaround.utils import _safe_det_3x3
from tirender.transforms.rotation_conversions import axis_angle_to_matrix
from tirender.transforms.transform3d import _matmul

__all__ = [
    "Device",
    "_broadcast_bmm",
    "_check_valid_rotation_matrix",
    "_safe_det_3x3",
    "axis_angle_to_matrix",
    "get_device",
    "make_device",
]


def _broadcast_bmm(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The products of matrices (N, ...), (N, ...); a batch of 1, or one matrix, broadcasts."""
    return _matmul(*(matrix[None] if matrix.dim() == 2 else matrix for matrix in (a, b)))


def _check_valid_rotation_matrix(R: torch.Tensor, tol: float = 1e-7) -> None:
    """Warn where matrices (N, 3, 3) are not orthonormal with determinant 1, to within ``tol``."""
    identity = torch.eye(3, dtype=R.dtype, device=R.device).expand_as(R)
    is_orthonormal = torch.allclose(R.bmm(R.transpose(1, 2)), identity, atol=tol)
    determinants = _safe_det_3x3(R)
    if not is_orthonormal or not torch.allclose(determinants, torch.ones_like(determinants)):
        warnings.warn("R: expected rotation matrices, got others", stacklevel=2)
