"""What PyTorch3D's module of the rasterizer imports."""

from tirender.renderer.cameras import try_get_projection_transform
from tirender.renderer.points.rasterize_points import rasterize_points

__all__ = ["rasterize_points", "try_get_projection_transform"]
