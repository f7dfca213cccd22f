"""Sums over neighbours, which tirender has in one implementation."""

from tirender.ops.graph_conv import gather_scatter as gather_scatter_python

__all__ = ["gather_scatter_python"]
