"""Geometry operators, and the differentiable operations around the kernels."""

from tirender.ops.interp_face_attrs import interpolate_face_attributes
from tirender.ops.laplacian_matrices import cot_laplacian, laplacian, norm_laplacian
from tirender.ops.packed_to_padded import packed_to_padded, padded_to_packed
from tirender.ops.points_to_volumes import (
    add_pointclouds_to_volumes,
    add_points_features_to_volume_densities_features,
)

__all__ = [
    "add_pointclouds_to_volumes",
    "add_points_features_to_volume_densities_features",
    "cot_laplacian",
    "interpolate_face_attributes",
    "laplacian",
    "norm_laplacian",
    "packed_to_padded",
    "padded_to_packed",
]
