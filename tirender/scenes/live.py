"""A fit on a page where each browser turns what is fitted, while the fit goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from tirender.fit import Preview, Views
from tirender.fit.views import camera_record
from tirender.scenes.base import Scene
from tirender.scenes.cameras import from_views, frusta_of
from tirender.scenes.controls import FIT_CONTROLS, FIT_HELP
from tirender.scenes.page import Seats
from tirender.scenes.viewer import Viewer
from tirender.vis.pace import Pace
from tirender.vis.web import WebPage

BOARD_BUDGET, VIEW_BUDGET, MOVING_BUDGET = 0.02, 0.04, 0.055  # of the fit's time, at most
NEW_SECONDS = 1.0  # between looks at what has been fitted meanwhile
MOVING_SECONDS, STILL_SECONDS = 0.015, 0.15  # for a picture
COARSE = 4096  # samples of a picture of a slow scene


class LivePreview(Preview):
    """Shows a fit on a page, and what is fitted from all sides.

    Together, pictures take less than a tenth of the fit's time. In a pause they come as fast as they can.

    Args:
        scene: makes the scene of the fitted module, called without gradients; it is not moved.
        title: of the fit.
        views: what the fit approaches; their cameras are shown, to look through.
        host, port: of the page, see :class:`~tirender.vis.web.WebPage`.
    Raises:
        OSError: the host or the port cannot be had.
    """

    def __init__(
        self,
        scene: Callable[[nn.Module], Scene],
        title: str = "fit",
        views: Views | None = None,
        host: str = "127.0.0.1",
        port: int | None = None,
    ) -> None:
        self._cameras = () if views is None else from_views(camera_record(views))
        frusta = frusta_of(self._cameras)
        self._page = WebPage(f"tirender: {title}", FIT_CONTROLS, frusta=frusta, host=host, port=port)
        super().__init__(self._page, title=title, budget=BOARD_BUDGET)
        self._make_scene = scene
        self._seats = Seats(self._page, self._make_viewer)
        self._scene: Scene | None = None
        self._step, self._made = -1, 0.0  # of the scene
        self._next, self._spent = 0.0, 0.0  # when to look after the viewers again; what it took the last time
        self._welcomed = 0.0  # the time of the last newcomer's first picture
        self._cost = 0.0, 0.0  # of the first picture, see Pace

    def _between(self) -> None:
        now = time.perf_counter()
        if self._run is None or not self._page.is_watched:
            return
        if now < self._next and not self.paused:
            if self._scene is not None and now > self._welcomed + NEW_SECONDS:
                self._welcome()
            return
        with _evaluating(self._run.module):
            if self._scene is None:  # kernels are compiled, which is not what pictures take
                self._renew()
                first = self._make_viewer(lambda picture: "")
                first.warm_up()
                self._cost = first.pace.cost
                self._spent = self._cost[0] + COARSE * self._cost[1]
                return
            for viewer in self._viewers:
                viewer.pace.still = None if self.paused else STILL_SECONDS
            is_old = self._run.step != self._step and (now - self._made > NEW_SECONDS or self.paused)
            if is_old and not self._is_moving:
                self._renew()
            self._seats.serve()
        done = time.perf_counter()
        self._spent = min(done - now, 3 * max(self._spent, 0.1))  # what is compiled now counts little
        if self._is_moving:
            self._due = max(self._due, done + NEW_SECONDS)  # the board can wait
        self._next = done + (not self.paused) * self._spent / (MOVING_BUDGET if self._is_moving else VIEW_BUDGET)

    def _welcome(self) -> None:
        """Show a newcomer a quick picture at once; the next pictures of all come the later."""
        assert self._run is not None
        newcomers = self._seats.newcomers()
        if newcomers:
            began = time.perf_counter()
            with _evaluating(self._run.module):
                self._seats.welcome(newcomers[0], MOVING_SECONDS)
            self._welcomed = time.perf_counter()
            self._next += min(self._welcomed - began, 0.1) / VIEW_BUDGET

    @property
    def _viewers(self) -> list[Viewer]:
        return list(self._seats.viewers.values())

    @property
    def _is_moving(self) -> bool:
        return any(viewer.pace.is_moving for viewer in self._viewers)

    def _renew(self) -> None:
        """Take over what has been fitted meanwhile."""
        assert self._run is not None
        with torch.no_grad():
            self._scene = self._make_scene(self._run.module)
        self._step, self._made = self._run.step, time.perf_counter()
        for viewer in self._viewers:
            viewer.set_scene(self._scene)

    def _make_viewer(self, save: Callable[[np.ndarray], str]) -> Viewer:
        assert self._scene is not None
        viewer = Viewer(self._scene, self.title, save, cameras=self._cameras)
        viewer.help = FIT_HELP
        viewer.pace = Pace(self._scene.supersample, MOVING_SECONDS, STILL_SECONDS)
        viewer.pace.cost = self._cost
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
