"""Farthest points, which tirender has in one implementation."""

from tirender.ops.sample_farthest_points import sample_farthest_points as sample_farthest_points_naive

__all__ = ["sample_farthest_points_naive"]
