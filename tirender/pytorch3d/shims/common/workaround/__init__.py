"""``pytorch3d.common.workaround``."""

from tirender.pytorch3d.shims.common.workaround.symeig3x3 import symeig3x3
from tirender.pytorch3d.shims.common.workaround.utils import _safe_det_3x3

__all__ = ["_safe_det_3x3", "symeig3x3"]
