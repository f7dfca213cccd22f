"""How barycentric coordinates change from pixel to pixel, in torch; ``kernels/triangle.py`` has the same."""

from __future__ import annotations

import torch

from tirender.engine.kernels.triangle import AREA_EPS, PERSPECTIVE_BOUND
from tirender.engine.rasterize_meshes import RasterMode


def surface_slopes(verts: torch.Tensor, pixels: torch.Tensor, mode: RasterMode) -> torch.Tensor:
    """The change of the coordinates, before they are clipped, to the next pixel to the right and to the next below.

    Args:
        verts: (M, 3, 3), the corners of M triangles as (x_ndc, y_ndc, z_view).
        pixels: (M,) int64, the pixel that each is looked at from, in row-major order through all images.
        mode: image size, and whether coordinates are those in space.
    Returns:
        (M, 3, 2).
    """
    height, width = mode.image_size
    short = min(height, width)
    xy, z = verts[..., :2], verts[..., 2]
    to_next = xy.roll(-2, 1) - xy.roll(-1, 1)  # along the edge opposite each corner
    area = (to_next[:, 0, 1] * to_next[:, 1, 0] - to_next[:, 0, 0] * to_next[:, 1, 1] + AREA_EPS)[:, None]
    slopes = torch.stack([-to_next[..., 1], to_next[..., 0]], 2) * (2 / short) / area[..., None]
    if not mode.perspective_correct:
        return slopes
    column, row = pixels % width, pixels // width % height
    centre = torch.stack([(width - 1 - 2 * column).to(z) / short, (height - 1 - 2 * row).to(z) / short], 1)
    from_start = centre[:, None] - xy.roll(-1, 1)
    affine = (from_start[..., 0] * to_next[..., 1] - from_start[..., 1] * to_next[..., 0]) / area
    others = z.roll(-1, 1) * z.roll(-2, 1)
    top, slopes = affine * others, slopes * others[..., None]
    least = (PERSPECTIVE_BOUND * top.abs().max(1, keepdim=True).values).clamp(min=1e-30)
    total = top.sum(1, keepdim=True).maximum(least)[..., None]
    return (slopes - top[..., None] * (slopes.sum(1, keepdim=True) / total)) / total
