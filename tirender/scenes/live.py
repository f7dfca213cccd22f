"""A fit on a page where each browser turns what is fitted, while the fit goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from tirender.fit import FitRun, Preview
from tirender.renderer.cameras import CamerasBase
from tirender.scenes.base import Scene
from tirender.scenes.controls import FIT_HELP
from tirender.scenes.page import Seats
from tirender.scenes.viewer import Viewer
from tirender.vis.pace import Pace
from tirender.vis.web import WebPage

BOARD_BUDGET, VIEW_BUDGET = 0.03, 0.05  # of the fit's time, at most
NEW_SECONDS = 1.0  # between looks at what has been fitted meanwhile
MOVING_SECONDS, STILL_SECONDS = 0.012, 0.05  # for a picture


class LivePreview(Preview):
    """Shows a fit on a page, and what is fitted from all sides.

    Together, pictures take less than a tenth of the fit's time. In a pause they come as fast as they can.

    Args:
        page: with the controls ``FIT_CONTROLS``.
        scene: makes the scene of the fitted module, called without gradients.
        title: of the fit.
        cameras: those of the fit's views, to look through.
    """

    def __init__(
        self, page: WebPage, scene: Callable[[nn.Module], Scene], title: str, cameras: CamerasBase | None = None
    ) -> None:
        super().__init__(page, title=title, budget=BOARD_BUDGET)
        self._page, self._make_scene, self._cameras = page, scene, cameras
        self._seats = Seats(page, self._make_viewer)
        self._scene: Scene | None = None
        self._step, self._made = -1, 0.0  # of the scene
        self._next, self._cost = 0.0, 0.0  # when to look after the viewers again, and what that takes, in seconds

    def _between(self) -> None:
        now = time.perf_counter()
        if self._run is None or not self._page.is_watched or (now < self._next and not self.paused):
            return
        for viewer in self._seats.viewers.values():
            viewer.pace.still = None if self.paused else STILL_SECONDS
        with _evaluating(self._run.module):
            self._look_again(now)
            has_shown = self._seats.serve()
        if has_shown:
            seconds = time.perf_counter() - now
            # Kernels are compiled once, which is not what pictures take.
            self._cost = seconds if not self._cost else self._cost + 0.3 * (min(seconds, 3 * self._cost) - self._cost)
            self._next = time.perf_counter() + self._cost / VIEW_BUDGET

    def _look_again(self, now: float) -> None:
        """Show viewers what has been fitted meanwhile, unless they move."""
        assert self._run is not None
        viewers = self._seats.viewers.values()
        is_old = self._run.step != self._step and (now - self._made > NEW_SECONDS or self.paused)
        if self._scene is not None and (not is_old or any(viewer.pace.is_moving for viewer in viewers)):
            return
        with torch.no_grad():
            self._scene = self._make_scene(self._run.module)
        self._step, self._made = self._run.step, now
        for viewer in viewers:
            viewer.set_scene(self._scene)

    def _make_viewer(self, save: Callable[[np.ndarray], str]) -> Viewer:
        assert self._scene is not None
        viewer = Viewer(self._scene, self.title, save, cameras=self._cameras)
        viewer.pace, viewer.help = Pace(self._scene.supersample, MOVING_SECONDS, STILL_SECONDS), FIT_HELP
        return viewer


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """The module as for evaluation, afterwards as before."""
    trained = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in trained:
            part.training = True
