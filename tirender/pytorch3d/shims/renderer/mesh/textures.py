"""What PyTorch3D's module of textures imports."""

from tirender.ops.interp_face_attrs import interpolate_face_attributes
from tirender.structures.utils import list_to_packed, list_to_padded, padded_to_list

__all__ = ["interpolate_face_attributes", "list_to_packed", "list_to_padded", "padded_to_list"]
