"""A torch twin of analytic anti-aliasing: pairs of pixels along rows, then along columns, edge by edge."""

from __future__ import annotations

import torch


def antialias(
    colors: torch.Tensor,
    nearest: torch.Tensor,
    depth: torch.Tensor,
    faces: torch.Tensor,
    opposites: torch.Tensor,
    verts: torch.Tensor,
) -> torch.Tensor:
    """Blend the outlines in pictures.

    Args:
        colors: (N, H, W, C).
        nearest: (N, H, W) int64 triangles, -1 for none.
        depth: (N, H, W).
        faces: (T, 3) int64.
        opposites: (T, 3) int64.
        verts: (V, 3) in NDC.
    """
    n, height, width, _ = colors.shape
    half = min(height, width) / 2
    screen = torch.stack([width / 2 - 0.5 - verts[:, 0] * half, height / 2 - 0.5 - verts[:, 1] * half], 1)
    image = colors
    for axis, size in ((2, width), (1, height)):
        first, second = torch.arange(size - 1), torch.arange(1, size)
        t0, t1 = nearest.index_select(axis, first), nearest.index_select(axis, second)
        z0, z1 = depth.index_select(axis, first), depth.index_select(axis, second)
        pick_first = (t1 < 0) | ((t0 >= 0) & (z0 <= z1))
        t = torch.where(pick_first, t0, t1)
        where = (t0 != t1).nonzero()
        if not len(where):
            continue
        b, y, x = where.unbind(1)
        t = t[b, y, x]
        along, across = (x, y) if axis == 2 else (y, x)
        place = torch.stack([along, across], 1).to(verts)
        order = [0, 1] if axis == 2 else [1, 0]
        crossing = torch.full((len(t),), 0.5, dtype=verts.dtype)
        found = torch.zeros(len(t), dtype=torch.bool)
        for corner in range(3):
            i, j, k = (faces[t, (corner + c) % 3] for c in (1, 2, 0))
            beyond = opposites[t, corner]
            a, c = screen[i][:, order] - place, screen[j][:, order] - place
            crosses = (a[:, 1] > 0) != (c[:, 1] > 0)
            steep = (c[:, 1] - a[:, 1]).abs() >= (c[:, 0] - a[:, 0]).abs()
            share = a[:, 1] / torch.where(crosses, a[:, 1] - c[:, 1], 1)
            u = a[:, 0] + share * (c[:, 0] - a[:, 0])
            same_side = _side(screen, i, j, k) * _side(screen, i, j, beyond.clamp(min=0)) > 0
            use = ~found & crosses & steep & (u >= 0) & (u <= 1) & ((beyond < 0) | same_side)
            crossing = torch.where(use, u, crossing)
            found = found | use
        to = where.clone()
        to[:, axis] += 1
        first_color, second_color = colors[tuple(where.unbind(1))], colors[tuple(to.unbind(1))]
        shift = (crossing - 0.5)[:, None]
        image = image.index_put(tuple(where.unbind(1)), (-shift).clamp(min=0) * (second_color - first_color), True)
        image = image.index_put(tuple(to.unbind(1)), shift.clamp(min=0) * (first_color - second_color), True)
    return image


def _side(screen: torch.Tensor, i: torch.Tensor, j: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
    a, b = screen[j] - screen[i], screen[k] - screen[i]
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
