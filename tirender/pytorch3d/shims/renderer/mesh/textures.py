"""What PyTorch3D's module of textures imports, and the resizing of maps."""

from __future__ import annotations

import torch

from tirender.ops.interp_face_attrs import interpolate_face_attributes
from tirender.structures.utils import list_to_packed, list_to_padded, padded_to_list

__all__ = ["_pad_texture_maps", "interpolate_face_attributes", "list_to_packed", "list_to_padded", "padded_to_list"]


def _pad_texture_maps(images: list[torch.Tensor] | tuple[torch.Tensor, ...], align_corners: bool) -> torch.Tensor:
    """Maps (H_i, W_i, C) as one tensor (N, H, W, C), all resized to the largest height and width; differentiable."""
    size = [max(image.shape[axis] for image in images) for axis in (0, 1)]
    resized = [
        torch.nn.functional.interpolate(
            image.permute(2, 0, 1)[None], size, mode="bilinear", align_corners=align_corners
        )
        for image in images
    ]
    return torch.cat(resized).permute(0, 2, 3, 1)
