"""Cameras and lights of the renderer as records of files."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch

from tirender.checks import fail
from tirender.io.file_mesh import FileCamera, FileLight
from tirender.renderer.cameras import CamerasBase, FoVOrthographicCameras, FoVPerspectiveCameras
from tirender.renderer.lighting import AmbientLights, DirectionalLights, PointLights

_FLIP = np.diag([-1.0, 1.0, -1.0])  # view space has +X left and looks along +Z, cameras of files +X right and -Z


def file_cameras(cameras: CamerasBase | None, aspect: float | None = None) -> tuple[FileCamera, ...]:
    """Return a batch of cameras; those of files look through the middle of their picture, and have square pixels.

    Args:
        cameras: pinhole or orthographic; None for none.
        aspect: width over height of their pictures; None for any.
    Raises:
        ValueError: cameras without a linear projection, as fisheyes.
    """
    if cameras is None:
        return ()
    if not isinstance(cameras, CamerasBase):
        fail("cameras", "cameras of tirender.renderer", type(cameras).__name__)
    try:
        projection = cameras.get_ndc_camera_transform().transform_points if not cameras.in_ndc() else None
        ahead = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], device=cameras.device)
        seen = cameras.get_projection_transform().transform_points(ahead.expand(len(cameras), 3, 3))
        seen = seen if projection is None else projection(seen)
    except NotImplementedError:
        fail("cameras", "pinhole or orthographic ones, as files hold", type(cameras).__name__)
    centre, right, above = seen.detach().cpu().double()[..., :2].unbind(1)
    focal = torch.stack([right[:, 0] - centre[:, 0], above[:, 1] - centre[:, 1]], dim=1).abs()
    # the picture's height reaches to 1, or further where it is the longer side
    reach = 1.0 if aspect is None or aspect >= 1.0 else 1.0 / aspect
    shift = float(centre.abs().max()) if len(centre) else 0.0
    uneven = float((focal[:, 0] / focal[:, 1] - 1.0).abs().max()) if len(focal) else 0.0
    if shift > 1e-3 or uneven > 1e-3:
        warnings.warn("cameras: principal points and pixels that are not square are left out", stacklevel=2)
    is_perspective = bool(cameras.is_perspective())
    near, far = _planes(cameras)
    eyes = cameras.get_camera_center().detach().cpu().double().numpy()
    turns = cameras.R.detach().cpu().double().expand(len(cameras), 3, 3).numpy()
    found = []
    for i, (turn, eye, scale) in enumerate(zip(turns, eyes, focal[:, 1].tolist())):
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = turn @ _FLIP, eye
        if is_perspective:
            found.append(
                FileCamera(str(i), "perspective", matrix, 2 * math.atan2(reach, scale), aspect, None, None, near, far)
            )
        else:
            height = reach / scale
            found.append(
                FileCamera(str(i), "orthographic", matrix, None, aspect, height * (aspect or 1.0), height, near, far)
            )
    return tuple(found)


def file_lights(lights: Any, centre: np.ndarray) -> tuple[FileLight, ...]:
    """Return a batch of lights, as strong at a place as they are here; ambient light and highlights are left out.

    A light whose colour is c lets a white surface that faces it shine with c. Files say how much light arrives, which
    is pi times that; of a point light it also falls with the square of the distance.

    Args:
        lights: ``PointLights`` or ``DirectionalLights``; None for none.
        centre: (3,) the place.
    """
    if lights is None:
        return ()
    if isinstance(lights, AmbientLights):
        warnings.warn("lights: files hold no ambient light, left out", stacklevel=2)
        return ()
    if not isinstance(lights, PointLights | DirectionalLights):
        fail("lights", "PointLights or DirectionalLights", type(lights).__name__)
    is_point = isinstance(lights, PointLights)
    vectors: torch.Tensor = lights.location if isinstance(lights, PointLights) else lights.direction
    places = vectors.detach().cpu().double().reshape(-1, 3).numpy()
    diffuse: torch.Tensor = lights.diffuse_color
    colors = diffuse.detach().cpu().double().reshape(-1, 3).numpy()
    n = max(len(places), len(colors))
    found = []
    for i, (place, color) in enumerate(zip(np.resize(places, (n, 3)), np.resize(colors, (n, 3)))):
        top = max(float(color.max()), 1e-9)
        red, green, blue = (color / top).tolist()
        distance = float(np.linalg.norm(place - centre)) if is_point else 1.0
        matrix = np.eye(4)
        if is_point:
            matrix[:3, 3] = place
        else:
            matrix[:3, :3] = _along(place)
        kind = "point" if is_point else "directional"
        found.append(FileLight(str(i), kind, matrix, (red, green, blue), math.pi * top * distance**2))
    return tuple(found)


def _along(towards: np.ndarray) -> np.ndarray:
    """A rotation whose z points towards the light."""
    z = towards / max(float(np.linalg.norm(towards)), 1e-12)
    side = np.eye(3)[int(np.abs(z).argmin())]
    y = side - (side @ z) * z
    y /= np.linalg.norm(y)
    return np.stack([np.cross(y, z), y, z], axis=1)


def _planes(cameras: CamerasBase) -> tuple[float | None, float | None]:
    if not isinstance(cameras, FoVPerspectiveCameras | FoVOrthographicCameras):
        return None, None
    near, far = (torch.as_tensor(getattr(cameras, name)).reshape(-1)[0] for name in ("znear", "zfar"))
    return float(near), float(far)
