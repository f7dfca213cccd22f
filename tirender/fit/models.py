"""Modules to fit: a mesh with movable vertices, and colours at its vertices or in a texture map."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from tirender.checks import fail
from tirender.renderer import TexturesUV, TexturesVertex
from tirender.structures import Meshes


class DeformedMesh(nn.Module):
    """A source mesh plus an offset for each vertex; ``forward()`` returns the mesh.

    Args:
        source: a batch of one mesh.
        textures: a module that returns its textures, such as :class:`VertexColors`; None for those of the source.
    """

    def __init__(self, source: Meshes, textures: nn.Module | None = None) -> None:
        super().__init__()
        if len(source) != 1 or source.isempty():
            fail("source", "one mesh with faces", f"{len(source)} of {len(source.faces_packed())} faces")
        self.source = source
        self.deform_verts = nn.Parameter(torch.zeros_like(source.verts_packed()))
        self.textures = textures

    def forward(self) -> Meshes:
        mesh = self.source.offset_verts(self.deform_verts)
        if self.textures is not None:
            mesh.textures = self.textures()
        return mesh


class VertexColors(nn.Module):
    """A colour at each vertex, grey at first; ``forward()`` returns ``TexturesVertex``.

    Args:
        source: one mesh.
    """

    def __init__(self, source: Meshes) -> None:
        super().__init__()
        self.verts_rgb = nn.Parameter(torch.full_like(source.verts_padded(), 0.5))

    def forward(self) -> TexturesVertex:
        return TexturesVertex(self.verts_rgb)


class TextureMap(nn.Module):
    """A texture map around a mesh, grey at first; ``forward()`` returns ``TexturesUV``.

    The map is a sum of maps. Each has a quarter of the side of the one before. Coarse maps learn first, and colour the
    texels that no pixel sees.

    Args:
        source: one mesh whose faces do not overlap as seen from the origin, such as a sphere.
        size: height of the map in texels; it is twice as wide.
    """

    def __init__(self, source: Meshes, size: int = 256) -> None:
        super().__init__()
        if size < 2:
            fail("size", "at least 2 texels", size)
        self.verts_uvs, self.faces_uvs = spherical_uvs(source)
        self.levels = nn.ParameterList()
        while size >= 2:
            self.levels.append(nn.Parameter(self.verts_uvs.new_zeros(1, 3, size, 2 * size)))
            size //= 4

    @property
    def map(self) -> torch.Tensor:
        """The sum of the maps, (1, H, W, 3)."""
        finest, *coarser = self.levels
        size = finest.shape[2:]
        total = 0.5 + finest
        for level in coarser:
            total = total + F.interpolate(level, size, mode="bilinear", align_corners=True)
        return total.movedim(1, 3)

    def forward(self) -> TexturesUV:
        return TexturesUV(maps=self.map, faces_uvs=[self.faces_uvs], verts_uvs=[self.verts_uvs])


def spherical_uvs(mesh: Meshes) -> tuple[torch.Tensor, torch.Tensor]:
    """Texture coordinates by longitude and latitude about the Y axis.

    The seam is at -Z. Faces across the seam continue to the right, and the coordinates are scaled to include them. So
    the right end of the map repeats its beginning.

    Args:
        mesh: one mesh around the origin.
    Returns:
        verts_uvs (3 F, 2) in [0, 1] and faces_uvs (F, 3); each corner has its own coordinates.
    """
    corners = mesh.verts_packed().detach().index_select(0, mesh.faces_packed().reshape(-1)).reshape(-1, 3, 3)
    x, y, z = F.normalize(corners, dim=-1).unbind(-1)
    u = torch.atan2(x, z) / (2 * math.pi) + 0.5
    is_pole = x.hypot(z) < 1e-6
    first = u.masked_fill(is_pole, 2).amin(1, keepdim=True)
    across = u.masked_fill(is_pole, -1).amax(1, keepdim=True) - first > 0.5
    u = torch.where(across & (u < 0.5), u + 1, u)
    middle = u.masked_fill(is_pole, 0).sum(1, keepdim=True) / (~is_pole).sum(1, keepdim=True).clamp(min=1)
    u = torch.where(is_pole, middle, u)  # a pole has all longitudes: take that of the face
    v = torch.asin(y.clamp(-1, 1)) / math.pi + 0.5
    u = u / u.amax().clamp(min=1)
    faces_uvs = torch.arange(u.numel(), device=u.device).reshape(-1, 3)
    return torch.stack([u, v], dim=-1).reshape(-1, 2), faces_uvs
