"""What pictures are shown on while something runs: a window, or a page in a browser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

Kind = Literal["press", "release", "move", "scroll"]
Keys = Mapping[str, str]  # keys that do something, and what; a page has a button for each


@dataclass(frozen=True)
class Event:
    """Something that the user did.

    Attributes:
        kind: of a key or mouse button, of the cursor, or of the mouse wheel.
        key: "a" to "z", "space", "return", "escape", "shift", "control", "arrow_left" and so on, "mouse_left",
            "mouse_middle" or "mouse_right"; "" for moves and scrolls.
        x, y: where the cursor is, from the lower left corner, in short sides of the picture; of a scroll, y is how far
            forward, in notches.
    """

    kind: Kind
    key: str = ""
    x: float = 0.0
    y: float = 0.0


class Display(Protocol):
    """Shows pictures, and tells what the user does."""

    @property
    def is_open(self) -> bool:
        """Whether the user has not closed it."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels that a picture should have."""

    def show(self, picture: np.ndarray) -> None:
        """Show a picture: (H, W, 3) uint8, stretched where its size is another."""

    def events(self) -> list[Event]:
        """What has happened since the last call."""

    def close(self) -> None:
        """Close it; it cannot be opened again."""
