"""Interpolation over faces, which tirender has in one implementation."""

from tirender.ops.interp_face_attrs import interpolate_face_attributes as interpolate_face_attributes_python

__all__ = ["interpolate_face_attributes_python"]
