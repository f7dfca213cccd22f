"""Intersection over union of oriented boxes in 3D."""

from __future__ import annotations

import torch

from tirender.checks import FLOATS, check_number, check_tensor, fail

# the corners of each side, in cyclic order
_SIDES = ((0, 1, 2, 3), (3, 2, 6, 7), (0, 1, 5, 4), (0, 3, 7, 4), (1, 2, 6, 5), (4, 5, 6, 7))
_PAIRS_AT_ONCE = 20_000  # limits the memory


def box3d_overlap(boxes1: torch.Tensor, boxes2: torch.Tensor, eps: float = 1e-4) -> tuple[torch.Tensor, torch.Tensor]:
    """The volume of the intersection of any two boxes, and its ratio to the volume of their union.

    The result is exact: one box is clipped by the six planes of the other, in float64. A box may be any convex solid
    with six planar sides. Its corners have the order of this unit cube: (0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0),
    (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1).

    Args:
        boxes1: (N, 8, 3) corners, float32 or float64.
        boxes2: (M, 8, 3) corners, of the same dtype and device.
        eps: the largest distance of a corner from its side's plane, and the least area of half a side.
    Returns:
        vol: (N, M) volumes of the intersections.
        iou: (N, M) intersection over union, in [0, 1].
        Neither is differentiable.
    Raises:
        ValueError: if a shape or dtype is wrong, a side is not planar, or a side has no area.
    """
    check_tensor("boxes1", boxes1, ("N", 8, 3), FLOATS)
    check_tensor("boxes2", boxes2, ("M", 8, 3), like=boxes1)
    eps = check_number("eps", eps)
    with torch.no_grad():
        first, second = boxes1.double(), boxes2.double()
        _check_sides("boxes1", first, eps)
        _check_sides("boxes2", second, eps)
        (low1, high1), (low2, high2) = first.aminmax(dim=1), second.aminmax(dim=1)
        meet = ((low1[:, None] <= high2) & (low2 <= high1[:, None])).all(dim=2)
        vol = torch.zeros_like(meet, dtype=torch.float64)
        for pairs in meet.nonzero().split(_PAIRS_AT_ONCE):
            i, j = pairs.unbind(1)
            vol[i, j] = _shared_volume(first.index_select(0, i), second.index_select(0, j))
        union = _volume(first)[:, None] + _volume(second) - vol
        return vol.to(boxes1.dtype), (vol / union).to(boxes1.dtype)


def _check_sides(name: str, boxes: torch.Tensor, eps: float) -> None:
    a, b, c, d = _sides(boxes).unbind(2)
    halves = [torch.linalg.cross(c - a, other - a).norm(dim=2) / 2 for other in (b, d)]
    areas = torch.minimum(*halves)
    if not bool((areas > eps).all()):
        box, side = (~(areas > eps)).nonzero()[0].tolist()
        fail(f"{name}[{box}]", f"half sides of an area above {eps}", f"{areas[box, side]:.3g} on side {side}")
    normals = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=2)
    off = ((d - a) * normals).sum(2).abs()
    if not bool((off < eps).all()):
        box, side = (~(off < eps)).nonzero()[0].tolist()
        fail(f"{name}[{box}]", f"sides planar to {eps}", f"a corner at {off[box, side]:.3g} from side {side}")


def _sides(boxes: torch.Tensor) -> torch.Tensor:
    """(B, 6, 4, 3): the corners around each side."""
    return boxes[:, torch.tensor(_SIDES, device=boxes.device)]


