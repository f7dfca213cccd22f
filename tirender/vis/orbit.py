"""A camera that orbits a point, moved by the mouse and the keys of a viewer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from tirender.checks import fail
from tirender.io.orientation import Orientation
from tirender.renderer import FoVPerspectiveCameras

AZIMUTH, ELEVATION = -30.0, 10.0  # of the first view, in degrees
FOV = 40.0  # degrees along the short side
ELEVATION_MAX = 89.0  # degrees that a viewer goes up
ZOOM_RANGE = (0.02, 50.0)  # of the distance, relative to that of the first view
MARGIN = 1.05  # the first view is so much wider than the scene
HALVINGS = 20  # of an interval, to find the middle of what is seen


class OrbitCamera:
    """A perspective camera that looks at a target, given by a distance and two angles.

    Its methods take distances on the screen, in short sides of the picture, to the right and up. The scene follows
    them.

    Args:
        centre: of the scene, in world space: the first target.
        radius: of the scene, which just fits into the first view.
        azimuth, elevation: of the first view, in degrees. Azimuth 0 is in front of the scene. At 90 the camera has
            turned a quarter to the right around it: with +Y up and the front at +Z, that is on +X.
        fov: field of view along the short side, in degrees.
        orientation: which way up the scene stands, and which way it faces.
    Raises:
        ValueError: a radius that is not positive, or a field of view out of range.
    """

    def __init__(
        self,
        centre: Sequence[float] = (0.0, 0.0, 0.0),
        radius: float = 1.0,
        azimuth: float = AZIMUTH,
        elevation: float = ELEVATION,
        fov: float = FOV,
        orientation: Orientation | None = None,
    ) -> None:
        if not 0 < radius < math.inf:
            fail("radius", "a finite number above 0", radius)
        if not 0 < fov < 180:
            fail("fov", "degrees between 0 and 180", fov)
        self.fov, self.radius = fov, radius
        orientation = orientation or Orientation()
        up, front = (torch.tensor(axis, dtype=torch.float64) for axis in (orientation.up, orientation.front))
        self._axes = torch.stack([front, torch.linalg.cross(up, front), up])
        self._first = (tuple(centre), azimuth, elevation, MARGIN * radius / math.sin(math.radians(fov) / 2))
        self.reset()

    def reset(self) -> None:
        """Return to the first view."""
        target, self.azimuth, self.elevation, self.distance = self._first
        self.target = torch.tensor(target)

    def settle(self) -> None:
        """Make this view the first one."""
        self._first = (tuple(self.target.tolist()), self.azimuth, self.elevation, self.distance)

    def orbit(self, right: float, up: float) -> None:
        """Turn the scene; one short side is half a turn."""
        self.azimuth = (self.azimuth - 180 * right) % 360
        self.elevation = min(max(self.elevation - 180 * up, -ELEVATION_MAX), ELEVATION_MAX)

    def pan(self, right: float, up: float) -> None:
        """Shift the scene; a point at the target's depth moves by this distance."""
        left_axis, up_axis, _ = self.rotation().unbind(1)
        height = 2 * self.distance * math.tan(math.radians(self.fov) / 2)
        self.target = self.target + height * (right * left_axis - up * up_axis)

    def zoom(self, factor: float) -> None:
        """Move towards the target; the scene grows by ``factor``."""
        low, high = (limit * self._first[3] for limit in ZOOM_RANGE)
        self.distance = min(max(self.distance / factor, low), high)

    def hold(self, points: torch.Tensor, image_size: tuple[int, int], keep_target: bool = False) -> None:
        """Move the camera so that points just fit into the picture, with a margin; the angles stay.

        Args:
            points: (P, 3) in world space.
            image_size: height and width of the picture.
            keep_target: whether the camera goes on looking at the same point.
        """
        target = self.target.to(points) if keep_target else (points.amin(0) + points.amax(0)) / 2
        across = self.rotation().to(points)
        held = (points - target).double() @ across.double()
        tangents = math.tan(math.radians(self.fov) / 2) / MARGIN / min(image_size) * held.new_tensor(image_size[::-1])
        # depth + distance >= |place - shift| / tangent, for all points
        low, high = ((sign * held[:, :2] - tangents * held[:, 2:]).amax(0) for sign in (-1, 1))
        reach = torch.maximum(low, high) if keep_target else (low + high) / 2
        self.distance = max(float((reach / tangents).max()), 1e-3 * self._first[3])
        shift = torch.zeros_like(tangents)
        if not keep_target:  # bring what is seen to the middle of the picture
            least, most = held[:, :2].amin(0), held[:, :2].amax(0)
            for _ in range(HALVINGS):
                shift = (least + most) / 2
                seen = (held[:, :2] - shift) / (held[:, 2:] + self.distance)
                is_left = seen.amin(0) + seen.amax(0) > 0
                least, most = torch.where(is_left, shift, least), torch.where(is_left, most, shift)
        self.target = (target + across[:, :2] @ shift.to(points)).float().cpu()

    def stand(self, eye: torch.Tensor, ahead: torch.Tensor, tangent: float) -> None:
        """Take the place of another camera, as well as this one can: upright, and with its own field of view.

        Args:
            eye, ahead: (3,), where the other is and where it looks.
            tangent: of half its field of view along the short side.
        """
        middle = torch.tensor(self._first[0])
        depth = max(float((middle - eye) @ ahead), 0.1 * self.radius)
        self.target = eye + depth * ahead
        front, side, up = (self._axes @ -ahead.double()).tolist()
        self.azimuth = math.degrees(math.atan2(side, front)) % 360
        above = math.degrees(math.asin(min(max(up, -1.0), 1.0)))
        self.elevation = min(max(above, -ELEVATION_MAX), ELEVATION_MAX)
        self.distance = depth
        self.zoom(math.tan(math.radians(self.fov) / 2) / tangent)

    def cameras(self, device: torch.device | str = "cpu") -> FoVPerspectiveCameras:
        """This camera, for a renderer; its near plane is at a hundredth of the distance."""
        R, zfar = self.rotation(), self.distance + 100 * self.radius
        T = -(self.target + self.distance * self._towards(self.azimuth, self.elevation)) @ R
        return FoVPerspectiveCameras(0.01 * self.distance, zfar, fov=self.fov, R=R[None], T=T[None], device=device)

    def rotation(self) -> torch.Tensor:
        """The camera's axes (3, 3) in world space, as columns: to the left, up, and ahead."""
        ahead = -self._towards(self.azimuth, self.elevation)
        up = self._towards(self.azimuth, self.elevation + 90)
        return torch.stack([torch.linalg.cross(up, ahead), up, ahead], dim=1)

    def beside(self, right: float, up: float, distance: float = 1.7) -> torch.Tensor:
        """A position (1, 3) in world space, at two angles from the camera as seen from the target.

        Args:
            right, up: the angles in degrees; the elevation stops short of the poles.
            distance: from the target, relative to the camera's.
        """
        elevation = min(max(self.elevation + up, -ELEVATION_MAX), ELEVATION_MAX)
        return self.target + distance * self.distance * self._towards(self.azimuth + right, elevation)[None]

    def _towards(self, azimuth: float, elevation: float) -> torch.Tensor:
        """The unit vector (3,) from the target to a camera at these angles."""
        a, e = math.radians(azimuth), math.radians(elevation)
        parts = (math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e))
        return (torch.tensor(parts, dtype=torch.float64) @ self._axes).float()
