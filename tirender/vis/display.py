"""The interface of a display that shows pictures while something runs: a window, or a browser that has a page open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

Kind = Literal["press", "release", "move", "scroll"]
Rows = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Event:
    """Something that the user did.

    Attributes:
        kind: "press" and "release" are of a key or mouse button, "move" of the cursor, "scroll" of the mouse wheel.
        key: "a" to "z", "0" to "9", "space", "return", "escape", "shift", "control", "arrow_left" and so on,
            "mouse_left", "mouse_middle" or "mouse_right"; "" for moves and scrolls.
        x, y: the cursor's distance from the lower left corner, in short sides of the picture. For a scroll, y is the
            number of notches forward.
    """

    kind: Kind
    key: str = ""
    x: float = 0.0
    y: float = 0.0


@dataclass(frozen=True)
class Notes:
    """What is written over a picture, or beside it.

    Attributes:
        facts, help: rows of a name and a value, or of a heading and ""; nothing is shown of no rows.
        message: a short one, at the bottom.
        camera: the 4 x 4 matrix, row by row, that takes points (x, y, z, 1) of the world to homogeneous NDC; None: the
            picture has no camera.
        axes: whether to show where +X, +Y and +Z point.
        frusta: whether to show cameras in the scene, where the display knows of some.
    """

    facts: Rows = ()
    help: Rows = ()
    message: str = ""
    camera: tuple[float, ...] | None = None
    axes: bool = False
    frusta: bool = False


NO_NOTES = Notes()


@dataclass(frozen=True)
class Control:
    """A key that does something, and its button on a page.

    Attributes:
        label: what it does, in a word or two.
        owner: whether it is for the owner of the page only.
        ask: what the page asks first; "" for nothing.
    """

    label: str
    owner: bool = False
    ask: str = ""


Controls = Mapping[str, Control]  # by key


class Display(Protocol):
    """Shows pictures, and reports what the user does."""

    @property
    def is_open(self) -> bool:
        """Whether it is open; the user may close it."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels that pictures should have."""

    def show(self, picture: np.ndarray) -> None:
        """Show a picture (H, W, 3) uint8; one of another size is stretched."""

    def events(self) -> list[Event]:
        """The events since the last call."""

    def close(self) -> None:
        """Close it for good."""


class NotedDisplay(Display, Protocol):
    """A display that writes notes over pictures, and may be slow."""

    @property
    def is_ready(self) -> bool:
        """Whether it takes a picture now."""

    @property
    def density(self) -> float:
        """Pixels to a point of the screen: 2 or 3 where pixels are too small to be seen."""

    def show(self, picture: np.ndarray | None, notes: Notes = NO_NOTES) -> None:
        """Show a picture, see :class:`Display`, or again the last one if there is none; and notes."""
