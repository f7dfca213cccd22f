"""Losses on meshes, point clouds and images."""

from tirender.loss.chamfer import chamfer_distance
from tirender.loss.huber import huber
from tirender.loss.mesh_edge_loss import mesh_edge_loss
from tirender.loss.mesh_laplacian_smoothing import mesh_laplacian_smoothing
from tirender.loss.mesh_normal_consistency import mesh_normal_consistency
from tirender.loss.mesh_shape_losses import ShapeLosses, mesh_shape_losses
from tirender.loss.point_mesh_distance import point_mesh_edge_distance, point_mesh_face_distance
from tirender.loss.ssim import ssim

__all__ = [
    "ShapeLosses",
    "chamfer_distance",
    "huber",
    "mesh_edge_loss",
    "mesh_laplacian_smoothing",
    "mesh_normal_consistency",
    "mesh_shape_losses",
    "point_mesh_edge_distance",
    "point_mesh_face_distance",
    "ssim",
]
