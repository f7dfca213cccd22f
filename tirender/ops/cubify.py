"""Occupied voxels as cubes."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tirender.checks import FLOATS, check_choice, check_number, check_tensor, fail
from tirender.structures import Meshes

# The sides of a voxel: the step to the neighbour there, along (y, x, z), and two triangles that face outwards, as
# corners 4 y + 2 x + z of the unit cube.
_SIDES = (
    ((0, -1, 0), (0, 1, 4, 1, 5, 4)),
    ((1, 0, 0), (4, 5, 6, 5, 7, 6)),
    ((0, 0, -1), (0, 4, 6, 0, 6, 2)),
    ((-1, 0, 0), (0, 3, 1, 0, 2, 3)),
    ((0, 1, 0), (6, 7, 3, 6, 3, 2)),
    ((0, 0, 1), (1, 7, 5, 1, 3, 7)),
)


def cubify(
    voxels: torch.Tensor,
    thresh: float,
    *,
    feats: torch.Tensor | None = None,
    device: torch.device | str | None = None,
    align: str = "topleft",
) -> Meshes:
    """A cube for each occupied voxel, without the sides between two occupied ones.

    Args:
        voxels: (N, D, H, W) occupancies, along z, y and x.
        thresh: a voxel of this value or more is occupied.
        feats: (N, K, D, H, W) a texture for each voxel, or None.
        device: of the result; that of ``voxels`` if None.
        align: what lies at -1 and 1 of each axis. ``"topleft"``: the lower corners of the first and the last voxel.
            ``"center"``: their centres. ``"corner"``: the outer sides of the grid.
    Returns:
        N meshes, watertight, facing outwards, with corners in common shared; those without an occupied voxel are empty.
        With ``feats``, they have ``TexturesAtlas`` of one texel a face, differentiable in ``feats``.
    Raises:
        ValueError: if shapes do not fit, or for another ``align``.
    """
    thresh = check_number("thresh", thresh)
    check_choice("align", align, ("topleft", "corner", "center"))
    if check_tensor("voxels", voxels, ("N", "D", "H", "W")).is_complex():
        fail("voxels", "real numbers", voxels.dtype)
    n, depth, height, width = voxels.shape
    if feats is not None:
        check_tensor("feats", feats, (n, "K", depth, height, width), FLOATS)
        if not feats.shape[1]:
            fail("feats", "at least one channel", tuple(feats.shape))
    device = voxels.device if device is None else torch.device(device)

    # from here on in the order (n, y, x, z), which is that of the vertices and faces
    sides = _outer_sides((voxels >= thresh).permute(0, 2, 3, 1).to(device))
    corners, faces = _corners(sides, (height, width, depth))
    verts = _positions(corners, (height, width, depth), align, voxels.dtype if voxels.is_floating_point() else None)
    num_verts, num_sides = (rows[:, 0].bincount(minlength=n) for rows in (corners, sides))
    first_vert = num_verts.cumsum(0) - num_verts
    faces = (faces - first_vert.index_select(0, sides[:, 0])[:, None]).reshape(-1, 3)
    num_faces = (2 * num_sides).tolist()
    textures = None if feats is None else _atlas(feats.to(device), sides, num_faces)
    return Meshes(list(verts.split(num_verts.tolist())), list(faces.split(num_faces)), textures)


def _outer_sides(occupied: torch.Tensor) -> torch.Tensor:
    """(S, 5) rows (n, y, x, z, side) of the sides without a neighbour, in lexicographic order."""
    padded = F.pad(occupied, (1, 1, 1, 1, 1, 1))
    outer = []
    for step, _ in _SIDES:
        neighbour = padded
        for dim, (by, size) in enumerate(zip(step, occupied.shape[1:]), start=1):
            neighbour = neighbour.narrow(dim, 1 + by, size)
        outer.append(occupied & ~neighbour)
    return torch.stack(outer, dim=-1).nonzero()


def _corners(sides: torch.Tensor, shape: tuple[int, int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The corners in use, (V, 4) rows (n, y, x, z) in lexicographic order, and for each side its six (S, 6)."""
    height, width, depth = shape
    corner = torch.tensor([corners for _, corners in _SIDES], device=sides.device).index_select(0, sides[:, 4])
    n, y, x, z = sides[:, :4, None].unbind(1)
    y, x, z = y + corner // 4, x + corner // 2 % 2, z + corner % 2
    keys, index = torch.unique(((n * (height + 1) + y) * (width + 1) + x) * (depth + 1) + z, return_inverse=True)
    rows = []
    for size in (depth + 1, width + 1, height + 1):
        rows.append(keys % size)
        keys = keys // size
    return torch.stack([keys, *reversed(rows)], dim=1), index


def _positions(
    corners: torch.Tensor, shape: tuple[int, int, int], align: str, dtype: torch.dtype | None
) -> torch.Tensor:
    """(V, 3) x, y and z."""
    places = corners[:, 1:].to(dtype or torch.float32) - (0.5 if align == "center" else 0)
    sizes = places.new_tensor(shape) - (0 if align == "corner" else 1)
    # a single voxel has no distance to the next one; it gets the size of two
    return (2 * places / sizes.clamp(min=1) - 1)[:, [1, 0, 2]]


def _atlas(feats: torch.Tensor, sides: torch.Tensor, num_faces: list[int]) -> object:
    """One texel a face, that of its voxel."""
    from tirender.renderer.mesh.textures_atlas import TexturesAtlas  # at the call, as renderer stands above ops

    n, channels, depth, height, width = feats.shape
    y, x, z = sides[:, 1:4].unbind(1)
    voxel = ((sides[:, 0] * depth + z) * height + y) * width + x
    rows = feats.movedim(1, -1).reshape(-1, channels).index_select(0, voxel.repeat_interleave(2))
    return TexturesAtlas(list(rows[:, None, None].split(num_faces)))
