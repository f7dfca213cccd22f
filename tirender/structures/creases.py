"""Normals of corners for display: smooth over flat edges, sharp over others, whichever way faces are wound."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F


def creased_normals(
    verts: torch.Tensor, faces: torch.Tensor, crease_angle: float = 60.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Normals for display: smooth over edges whose faces bend by less than an angle, sharp over the others.

    Vertices at one place count as one, so that the seams of a texture do not show. A corner's normal is the mean over
    the faces that can be reached around its vertex without crossing a sharp edge, weighted by their angles there
    (Thürmer and Wüthrich 1998); it is the mean over all faces there where none of them turns from it by more than half
    the crease angle. Faces that are wound against most of those that they hang together with count as turned round.

    Args:
        verts: (V, 3) positions.
        faces: (F, 3) int64.
        crease_angle: in degrees; 180 makes all edges smooth, and 0 none but those of coplanar faces.
    Returns:
        (n, 3) unit normals, 0 where all faces are without area, and (F, 3) int64 rows of them at the corners.
    """
    if not len(faces):
        return verts.new_zeros(0, 3), faces.new_zeros(0, 3)
    rows = places(verts)[faces]
    normals, angles = _flat_normals(verts, faces)
    means = _means(rows, normals, angles)
    sharp = _is_sharp(rows, normals, means, crease_angle)
    if bool(sharp.any()) and has_mixed_winding(rows[sharp[rows].any(1)]):
        normals = torch.where(wound_against_others(rows)[:, None], -normals, normals)
        means = _means(rows, normals, angles)
        sharp = _is_sharp(rows, normals, means, crease_angle)
    if bool(sharp.any()):
        around = sharp[rows].any(1).nonzero()[:, 0]
        groups = _smooth_groups(rows[around], normals[around], crease_angle) + len(means)
        rows = rows.index_copy(0, around, torch.where(sharp[rows[around]], groups.view(-1, 3), rows[around]))
        means = _means(rows, normals, angles)
    used = torch.zeros(len(means), dtype=torch.bool, device=rows.device).index_fill(0, rows.flatten(), True)
    return means[used], (used.cumsum(0) - 1)[rows]


def places(verts: torch.Tensor) -> torch.Tensor:
    """(V,) int64: a number of each vertex (V, 3), the same for those at one place."""
    verts = verts + 0.0  # -0 is 0
    bits = verts.view(torch.int32 if verts.dtype == torch.float32 else torch.int64).long()
    key = (bits * torch.tensor([0x5851F42D4C957F2D, 0x14057B7EF767814F, 0x2545F4914F6CDD1D], device=bits.device)).sum(1)
    different, place = torch.unique(key, return_inverse=True)
    if len(different) == len(verts):
        return torch.arange(len(verts), device=verts.device)
    if not torch.equal(verts.new_empty(len(different), 3).index_copy(0, place, verts)[place], verts):
        place = torch.unique(verts, dim=0, return_inverse=True)[1]  # two places have one key
    return place


def has_mixed_winding(faces: torch.Tensor) -> bool:
    """Whether some edge between two faces (F, 3) runs the same way in both, so that one of them is turned round."""
    return len(faces) > 0 and bool(_Neighbours.of(faces).disagree.any())


def wound_against_others(faces: torch.Tensor) -> torch.Tensor:
    """(F,) bool: which faces to turn round so that all that hang together have one winding: as few as possible.

    Args:
        faces: (F, 3) int64, places.
    """
    across = _Neighbours.of(faces)
    a, b, disagree = across.a[across.only_two] // 3, across.b[across.only_two] // 3, across.disagree[across.only_two]
    part = _components(len(faces), a, b)
    turned = torch.zeros(len(faces), dtype=torch.bool, device=faces.device)
    known = torch.zeros_like(turned).index_fill(0, part, True)  # the first face of each part
    while len(a):
        for here, there in ((a, b), (b, a)):
            step = known[here] & ~known[there]
            turned[there[step]] = turned[here[step]] ^ disagree[step]
            known[there[step]] = True
        open_ = ~(known[a] & known[b])
        a, b, disagree = a[open_], b[open_], disagree[open_]
    n_turned = torch.bincount(part[turned], minlength=len(faces))
    return turned ^ (2 * n_turned > torch.bincount(part, minlength=len(faces)))[part]


