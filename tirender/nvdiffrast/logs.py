"""The log level that programs set and read; tirender itself has nothing to log."""

from __future__ import annotations

from tirender.checks import check_choice

_level = 1


def get_log_level() -> int:
    """The level that was set last; 1 at first."""
    return _level


def set_log_level(level: int) -> None:
    """Keep a level: 0 for all messages, 1 for warnings, 2 for errors, 3 for fatal ones.

    Raises:
        ValueError: for another level.
    """
    global _level
    _level = int(check_choice("level", level, (0, 1, 2, 3)))
