"""The exponential and logarithm map of the rotation group SO(3), and angles between rotations."""

from __future__ import annotations

import torch

from tirender.checks import FLOATS, check_broadcast, check_number, check_tensor, fail
from tirender.transforms.math import acos_linear_extrapolation, matmul
from tirender.transforms.rotation_conversions import (
    axis_angle_to_matrix,
    cross_matrix,
    matrix_to_axis_angle,
    matrix_to_quaternion,
)


def so3_exp_map(log_rot: torch.Tensor, eps: float = 0.0001) -> torch.Tensor:
    """The exponential map: axis-angle vectors to rotation matrices (Rodrigues' formula).

    Args:
        log_rot: (N, 3), axis times angle in radians.
        eps: ignored; the map is exact and smooth at every angle.
    Returns:
        (N, 3, 3); differentiable.
    Raises:
        ValueError: if the shape or dtype is wrong.
    """
    check_tensor("log_rot", log_rot, ("N", 3), FLOATS)
    return axis_angle_to_matrix(log_rot)


so3_exponential_map = so3_exp_map  # PyTorch3D's older name


def so3_log_map(R: torch.Tensor, eps: float = 0.0001, cos_bound: float = 1e-4) -> torch.Tensor:
    """The logarithm map: rotation matrices to axis-angle vectors.

    Args:
        R: (N, 3, 3).
        eps: tolerance of the check that the trace is in [-1, 3].
        cos_bound: ignored; the map is exact at every angle.
    Returns:
        (N, 3), axis times angle, with angles in [0, pi] radians; differentiable with finite gradients, also at
        half-turns.
    Raises:
        ValueError: if the shape or dtype is wrong, or a trace is out of range.
    """
    _check_rotations(R, eps)
    return matrix_to_axis_angle(R)


def so3_rotation_angle(
    R: torch.Tensor, eps: float = 1e-4, cos_angle: bool = False, cos_bound: float = 1e-4
) -> torch.Tensor:
    """The angles of rotation matrices.

    Args:
        R: (N, 3, 3).
        eps: tolerance of the check that the trace is in [-1, 3].
        cos_angle: return the cosine, (trace - 1) / 2, instead of the angle.
        cos_bound: the arc cosine is exact for cosines up to 1 - ``cos_bound`` in size, and continued by its tangents
            beyond, as in PyTorch3D: with the default, the angle of the identity is 0.0071. 0 gives the exact angle.
    Returns:
        (N,), radians; in [0, pi] up to the continuation. Differentiable, with finite gradients if ``cos_bound`` > 0.
        With 0, the gradient is 0 at the identity.
    Raises:
        ValueError: if the shape or dtype is wrong, a trace is out of range, or ``cos_bound`` is not in [0, 1].
    """
    _check_rotations(R, eps)
    cosine = (_trace(R) - 1) / 2
    if cos_angle:
        return cosine
    cos_bound = check_number("cos_bound", cos_bound)
    if cos_bound > 0:
        return acos_linear_extrapolation(cosine, (cos_bound - 1, 1 - cos_bound))
    quaternions = matrix_to_quaternion(R)
    return 2 * torch.atan2(torch.linalg.vector_norm(quaternions[:, 1:], dim=-1), quaternions[:, 0])


def so3_relative_angle(
    R1: torch.Tensor, R2: torch.Tensor, cos_angle: bool = False, cos_bound: float = 1e-4, eps: float = 1e-4
) -> torch.Tensor:
    """The angles between rotation matrices.

    Args:
        R1, R2: (N, 3, 3), of one dtype.
        cos_angle, cos_bound, eps: as for :func:`so3_rotation_angle`.
    Returns:
        (N,), the angle of R1 @ R2^T in radians, or its cosine; differentiable. With the default ``cos_bound``, the
        angle of equal rotations is 0.0071.
    Raises:
        ValueError: as :func:`so3_rotation_angle`.
    """
    check_tensor("R1", R1, ("N", 3, 3), FLOATS)
    check_tensor("R2", R2, ("N", 3, 3), like=R1)
    check_broadcast("R2", R2, R1)
    return so3_rotation_angle(matmul(R1, R2.transpose(1, 2)), eps=eps, cos_angle=cos_angle, cos_bound=cos_bound)


def hat(v: torch.Tensor) -> torch.Tensor:
    """The skew-symmetric matrices (N, 3, 3) of vectors ``v`` (N, 3): ``hat(v) @ u`` = cross(v, u); differentiable.

    Raises:
        ValueError: if the shape or dtype is wrong.
    """
    check_tensor("v", v, ("N", 3), FLOATS)
    return cross_matrix(v)


def hat_inv(h: torch.Tensor) -> torch.Tensor:
    """The vectors (N, 3) of skew-symmetric matrices ``h`` (N, 3, 3); the inverse of :func:`hat`.

    Raises:
        ValueError: if the shape is wrong, or a matrix is not skew-symmetric within 1e-5.
    """
    check_tensor("h", h, ("N", 3, 3), FLOATS)
    asymmetry = (h + h.transpose(1, 2)).abs()
    if (asymmetry > 1e-5).any():
        fail("h", "skew-symmetric matrices", f"h + h^T of {asymmetry.max().item():.3g}")
    return torch.stack([h[:, 2, 1], h[:, 0, 2], h[:, 1, 0]], -1)


def _check_rotations(R: torch.Tensor, eps: float) -> None:
    check_tensor("R", R, ("N", 3, 3), FLOATS)
    traces = _trace(R)
    if ((traces < -1 - eps) | (traces > 3 + eps)).any():
        fail("R", "rotation matrices, with traces in [-1, 3]", f"traces in [{traces.min():.4g}, {traces.max():.4g}]")


def _trace(R: torch.Tensor) -> torch.Tensor:
    return R.diagonal(dim1=-2, dim2=-1).sum(-1)
