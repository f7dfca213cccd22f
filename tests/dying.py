"""Lets a process kill itself, as ``kill -9`` would, at a chosen moment of writing files."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any


def die_at(event: int) -> None:
    """From now on, count writes to ``*.partial`` files, syncs and renamings, and die within the ``event``-th of them.

    In a write, half of it has reached the file by then; a sync or renaming has not begun.
    """
    left = event

    def dies() -> bool:
        nonlocal left
        left -= 1
        return left == 0

    class DyingFile(io.FileIO):
        def write(self, data: Any) -> int:
            if dies():
                super().write(bytes(data)[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return super().write(data)

    def dying(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if dies():
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    opened = Path.open

    def open_dying(self: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        return DyingFile(self, "w") if self.suffix == ".partial" else opened(self, mode, *args, **kwargs)

    Path.open = open_dying  # type: ignore[assignment, method-assign]
    os.fsync, os.replace = dying(os.fsync), dying(os.replace)
