"""Alignment of one set of cameras with another."""

from __future__ import annotations

from typing import Any

import torch

from tirender.checks import check_choice, fail
from tirender.ops.points_alignment import corresponding_points_alignment


def corresponding_cameras_alignment(
    cameras_src: Any, cameras_tgt: Any, estimate_scale: bool = True, mode: str = "extrinsics", eps: float = 1e-9
) -> Any:
    """Align cameras with others by one rotation, translation and scaling of their world, in the least squares sense.

    Such a similarity changes each camera's R and T to ``A @ R`` and ``t @ R + s * T``, with the same A, t and s for all
    cameras.

    Args:
        cameras_src: N cameras to align.
        cameras_tgt: N cameras, in the same order.
        estimate_scale: whether to estimate s; otherwise it is 1.
        mode: ``"extrinsics"`` compares rotations and translations, ``"centers"`` only the positions of the cameras.
        eps: the least variance of the cameras for which a scale is estimated; below it the scale is 1, as it is for a
            single camera.
    Returns:
        cameras like ``cameras_src`` with other R and T; differentiable where the alignment is unique. It is not unique
        in mode ``"centers"`` if the cameras lie on a line.
    Raises:
        ValueError: if the mode is unknown, or the numbers of cameras are different or 0.
    """
    check_choice("mode", mode, ("extrinsics", "centers"))
    for name, cameras in (("cameras_src", cameras_src), ("cameras_tgt", cameras_tgt)):
        if not all(isinstance(getattr(cameras, part, None), torch.Tensor) for part in ("R", "T")):
            fail(name, "cameras", type(cameras).__name__)
    if len(cameras_src.R) != len(cameras_tgt.R) or not len(cameras_src.R):
        fail("cameras_tgt", f"{len(cameras_src.R)} cameras as in cameras_src, and at least one", len(cameras_tgt.R))
    align = align_extrinsics if mode == "extrinsics" else _align_centers
    rotation, translation, scale = align(cameras_src, cameras_tgt, estimate_scale, eps)
    aligned = cameras_src.clone()
    aligned.R = rotation @ cameras_src.R
    aligned.T = translation @ cameras_src.R + scale * cameras_src.T
    return aligned


def align_extrinsics(
    src: Any, tgt: Any, estimate_scale: bool = True, eps: float = 1e-9
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A (3, 3), t (1, 3) and s of the similarity that leads from cameras to others, see above."""
    u, _, vh = torch.linalg.svd((tgt.R @ src.R.transpose(1, 2)).mean(0))
    handedness = torch.ones_like(u[0])
    handedness[-1] = torch.linalg.det(u @ vh).sign()
    # along the world axes of the source, translations are related by b = s a + t
    a, b = ((src.R @ cameras.T[:, :, None])[:, :, 0] for cameras in (src, tgt))
    a_mean, b_mean = a.mean(0), b.mean(0)
    variance = (a - a_mean).square().sum()
    scale = torch.ones_like(variance)
    if estimate_scale and variance > eps:
        scale = ((a - a_mean) * (b - b_mean)).sum() / variance
    return u * handedness @ vh, b_mean - scale * a_mean, scale


def _align_centers(
    src: Any, tgt: Any, estimate_scale: bool, eps: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    centers_src, centers_tgt = src.get_camera_center()[None], tgt.get_camera_center()[None]
    can_scale = estimate_scale and len(src.R) > 1
    rotation, translation, scale = corresponding_points_alignment(
        centers_src, centers_tgt, estimate_scale=can_scale, eps=eps
    )
    inverse = rotation[0].t()
    return inverse, -translation[0] @ inverse, scale[0]
