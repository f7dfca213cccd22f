"""A window on the screen (Taichi's GGUI), which shows pictures whatever arch the kernels run on.

It needs a Vulkan driver, which may be lavapipe on a machine without a GPU.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import tirender
from tirender.vis.display import Event

NAMES = {  # GGUI's names of keys -> ours, where they differ
    " ": "space",
    "Return": "return",
    "Escape": "escape",
    "Shift": "shift",
    "Control": "control",
    "Left": "arrow_left",
    "Right": "arrow_right",
    "Up": "arrow_up",
    "Down": "arrow_down",
    "LMB": "mouse_left",
    "MMB": "mouse_middle",
    "RMB": "mouse_right",
}


class NoWindow(RuntimeError):
    """A window cannot be opened here."""


class Window:
    """A window; a :class:`~tirender.vis.display.Display`.

    Args:
        title: of the window.
        size: height and width in pixels.
    Raises:
        NoWindow: there is no display, or no Vulkan driver.
    """

    def __init__(self, title: str, size: tuple[int, int]) -> None:
        with _connected():
            self._window = _open(title, size)
        import taichi as ti
        from taichi.ui.utils import get_field_info

        self._canvas = self._window.get_canvas()
        self._describe = get_field_info
        self._tags = {"press": ti.ui.PRESS, "release": ti.ui.RELEASE}
        self._cursor = self._window.get_cursor_pos()
        self._closed = False
        atexit.register(self.close)  # after the import of Taichi, so that it runs before Taichi's own exit

    @property
    def is_open(self) -> bool:
        return not self._closed and self._window.running

    @property
    def size(self) -> tuple[int, int]:
        width, height = self._window.get_window_shape()
        return max(height, 1), max(width, 1)

    def show(self, picture: np.ndarray) -> None:
        height, width = picture.shape[:2]
        rgba = np.full((height, width, 4), 255, np.uint8)
        rgba[..., :3] = picture
        self._columns = np.ascontiguousarray(rgba.view(np.uint32)[::-1, :, 0].T)  # [x, y], from the lower left corner
        # set_image of the canvas does the same, but makes the array more slowly.
        self._canvas.canvas.set_image(self._describe(self._columns))
        self._window.show()

    def events(self) -> list[Event]:
        pressed = [(kind, event.key) for kind, tag in self._tags.items() for event in self._window.get_events(tag)]
        cursor = self._window.get_cursor_pos()
        height, width = self.size
        x, y = cursor[0] * width / min(height, width), cursor[1] * height / min(height, width)
        moves = [Event("move", "", x, y)] if cursor != self._cursor else []
        self._cursor = cursor
        return moves + [Event(kind, NAMES.get(key, key.lower()), x, y) for kind, key in pressed]  # type: ignore[arg-type]

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        settings = Path("imgui.ini")  # Taichi's Dear ImGui leaves it in the working folder
        is_mine = not settings.exists()
        self._window.destroy()
        if is_mine:
            settings.unlink(missing_ok=True)


def _open(title: str, size: tuple[int, int]) -> Any:
    tirender.init()
    import taichi as ti
    from taichi.ui.utils import GGUINotAvailableException

    height, width = size
    try:
        return ti.ui.Window(title, (width, height), vsync=False)
    except GGUINotAvailableException as error:
        raise NoWindow(f"window: expected a build of Taichi with windows, got one without: {error}") from error
    except RuntimeError as error:
        raise NoWindow(
            "window: expected a Vulkan driver, got none (Debian and Ubuntu: apt install libvulkan1 mesa-vulkan-drivers)"
        ) from error


@contextmanager
def _connected() -> Iterator[None]:
    """Raise if there is no display, as Taichi would end the process; otherwise keep a connection to it meanwhile.

    Without that connection, an X server may restart when its last client leaves, and refuse the next one.

    Raises:
        NoWindow: there is no display.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    name = os.environ.get("DISPLAY")
    if not name:
        raise NoWindow("window: expected a display, got none (DISPLAY is not set)")
    try:
        x11 = ctypes.CDLL("libX11.so.6")
    except OSError as error:
        raise NoWindow("window: expected the X11 library (libX11.so.6), got none") from error
    x11.XOpenDisplay.restype = ctypes.c_void_p
    connection = x11.XOpenDisplay(None)
    if not connection:
        raise NoWindow(f"window: expected a display, got none that answers at DISPLAY={name}")
    try:
        yield
    finally:
        x11.XCloseDisplay(ctypes.c_void_p(connection))
