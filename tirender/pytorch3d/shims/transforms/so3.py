"""The exponential map of rotations, with what it is made of."""

from __future__ import annotations

import torch

from tirender.transforms.so3 import hat, so3_exp_map


def _so3_exp_map(
    log_rot: torch.Tensor, eps: float = 0.0001
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of axis-angle vectors (N, 3): matrices (N, 3, 3), angles (N,), cross matrices (N, 3, 3), and their squares.

    The square of an angle is at least ``eps``; the matrices are exact.
    """
    angles = (log_rot * log_rot).sum(1).clamp(min=eps).sqrt()
    cross = hat(log_rot)
    return so3_exp_map(log_rot), angles, cross, torch.bmm(cross, cross)
