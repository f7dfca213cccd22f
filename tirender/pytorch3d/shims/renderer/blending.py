"""Parts of the blends."""

from __future__ import annotations

import torch

from tirender.pytorch3d.shims.common.datatypes import Device
from tirender.renderer.blending import BlendParams, background_tensor


def _sigmoid_alpha(dists: torch.Tensor, pix_to_face: torch.Tensor, sigma: float) -> torch.Tensor:
    """The probability (N, H, W) that any face covers a pixel.

    Args:
        dists: (N, H, W, K) signed squared distances; differentiable.
        pix_to_face: (N, H, W, K), -1 where empty.
        sigma: width of an edge's transition, in NDC units squared.
    """
    log_miss = torch.where(pix_to_face >= 0, -torch.nn.functional.softplus(-dists / sigma), 0).sum(-1)
    return -torch.expm1(log_miss)


def _get_background_color(
    blend_params: BlendParams, device: Device, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """The background colour as a tensor (C,)."""
    color = torch.as_tensor(blend_params.background_color, dtype=dtype, device=device)
    return background_tensor(blend_params, color)
