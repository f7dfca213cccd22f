"""Comparing dense fragments whose order within a pixel may differ where depths tie."""

from __future__ import annotations

import torch


def by_face(pix_to_face: torch.Tensor, *values: torch.Tensor) -> list[torch.Tensor]:
    """The slots of each pixel sorted by face index: ``pix_to_face`` (N, H, W, K) and ``values`` (N, H, W, K[, C])."""
    sorted_faces, order = pix_to_face.sort(dim=-1)
    out = [sorted_faces]
    for v in values:
        index = order if v.dim() == order.dim() else order[..., None].expand_as(v)
        out.append(v.gather(3, index))
    return out
