"""Meshes, point clouds, volumes and Gaussians from and to files."""

from tirender.budget import budget
from tirender.io.environment_io import load_environment, save_environment
from tirender.io.gaussians_io import load_gaussians, save_gaussians
from tirender.io.obj_io import load_obj, load_objs_as_meshes, save_obj
from tirender.io.pluggable import IO
from tirender.io.ply_io import load_ply, save_ply
from tirender.io.volume_io import load_volume, save_volume

__all__ = [
    "IO",
    "budget",
    "load_environment",
    "load_gaussians",
    "load_obj",
    "load_objs_as_meshes",
    "load_ply",
    "load_volume",
    "save_environment",
    "save_gaussians",
    "save_obj",
    "save_ply",
    "save_volume",
]
