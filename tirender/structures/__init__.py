"""Batches of meshes, clouds and volumes, sets of Gaussians, and conversions between list, padded and packed layouts."""

from tirender.structures.gaussians import Gaussians, join_gaussians
from tirender.structures.meshes import Meshes, join_meshes_as_batch, join_meshes_as_scene
from tirender.structures.pointclouds import Pointclouds, join_pointclouds_as_batch, join_pointclouds_as_scene
from tirender.structures.utils import list_to_packed, list_to_padded, packed_to_list, padded_to_list
from tirender.structures.volumes import VolumeLocator, Volumes

__all__ = [
    "Gaussians",
    "Meshes",
    "Pointclouds",
    "VolumeLocator",
    "Volumes",
    "join_gaussians",
    "join_meshes_as_batch",
    "join_meshes_as_scene",
    "join_pointclouds_as_batch",
    "join_pointclouds_as_scene",
    "list_to_packed",
    "list_to_padded",
    "packed_to_list",
    "padded_to_list",
]
