"""A checkerboard mesh."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tirender.checks import check_integer, fail
from tirender.renderer.mesh.textures import TexturesAtlas
from tirender.structures import Meshes


def checkerboard(
    radius: int = 4,
    color1: Sequence[float] = (0.0, 0.0, 0.0),
    color2: Sequence[float] = (1.0, 1.0, 1.0),
    device: torch.device | str | None = None,
) -> Meshes:
    """Unit squares of alternating colour in the xy plane, centred on the origin and facing +z.

    Args:
        radius: number of squares from the origin to each side, 1 or more; a row has 2 radius squares.
        color1: the colour of the square at the lowest x and y, in [0, 1].
        color2: the colour of its neighbours, with as many channels.
        device: where the mesh lives; the CPU if None.
    Returns:
        a batch of one mesh, with two faces a square and ``TexturesAtlas``.
    Raises:
        ValueError: if radius is not a positive integer, or the colours differ in their number of channels.
    """
    radius = check_integer("radius", radius, 1)
    if len(color1) != len(color2):
        fail("color2", f"{len(color1)} channels as in color1", len(color2))
    n = 2 * radius
    steps = torch.arange(-radius, radius + 1, dtype=torch.float32)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    verts = torch.stack([x, y, torch.zeros_like(x)], dim=-1).reshape(-1, 3)

    index = torch.arange((n + 1) ** 2).reshape(n + 1, n + 1)
    low_left, low_right, up_left, up_right = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    halves = [torch.stack([low_left, low_right, up_left], -1), torch.stack([up_right, up_left, low_right], -1)]
    faces = torch.stack(halves, dim=2).reshape(-1, 3)

    row, column = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    color_of_face = ((row + column) % 2).reshape(-1).repeat_interleave(2)
    atlas = torch.tensor([tuple(color1), tuple(color2)], dtype=torch.float32).index_select(0, color_of_face)
    return Meshes([verts], [faces], TexturesAtlas(atlas=[atlas[:, None, None]])).to(device or "cpu")
