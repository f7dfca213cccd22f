"""Conversion of vertex colours to a texture map, for file formats and viewers without vertex colours."""

from __future__ import annotations

import math

import torch

from tirender.checks import fail
from tirender.renderer import TexturesUV, TexturesVertex
from tirender.structures import Meshes

CELL = 4  # side of a face's square in texels: the corners lie in the middle 2 x 2; the rim prevents bleeding


def bake_vertex_colors(mesh: Meshes) -> TexturesUV:
    """Bake the vertex colours of one mesh into a texture map in which each face has its own square.

    Bilinear sampling of the map equals interpolation of the vertex colours. Only texels beyond 0 and 1 are clamped.

    Args:
        mesh: one mesh with ``TexturesVertex`` of 3 channels, colours in [0, 1].
    Returns:
        ``TexturesUV`` with a square map; differentiable in the colours.
    Raises:
        ValueError: if the textures are of another kind, or there is not exactly one mesh with faces.
    """
    textures = mesh.textures
    if len(mesh) != 1 or mesh.isempty():
        fail("mesh", "one mesh with faces", f"{len(mesh)} with {len(mesh.faces_packed())} faces")
    if not isinstance(textures, TexturesVertex) or textures.verts_features_packed().shape[1] != 3:
        fail("mesh.textures", "TexturesVertex of 3 channels", type(textures).__name__)
    faces = mesh.faces_packed()
    columns = math.ceil(math.sqrt(len(faces)))
    size = columns * CELL

    # Colour is linear in each square: a + x (b - a) + y (c - a), with the corners at (0, 0), (1, 0) and (0, 1).
    a, b, c = textures.verts_features_packed().index_select(0, faces.reshape(-1)).reshape(-1, 3, 3).unbind(1)
    steps = torch.arange(CELL, dtype=a.dtype, device=a.device) - (CELL // 2 - 1)
    x, y = steps[None, None, :, None], steps[None, :, None, None]
    squares = a[:, None, None] + x * (b - a)[:, None, None] + y * (c - a)[:, None, None]
    squares = torch.nn.functional.pad(squares, (0, 0, 0, 0, 0, 0, 0, columns**2 - len(faces)))
    rows = squares.reshape(columns, columns, CELL, CELL, 3).transpose(1, 2)
    texture_map = rows.reshape(1, size, size, 3).clamp(0, 1)

    index = torch.arange(len(faces), device=faces.device)
    origin = torch.stack([index % columns, index // columns], dim=1) * CELL + CELL // 2 - 1
    corners = origin[:, None] + torch.tensor([[0, 0], [1, 0], [0, 1]], device=faces.device)
    uv = corners.reshape(-1, 2).to(a.dtype) / (size - 1)
    verts_uvs = torch.stack([uv[:, 0], 1 - uv[:, 1]], dim=1)  # v points up
    return TexturesUV(
        maps=texture_map, faces_uvs=[torch.arange(len(verts_uvs)).view(-1, 3).to(faces)], verts_uvs=[verts_uvs]
    )
