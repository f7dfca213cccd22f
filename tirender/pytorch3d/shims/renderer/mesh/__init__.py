"""``pytorch3d.renderer.mesh``."""

from tirender.pytorch3d.shims.renderer.mesh.clip import (
    ClipFrustum,
    ClippedFaces,
    clip_faces,
    convert_clipped_rasterization_to_original_faces,
)
from tirender.renderer.blending import BlendParams

__all__ = [
    "BlendParams",
    "ClipFrustum",
    "ClippedFaces",
    "clip_faces",
    "convert_clipped_rasterization_to_original_faces",
]
