"""Geometry operators on meshes, point clouds and volumes, under PyTorch3D's names."""

from tirender.ops.ball_query import ball_query
from tirender.ops.cameras_alignment import corresponding_cameras_alignment
from tirender.ops.cubify import cubify
from tirender.ops.graph_conv import GraphConv
from tirender.ops.interp_face_attrs import interpolate_face_attributes
from tirender.ops.iou_box3d import box3d_overlap
from tirender.ops.knn import knn_gather, knn_points
from tirender.ops.laplacian_matrices import cot_laplacian, laplacian, norm_laplacian
from tirender.ops.mesh_face_areas_normals import mesh_face_areas_normals
from tirender.ops.mesh_filtering import taubin_smoothing
from tirender.ops.packed_to_padded import packed_to_padded, padded_to_packed
from tirender.ops.perspective_n_points import efficient_pnp
from tirender.ops.points_alignment import corresponding_points_alignment, iterative_closest_point
from tirender.ops.points_normals import estimate_pointcloud_local_coord_frames, estimate_pointcloud_normals
from tirender.ops.points_to_volumes import (
    add_pointclouds_to_volumes,
    add_points_features_to_volume_densities_features,
)
from tirender.ops.sample_farthest_points import sample_farthest_points
from tirender.ops.sample_points_from_meshes import sample_points_from_meshes
from tirender.ops.subdivide_meshes import SubdivideMeshes
from tirender.ops.utils import (
    convert_pointclouds_to_tensor,
    eyes,
    get_point_covariances,
    is_pointclouds,
    wmean,
)
from tirender.ops.vert_align import vert_align

__all__ = [
    "GraphConv",
    "SubdivideMeshes",
    "add_pointclouds_to_volumes",
    "add_points_features_to_volume_densities_features",
    "ball_query",
    "box3d_overlap",
    "convert_pointclouds_to_tensor",
    "corresponding_cameras_alignment",
    "corresponding_points_alignment",
    "cot_laplacian",
    "cubify",
    "efficient_pnp",
    "estimate_pointcloud_local_coord_frames",
    "estimate_pointcloud_normals",
    "eyes",
    "get_point_covariances",
    "interpolate_face_attributes",
    "is_pointclouds",
    "iterative_closest_point",
    "knn_gather",
    "knn_points",
    "laplacian",
    "mesh_face_areas_normals",
    "norm_laplacian",
    "packed_to_padded",
    "padded_to_packed",
    "sample_farthest_points",
    "sample_points_from_meshes",
    "taubin_smoothing",
    "vert_align",
    "wmean",
]
