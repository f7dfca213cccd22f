"""Rasterization and compositing of point clouds."""

from tirender.renderer.points.compositor import AlphaCompositor, NormWeightedCompositor
from tirender.renderer.points.rasterize_points import rasterize_points
from tirender.renderer.points.rasterizer import PointFragments, PointsRasterizationSettings, PointsRasterizer
from tirender.renderer.points.renderer import PointsRenderer

__all__ = [
    "AlphaCompositor",
    "NormWeightedCompositor",
    "PointFragments",
    "PointsRasterizationSettings",
    "PointsRasterizer",
    "PointsRenderer",
    "rasterize_points",
]
