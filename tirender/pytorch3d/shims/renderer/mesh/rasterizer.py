"""What PyTorch3D's module of the rasterizer imports."""

from tirender.renderer.cameras import try_get_projection_transform
from tirender.renderer.mesh.rasterize_meshes import rasterize_meshes

__all__ = ["rasterize_meshes", "try_get_projection_transform"]
