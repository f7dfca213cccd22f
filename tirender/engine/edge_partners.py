"""Which edges of faces are one: the topology that outlines are found by."""

from __future__ import annotations

import torch


def edge_partners(faces: torch.Tensor, positions: torch.Tensor | None) -> torch.Tensor:
    """The edge of the face beyond each edge of a face.

    Edges are matched by the indices of their ends. Those left over are matched by the positions, if they are given:
    files store vertices twice where texture coordinates or normals differ.

    Args:
        faces: (F, 3) integers, rows of vertices.
        positions: (V, D), equal for vertices that count as one.
    Returns:
        (F, 3) int64: for the edge opposite each corner, ``3 * face + corner`` of the same edge in the face beyond; -1
        where there is none, or the edge has no length. Where more than two faces meet, each has the next beyond it.
    """
    faces = faces.long()
    ends = torch.stack([faces.roll(-1, 1), faces.roll(-2, 1)], 2).view(-1, 2)
    partner = _partners(ends)
    alone = (partner < 0).nonzero()[:, 0]
    if len(alone) and positions is not None:
        rows, index = ends[alone].unique(return_inverse=True)
        place = torch.unique(positions[rows].detach() + 0.0, dim=0, return_inverse=True)[1]  # -0 is 0
        found = _partners(place[index])
        partner[alone] = torch.where(found < 0, found, alone[found.clamp(min=0)])
    return partner.view(-1, 3)


def _partners(ends: torch.Tensor) -> torch.Tensor:
    """(E,) int64: for each edge from its ends (E, 2) the next one with the same ends, the last has the first; or -1."""
    low, high = ends.min(1).values, ends.max(1).values
    key, order = (low * (high.max() + 1) + high if len(ends) else low).sort(stable=True)
    differs = key[1:] != key[:-1]
    is_first, is_last = torch.ones_like(key, dtype=torch.bool), torch.ones_like(key, dtype=torch.bool)
    is_first[1:], is_last[:-1] = differs, differs
    index = torch.arange(len(key), device=key.device)
    first = torch.where(is_first, index, 0).cummax(0).values if len(key) else index
    following = torch.where(is_last, first, index + 1)
    partner = torch.where((following == index) | (low == high)[order], -1, order[following])
    return torch.empty_like(partner).index_copy(0, order, partner)
