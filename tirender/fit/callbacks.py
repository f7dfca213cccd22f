"""Callbacks of a fit: draw figures, save checkpoints, call a function."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tirender.checks import fail
from tirender.fit.checkpoint import load_checkpoint, save_checkpoint
from tirender.fit.run import Callback, FitRun
from tirender.fit.saved_state import check_settings
from tirender.io.files import write_file


class Every(Callback):
    """Calls ``function(run)`` at steps 0, n, 2n ..., before their update.

    Args:
        n: the period, in steps.
        function: is called with the run.
    """

    def __init__(self, n: int, function: Callable[[FitRun], object]) -> None:
        if n < 1:
            fail("n", "at least 1", n)
        self.n, self.function = n, function

    def on_losses(self, run: FitRun) -> None:
        if run.step % self.n == 0:
            self.function(run)


class Figures(Every):
    """Draws a pyplot figure at steps 0, n, 2n ..., and saves it as ``iter_00000.png`` and so on.

    Args:
        n: the period, in steps.
        draw: draws a pyplot figure and leaves it the current one.
        folder: of the figures; created if it does not exist.
    """

    def __init__(self, n: int, draw: Callable[[FitRun], object], folder: str | os.PathLike[str]) -> None:
        super().__init__(n, self._save)
        self.draw, self.folder = draw, Path(folder)

    def _save(self, run: FitRun) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.draw(run)
        save_figure(self.folder / f"iter_{run.step:05d}.png")


class Checkpoint(Callback):
    """Saves the state of the fit every n steps and at the end, and resumes from an earlier state at the start.

    A fit that was killed at any moment and resumed on the CPU ends with the same bits as an uninterrupted one.

    Args:
        path: of the checkpoint; its folder is created if it does not exist.
        n: the period, in steps.
        resume: whether to resume from an existing checkpoint; otherwise it is overwritten.
        settings: numbers and strings; only a checkpoint with the same ones is resumed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        n: int = 100,
        resume: bool = True,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        if n < 1:
            fail("n", "at least 1", n)
        self.path, self.n, self.resume, self.settings = Path(path), n, resume, dict(settings or {})

    def on_start(self, run: FitRun) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        state = load_checkpoint(self.path) if self.resume else None
        if state is None:
            return
        saved = state.get("settings", {})
        with _naming(self.path):
            check_settings(saved)
        differing = sorted(k for k in {*saved, *self.settings} if saved.get(k) != self.settings.get(k))
        if differing:
            differing = [k for k in differing if k in saved and k in self.settings] or differing
            want, got = ({k: d.get(k) for k in differing} for d in (self.settings, saved))
            fail(str(self.path), f"the checkpoint of a fit with {want}", got)
        with _naming(self.path):
            run.load_state_dict(state)

    def on_step(self, run: FitRun) -> None:
        if run.step % self.n == 0 or run.step == run.config.steps:
            self._save(run)

    def on_end(self, run: FitRun) -> None:
        if run.error is None and run.stopped and run.step % self.n:
            self._save(run)

    def _save(self, run: FitRun) -> None:
        save_checkpoint(self.path, {**run.state_dict(), "settings": self.settings})


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let errors begin with the name of a file."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def save_figure(path: Path) -> None:
    """Write the current pyplot figure and close it; a failure leaves no partial file."""
    import matplotlib.pyplot as plt

    picture = io.BytesIO()
    plt.savefig(picture, format=path.suffix[1:])
    plt.close()
    write_file(path, [picture.getvalue()])
