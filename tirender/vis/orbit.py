"""A camera that orbits a point, moved by the mouse and the keys of a viewer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from tirender.checks import fail
from tirender.renderer import FoVPerspectiveCameras, camera_position_from_spherical_angles, look_at_view_transform

ELEVATION_MAX = 89.0  # degrees; at the pole, up is undefined
ZOOM_RANGE = (0.02, 50.0)  # of the distance, relative to that of the first view


class OrbitCamera:
    """A perspective camera that looks at a target, given by a distance and two angles.

    Its methods take distances on the screen, in short sides of the picture, to the right and up. The scene follows
    them.

    Args:
        centre: of the scene, in world space: the first target.
        radius: of the scene, which just fits into the first view.
        azimuth, elevation: of the first view, in degrees; azimuth 0 is on +Z, 90 on +X, 180 on -Z.
        fov: field of view along the short side, in degrees.
    Raises:
        ValueError: a radius that is not positive, or a field of view out of range.
    """

    def __init__(
        self,
        centre: Sequence[float] = (0.0, 0.0, 0.0),
        radius: float = 1.0,
        azimuth: float = 150.0,
        elevation: float = 10.0,
        fov: float = 60.0,
    ) -> None:
        if not 0 < radius < math.inf:
            fail("radius", "a finite number above 0", radius)
        if not 0 < fov < 180:
            fail("fov", "degrees between 0 and 180", fov)
        self.fov, self.radius = fov, radius
        self._first = (tuple(centre), azimuth, elevation, 1.05 * radius / math.sin(math.radians(fov) / 2))
        self.reset()

    def reset(self) -> None:
        """Return to the first view."""
        target, self.azimuth, self.elevation, self.distance = self._first
        self.target = torch.tensor(target)

    def orbit(self, right: float, up: float) -> None:
        """Turn the scene; one short side is half a turn."""
        self.azimuth = (self.azimuth - 180 * right) % 360
        self.elevation = min(max(self.elevation - 180 * up, -ELEVATION_MAX), ELEVATION_MAX)

    def pan(self, right: float, up: float) -> None:
        """Shift the scene; a point at the target's depth moves by this distance."""
        left_axis, up_axis = self._view()[0][0, :, :2].unbind(1)
        height = 2 * self.distance * math.tan(math.radians(self.fov) / 2)
        self.target = self.target + height * (right * left_axis - up * up_axis)

    def zoom(self, factor: float) -> None:
        """Move towards the target; the scene grows by ``factor``."""
        low, high = (limit * self._first[3] for limit in ZOOM_RANGE)
        self.distance = min(max(self.distance / factor, low), high)

    def stand(self, eye: torch.Tensor, ahead: torch.Tensor, tangent: float) -> None:
        """Take the place of another camera, as well as this one can: upright, and with its own field of view.

        Args:
            eye, ahead: (3,), where the other is and where it looks.
            tangent: of half its field of view along the short side.
        """
        middle = torch.tensor(self._first[0])
        depth = max(float((middle - eye) @ ahead), 0.1 * self.radius)
        self.target = eye + depth * ahead
        self.azimuth = math.degrees(math.atan2(-float(ahead[0]), -float(ahead[2]))) % 360
        up = math.degrees(math.asin(min(max(-float(ahead[1]), -1.0), 1.0)))
        self.elevation = min(max(up, -ELEVATION_MAX), ELEVATION_MAX)
        self.distance = depth
        self.zoom(math.tan(math.radians(self.fov) / 2) / tangent)

    def cameras(self, device: torch.device | str = "cpu") -> FoVPerspectiveCameras:
        """This camera, for a renderer; its near plane is at a hundredth of the distance."""
        R, T = self._view()
        zfar = self.distance + 100 * self.radius
        return FoVPerspectiveCameras(znear=0.01 * self.distance, zfar=zfar, fov=self.fov, R=R, T=T, device=device)

    def beside(self, right: float, up: float, distance: float = 1.7) -> torch.Tensor:
        """A position (1, 3) in world space, at two angles from the camera as seen from the target.

        Args:
            right, up: the angles in degrees; the elevation stops short of the poles.
            distance: from the target, relative to the camera's.
        """
        elevation = min(max(self.elevation + up, -ELEVATION_MAX), ELEVATION_MAX)
        offset = camera_position_from_spherical_angles(distance * self.distance, elevation, self.azimuth + right)
        return self.target + offset

    def _view(self) -> tuple[torch.Tensor, torch.Tensor]:
        return look_at_view_transform(self.distance, self.elevation, self.azimuth, at=self.target[None])
