"""A display of its own for tests of windows: Xvfb, with keys and mouse by xdotool."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageGrab

CLI = "import sys; from tirender.cli import main; sys.exit(main())"  # for python -c
PATIENCE = 120.0  # seconds until a window must have done what it was told


@contextmanager
def display() -> Iterator[str]:
    """The name of a new display; skips where something for windows is missing."""
    for program in ("Xvfb", "xdotool"):
        if shutil.which(program) is None:
            pytest.skip(f"windows: {program} is not installed (apt install xvfb xdotool)")
    ready, number = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(number), "-screen", "0", "1200x900x24", "-nolisten", "tcp", "-noreset"],
        pass_fds=[number],
        stderr=subprocess.DEVNULL,
    )
    os.close(number)
    try:
        with os.fdopen(ready) as stream:
            yield f":{stream.readline().strip()}"
    finally:
        server.terminate()
        server.wait()


class Program:
    """A Python program that opens a window, and what its user does; it is killed at the end of the context.

    Args:
        name: of the display.
        args: of the interpreter.
        cwd: the working folder.
        environment: variables of it, beside those of this program.
    """

    def __init__(self, name: str, args: list[object], cwd: Path, environment: Mapping[str, str] | None = None) -> None:
        self.environment = {**os.environ, "DISPLAY": name, **(environment or {})}
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, *map(str, args)],
            env=self.environment,
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Program:
        try:
            self.wait_for(lambda: bool(self._windows()), "a window")
        except BaseException:
            self.__exit__()
            raise
        self.window = self._windows()[-1]
        self._xdotool("mousemove", "--window", self.window, "100", "100")  # keys go to the window below the mouse
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def key(self, *names: str) -> None:
        """Press keys, one after the other, each for long enough to be seen."""
        for name in names:
            self._xdotool("keydown", name)
            time.sleep(0.1)
            self._xdotool("keyup", name)

    def drag(self, button: int, x: int, y: int, right: int, down: int) -> None:
        """Move the mouse with a button pressed; in pixels from the upper left corner of the window."""
        self._xdotool("mousemove", "--window", self.window, str(x), str(y))
        time.sleep(0.2)
        self._xdotool("mousedown", str(button))
        time.sleep(0.2)
        self._xdotool("mousemove", "--window", self.window, str(x + right), str(y + down))
        time.sleep(0.2)
        self._xdotool("mouseup", str(button))

    def wheel(self, forward: int) -> None:
        """Turn the mouse wheel by some notches."""
        for _ in range(abs(forward)):
            time.sleep(0.1)
            self._xdotool("click", "4" if forward > 0 else "5")

    def resize(self, width: int, height: int) -> None:
        self._xdotool("windowsize", self.window, str(width), str(height))

    def is_steady(self, seconds: float = 0.6) -> bool:
        """Whether the screen shows something, and does not change for this time."""
        before = self.screen()
        time.sleep(seconds)
        return before.any() and np.array_equal(before, self.screen())

    def picture(self, height: int, width: int) -> np.ndarray:
        """(H, W, 3): what the window shows, which is in the upper left corner and has a border of one pixel."""
        return self.screen()[1 : 1 + height, 1 : 1 + width]

    def screen(self) -> np.ndarray:
        """(H, W, 3): what the whole display shows."""
        return np.asarray(ImageGrab.grab(xdisplay=self.name).convert("RGB"))

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until a condition holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            if self.process.poll() is not None:
                _, errors = self.process.communicate()
                pytest.fail(f"{what}: the program ended with {self.process.returncode}\n{errors}")
            if time.monotonic() > end:
                Image.fromarray(self.screen()).save("screen.png")
                pytest.fail(f"{what}: not within {PATIENCE:.0f} s, see screen.png")
            time.sleep(0.05)

    def wait_for_change(self, before: np.ndarray, what: str) -> np.ndarray:
        """Wait until the screen is another, and stays so; what it is then."""
        self.wait_for(lambda: not np.array_equal(self.screen(), before), what)
        last = before
        while not np.array_equal(last, now := self.screen()):
            last = now
            time.sleep(0.6)
        return now

    def end(self) -> tuple[int, str, str]:
        """Wait for the end of the program: its exit code, stdout and stderr."""
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out, err

    def _windows(self) -> list[str]:
        found = subprocess.run(
            ["xdotool", "search", "--name", "^tirender: "], env=self.environment, capture_output=True, text=True
        )
        return found.stdout.split()

    def _xdotool(self, *args: str) -> None:
        subprocess.run(["xdotool", *args], env=self.environment, check=True, capture_output=True)
