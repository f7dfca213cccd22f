"""Ctrl-C in a fit: the step is finished, so that the state is whole and can be saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tirender.fit.loop import FitRun


class Interrupted(KeyboardInterrupt):
    """Ctrl-C stopped a fit between two steps; ``run`` is whole, and saved if there is a ``Checkpoint``."""

    def __init__(self, run: FitRun) -> None:
        super().__init__(f"interrupted after step {run.step}")
        self.run = run


@contextmanager
def interruptible(run: FitRun) -> Iterator[None]:
    """Let the first signal that would raise ``KeyboardInterrupt`` stop the run after its step, and a second at once.

    Where several processes fit together, such a signal in one of them is one in all. Handlers of the program's own are
    left alone.

    Raises:
        Interrupted: at the end, after such a signal.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        if run.interrupted:
            signal.default_int_handler(number, frame)
        run.interrupted = True
        run.stop()

    signals = [s for s in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) is signal.default_int_handler]
    with _handling(signals, handle):
        yield
    if run.interrupted:
        raise Interrupted(run)


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM raise ``KeyboardInterrupt``, as Ctrl-C does, where it would end the process."""
    signals = [signal.SIGTERM] if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL else []
    with _handling(signals, signal.default_int_handler):
        yield


@contextmanager
def _handling(signals: list[signal.Signals], handler: object) -> Iterator[None]:
    """Set a handler for a while; other threads than the main one may not, and do without."""
    if threading.current_thread() is not threading.main_thread():
        signals = []
    before = [signal.signal(number, handler) for number in signals]  # type: ignore[arg-type]
    try:
        yield
    finally:
        for number, old in zip(signals, before):
            signal.signal(number, old)
