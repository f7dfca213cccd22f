"""``pytorch3d.common``."""

from tirender.pytorch3d.shims.common.datatypes import Device, get_device, make_device

__all__ = ["Device", "get_device", "make_device"]
