"""A page in a browser that shows pictures as they are made, and reports mouse and keys."""

from __future__ import annotations

import io
import json
import math
import secrets
import sys
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, get_args

import numpy as np
from PIL import Image

from tirender.vis.display import Event, Keys, Kind

PORT = 8123
PATIENCE = 20.0  # seconds that a request waits for a new picture
EVENTS_MAX = 1000  # events that wait to be read
BODY_MAX = 1 << 20


class WebPage:
    """A page on 127.0.0.1 with an address that nobody can guess; a :class:`~tirender.vis.display.Display`.

    From another machine, forward the port: ``ssh -L 8123:127.0.0.1:8123 machine``.

    Args:
        title: of the page.
        size: height and width that pictures should have.
        keys: by key, what it does; each gets a button.
        port: of the server; if it is taken, another one is used.
    """

    def __init__(self, title: str, size: tuple[int, int], keys: Keys | None = None, port: int = PORT) -> None:
        self.title, self.size, self.keys = title, size, dict(keys or {})
        self.is_open = True
        self._changed = threading.Condition()
        self._picture: np.ndarray | None = None
        self._number = 0
        self._events: deque[Event] = deque(maxlen=EVENTS_MAX)
        self._token = secrets.token_urlsafe(9)
        self._server = _serve(self, port)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/{self._token}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        print(f"tirender: open {self.address}", file=sys.stderr, flush=True)

    def show(self, picture: np.ndarray) -> None:
        with self._changed:
            self._picture = picture
            self._number += 1
            self._changed.notify_all()

    def events(self) -> list[Event]:
        with self._changed:
            events = list(self._events)
            self._events.clear()
        return events

    def close(self) -> None:
        if not self.is_open:
            return
        with self._changed:
            self.is_open = False
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def _after(self, number: int) -> tuple[int, np.ndarray | None]:
        """Wait for a newer picture than ``number``; its number, and the picture or None if none came."""
        with self._changed:
            self._changed.wait_for(lambda: self._number > number or not self.is_open, PATIENCE)
            return self._number, self._picture if self._number > number else None

    def _add(self, events: list[Event]) -> None:
        with self._changed:
            self._events.extend(events)


def _serve(page: WebPage, port: int) -> ThreadingHTTPServer:
    class Handler(_Handler):
        owner = page

    try:
        return _Server(("127.0.0.1", port), Handler)
    except OSError:
        return _Server(("127.0.0.1", 0), Handler)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


class _Handler(BaseHTTPRequestHandler):
    owner: WebPage
    protocol_version = "HTTP/1.1"
    timeout = 2 * PATIENCE

    def do_GET(self) -> None:
        name, _, query = self.path.partition("?")
        if name == self._path(""):
            facts = {"title": self.owner.title, "keys": self.owner.keys}
            page = Path(__file__).with_name("page.html").read_text("utf-8")
            marked = json.dumps(facts).replace("<", "\\u003c")
            self._answer(200, "text/html; charset=utf-8", page.replace("/*FACTS*/null", marked).encode())
        elif name == self._path("picture"):
            number, picture = self.owner._after(int(query) if query.isdecimal() else 0)
            if picture is None:
                self._answer(204 if self.owner.is_open else 410, "text/plain", b"")
                return
            stream = io.BytesIO()
            Image.fromarray(picture).save(stream, "JPEG", quality=92, subsampling=0)
            self._answer(200, "image/jpeg", stream.getvalue(), number)
        else:
            self._answer(404, "text/plain", b"not here")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if self.path != self._path("events") or not length.isdecimal() or int(length) > BODY_MAX:
            self.close_connection = True
            self._answer(404, "text/plain", b"not here")
            return
        try:
            self.owner._add([_event(entry) for entry in json.loads(self.rfile.read(int(length)))])
        except (ValueError, TypeError, KeyError):
            self._answer(400, "text/plain", b"no events")
            return
        self._answer(204, "text/plain", b"")

    def _path(self, name: str) -> str:
        return f"/{self.owner._token}/{name}"

    def _answer(self, status: int, kind: str, body: bytes, number: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        if number is not None:
            self.send_header("X-Number", str(number))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def _event(entry: dict[str, Any]) -> Event:
    kind, key, x, y = entry["kind"], str(entry.get("key", ""))[:20], float(entry["x"]), float(entry["y"])
    if kind not in get_args(Kind) or not math.isfinite(x) or not math.isfinite(y):
        raise ValueError("no event")
    return Event(kind, key, x, y)
