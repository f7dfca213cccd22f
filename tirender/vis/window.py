"""A window on the screen: Taichi's classic GUI, which needs no graphics driver and reports the mouse wheel."""

from __future__ import annotations

import atexit
import math
import time
from typing import Any

import numpy as np
from PIL import Image

import tirender
from tirender.vis.display import NO_NOTES, Event, Notes
from tirender.vis.drawing import write_notes
from tirender.vis.x11 import NoDisplay, connect

NAMES = {  # Taichi's names of keys -> ours, where they differ
    " ": "space",
    "Return": "return",
    "KP_Enter": "return",
    "Escape": "escape",
    "Left": "arrow_left",
    "Right": "arrow_right",
    "Up": "arrow_up",
    "Down": "arrow_down",
    "LMB": "mouse_left",
    "MMB": "mouse_middle",
    "RMB": "mouse_right",
    **{f"{name}_{side}": name.lower() for name in ("Shift", "Control") for side in "LR"},
    **{f"KP_{digit}": str(digit) for digit in range(10)},
    **{f"KP_{name}": str(i) for i, name in enumerate(("End", "Down", "Next", "Left", "Begin", "Right", "Home"), 1)},
}
NOTCH = 120  # what the mouse wheel reports for a notch
UPDATE_SECONDS = 1 / 60  # between looks at what the user did
SETTLE_SECONDS = 0.25  # after this time without change, the window takes its new size


class NoWindow(RuntimeError):
    """A window cannot be opened here."""


class Window:
    """A window; a :class:`~tirender.vis.display.Display`.

    On Linux the user may change its size; it is then opened anew, as Taichi's window cannot follow.

    Args:
        title: of the window.
        size: height and width in pixels.
    Raises:
        NoWindow: there is no display.
    """

    is_ready, density = True, 1.0

    def __init__(self, title: str, size: tuple[int, int]) -> None:
        self._title = title
        self._closed = False
        try:
            self._x11 = connect()
        except NoDisplay as error:
            raise NoWindow(f"window: {error}") from error
        tirender.init()
        self._held: set[str] = set()
        self._updated = 0.0
        self._picture = np.zeros((*size, 3), np.uint8)
        self._open(size)
        atexit.register(self.close)  # after the import of Taichi, so that it runs before Taichi's own exit

    @property
    def is_open(self) -> bool:
        return not self._closed and self._window.running

    @property
    def size(self) -> tuple[int, int]:
        return self._size

    def show(self, picture: np.ndarray | None, notes: Notes = NO_NOTES) -> None:
        self._picture = self._picture if picture is None else picture
        shown = _resized(self._picture, self._size)
        write_notes(shown, notes)
        for i in range(3):
            self._bgrx[..., i] = shown[..., 2 - i]
        self._update()

    def events(self) -> list[Event]:
        if self._closed:
            return []
        if time.perf_counter() - self._updated > UPDATE_SECONDS:
            self._update()
        self._follow_size()
        found = [self._event(event) for event in self._window.get_events()]
        return self._without_repeats([event for event in found if event])

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        self._window.close()
        if self._x11:
            self._x11.close()

    def _open(self, size: tuple[int, int]) -> None:
        import taichi as ti

        self._size = height, width = size
        before = self._x11.windows(self._title) if self._x11 else set()
        try:
            self._window: Any = ti.GUI(self._title, (width, height), show_gui=True, fast_gui=True)
        except RuntimeError as error:
            raise NoWindow(f"window: expected one of {width} x {height} pixels, got an error: {error}") from error
        self._window.fps_limit = None
        self._kinds = {ti.GUI.PRESS: "press", ti.GUI.RELEASE: "release"}
        self._bgrx = self._window.img.view(np.uint8).reshape(height, width, 4)
        self._asked, self._asked_at = size, 0.0
        self._update()  # only now does the display know of it
        self._id = next(iter(self._x11.windows(self._title) - before), None) if self._x11 else None

    def _follow_size(self) -> None:
        """Open the window anew, where it is, once the user has given it another size."""
        if self._x11 is None or self._id is None or not self._window.running:
            return
        now, size = time.perf_counter(), self._x11.size(self._id)
        if size != self._asked:
            self._asked, self._asked_at = size, now
        if self._asked == self._size or now - self._asked_at < SETTLE_SECONDS or min(size) < 1:
            return
        place = self._x11.place(self._id)
        self._window.close()
        self._held.clear()
        self._open(size)
        if self._id is not None:
            self._x11.move(self._id, place)
        self.show(None)

    def _update(self) -> None:
        """Show what was drawn, and look at what the user did."""
        self._window.core.update()
        self._updated = time.perf_counter()

    def _event(self, event: Any) -> Event | None:
        height, width = self._size
        short = min(height, width)
        x, y = event.pos[0] * width / short, event.pos[1] * height / short
        if event.key == "Wheel":
            notches = event.delta[1] / NOTCH
            return Event("scroll", "", x, notches) if notches and math.isfinite(notches) else None
        if event.key == "Motion":
            return Event("move", "", x, y)
        if event.type not in self._kinds or event.key.startswith("Button") or event.key == "WMClose":
            return None
        return Event(self._kinds[event.type], NAMES.get(event.key, event.key.lower()), x, y)  # type: ignore[arg-type]

    def _without_repeats(self, events: list[Event]) -> list[Event]:
        """The events without those that a key repeats while it is held: releases, each with a press at once."""
        kept: list[Event] = []
        for event in events:
            last = kept[-1] if kept else None
            is_repeat = event.kind == "press" and event.key in self._held
            if is_repeat and last is not None and last.kind == "release" and last.key == event.key:
                kept.pop()
            elif not is_repeat:
                kept.append(event)
        for event in kept:
            (self._held.add if event.kind == "press" else self._held.discard)(event.key)
        return kept


def _resized(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A copy of a picture, stretched to a size."""
    if picture.shape[:2] == size:
        return picture.copy()
    return np.array(Image.fromarray(picture).resize(size[::-1], Image.Resampling.BILINEAR))
