"""The module that exports all cameras and view geometry, as in PyTorch3D, with PyTorch3D's older names."""

from __future__ import annotations

from typing import Any

import torch

from tirender.renderer.camera_utils import camera_to_eye_at_up, join_cameras_as_batch, rotate_on_spot
from tirender.renderer.cameras_base import (
    IDENTITY_R,
    ZERO_T,
    CamerasBase,
    get_ndc_to_screen_transform,
    get_screen_to_ndc_transform,
    try_get_projection_transform,
)
from tirender.renderer.cameras_fov import FoVOrthographicCameras, FoVPerspectiveCameras
from tirender.renderer.cameras_pinhole import OrthographicCameras, PerspectiveCameras
from tirender.renderer.fisheyecameras import FishEyeCameras
from tirender.renderer.look_at import (
    camera_position_from_spherical_angles,
    get_world_to_view_transform,
    look_at_rotation,
    look_at_view_transform,
)
from tirender.renderer.utils import Broadcastable

__all__ = [
    "CamerasBase",
    "FishEyeCameras",
    "FoVOrthographicCameras",
    "FoVPerspectiveCameras",
    "OpenGLOrthographicCameras",
    "OpenGLPerspectiveCameras",
    "OrthographicCameras",
    "PerspectiveCameras",
    "SfMOrthographicCameras",
    "SfMPerspectiveCameras",
    "camera_position_from_spherical_angles",
    "camera_to_eye_at_up",
    "get_ndc_to_screen_transform",
    "get_screen_to_ndc_transform",
    "get_world_to_view_transform",
    "join_cameras_as_batch",
    "look_at_rotation",
    "look_at_view_transform",
    "rotate_on_spot",
    "try_get_projection_transform",
]


def OpenGLPerspectiveCameras(
    znear: Broadcastable = 1.0,
    zfar: Broadcastable = 100.0,
    aspect_ratio: Broadcastable = 1.0,
    fov: Broadcastable = 60.0,
    degrees: bool = True,
    R: Any = IDENTITY_R,
    T: Any = ZERO_T,
    device: torch.device | str = "cpu",
) -> FoVPerspectiveCameras:
    """PyTorch3D's older name of :class:`FoVPerspectiveCameras`."""
    return FoVPerspectiveCameras(
        znear=znear, zfar=zfar, aspect_ratio=aspect_ratio, fov=fov, degrees=degrees, R=R, T=T, device=device
    )


def OpenGLOrthographicCameras(
    znear: Broadcastable = 1.0,
    zfar: Broadcastable = 100.0,
    top: Broadcastable = 1.0,
    bottom: Broadcastable = -1.0,
    left: Broadcastable = -1.0,
    right: Broadcastable = 1.0,
    scale_xyz: Broadcastable = ((1.0, 1.0, 1.0),),
    R: Any = IDENTITY_R,
    T: Any = ZERO_T,
    device: torch.device | str = "cpu",
) -> FoVOrthographicCameras:
    """PyTorch3D's older name of :class:`FoVOrthographicCameras`; ``right`` is ``max_x``, ``left`` is ``min_x``."""
    return FoVOrthographicCameras(
        znear=znear,
        zfar=zfar,
        max_y=top,
        min_y=bottom,
        max_x=right,
        min_x=left,
        scale_xyz=scale_xyz,
        R=R,
        T=T,
        device=device,
    )


def SfMPerspectiveCameras(
    focal_length: Broadcastable = 1.0,
    principal_point: Broadcastable = ((0.0, 0.0),),
    R: Any = IDENTITY_R,
    T: Any = ZERO_T,
    device: torch.device | str = "cpu",
) -> PerspectiveCameras:
    """PyTorch3D's older name of :class:`PerspectiveCameras`."""
    return PerspectiveCameras(focal_length=focal_length, principal_point=principal_point, R=R, T=T, device=device)


def SfMOrthographicCameras(
    focal_length: Broadcastable = 1.0,
    principal_point: Broadcastable = ((0.0, 0.0),),
    R: Any = IDENTITY_R,
    T: Any = ZERO_T,
    device: torch.device | str = "cpu",
) -> OrthographicCameras:
    """PyTorch3D's older name of :class:`OrthographicCameras`."""
    return OrthographicCameras(focal_length=focal_length, principal_point=principal_point, R=R, T=T, device=device)
