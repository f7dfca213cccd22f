"""Ready-made meshes, and cameras from and to OpenCV."""

from tirender.utils.camera_conversions import cameras_from_opencv_projection, opencv_from_cameras_projection
from tirender.utils.checkerboard import checkerboard
from tirender.utils.ico_sphere import ico_sphere
from tirender.utils.torus import torus

__all__ = [
    "cameras_from_opencv_projection",
    "checkerboard",
    "ico_sphere",
    "opencv_from_cameras_projection",
    "torus",
]
