"""A scene on a page: each browser has a viewer of its own, and all take turns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tirender.scenes.viewer import Viewer
from tirender.vis.web import Client, WebPage

IDLE_SECONDS = 0.02  # between looks at what the users do, if they do nothing


class Seats:
    """The viewers of the browsers that have a page open.

    Args:
        page: that they have open.
        make: makes the viewer of a new one; it is given what saves a picture, see :class:`Viewer`.
    """

    def __init__(self, page: WebPage, make: Callable[[Callable[[np.ndarray], str]], Viewer]) -> None:
        self.page, self._make = page, make
        self.viewers: dict[Client, Viewer] = {}

    def serve(self) -> bool:
        """Let each viewer do what is due, in turn.

        Returns:
            whether one has shown something.
        """
        clients = self.page.clients()
        for gone in self.viewers.keys() - set(clients):
            del self.viewers[gone]
        shown = [self._viewer(client).serve(client) for client in clients]
        return any(shown)

    def _viewer(self, client: Client) -> Viewer:
        if client not in self.viewers:
            self.viewers[client] = self._make(lambda picture: client.offer(picture, "tirender.png"))
        return self.viewers[client]


def show_on_page(page: WebPage, make: Callable[[Callable[[np.ndarray], str]], Viewer]) -> None:
    """Show a scene until an owner of the page quits, then close the page.

    Args:
        page: to show it on.
        make: see :class:`Seats`.
    """
    try:
        first = make(lambda picture: "")
        first.warm_up()

        def make_quick(save: Callable[[np.ndarray], str]) -> Viewer:
            viewer = make(save)
            viewer.pace.cost = first.pace.cost
            return viewer

        seats = Seats(page, make_quick)
        while not any((event.kind, event.key) == ("press", "q") for event in page.events()):
            if not seats.serve():
                page.wait(IDLE_SECONDS)
    finally:
        page.close()
