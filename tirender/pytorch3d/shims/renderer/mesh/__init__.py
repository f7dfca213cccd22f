"""``pytorch3d.renderer.mesh``."""

from tirender.renderer.blending import BlendParams

__all__ = ["BlendParams"]