def _outward(boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The sides (B, 6, 4, 3) with their corners counter-clockwise as seen from outside, and their area vectors."""
    sides = _sides(boxes)
    a, b, c, d = sides.unbind(2)
    areas = torch.linalg.cross(c - a, d - b) / 2
    inward = (areas * (sides.mean(2) - boxes.mean(1, keepdim=True))).sum(2, keepdim=True) < 0
    return torch.where(inward[..., None], sides.flip(2), sides), torch.where(inward, -areas, areas)


def _volume(boxes: torch.Tensor) -> torch.Tensor:
    """(B,): the volumes of boxes."""
    sides, areas = _outward(boxes - boxes.mean(1, keepdim=True))
    return (areas * sides.mean(2)).sum((1, 2)) / 3


def _shared_volume(boxes1: torch.Tensor, boxes2: torch.Tensor) -> torch.Tensor:
    """(P,): the volumes of the intersections of P pairs of boxes.

    The first box is stored as the directed edges of its sides. It can have 12 sides: its own six, and one in each of
    the six planes that clip it. A plane shortens edges or drops them. Where it clips a side, a new edge closes that
    side, and the reversed edge is part of the side in the plane. Both sides at an edge compute the same end points, to
    the bit, so sides stay closed, and coplanar sides need no special case.
    """
    n, device = len(boxes1), boxes1.device
    centre = boxes1.mean(1, keepdim=True)
    sides, _ = _outward(boxes1 - centre)
    cut_sides, normals = _outward(boxes2 - centre)
    distances = (normals * cut_sides.mean(2)).sum(2)
    start, end = sides.reshape(-1, 3), sides.roll(-1, dims=2).reshape(-1, 3)
    owner = (12 * torch.arange(n, device=device)[:, None] + torch.arange(6, device=device)).repeat_interleave(4)
    for plane in range(6):
        normal, distance = normals[:, plane], distances[:, plane]
        start, end, owner = _cut(start, end, owner, normal, distance, 6 + plane)
    # the start of each side's first edge; index_copy with repeated rows would mix the rows of several threads
    edge = torch.arange(len(owner), device=device)
    first = owner.new_full((12 * n,), len(owner)).scatter_reduce(0, owner, edge, "amin")
    apex = start.index_select(0, first.index_select(0, owner))
    cones = (apex * torch.linalg.cross(start, end)).sum(1) / 6
    return cones.new_zeros(n).index_add(0, owner // 12, cones).clamp(min=0)


def _cut(
    start: torch.Tensor,
    end: torch.Tensor,
    owner: torch.Tensor,
    normals: torch.Tensor,
    distances: torch.Tensor,
    cut: int,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Clip edges by one plane for each pair of boxes, keep what lies behind it, and close the sides.

    Args:
        start, end: (E, 3), the edges.
        owner: (E,) int64, 12 times the pair plus the side that an edge belongs to.
        normals, distances: (P, 3) and (P,), the planes.
        cut: the number, from 6 to 11, of the new side in the plane.
    Returns:
        the new ``start``, ``end`` and ``owner``.
    """
    pair = owner // 12
    normal, distance = normals.index_select(0, pair), distances.index_select(0, pair)
    above_start, above_end = _dot(start, normal) - distance, _dot(end, normal) - distance
    leaves, enters = (above_start <= 0) & (above_end > 0), (above_start > 0) & (above_end <= 0)
    # interpolate from the end behind the plane, so that both sides at an edge compute the same point
    behind, before = torch.where(enters[:, None], end, start), torch.where(enters[:, None], start, end)
    depth, height = torch.minimum(above_start, above_end), torch.maximum(above_start, above_end)
    share = depth / torch.where(leaves | enters, depth - height, 1)
    crossing = behind + share[:, None] * (before - behind)

    # A side is closed, so its edges leave the half-space as often as they enter it: usually once. A side that lies in
    # the plane, up to rounding, may do so more often; then any exit may be joined to any entry.
    (opened, out), (_, back) = owner[leaves].sort(stable=True), owner[enters].sort(stable=True)
    closing_start, closing_end = crossing[leaves][out], crossing[enters][back]

    below = (above_start <= 0) | (above_end <= 0)
    start = torch.where(enters[:, None], crossing, start)[below]
    end = torch.where(leaves[:, None], crossing, end)[below]
    start, end = torch.cat([start, closing_start, closing_end]), torch.cat([end, closing_end, closing_start])
    return start, end, torch.cat([owner[below], opened, opened - opened % 12 + cut])


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The dot product of each row, with rounding that does not depend on the row's position."""
    return a[:, 0] * b[:, 0] + a[:, 1] * b[:, 1] + a[:, 2] * b[:, 2]
