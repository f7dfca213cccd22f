"""Ctrl-C in a fit: the current step is finished first, so that the state is consistent and can be saved."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tirender.fit.run import FitRun
from tirender.signals import handling


class Interrupted(KeyboardInterrupt):
    """Ctrl-C stopped a fit between two steps; ``run`` is consistent, and a ``Checkpoint``, if any, has saved it."""

    def __init__(self, run: FitRun) -> None:
        super().__init__(f"interrupted after step {run.step}")
        self.run = run


@contextmanager
def interruptible(run: FitRun) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM stop the run after its step, and a second one at once.

    Where several processes fit together, a signal to one of them stops them all. A handler that the program itself has
    installed is left alone.

    Raises:
        Interrupted: at the end, after such a signal.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        if run.interrupted:
            signal.default_int_handler(number, frame)
        run.interrupted = True
        run.stop()

    signals = [s for s in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) is signal.default_int_handler]
    with handling(signals, handle):
        yield
    if run.interrupted:
        raise Interrupted(run)
