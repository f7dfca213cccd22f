"""Progress of what takes long: a bar in a terminal; elsewhere (nohup, tee, Slurm, a file) a line now and then."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

SECONDS = 5.0  # between lines, at least
SHARE = 0.01  # of the whole, between lines, at least

T = TypeVar("T")


def shows_bar() -> bool:
    """Whether there is a terminal for a bar, and not a pipe beside it whose end may be the same terminal."""
    return sys.stderr.isatty() and not _is_pipe(sys.stdout)


def prints_lines() -> bool:
    """Whether lines should be printed: what is printed is not only seen in a terminal."""
    return not (sys.stdout.isatty() and sys.stderr.isatty())


class Lines:
    """Prints a line of progress when one is due: every few seconds, or percent where these take longer.

    Args:
        label: at the beginning of each line.
        total: number of steps in all.
        done: steps that were made earlier.
        note: at the end of each line.
    """

    def __init__(self, label: str, total: int, done: int = 0, note: str = "") -> None:
        self.label, self.total, self.note = label, total, note
        self._first, self._began = done, time.monotonic()
        self._due = self._began + SECONDS

    def step(self, done: int, facts: str = "") -> None:
        """Report that so many steps are done."""
        now = time.monotonic()
        if now < self._due or done >= self.total:
            return
        seconds = now - self._began
        left = seconds / max(done - self._first, 1) * (self.total - done)
        self._due = now + max(SECONDS, SHARE * (seconds + left))
        parts = [f"{self.label} {done} of {self.total} ({100 * done // self.total} %)", facts, f"{clock(left)} left"]
        print("; ".join(part for part in (*parts, self.note) if part), flush=True)


def followed(items: Sequence[T], label: str) -> Iterator[T]:
    """The items, with progress while they are worked on."""
    if len(items) > 1 and shows_bar():
        from tqdm import tqdm

        yield from tqdm(items, desc=label)
        return
    lines = Lines(label, len(items)) if len(items) > 1 and prints_lines() else None
    for i, item in enumerate(items):
        yield item
        if lines:
            lines.step(i + 1)


def clock(seconds: float) -> str:
    """A duration: 5 s, 3 min 05 s, 2 h 10 min."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def _is_pipe(stream: Any) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError, AttributeError):  # no file behind it
        return False
