"""Neighbours and distances by looking at every pair, in torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def pair_distances(p1: torch.Tensor, p2: torch.Tensor, norm: int = 2) -> torch.Tensor:
    """(N, P1, P2)."""
    diff = p1[:, :, None] - p2[:, None]
    return diff.abs().sum(-1) if norm == 1 else diff.square().sum(-1)


def nearest(
    p1: torch.Tensor, p2: torch.Tensor, lengths1: torch.Tensor, lengths2: torch.Tensor, k: int, norm: int = 2
) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, P1, k) distances and indices; 0 in padding."""
    dists = pair_distances(p1, p2, norm)
    absent = torch.arange(p2.shape[1]) >= lengths2[:, None]
    order = dists.detach().masked_fill(absent[:, None], torch.inf).sort(dim=2, stable=True).indices[:, :, :k]
    idx = F.pad(order, (0, k - order.shape[2]))
    valid = (torch.arange(k) < lengths2[:, None])[:, None] & (torch.arange(p1.shape[1]) < lengths1[:, None])[..., None]
    return torch.where(valid, dists.gather(2, idx), 0), torch.where(valid, idx, 0)


def in_balls(
    p1: torch.Tensor, p2: torch.Tensor, lengths1: torch.Tensor, lengths2: torch.Tensor, k: int, radius: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, P1, k) squared distances, 0 in padding, and indices, -1 in padding."""
    dists = pair_distances(p1, p2)
    size1, size2 = dists.shape[1:]
    inside = dists < torch.tensor(radius, dtype=p1.dtype).square()
    inside &= (torch.arange(size2) < lengths2[:, None])[:, None] & (torch.arange(size1) < lengths1[:, None])[..., None]
    first = torch.where(inside, torch.arange(size2), size2).sort(dim=2).values[:, :, :k]
    idx = F.pad(first, (0, k - first.shape[2]), value=size2)
    found = idx < size2
    return torch.where(found, dists.gather(2, torch.where(found, idx, 0)), 0), torch.where(found, idx, -1)


def to_segment(p: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Squared distances; shapes (..., 3) broadcast."""
    ab = b - a
    length_sqr = ab.square().sum(-1)
    t = torch.where(length_sqr > 0, ((p - a) * ab).sum(-1) / torch.where(length_sqr > 0, length_sqr, 1), 0).clamp(0, 1)
    return (p - a - t[..., None] * ab).square().sum(-1)


def to_triangle(p: torch.Tensor, corners: torch.Tensor, min_area: float) -> torch.Tensor:
    """Squared distances: to the plane where the point lies over the triangle, else to the outline."""
    a, b, c = corners.unbind(-2)
    normal = torch.linalg.cross(b - a, c - a)
    size_sqr = normal.square().sum(-1)
    proper = (size_sqr > 0) & (size_sqr.sqrt() / 2 >= min_area)
    size_sqr = torch.where(proper, size_sqr, 1)
    u1 = (torch.linalg.cross(p - a, c - a) * normal).sum(-1) / size_sqr
    u2 = (torch.linalg.cross(b - a, p - a) * normal).sum(-1) / size_sqr
    inside = proper & (u1 >= 0) & (u2 >= 0) & (u1 + u2 <= 1)
    plane = ((p - a) * normal).sum(-1).square() / size_sqr
    outline = torch.stack([to_segment(p, a, b), to_segment(p, b, c), to_segment(p, c, a)]).amin(0)
    return torch.where(inside, plane, outline)
