"""The module that exports all textures of meshes: vertex colours, maps with uv coordinates, atlases, materials."""

from __future__ import annotations

from tirender.renderer.mesh.textures_atlas import TexturesAtlas
from tirender.renderer.mesh.textures_base import PerMesh, TexturesBase
from tirender.renderer.mesh.textures_material import TexturesMaterial
from tirender.renderer.mesh.textures_uv import TexturesUV
from tirender.renderer.mesh.textures_vertex import TexturesVertex

__all__ = ["Textures", "TexturesAtlas", "TexturesBase", "TexturesMaterial", "TexturesUV", "TexturesVertex"]


def Textures(
    maps: PerMesh | None = None,
    faces_uvs: PerMesh | None = None,
    verts_uvs: PerMesh | None = None,
    verts_rgb: PerMesh | None = None,
) -> TexturesBase:
    """Make textures of the class that the arguments belong to (PyTorch3D's older constructor).

    Args:
        maps, faces_uvs, verts_uvs: the arguments of :class:`TexturesUV`, all three or none.
        verts_rgb: the ``verts_features`` of :class:`TexturesVertex`, used if there are no maps.
    Raises:
        ValueError: if the arguments of neither class are complete.
    """
    if maps is not None and faces_uvs is not None and verts_uvs is not None:
        return TexturesUV(maps, faces_uvs, verts_uvs)
    if verts_rgb is not None:
        return TexturesVertex(verts_rgb)
    raise ValueError("Textures: expected maps, faces_uvs and verts_uvs, or verts_rgb, got neither")
