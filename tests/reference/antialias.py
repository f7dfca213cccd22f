"""A torch twin of analytic anti-aliasing: all pairs of pixels along rows, then along columns, step by step."""

from __future__ import annotations

import torch

MAX_TRIANGLES = 16


def antialias(
    colors: torch.Tensor,
    nearest: torch.Tensor,
    depth: torch.Tensor,
    faces: torch.Tensor,
    partners: torch.Tensor,
    verts: torch.Tensor,
) -> torch.Tensor:
    """Blend pictures across outlines.

    Args:
        colors: (N, H, W, C).
        nearest: (N, H, W) int64 triangles, -1 for none.
        depth: (N, H, W).
        faces: (T, 3) int64.
        partners: (T, 3) int64, as of ``edge_partners``.
        verts: (V, 3) in NDC.
    """
    height, width = colors.shape[1:3]
    half = min(height, width) / 2
    screen = torch.stack([width / 2 - 0.5 - verts[:, 0] * half, height / 2 - 0.5 - verts[:, 1] * half], 1)
    third_beyond = torch.where(partners < 0, -1, faces.flatten()[partners.clamp(min=0)])
    image = colors
    for axis, size in ((2, width), (1, height)):
        first, second = torch.arange(size - 1), torch.arange(1, size)
        t0, t1 = (nearest.index_select(axis, at) for at in (first, second))
        z0, z1 = (depth.index_select(axis, at) for at in (first, second))
        forward = (t1 < 0) | ((t0 >= 0) & (z0 <= z1))
        b, y, x = (t0 != t1).nonzero().unbind(1)
        crossing = []
        for n, row, column in zip(b.tolist(), y.tolist(), x.tolist(), strict=True):
            start = int((t0 if forward[n, row, column] else t1)[n, row, column])
            turn = [0, 1] if axis == 2 else [1, 0]
            around = (screen - torch.tensor([column, row]))[:, turn]  # along the pair, and across
            crossing.append(_follow(around, start, bool(forward[n, row, column]), faces, partners, third_beyond))
        if not crossing:
            continue
        shift = (torch.stack(crossing) - 0.5)[:, None]
        own, other = (b, y, x), (b, y, x + 1) if axis == 2 else (b, y + 1, x)
        image = image.index_put(own, (-shift).clamp(min=0) * (colors[other] - colors[own]), accumulate=True)
        image = image.index_put(other, shift.clamp(min=0) * (colors[own] - colors[other]), accumulate=True)
    return image


def _follow(around, t, forward, faces, partners, third_beyond) -> torch.Tensor:
    """Where the way from 0 to 1, or back, leaves the surface that triangle t belongs to; 0.5 if it does not."""
    nowhere = around.new_tensor(0.5)
    entered = -1
    for _ in range(MAX_TRIANGLES):
        exits = []
        for corner in range(3):
            i, j = (int(faces[t, (corner + k) % 3]) for k in (1, 2))
            a, c = around[i], around[j]
            if corner != entered and (a[1] > 0) != (c[1] > 0):
                u = a[0] + a[1] / (a[1] - c[1]) * (c[0] - a[0])
                exits.append((float((u if forward else 1 - u).detach()), corner, u, i, j))
        if not exits or max(exits)[0] > 1:
            return nowhere
        way, corner, u, i, j = max(exits)
        beyond = int(third_beyond[t, corner])
        ends = around[i], around[j]
        sides = [_side(*ends, around[k]) for k in (int(faces[t, corner]), beyond)]
        if beyond < 0 or sides[0] * sides[1] > 0:
            steep = (ends[1] - ends[0]).abs()
            return u if way >= 0 and steep[1] >= steep[0] else nowhere
        t, entered = int(partners[t, corner]) // 3, int(partners[t, corner]) % 3
    return nowhere


def _side(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
