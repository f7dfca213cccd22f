"""Textures of meshes: colours at vertices, maps with uv coordinates, or an atlas of texels for each face."""

from __future__ import annotations

from tirender.renderer.mesh.textures_atlas import TexturesAtlas
from tirender.renderer.mesh.textures_base import PerMesh, TexturesBase
from tirender.renderer.mesh.textures_uv import TexturesUV
from tirender.renderer.mesh.textures_vertex import TexturesVertex

__all__ = ["Textures", "TexturesAtlas", "TexturesBase", "TexturesUV", "TexturesVertex"]


def Textures(
    maps: PerMesh | None = None,
    faces_uvs: PerMesh | None = None,
    verts_uvs: PerMesh | None = None,
    verts_rgb: PerMesh | None = None,
) -> TexturesBase:
    """The textures that the arguments describe (PyTorch3D's older way to make them).

    Args:
        maps, faces_uvs, verts_uvs: of :class:`TexturesUV`, all three or none.
        verts_rgb: the ``verts_features`` of :class:`TexturesVertex`, used if there are no maps.
    Raises:
        ValueError: if neither kind is complete.
    """
    if maps is not None and faces_uvs is not None and verts_uvs is not None:
        return TexturesUV(maps, faces_uvs, verts_uvs)
    if verts_rgb is not None:
        return TexturesVertex(verts_rgb)
    raise ValueError("Textures: expected maps, faces_uvs and verts_uvs, or verts_rgb, got neither")
