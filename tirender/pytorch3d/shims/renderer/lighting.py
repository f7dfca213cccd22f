"""The check of lights."""

from __future__ import annotations

from typing import Any

from tirender.checks import fail
from tirender.pytorch3d.shims.common.datatypes import Device
from tirender.renderer.utils import TensorProperties, convert_to_tensors_and_broadcast

__all__ = ["Device", "TensorProperties", "_validate_light_properties", "convert_to_tensors_and_broadcast"]


def _validate_light_properties(obj: Any) -> None:
    """Raise ``ValueError`` if a colour of a light does not have three channels."""
    for name in ("ambient_color", "diffuse_color", "specular_color"):
        if getattr(obj, name).shape[-1] != 3:
            fail(name, "shape (N, 3)", tuple(getattr(obj, name).shape))
