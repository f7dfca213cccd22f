"""What PyTorch3D's module of shaders imports."""

from tirender.pytorch3d.shims.common.datatypes import Device
from tirender.renderer.utils import TensorProperties

__all__ = ["Device", "TensorProperties"]
