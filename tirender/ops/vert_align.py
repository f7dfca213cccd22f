"""Image features at vertices."""

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
    """Sample feature maps where vertices lie in the image; see Wang et al., "Pixel2Mesh", 2018.

    The first two coordinates of a vertex are its place in the image as ``grid_sample`` has it: (-1, -1) is the top left
    corner and (1, 1) the bottom right; the third is not looked at.

    Args:
        feats: (N, C, H, W), or several such maps with the same N, whose samples are concatenated.
        verts: (N, V, 2 or more), or ``Meshes`` or ``Pointclouds``; dtype and device of the features.
        return_packed: return only what belongs to vertices, (sum V_i, C), if ``verts`` are meshes or clouds.
        interp_mode: ``"bilinear"`` or ``"nearest"``.
        padding_mode: ``"zeros"``, ``"reflection"`` or ``"border"``.
        align_corners: whether -1 and 1 are the centres of the outermost pixels, or their outer edges.
    Returns:
        (N, V, sum of C), or packed; differentiable in features and, if bilinear, in vertices.
    Raises:
        TypeError: if ``verts`` are of another kind.
        ValueError: if shapes do not fit.
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
    aligned = torch.cat(samples, dim=1).transpose(1, 2)
    if not return_packed:
        return aligned
    for rows in ("verts_padded_to_packed_idx", "padded_to_packed_idx"):
        if hasattr(verts, rows):
            return aligned.flatten(0, 1).index_select(0, getattr(verts, rows)())
    return aligned


def _padded(verts: Any) -> torch.Tensor:
    if isinstance(verts, torch.Tensor):
        return verts
    for name in ("verts_padded", "points_padded"):
        if hasattr(verts, name):
            return getattr(verts, name)()
    raise TypeError(f"verts: expected a tensor, Meshes or Pointclouds, got {type(verts).__name__}")