def _flat_normals(verts: torch.Tensor, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit normals (F, 3) of faces, 0 where they have no area, and the angles (F, 3) at their corners."""
    largest = verts.abs().max().clamp(min=1e-37)
    verts = verts / (largest / torch.frexp(largest).mantissa)  # exactly; squares of lengths are neither 0 nor infinite
    p = [verts.index_select(0, faces[:, i]) for i in range(3)]
    sides = [F.normalize(p[(i + 1) % 3] - p[i], dim=1) for i in range(3)]
    normals = F.normalize(torch.linalg.cross(sides[0], -sides[2]), dim=1)
    cosines = torch.stack([-(sides[i] * sides[i - 1]).sum(1) for i in range(3)], 1)
    return normals, torch.arccos(cosines.clamp(-1, 1))


def _means(rows: torch.Tensor, normals: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """(n, 3): for each row the mean of the normals (F, 3) of the faces whose corners (F, 3) it is."""
    empty, flat = normals.new_zeros(int(rows.max()) + 1), rows.flatten()
    sums = [empty.index_add(0, flat, (angles * normals[:, i : i + 1]).flatten()) for i in range(3)]
    return F.normalize(torch.stack(sums, 1), dim=1)


def _is_sharp(rows: torch.Tensor, normals: torch.Tensor, means: torch.Tensor, crease_angle: float) -> torch.Tensor:
    """(n,) bool: the rows at which a face turns from the mean by more than half the crease angle."""
    least = math.cos(math.radians(crease_angle / 2)) - 1e-6
    columns = [means[:, i].contiguous()[rows] * normals[:, i : i + 1] for i in range(3)]
    turns = (sum(columns) < least) & (normals != 0).any(1, keepdim=True)  # not where there is no area
    return torch.zeros(len(means), dtype=torch.bool, device=rows.device).index_fill(0, rows[turns], True)


class _Neighbours(NamedTuple):
    """Corners of faces (F, 3), flattened, whose edges to the next corners lie between the same two places.

    Attributes:
        a, b: (E,) int64; n faces at one edge make n - 1 pairs.
        disagree: (E,) bool: the edge runs the same way in both faces, is in no third one, and they are not one face
            doubled.
        only_two: (E,) bool: there is no third face.
    """

    a: torch.Tensor
    b: torch.Tensor
    disagree: torch.Tensor
    only_two: torch.Tensor

    @classmethod
    def of(cls, faces: torch.Tensor) -> _Neighbours:
        begin, end = faces.flatten(), faces.roll(-1, 1).flatten()
        low, high = torch.minimum(begin, end), torch.maximum(begin, end)
        key, order = (low * (int(faces.max()) + 1) + high).sort(stable=True)
        pairs = key[1:] == key[:-1]
        alone = torch.ones_like(pairs[:1])
        only_two = (pairs & ~torch.cat([~alone, pairs[:-1]]) & ~torch.cat([pairs[1:], ~alone]))[pairs]
        a, b = order[:-1][pairs], order[1:][pairs]
        opposite_a, opposite_b = (faces.roll(-2, 1).flatten()[corners] for corners in (a, b))
        disagree = only_two & (begin[a] == begin[b]) & (opposite_a != opposite_b)
        return cls(a, b, disagree, only_two)


def _smooth_groups(faces: torch.Tensor, normals: torch.Tensor, crease_angle: float) -> torch.Tensor:
    """(3 F,): a label of each corner, equal for those at one place that smooth edges connect."""
    across = _Neighbours.of(faces)
    cosine = (normals[across.a // 3] * normals[across.b // 3]).sum(1)
    smooth = cosine > math.cos(math.radians(crease_angle)) - 1e-6
    a, b = across.a[smooth], across.b[smooth]
    # the two corners of each edge: this one and the next; they meet those of the neighbour at the same places
    following = torch.arange(faces.numel(), device=faces.device).view(-1, 3).roll(-1, 1).flatten()
    corners_a, corners_b = torch.stack([a, following[a]], 1), torch.stack([b, following[b]], 1)
    same = (faces.flatten()[a] == faces.flatten()[b])[:, None]
    corners_b = torch.where(same, corners_b, corners_b.flip(1))
    return _components(faces.numel(), corners_a.flatten(), corners_b.flatten())


def components_of_faces(faces: torch.Tensor, n_verts: int) -> torch.Tensor:
    """(F,) int64: the part that each face (F, 3) belongs to, from 0 on; faces that share a vertex are of one part."""
    label = _components(n_verts, faces[:, :2].flatten(), faces[:, 1:].flatten())
    return torch.unique(label[faces[:, 0]], return_inverse=True)[1]


def _components(n: int, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """(n,): the least member of each node's component in the graph with edges a-b."""
    label = torch.arange(n, device=a.device)
    while len(a):
        low = torch.minimum(label[a], label[b])
        new = label.clone()
        for end in (label[a], label[b]):  # the roots take the least label next to them
            new.scatter_reduce_(0, end, low, "amin")
        new = new[new]
        if torch.equal(new, label):
            break
        label = new
    return label
