"""Ready-made shapes."""

from tirender.utils.checkerboard import checkerboard
from tirender.utils.ico_sphere import ico_sphere
from tirender.utils.torus import torus

__all__ = ["checkerboard", "ico_sphere", "torus"]
