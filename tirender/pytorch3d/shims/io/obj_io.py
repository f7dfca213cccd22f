"""What PyTorch3D's module of OBJ files imports."""

from tirender.pytorch3d.shims.common.datatypes import Device
from tirender.pytorch3d.shims.io.mtl_io import load_mtl, make_mesh_texture_atlas
from tirender.pytorch3d.shims.io.utils import PathOrStr, _check_faces_indices, _make_tensor, _open_file

__all__ = [
    "Device",
    "PathOrStr",
    "_check_faces_indices",
    "_make_tensor",
    "_open_file",
    "load_mtl",
    "make_mesh_texture_atlas",
]
