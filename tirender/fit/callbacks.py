"""Callbacks of a fit: draw figures, print progress, save checkpoints, call a function."""

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
from tirender.progress import Lines

DIGEST = "digest of what is fitted to"
"""The setting that differs where a source's content does; it is mentioned only if no other setting says so."""


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


class ProgressLines(Callback):
    """Prints a line with step, losses and time left every few seconds or percent, for where there is no terminal.

    Args:
        label: at the beginning of each line.
        note: at its end, such as the folder of the results.
    """

    def __init__(self, label: str, note: str = "") -> None:
        self.label, self.note = label, note
        self._lines: Lines | None = None

    def on_step(self, run: FitRun) -> None:
        if self._lines is None:
            self._lines = Lines(self.label, run.config.steps, run.step - 1, self.note)
        self._lines.step(run.step, run.losses_in_words())


class Checkpoint(Callback):
    """Saves the state of the fit every n steps and at the end, and resumes from an earlier state at the start.

    A fit that was killed at any moment and resumed on the CPU ends with the same bits as an uninterrupted one.

    Args:
        path: of the checkpoint; its folder is created if it does not exist.
        n: the period, in steps.
        resume: whether to resume from an existing checkpoint; otherwise it is overwritten.
        settings: numbers and strings; only a checkpoint with the same ones is resumed.
        about: what else it says, for those who show the result: tensors, numbers, strings, and dicts and lists of them.
            ``about["asked"]``, numbers and strings by name, is compared in the message when the settings differ.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        n: int = 100,
        resume: bool = True,
        settings: Mapping[str, Any] | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        if n < 1:
            fail("n", "at least 1", n)
        self.path, self.n, self.resume = Path(path), n, resume
        self.settings, self.about = dict(settings or {}), dict(about or {})

    def on_start(self, run: FitRun) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        state = load_checkpoint(self.path) if self.resume else None
        if state is None:
            return
        saved = state.get("settings", {})
        with _naming(self.path):
            check_settings(saved)
        if saved != self.settings:
            asked = _differences(_asked(state.get("about")), _asked(self.about))
            words = {**_differences(saved, self.settings), **asked}
            if words.pop(DIGEST, None) and not words:
                words[DIGEST] = "a source whose content has changed"
            got = ", ".join(words.values())
            fail(str(self.path), "the settings that its fit was started with", got)
        with _naming(self.path):
            run.load_state_dict(state)

    def on_step(self, run: FitRun) -> None:
        if run.step % self.n == 0 or run.step == run.config.steps:
            self._save(run)

    def on_end(self, run: FitRun) -> None:
        if run.error is None and run.stopped and run.step % self.n:
            self._save(run)

    def _save(self, run: FitRun) -> None:
        run.check_parameters()
        save_checkpoint(self.path, {**run.state_dict(), "settings": self.settings, "about": self.about})


def _asked(about: Any) -> dict[str, Any]:
    """The entry ``asked`` of what a checkpoint says, if it has one; without the steps, of which there may be more."""
    asked = about.get("asked") if isinstance(about, dict) else None
    return {name: value for name, value in asked.items() if name != "steps"} if isinstance(asked, dict) else {}


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """What of ``new`` differs from ``old``, by name, in words; what one of them lacks only if nothing else differs."""
    names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    names = [name for name in names if name in old and name in new] or names
    return {name: f"{name} {new.get(name)} instead of {old.get(name)}" for name in names}


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
