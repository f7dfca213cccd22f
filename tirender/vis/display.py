"""The interface of a display that shows pictures while something runs: a window, or a page in a browser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

Kind = Literal["press", "release", "move", "scroll"]
Keys = Mapping[str, str]  # by key, what it does; a page has a button for each


@dataclass(frozen=True)
class Event:
    """Something that the user did.

    Attributes:
        kind: "press" and "release" are of a key or mouse button, "move" of the cursor, "scroll" of the mouse wheel.
        key: "a" to "z", "space", "return", "escape", "shift", "control", "arrow_left" and so on, "mouse_left",
            "mouse_middle" or "mouse_right"; "" for moves and scrolls.
        x, y: the cursor's distance from the lower left corner, in short sides of the picture. For a scroll, y is the
            number of notches forward.
    """

    kind: Kind
    key: str = ""
    x: float = 0.0
    y: float = 0.0


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
