"""Meshes of the cubes of occupied voxels."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tirender.checks import FLOATS, check_choice, check_number, check_tensor, fail
from tirender.structures import Meshes

# The sides of a voxel. Each has the step to the neighbour along (y, x, z), and two triangles that face outwards; their
# corners are numbered 4 y + 2 x + z in the unit cube.
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
    """Make a cube of each occupied voxel, without the sides between two occupied voxels.

    Args:
        voxels: (N, D, H, W) real occupancies, along z, y and x.
        thresh: the least value of an occupied voxel.
        feats: (N, K, D, H, W) floats, the features of each voxel, or None.
        device: where the result lives; None for the device of ``voxels``.
        align: the points that lie at -1 and 1 of each axis. ``"topleft"``: the lower corners of the first and the last
            voxel. ``"center"``: their centres. ``"corner"``: the outer sides of the grid.
    Returns:
        N watertight meshes with faces outwards and shared corners; a mesh without occupied voxels is empty. With
        ``feats``, they have ``TexturesAtlas`` of one texel a face, differentiable in ``feats``. Not differentiable in
        ``voxels``.
    Raises:
        ValueError: if a shape or dtype is wrong, or ``align`` is unknown.
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

    # from here on, dimensions are in the order (n, y, x, z), in which vertices and faces are sorted
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
    """The sides without an occupied neighbour: (S, 5) rows (n, y, x, z, side) in lexicographic order."""
    padded = F.pad(occupied, (1, 1, 1, 1, 1, 1))
    outer = []
    for step, _ in _SIDES:
        neighbour = padded
        for dim, (by, size) in enumerate(zip(step, occupied.shape[1:]), start=1):
            neighbour = neighbour.narrow(dim, 1 + by, size)
        outer.append(occupied & ~neighbour)
    return torch.stack(outer, dim=-1).nonzero()


def _corners(sides: torch.Tensor, shape: tuple[int, int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The corners of sides, (V, 4) rows (n, y, x, z) in lexicographic order, and the six corner indices of each side.

    The indices are (S, 6): two triangles a side.
    """
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
    """The positions (V, 3) of corners as (x, y, z)."""
    places = corners[:, 1:].to(dtype or torch.float32) - (0.5 if align == "center" else 0)
    sizes = places.new_tensor(shape) - (0 if align == "corner" else 1)
    # an axis with a single voxel has no second one at 1; it is scaled as if it had two
    return (2 * places / sizes.clamp(min=1) - 1)[:, [1, 0, 2]]


def _atlas(feats: torch.Tensor, sides: torch.Tensor, num_faces: list[int]) -> object:
    """Textures with one texel a face: the features of its voxel."""
    from tirender.renderer.mesh.textures_atlas import TexturesAtlas  # imported here, as renderer is a layer above ops

    n, channels, depth, height, width = feats.shape
    y, x, z = sides[:, 1:4].unbind(1)
    voxel = ((sides[:, 0] * depth + z) * height + y) * width + x
    rows = feats.movedim(1, -1).reshape(-1, channels).index_select(0, voxel.repeat_interleave(2))
    return TexturesAtlas(list(rows[:, None, None].split(num_faces)))
