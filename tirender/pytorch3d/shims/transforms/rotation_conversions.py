"""Steps of the conversions of rotations."""

from __future__ import annotations

import torch

from tirender.checks import fail
from tirender.transforms.rotation_conversions import AXES, _turn_sign, rotation_about_axis


def _index_from_letter(letter: str) -> int:
    """0, 1 or 2 for "X", "Y" or "Z".

    Raises:
        ValueError: for any other letter.
    """
    if letter not in tuple(AXES):
        fail("letter", "X, Y or Z", repr(letter))
    return AXES.index(letter)


def _axis_angle_rotation(axis: str, angle: torch.Tensor) -> torch.Tensor:
    """Rotation matrices (..., 3, 3) by angles (...) in radians about the axis "X", "Y" or "Z"; differentiable."""
    return rotation_about_axis(_index_from_letter(axis), angle)


def _angle_from_tan(axis: str, other_axis: str, data: torch.Tensor, horizontal: bool, tait_bryan: bool) -> torch.Tensor:
    """The first or the last of three Euler angles, from a column or a row of the rotation matrix.

    A column of A(a) M(m) C(c), where ``axis`` is A's and ``other_axis`` M's, is what A(a) makes of M(m) e_c. With three
    different axes, this vector is cos(m) along the third axis; otherwise it is sin(m) along it, up to a sign. A turns
    it towards M's axis. A row holds the same for the inverse angles.

    Args:
        axis, other_axis: the letters of the angle's axis and of the middle axis.
        data: (..., 3), the column that the last axis selects, or the row that the first selects.
        horizontal: whether it is a row, and the angle the last.
        tait_bryan: whether the three axes differ.
    Returns:
        (...), in radians.
    """
    a, m = _index_from_letter(axis), _index_from_letter(other_axis)
    third = 3 - a - m
    turn, start = _turn_sign(a, m, third), 1 if tait_bryan else _turn_sign(m, third, a)
    if horizontal:
        turn, start = -turn, start if tait_bryan else -start
    return torch.atan2(turn * start * data[..., m], start * data[..., third])


def _copysign(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """``a`` with its sign flipped where it is not that of ``b``; 0 counts as positive."""
    return torch.where((a < 0) != (b < 0), -a, a)


def _sqrt_positive_part(x: torch.Tensor) -> torch.Tensor:
    """The square root of max(0, x), with gradient 0 where x is 0 or below."""
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, 1).sqrt(), 0)
