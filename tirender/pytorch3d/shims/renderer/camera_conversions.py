"""Camera conversions to and from OpenCV's conventions, under an older path."""

from tirender.renderer.cameras import PerspectiveCameras
from tirender.utils.camera_conversions import cameras_from_opencv_projection as _cameras_from_opencv_projection
from tirender.utils.camera_conversions import opencv_from_cameras_projection as _opencv_from_cameras_projection

__all__ = ["PerspectiveCameras", "_cameras_from_opencv_projection", "_opencv_from_cameras_projection"]
