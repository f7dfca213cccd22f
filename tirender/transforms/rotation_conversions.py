"""Rotations as matrices, quaternions, axis-angle vectors, Euler angles and the 6-D representation.

Matrices rotate column vectors (R @ v). Quaternions have the real part first. Angles are in radians and right-handed.
Every function takes float32 or float64 with any leading shape. All are differentiable, with finite gradients
everywhere: also at the identity, at half-turns and at zero vectors.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tirender.checks import (
    FLOATS,
    as_device,
    as_floats,
    check_broadcast,
    check_float_dtype,
    check_integer,
    check_tensor,
    fail,
)
from tirender.transforms.math import atan2, matmul, normalize, sine_ratios

AXES = "XYZ"


def quaternion_to_matrix(quaternions: torch.Tensor) -> torch.Tensor:
    """Convert quaternions to rotation matrices.

    Args:
        quaternions: (..., 4), real part first, of any length. As the length falls from 1e-6 to 0, the matrix tends to
            the identity.
    Returns:
        (..., 3, 3).
    Raises:
        ValueError: if the shape or dtype is wrong.
    """
    check_tensor("quaternions", quaternions, ("...", 4), FLOATS)
    w, x, y, z = normalize(quaternions).unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def matrix_to_quaternion(matrix: torch.Tensor) -> torch.Tensor:
    """Convert rotation matrices to unit quaternions with a non-negative real part (Shepperd 1978).

    Args:
        matrix: (..., 3, 3).
    Returns:
        (..., 4), real part first. At half-turns the sign is arbitrary; both signs are the same rotation.
    Raises:
        ValueError: if the shape or dtype is wrong.
    """
    check_tensor("matrix", matrix, ("...", 3, 3), FLOATS)
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = matrix.flatten(-2).unbind(-1)
    # Row k is 4 q_k q. The diagonal (4 q_k^2) sums to 4, so its largest entry is at least 1 and its root is smooth.
    rows = (
        (1 + m00 + m11 + m22, m21 - m12, m02 - m20, m10 - m01),
        (m21 - m12, 1 + m00 - m11 - m22, m10 + m01, m02 + m20),
        (m02 - m20, m10 + m01, 1 - m00 + m11 - m22, m12 + m21),
        (m10 - m01, m20 + m02, m21 + m12, 1 - m00 - m11 + m22),
    )
    products = torch.stack([torch.stack(row, -1) for row in rows], -2)
    squares = products.diagonal(dim1=-2, dim2=-1)
    best = squares.argmax(-1, keepdim=True)
    row = products.gather(-2, best[..., None].expand(*best.shape, 4)).squeeze(-2)
    return standardize_quaternion(row / (2 * squares.gather(-1, best).sqrt()))


def axis_angle_to_quaternion(axis_angle: torch.Tensor) -> torch.Tensor:
    """Convert axis-angle vectors to unit quaternions.

    Args:
        axis_angle: (..., 3), the axis times the angle.
    Returns:
        (..., 4), real part first (negative for angles in (pi, 3 pi)).
    Raises:
        ValueError: if the shape or dtype is wrong.
    """
    check_tensor("axis_angle", axis_angle, ("...", 3), FLOATS)
    quarter = (axis_angle * axis_angle).sum(-1, keepdim=True) / 4  # the squared half angle
    sine, cosine, _ = sine_ratios(quarter)
    return torch.cat([1 - quarter * cosine, axis_angle * sine / 2], -1)


def quaternion_to_axis_angle(quaternions: torch.Tensor) -> torch.Tensor:
    """Convert quaternions to axis-angle vectors.

    Args:
        quaternions: (..., 4), real part first.
    Returns:
        (..., 3), the axis times an angle in [0, 2 pi), above pi if the real part is negative. A full turn
        (-1, 0, 0, 0), which has no axis, gives 0, and so does the zero quaternion.
    Raises:
        ValueError: if the shape or dtype is wrong.
    """
    check_tensor("quaternions", quaternions, ("...", 4), FLOATS)
    w, vector = quaternions[..., :1], quaternions[..., 1:]
    sine = torch.linalg.vector_norm(vector, dim=-1, keepdim=True)
    # Near sine = 0, the ratio angle / sine is computed by the series of atan; so it is at full turns (w = -1).
    small = sine < torch.where(w > 0, 1e-3, 1e-6) * w.abs().clamp_min(1e-6)
    cosine = torch.where(w.abs() > 1e-6, w, 1)
    tangent2 = torch.where(small, (sine / cosine) ** 2, 0)
    series = (1 - tangent2 * (1 / 3 - tangent2 * (1 / 5 - tangent2 / 7))) / cosine
    closed = torch.atan2(torch.where(small, 1, sine), w) / torch.where(small, 1, sine)
    return vector * 2 * torch.where(small, series, closed)


def axis_angle_to_matrix(axis_angle: torch.Tensor, fast: bool = False) -> torch.Tensor:
    """Convert axis-angle vectors to rotation matrices (Rodrigues' formula).

    Args:
        axis_angle: (..., 3), the axis times the angle.
        fast: ignored; the one method here is fast and exact.
    Returns:
        (..., 3, 3).
    Raises:
        ValueError: if the shape or dtype is wrong.
    """
    check_tensor("axis_angle", axis_angle, ("...", 3), FLOATS)
    sine, cosine, _ = sine_ratios((axis_angle * axis_angle).sum(-1)[..., None, None])
    cross = cross_matrix(axis_angle)
    return torch.eye(3, dtype=cross.dtype, device=cross.device) + sine * cross + cosine * matmul(cross, cross)


def matrix_to_axis_angle(matrix: torch.Tensor, fast: bool = False) -> torch.Tensor:
    """Convert rotation matrices to axis-angle vectors with angles in [0, pi].

    Args:
        matrix: (..., 3, 3).
        fast: ignored; the one method here is exact at every angle.
    Returns:
        (..., 3), the axis times the angle. At half-turns the sign is arbitrary; both signs are the same rotation.
    Raises:
        ValueError: if the shape or dtype is wrong.
    """
    return quaternion_to_axis_angle(matrix_to_quaternion(matrix))


def euler_angles_to_matrix(euler_angles: torch.Tensor, convention: str | Sequence[str]) -> torch.Tensor:
    """Convert intrinsic Euler angles to rotation matrices: "XYZ" gives Rx(a) @ Ry(b) @ Rz(c).

    Args:
        euler_angles: (..., 3), the angles (a, b, c); integers become float32.
        convention: three letters of X, Y, Z, no two neighbours equal: a string, or a list of letters.
    Returns:
        (..., 3, 3).
    Raises:
        ValueError: if the shape, the dtype or the convention is wrong.
    """
    euler_angles = as_floats("euler_angles", check_tensor("euler_angles", euler_angles, ("...", 3)))
    i, j, k = _convention_axes(convention)
    a, b, c = euler_angles.unbind(-1)
    return matmul(matmul(rotation_about_axis(i, a), rotation_about_axis(j, b)), rotation_about_axis(k, c))


def matrix_to_euler_angles(matrix: torch.Tensor, convention: str | Sequence[str]) -> torch.Tensor:
    """Convert rotation matrices to intrinsic Euler angles.

    Args:
        matrix: (..., 3, 3).
        convention: three letters of X, Y, Z, no two neighbours equal: a string, or a list of letters.
    Returns:
        (..., 3). The middle angle is in [-pi/2, pi/2], or in [0, pi] if the first and last axis are the same. In gimbal
        lock the first angle is 0, and the angles still give the matrix back.
    Raises:
        ValueError: if the shape, the dtype or the convention is wrong.
    """
    check_tensor("matrix", matrix, ("...", 3, 3), FLOATS)
    i, j, k = _convention_axes(convention)
    other = 3 - j - k  # the axis that is neither j nor k; it is i unless i == k
    # M = Ri(a) Rj(b) Rk(c). Rk does not move e_k, so column k of M is Ri(a) Rj(b) e_k, which gives a. Multiplying by
    # Ri(-a) leaves Rj(b) Rk(c). Its column k is that of Rj(b), which gives b; its row j is that of Rk(c) and gives c.
    if i == k:
        sign = _turn_sign(j, other, k)  # the component of Rj(b) e_k along e_other is sign * sin(b), with sin(b) >= 0
        a = atan2(_turn_sign(i, j, other) * sign * matrix[..., j, k], sign * matrix[..., other, k])
    else:
        a = atan2(_turn_sign(i, j, k) * matrix[..., j, k], matrix[..., k, k])
    rest = matmul(rotation_about_axis(i, -a), matrix)
    b = atan2(_turn_sign(j, other, k) * rest[..., other, k], rest[..., k, k])
    c = atan2(_turn_sign(k, j, other) * rest[..., j, other], rest[..., j, j])
    return torch.stack([a, b, c], -1)


def rotation_6d_to_matrix(d6: torch.Tensor) -> torch.Tensor:
    """Convert the 6-D representation to rotation matrices by Gram-Schmidt (Zhou et al. 2019).

    Args:
        d6: (..., 6), the first two rows of the matrix before orthonormalization.
    Returns:
        (..., 3, 3). If the two rows are parallel or shorter than 1e-6, the matrix is finite but not a rotation.
    Raises:
        ValueError: if the shape or dtype is wrong.
    """
    check_tensor("d6", d6, ("...", 6), FLOATS)
    first = normalize(d6[..., :3])
    second = normalize(d6[..., 3:] - (first * d6[..., 3:]).sum(-1, keepdim=True) * first)
    return torch.stack([first, second, torch.cross(first, second, dim=-1)], -2)


def matrix_to_rotation_6d(matrix: torch.Tensor) -> torch.Tensor:
    """The first two rows (..., 6) of rotation matrices (..., 3, 3): their 6-D representation (Zhou et al. 2019).

    Raises:
        ValueError: if the shape or dtype is wrong.
    """
    check_tensor("matrix", matrix, ("...", 3, 3), FLOATS)
    return matrix[..., :2, :].flatten(-2).clone()


def standardize_quaternion(quaternions: torch.Tensor) -> torch.Tensor:
    """Negate quaternions (..., 4) with a negative real part; the rotation stays the same.

    Raises:
        ValueError: if the shape or dtype is wrong.
    """
    check_tensor("quaternions", quaternions, ("...", 4), FLOATS)
    return torch.where(quaternions[..., :1] < 0, -quaternions, quaternions)


def quaternion_raw_multiply(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The Hamilton product of quaternions ``a`` and ``b``, (..., 4) each, which broadcast.

    Raises:
        ValueError: if a shape or dtype is wrong.
    """
    check_tensor("a", a, ("...", 4), FLOATS)
    check_tensor("b", b, ("...", 4), like=a)
    check_broadcast("b", b, a)
    aw, av = a[..., :1], a[..., 1:]
    bw, bv = b[..., :1], b[..., 1:]
    real = aw * bw - (av * bv).sum(-1, keepdim=True)
    vector = aw * bv + bw * av + torch.linalg.cross(*torch.broadcast_tensors(av, bv), dim=-1)
    return torch.cat([real, vector], -1)


def quaternion_multiply(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The rotation ``b`` followed by ``a``: quaternions (..., 4) with a non-negative real part.

    Raises:
        ValueError: if a shape or dtype is wrong.
    """
    return standardize_quaternion(quaternion_raw_multiply(a, b))


def quaternion_invert(quaternion: torch.Tensor) -> torch.Tensor:
    """The conjugates of quaternions (..., 4); the conjugate of a unit quaternion is the inverse rotation.

    Raises:
        ValueError: if the shape or dtype is wrong.
    """
    check_tensor("quaternion", quaternion, ("...", 4), FLOATS)
    return torch.cat([quaternion[..., :1], -quaternion[..., 1:]], -1)


def quaternion_apply(quaternion: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
    """Rotate points by unit quaternions.

    Args:
        quaternion: (..., 4), real part first.
        point: (..., 3), of the same dtype; the leading shapes broadcast.
    Returns:
        (..., 3).
    Raises:
        ValueError: if a shape or dtype is wrong.
    """
    check_tensor("quaternion", quaternion, ("...", 4), FLOATS)
    check_tensor("point", point, ("...", 3), like=quaternion)
    check_broadcast("point", point, quaternion[..., :1])
    pure = torch.cat([torch.zeros_like(point[..., :1]), point], -1)
    return quaternion_raw_multiply(quaternion_raw_multiply(quaternion, pure), quaternion_invert(quaternion))[..., 1:]


def random_quaternions(
    n: int, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> torch.Tensor:
    """``n`` random rotations, uniform, as unit quaternions (n, 4) with a non-negative real part (Muller 1959).

    Raises:
        ValueError: if ``n`` is negative, the dtype is not of floats, or the device is none of torch's.
    """
    n, dtype, device = check_integer("n", n, 0), check_float_dtype("dtype", dtype), as_device("device", device)
    return standardize_quaternion(normalize(torch.randn(n, 4, dtype=dtype, device=device)))


def random_rotations(
    n: int, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> torch.Tensor:
    """``n`` random rotations, uniform, as matrices (n, 3, 3)."""
    return quaternion_to_matrix(random_quaternions(n, dtype=dtype, device=device))


def random_rotation(dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> torch.Tensor:
    """One random rotation, uniform, as a matrix (3, 3)."""
    return random_rotations(1, dtype, device)[0]


def cross_matrix(vectors: torch.Tensor) -> torch.Tensor:
    """The skew-symmetric matrices (..., 3, 3) of vectors (..., 3): ``matrix @ u`` = cross(vector, u)."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))


def rotation_about_axis(axis: int, angle: torch.Tensor) -> torch.Tensor:
    """Rotation matrices (..., 3, 3) by ``angle`` (...) about coordinate axis 0, 1 or 2."""
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    entries = [[zero] * 3 for _ in range(3)]
    j, k = (axis + 1) % 3, (axis + 2) % 3
    entries[axis][axis] = one
    entries[j][j] = entries[k][k] = cos
    entries[j][k], entries[k][j] = -sin, sin
    return torch.stack([torch.stack(row, -1) for row in entries], -2)


def _turn_sign(axis: int, row: int, column: int) -> int:
    """The sign of the sine at (row, column) of a rotation about ``axis``."""
    return -1 if (row, column) == ((axis + 1) % 3, (axis + 2) % 3) else 1


def _convention_axes(convention: str | Sequence[str]) -> tuple[int, int, int]:
    valid = (
        isinstance(convention, str | list | tuple)
        and len(convention) == 3
        and all(letter in tuple(AXES) for letter in convention)
        and convention[1] not in (convention[0], convention[2])
    )
    if not valid:
        fail("convention", "three letters of X, Y, Z with no neighbours equal", repr(convention))
    i, j, k = (AXES.index(letter) for letter in convention)
    return i, j, k
