"""Captures: photos of a scene with their cameras, from COLMAP, nerfstudio, instant-ngp and NeRF."""

from tirender.captures.capture import Bounds, Capture
from tirender.captures.lenses import Lens
from tirender.captures.loading import cameras_in, is_capture, load_capture
from tirender.captures.photos import Photos

__all__ = ["Bounds", "Capture", "Lens", "Photos", "cameras_in", "is_capture", "load_capture"]
