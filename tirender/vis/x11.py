"""What Taichi's window does not tell of itself under X11: how large it is now, and where."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from typing import Any

Place = tuple[int, int]
_Handler = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


class NoDisplay(Exception):
    """There is no X11 display; the message says what was found."""


class X11:
    """A connection to the display; closed by :meth:`close`.

    Raises:
        NoDisplay: there is none, or no library to reach it.
    """

    def __init__(self) -> None:
        name = os.environ.get("DISPLAY")
        if not name:
            raise NoDisplay("expected a display, got none (DISPLAY is not set)")
        try:
            self._library: Any = ctypes.CDLL("libX11.so.6")
        except OSError as error:
            raise NoDisplay("expected the X11 library (libX11.so.6), got none") from error
        self._library.XOpenDisplay.restype = ctypes.c_void_p
        self._library.XDefaultRootWindow.restype = ctypes.c_ulong
        self._library.XSetErrorHandler.restype = ctypes.c_void_p
        connection = self._library.XOpenDisplay(None)
        if not connection:
            raise NoDisplay(f"expected a display, got none that answers at DISPLAY={name}")
        self._display = ctypes.c_void_p(connection)
        self._root = self._library.XDefaultRootWindow(self._display)

    def close(self) -> None:
        if self._display:
            self._library.XCloseDisplay(self._display)
            self._display = ctypes.c_void_p()

    def windows(self, title: str) -> set[int]:
        """The windows of a title."""
        # Windows of other programs may vanish while they are asked, which would end this one.
        ignore = _Handler(lambda *_: 0)
        before = self._library.XSetErrorHandler(ignore)
        try:
            return {window for window in self._below(self._root) if self._title(window) == title}
        finally:
            self._library.XSync(self._display, 0)
            self._library.XSetErrorHandler(ctypes.c_void_p(before))

    def size(self, window: int) -> tuple[int, int]:
        """Height and width of a window in pixels."""
        _, _, width, height = self._geometry(window)
        return height, width

    def place(self, window: int) -> Place:
        """The upper left corner of a window, with its frame."""
        while (parent := self._family(window)[0]) not in (self._root, 0):
            window = parent
        return self._geometry(window)[:2]

    def move(self, window: int, place: Place) -> None:
        """Move a window, with its frame."""
        self._library.XMoveWindow(self._display, ctypes.c_ulong(window), *place)
        self._library.XFlush(self._display)

    def _below(self, window: int) -> Iterator[int]:
        for child in self._family(window)[1]:
            yield child
            yield from self._below(child)

    def _family(self, window: int) -> tuple[int, list[int]]:
        """The parent and the children of a window; 0 and none if it has vanished."""
        root, parent, children, n = (
            ctypes.c_ulong(),
            ctypes.c_ulong(),
            ctypes.POINTER(ctypes.c_ulong)(),
            ctypes.c_uint(),
        )
        places = [ctypes.byref(value) for value in (root, parent, children, n)]
        if not self._library.XQueryTree(self._display, ctypes.c_ulong(window), *places):
            return 0, []
        found = children[: n.value]
        if children:
            self._library.XFree(children)
        return parent.value, found

    def _title(self, window: int) -> str | None:
        name = ctypes.c_char_p()
        if not self._library.XFetchName(self._display, ctypes.c_ulong(window), ctypes.byref(name)) or not name:
            return None
        title = (name.value or b"").decode("utf-8", "replace")
        self._library.XFree(name)
        return title

    def _geometry(self, window: int) -> tuple[int, int, int, int]:
        """x and y in the parent, width and height."""
        root = ctypes.c_ulong()
        x, y = ctypes.c_int(), ctypes.c_int()
        width, height, border, depth = (ctypes.c_uint() for _ in range(4))
        places = [ctypes.byref(value) for value in (root, x, y, width, height, border, depth)]
        self._library.XGetGeometry(self._display, ctypes.c_ulong(window), *places)
        return x.value, y.value, width.value, height.value


def connect() -> X11 | None:
    """A connection to the display on Linux; None on other systems.

    Raises:
        NoDisplay: see :class:`X11`.
    """
    return X11() if sys.platform.startswith("linux") else None
