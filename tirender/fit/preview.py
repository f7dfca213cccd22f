"""A fit to watch while it runs: in a window, in a browser, or as a video."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tirender.checks import check_choice, fail
from tirender.fit.generators import undisturbed
from tirender.fit.run import Callback, FitRun
from tirender.vis.dashboard import dashboard
from tirender.vis.display import Control, Display
from tirender.vis.drawing import thinned, to_picture
from tirender.vis.recorder import Recorder
from tirender.vis.web import Board, WebPage
from tirender.vis.window import NoWindow, Window

KINDS = ("window", "web", "video")
CONTROLS = {
    "space": Control("pause", owner=True),
    "n": Control("step", owner=True),
    "s": Control("stop", owner=True, ask="Stop the fit here, and save what it has found?"),
    "q": Control("close", owner=True, ask="Close this page? The fit goes on."),
}
CURVE_POINTS = 400  # of a loss, on a page
FPS_MAX = 10
SIZE_MIN = (240, 320)  # height and width of the picture; smaller windows shrink it
PATIENCE = 0.02  # seconds between reading the keys in a pause
REPAINT = 0.25  # seconds between repainting a window in a pause

Image = torch.Tensor | np.ndarray
Images = Mapping[str, Image]


class Preview(Callback):
    """Shows a fit while it runs: its images, the curves of its losses, the step and the time.

    Use it as ``fit(..., callbacks=[Preview()])``, or in a loop of your own::

        preview = Preview(steps=2000)
        for step in range(2000):
            ...
            preview.update(step, {"rgb": loss}, {"prediction": image, "target": target})

    Keys, or buttons of the page: space pauses and continues, n makes one step, s stops the fit as if this were its last
    step, q closes the preview while the fit continues.

    It is redrawn as often as ``budget`` allows, at most 10 times a second, and not at all while no browser has the page
    open. It leaves the fit's random generators alone.

    Args:
        on: "window"; "web" for a page on 127.0.0.1, whose address is printed; "video" for a file, written by
            :meth:`close`; or a :class:`~tirender.vis.display.Display`, or a :class:`~tirender.vis.web.WebPage`.
        images: returns the images to show, by caption, see :meth:`update`; None: those of the fit itself.
        steps: number of steps of a loop of your own, if known.
        title: at the top.
        path: of the video, or of its folder (default: the working folder). In a folder it is called preview.mp4, or
            preview.gif without ``pip install 'tirender[video]'``.
        size: height and width of the picture in pixels.
        budget: largest fraction of the fit's time to spend on drawing.
    Raises:
        NoWindow: there is no display.
    """

    def __init__(
        self,
        on: str | Display | WebPage = "window",
        images: Callable[[], Images] | None = None,
        steps: int | None = None,
        title: str = "fit",
        path: str | Path = ".",
        size: tuple[int, int] = (720, 960),
        budget: float = 0.07,
    ) -> None:
        if not 0 < budget <= 1:
            fail("budget", "a number in (0, 1]", budget)
        self.images, self.steps, self.title, self.budget = images, steps, title, budget
        self.paused = self.stopped = False
        self.display = _open(on, title, size, Path(path)) if isinstance(on, str) else on
        self.history: dict[str, list[float]] = {}
        self._waiting: list[tuple[str, Any]] = []  # losses that are not yet in the history
        self._one_step = self._is_over = False
        self._run: FitRun | None = None
        self._repaint: Callable[[], None] = lambda: None
        self._n_drawn = 0
        self._first_step: int | None = None  # not 0 in a resumed fit
        self._start = time.perf_counter()
        self._due, self._idle = self._start, 0.0

    def update(self, step: int, losses: Mapping[str, Any], images: Images | Callable[[], Images] | None = None) -> bool:
        """Report a step of a loop of your own.

        Args:
            step: its number, from 0.
            losses: numbers or scalar tensors by name.
            images: by caption, (H, W), (H, W, C) or (1, H, W, C) with C = 1 or at least 3, floats in [0, 1] or uint8;
                or a function that returns them, called only if they are shown.
        Returns:
            whether to continue; False once the key to stop was pressed.
        Raises:
            ValueError: an image of another shape.
        """
        self._waiting += [(name, loss.detach() if torch.is_tensor(loss) else loss) for name, loss in losses.items()]
        self._refresh(step + 1, self.steps, images if images is not None else self.images)
        return not self.stopped

    def close(self) -> None:
        """Close the preview, and write the video if there is one."""
        self.display.close()

    def __enter__(self) -> Preview:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def on_start(self, run: FitRun) -> None:
        self._follow(run)

    def on_step(self, run: FitRun) -> None:
        self._follow(run)
        if self.stopped:
            run.stop()

    def on_end(self, run: FitRun) -> None:
        self._is_over, self._due = True, 0.0
        if run.error is None:  # after a failure, drawing may fail too
            self._follow(run)
        self.close()

    @property
    def _is_stopped(self) -> bool:
        return self.stopped or self._is_over or (self._run is not None and self._run.stopped)

    def _follow(self, run: FitRun) -> None:
        self._run, self.history = run, run.history
        self._refresh(run.step, run.config.steps, self.images or run.images)

    def _refresh(self, step: int, steps: int | None, images: Any) -> None:
        """Draw if it is time, and obey the keys; returns when the fit may continue."""
        if self._first_step is None:
            self._first_step, self._start = max(step - 1, 0), time.perf_counter()
        if not self.display.is_open:
            return
        self._read_keys()
        if self._is_watched and (time.perf_counter() >= self._due or self.paused):
            self._draw(step, steps, images)
        self._between()
        self._one_step = False
        began = shown = time.perf_counter()
        while self.paused and not (self._one_step or self._is_stopped) and self.display.is_open:
            time.sleep(PATIENCE)
            if self._run is not None:
                self._run.wait()
            self._read_keys()
            self._between()
            if self.display.is_open and time.perf_counter() - shown > REPAINT:
                self._repaint()
                shown = time.perf_counter()
        self._idle += time.perf_counter() - began

    def _between(self) -> None:
        """Called between steps, and again and again in a pause."""

    @property
    def _is_watched(self) -> bool:
        return not isinstance(self.display, WebPage) or self.display.is_watched

    def _read_keys(self) -> None:
        for event in self.display.events():
            if event.kind != "press":
                continue
            self._due = 0.0
            if event.key == "space":
                self.paused = not self.paused
            elif event.key == "n":
                self.paused = self._one_step = True
            elif event.key == "s":
                self.stopped = True
            elif event.key in ("q", "escape"):
                self.display.close()

    def _draw(self, step: int, steps: int | None, images: Any) -> None:
        began = time.perf_counter()
        self._take_losses()
        shown = {name: _one_image(name, image) for name, image in _called(images).items()}
        of_steps = f" of {steps}" if steps else ""
        times = _times(began - self._start - self._idle, step - (self._first_step or 0), steps and steps - step)
        display = self.display
        if isinstance(display, WebPage):
            pictures = {name: to_picture(image) for name, image in shown.items()}
            display.show_board(Board(self.title, times, step, steps, self.paused, _curves(self.history), pictures))
        else:
            title = f"{self.title}   step {step}{of_steps}" + ("   paused" if self.paused else "")
            footer = "      ".join(f"{key}  {control.label}" for key, control in CONTROLS.items())
            height, width = display.size
            size = max(height, SIZE_MIN[0]), max(width, SIZE_MIN[1])
            picture = dashboard(shown, self.history, title, step, steps, times, footer, size)
            self._repaint = partial(display.show, picture)
            self._repaint()
        now = time.perf_counter()
        # The first picture takes long, as kernels are compiled, so it does not count.
        cost = now - began if self._n_drawn else 0.0
        self._due = now + max(1 / FPS_MAX, cost / self.budget)
        self._n_drawn += 1

    def _take_losses(self) -> None:
        for name, loss in self._waiting:
            self.history.setdefault(name, []).append(float(loss))
        self._waiting.clear()


def _open(on: str, title: str, size: tuple[int, int], path: Path) -> Display | WebPage:
    check_choice("on", on, KINDS)
    if on == "web":
        return WebPage(f"tirender: {title}", CONTROLS, has_view=False)
    if on == "video":
        has_encoder = importlib.util.find_spec("imageio_ffmpeg") is not None
        name = "preview.mp4" if has_encoder else "preview.gif"
        return Recorder(path / name if path.is_dir() else path, size)
    try:
        return Window(f"tirender: {title}", size)
    except NoWindow as error:
        raise NoWindow(
            f"{error}; --preview web and --preview video do without (in Python: Preview('web'), Preview('video'))"
        ) from error


def _called(images: Any) -> Images:
    """The images; the random generators are restored, also for a loop of the user's own."""
    if not callable(images):
        return images or {}
    with torch.no_grad(), undisturbed():
        return images()


def _one_image(name: str, image: Image) -> Image:
    if image.ndim == 4 and len(image) == 1:
        image = image[0]
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] == 2) or 0 in image.shape:
        fail(f"images[{name!r}]", "shape (H, W), (H, W, 1) or (H, W, 3 or more)", tuple(image.shape))
    return image


def _curves(history: Mapping[str, Sequence[float]]) -> dict[str, tuple[list[int], list[float]]]:
    """By name, steps and values of the losses; few of a long curve, and only finite ones."""
    curves = {}
    for name, losses in history.items():
        steps, values = thinned(losses, CURVE_POINTS)
        is_finite = np.isfinite(values)
        curves[name] = steps[is_finite].tolist(), [float(f"{value:.4g}") for value in values[is_finite]]
    return curves


def _times(seconds: float, n_made: int, n_left: int | None) -> str:
    if n_made < 1 or seconds <= 0:
        return _clock(seconds)
    rate = n_made / seconds
    left = f"   {_clock(n_left / rate)} left" if n_left else ""
    return f"{_clock(seconds)}   {rate:.{0 if rate >= 10 else 2}f} steps/s{left}"


def _clock(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
