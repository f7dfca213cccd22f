"""Ctrl-C and SIGTERM."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM raise ``KeyboardInterrupt``, as Ctrl-C does, instead of ending the process."""
    signals = [signal.SIGTERM] if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL else []
    with handling(signals, signal.default_int_handler):
        yield


@contextmanager
def handling(signals: list[signal.Signals], handler: object) -> Iterator[None]:
    """Install a handler for a while; does nothing outside of the main thread, where Python forbids it."""
    if threading.current_thread() is not threading.main_thread():
        signals = []
    before = [signal.signal(number, handler) for number in signals]  # type: ignore[arg-type]
    try:
        yield
    finally:
        for number, old in zip(signals, before):
            signal.signal(number, old)
