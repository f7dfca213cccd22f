"""Batches of shapes of different sizes: meshes, and conversions between list, padded and packed layouts."""

from tirender.structures.meshes import Meshes, join_meshes_as_batch, join_meshes_as_scene
from tirender.structures.utils import list_to_packed, list_to_padded, packed_to_list, padded_to_list

__all__ = [
    "Meshes",
    "join_meshes_as_batch",
    "join_meshes_as_scene",
    "list_to_packed",
    "list_to_padded",
    "packed_to_list",
    "padded_to_list",
]
