"""The light of a viewer: a lamp beside the camera, or surroundings that turn."""

from __future__ import annotations

import copy
from collections.abc import Collection

from tirender.vis.orbit import OrbitCamera

ANGLES = (12.0, 22.0)  # degrees to the right of the camera, and above
TURNS = {"j": -1, "k": 1}
SPEED = 90.0  # degrees a second


class ViewLight:
    """A lamp, at two angles from a camera or where one was; and by how much the surroundings are turned.

    Args:
        camera: of the viewer, which moves.

    Attributes:
        turn: of the surroundings, degrees about the vertical.
    """

    def __init__(self, camera: OrbitCamera) -> None:
        self._camera = camera
        self.reset()

    def reset(self) -> None:
        """Return to the first place, beside the camera."""
        self._angles, self.turn = ANGLES, 0.0
        self._fixed: OrbitCamera | None = None

    @property
    def place(self) -> tuple[float, float, float]:
        """Of the lamp, in world space."""
        x, y, z = (self._fixed or self._camera).beside(*self._angles).reshape(3).tolist()
        return x, y, z

    def fix_or_free(self) -> bool:
        """Let the lamp stay where it is, or go with the camera again; returns whether it stays."""
        self._fixed = None if self._fixed else copy.copy(self._camera)
        return self._fixed is not None

    def move(self, beside: float, above: float, is_surrounded: bool) -> None:
        """Move the lamp by angles in degrees, as seen from the scene's middle; or turn the surroundings."""
        if is_surrounded:
            self.turn = (self.turn + beside) % 360
        else:
            right, up = self._angles
            self._angles = (right + beside) % 360, min(max(up + above, -90.0), 90.0)

    def advance(self, held: Collection[str], seconds: float, is_surrounded: bool) -> bool:
        """Move for this time, as held keys say; returns whether it moved."""
        degrees = SPEED * seconds * sum(sign for key, sign in TURNS.items() if key in held)
        if degrees:
            self.move(degrees, 0.0, is_surrounded)
        return bool(degrees)
