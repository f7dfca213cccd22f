"""The defaults of cameras, and their calibration matrices."""

from __future__ import annotations

import torch

from tirender.pytorch3d.shims.common.datatypes import Device
from tirender.renderer.cameras import OrthographicCameras, PerspectiveCameras
from tirender.renderer.utils import Broadcastable, TensorProperties, convert_to_tensors_and_broadcast
from tirender.transforms import Rotate, Transform3d, Translate

__all__ = [
    "Device",
    "Rotate",
    "TensorProperties",
    "Transform3d",
    "Translate",
    "_R",
    "_T",
    "_get_sfm_calibration_matrix",
    "convert_to_tensors_and_broadcast",
]

_R = torch.eye(3)[None]
_T = torch.zeros(1, 3)


def _get_sfm_calibration_matrix(
    N: int, device: Device, focal_length: Broadcastable, principal_point: Broadcastable, orthographic: bool = False
) -> torch.Tensor:
    """The projection matrices (N, 4, 4) of cameras with focal length and principal point, for column vectors.

    Args:
        N: how many; one camera is repeated.
        device: of the matrices.
        focal_length: a number, (N,), (N, 1) or (N, 2).
        principal_point: (N, 2).
        orthographic: whether the cameras are ``OrthographicCameras``, else ``PerspectiveCameras``.
    """
    kind = OrthographicCameras if orthographic else PerspectiveCameras
    cameras = kind(focal_length=focal_length, principal_point=principal_point, device=device)
    return cameras.get_projection_transform().get_matrix().transpose(1, 2).expand(N, 4, 4)
