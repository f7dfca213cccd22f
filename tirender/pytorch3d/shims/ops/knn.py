"""Nearest neighbours."""

from tirender.ops.knn import KNN as _KNN

__all__ = ["_KNN"]
