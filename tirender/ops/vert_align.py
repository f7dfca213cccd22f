"""Sampling of image features at vertices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from tirender.checks import check_choice, check_tensor, fail


def vert_align(
    feats: torch.Tensor | Sequence[torch.Tensor],
    verts: Any,
    return_packed: bool = False,
    interp_mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool = True,
) -> torch.Tensor:
    """Sample feature maps at the image positions of vertices; see Wang et al., "Pixel2Mesh", 2018.

    The first two coordinates of a vertex are its position in the image, as in ``grid_sample``: (-1, -1) is the top left
    corner and (1, 1) the bottom right. Further coordinates are ignored.

    Args:
        feats: (N, C, H, W), or several such maps with the same N; their samples are concatenated.
        verts: (N, V, 2 or more), or ``Meshes`` or ``Pointclouds``, with the dtype and device of the features.
        return_packed: return (sum V_i, C): without padding if ``verts`` are meshes or clouds, else (N V, C).
        interp_mode: ``"bilinear"`` or ``"nearest"``.
        padding_mode: ``"zeros"``, ``"reflection"`` or ``"border"``.
        align_corners: True puts -1 and 1 at the centres of the outermost pixels, False at their outer edges.
    Returns:
        (N, V, sum of C), or packed; differentiable in the features and, if bilinear, in the vertices.
    Raises:
        TypeError: if ``verts`` has another type.
        ValueError: if a shape, dtype or device is wrong.
    """
    check_choice("interp_mode", interp_mode, ("bilinear", "nearest"))
    check_choice("padding_mode", padding_mode, ("zeros", "reflection", "border"))
    several = isinstance(feats, Iterable) and not isinstance(feats, torch.Tensor)
    maps: list[Any] = list(feats) if several else [feats]
    places = _padded(verts)
    check_tensor("verts", places, ("N", "V", "2 or more"))
    if places.shape[2] < 2:
        fail("verts", "2 or more coordinates", places.shape[2])
    if not maps:
        fail("feats", "at least one tensor", feats)
    for i, feature_map in enumerate(maps):
        check_tensor(f"feats[{i}]", feature_map, (len(places), "C", "H", "W"), like=places)
        if 0 in feature_map.shape[2:]:
            fail(f"feats[{i}]", "at least one pixel", tuple(feature_map.shape))
    grid = places[:, None, :, :2]
    samples = [F.grid_sample(m, grid, interp_mode, padding_mode, align_corners)[:, :, 0] for m in maps]
    aligned = torch.cat(samples, dim=1).transpose(1, 2).contiguous()
    if not return_packed:
        return aligned
    for rows in ("verts_padded_to_packed_idx", "padded_to_packed_idx"):
        if hasattr(verts, rows):
            return aligned.flatten(0, 1).index_select(0, getattr(verts, rows)())
    return aligned.flatten(0, 1)


def _padded(verts: Any) -> torch.Tensor:
    if isinstance(verts, torch.Tensor):
        return verts
    for name in ("verts_padded", "points_padded"):
        if hasattr(verts, name):
            return getattr(verts, name)()
    raise TypeError(f"verts: expected a tensor, Meshes or Pointclouds, got {type(verts).__name__}")
