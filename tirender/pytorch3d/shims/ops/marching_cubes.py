"""Marching cubes, which tirender has in one implementation."""

from tirender.ops.marching_cubes import marching_cubes as marching_cubes_naive

__all__ = ["marching_cubes_naive"]
