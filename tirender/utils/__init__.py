"""Simple meshes, camera conversions to and from OpenCV, and renders of a scene from all sides."""

from tirender.utils.camera_conversions import cameras_from_opencv_projection, opencv_from_cameras_projection
from tirender.utils.checkerboard import checkerboard
from tirender.utils.ico_sphere import ico_sphere
from tirender.utils.render_mesh import render_mesh_around
from tirender.utils.rotating import generate_rotating_nerf, generate_rotating_volume, sample_images_at_mc_locs
from tirender.utils.torus import torus

__all__ = [
    "cameras_from_opencv_projection",
    "checkerboard",
    "generate_rotating_nerf",
    "generate_rotating_volume",
    "ico_sphere",
    "opencv_from_cameras_projection",
    "render_mesh_around",
    "sample_images_at_mc_locs",
    "torus",
]
