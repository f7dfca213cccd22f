"""A page for browsers: each that opens it gets pictures of its own, as fast as it takes them, and reports what is done.

Whoever knows the address of the owner can do everything. Guests have another address, and look around only.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import secrets
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np
from PIL import Image

from tirender.vis.display import NO_NOTES, Controls, Event, Kind, Notes
from tirender.vis.web_server import WebServer, serve
from tirender.vis.websocket import Closed, WebSocket

PORT = 8123
CLIENTS_MAX = 16
FILES_MAX = 16  # pictures to save that wait to be sent
EVENTS_MAX = 1000  # events that wait to be read
UNSEEN_MAX = 2  # pictures on their way
SIDE_MAX, AREA_MAX = 8192, 1 << 23  # of a picture, in pixels
PING_SECONDS = 15.0
LAST_SECONDS = 2.0  # for the last messages, when the page is closed
EXPOSED = (
    "others on the network reach this page, and what is sent is not encrypted; a tunnel is safer: "
    "ssh -L 8123:127.0.0.1:8123 machine"
)
FAR, NOTCHES = 10.0, 20.0  # the furthest move, in short sides of the picture, and the most notches of the wheel


@dataclass(frozen=True)
class Board:
    """The state of a fit.

    Attributes:
        title, facts: in a few words.
        step, steps: made, and in all; None if unknown.
        paused: whether it waits.
        curves: by name, the steps and values of a loss.
        images: by caption, (H, W, 3) uint8.
    """

    title: str
    facts: str
    step: int
    steps: int | None
    paused: bool
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]]
    images: Mapping[str, np.ndarray]


class Client:
    """A browser that has the page open; a :class:`~tirender.vis.display.Display`.

    Attributes:
        is_owner: whether it has opened the address of the owner.
        seen: when it last said something, by the monotonic clock.
    """

    def __init__(self, page: WebPage, is_owner: bool) -> None:
        self.is_owner = is_owner
        self.size, self.density = (512, 512), 1.0
        self.seen = time.monotonic()
        self._page, self._changed = page, page._changed
        self._socket: WebSocket | None = None
        self._events: deque[Event] = deque(maxlen=EVENTS_MAX)
        self._waiting: dict[str, Any] = {}  # by kind, the latest message to send; of files, those to send
        self._unseen: dict[str, int] = {}  # by kind, messages on their way
        self._is_sending = False

    @property
    def is_open(self) -> bool:
        return self._socket is not None and self._page.is_open

    @property
    def is_ready(self) -> bool:
        return self.is_open and "picture" not in self._waiting and self._unseen.get("picture", 0) < UNSEEN_MAX

    def show(self, picture: np.ndarray | None, notes: Notes = NO_NOTES) -> None:
        self._put("picture" if picture is not None else "notes", (picture, notes))

    def offer(self, picture: np.ndarray, name: str) -> str:
        """Give the browser a picture (H, W, 3) uint8 to save; returns the name."""
        self._put("file", (picture, name))
        return name

    def events(self) -> list[Event]:
        with self._changed:
            events = list(self._events)
            self._events.clear()
        return events

    def close(self) -> None:
        """End the connection; the browser may come again."""
        socket = self._socket
        if socket:
            socket.close()

    # --- for the threads of the connection ---

    def _put(self, kind: str, message: Any) -> None:
        with self._changed:
            if self.is_open:
                if kind == "picture":
                    self._waiting.pop("notes", None)  # they are older
                if kind == "file":
                    self._waiting.setdefault(kind, deque(maxlen=FILES_MAX)).append(message)
                else:
                    self._waiting[kind] = message
                self._changed.notify_all()

    def _attach(self, socket: WebSocket) -> None:
        """A new connection, in place of the one before."""
        with self._changed:
            old, self._socket = self._socket, socket
            self._waiting, self._unseen = {"facts": None}, {}
            if self._page.board is not None:
                self._waiting["board"] = self._page.board
            self._events.append(Event("press", "fresh"))
            self._changed.notify_all()
        if old:
            old.close()

    def _detach(self, socket: WebSocket) -> None:
        with self._changed:
            if self._socket is socket:
                self._socket = None
                self._waiting.clear()
            self._changed.notify_all()

    def _take(self, said: dict[str, Any]) -> None:
        """What the browser says.

        Raises:
            ValueError, TypeError, KeyError, OverflowError: it makes no sense.
        """
        events = [_event(entry) for entry in said.get("events", ())]
        with self._changed:
            self.seen = time.monotonic()
            if "size" in said:
                self.size, self.density = _size(said["size"], said["density"])
            for kind in said.get("got", ()):
                if self._unseen.get(kind):
                    self._unseen[kind] -= 1
            for event in events:
                control = self._page.controls.get(event.key)
                if control is None or not control.owner:
                    self._events.append(event)
                elif self.is_owner:
                    self._page._events.append(event)
            self._changed.notify_all()

    def _send(self, socket: WebSocket) -> None:
        """Send what there is to send, until the connection ends."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._socket is not socket or self._next() is not None, PING_SECONDS)
                if self._socket is not socket:
                    return
                kind = self._next()
                message = self._pop(kind) if kind else None
                if kind:
                    self._unseen[kind] = self._unseen.get(kind, 0) + 1
                self._is_sending = True
            try:
                if kind is None:
                    socket.ping()
                    continue
                _send(socket, kind, *_encoded(kind, message, self))
            finally:
                with self._changed:
                    self._is_sending = False
                    self._changed.notify_all()

    def _next(self) -> str | None:
        """The kind of message to send next; the next board waits until the last one was seen."""
        for kind in ("facts", "file", "picture", "notes", "board", "end"):
            if kind == "board" and kind in self._waiting and self._unseen.get(kind):
                return None
            if kind in self._waiting:
                return kind
        return None

    def _pop(self, kind: str) -> Any:
        """Take the message of a kind; files one by one, for each is wanted."""
        if kind == "file" and len(self._waiting[kind]) > 1:
            return self._waiting[kind].popleft()
        message = self._waiting.pop(kind)
        return message[0] if kind == "file" else message

    @property
    def _is_busy(self) -> bool:
        return self._socket is not None and (bool(self._waiting) or self._is_sending)


class WebPage:
    """A page with an address that nobody can guess.

    From another machine, forward the port: ``ssh -L 8123:127.0.0.1:8123 machine``.

    Args:
        title: of the page.
        controls: the keys, and the buttons.
        has_view: whether there are pictures of a scene, which each client turns for itself.
        frusta: (N, 5, 3), cameras to show in the scene: the eye of each, and the corners of its picture at a depth.
        host: the address of the machine to listen at; others than 127.0.0.1 are open to the network.
        port: of the server; None: 8123, or another one if that is taken.
    Raises:
        OSError: the host or the port cannot be had.
    """

    def __init__(
        self,
        title: str,
        controls: Controls,
        *,
        has_view: bool = True,
        frusta: Sequence[Any] = (),
        host: str = "127.0.0.1",
        port: int | None = None,
    ) -> None:
        self.title, self.controls, self.has_view, self.frusta = title, dict(controls), has_view, frusta
        self.is_open = True
        self.board: Board | None = None
        self._events: deque[Event] = deque(maxlen=EVENTS_MAX)
        self._changed = threading.Condition()
        self._clients: dict[tuple[str, bool], Client] = {}  # by their own names
        self._tokens = {secrets.token_urlsafe(12): is_owner for is_owner in (True, False)}
        self._server: WebServer = serve(self._tokens, self._talk, host, PORT if port is None else port, port is None)
        self.address, self.guest_address = (f"{self._server.root}{token}/" for token in self._tokens)
        if self._server.is_exposed:
            print(f"tirender: {host}: {EXPOSED}", file=sys.stderr)
        print(f"tirender: open {self.address}", file=sys.stderr)
        print(f"tirender: guests look around at {self.guest_address}", file=sys.stderr, flush=True)

    def clients(self) -> list[Client]:
        """Those that have the page open, or had it not long ago."""
        with self._changed:
            return list(self._clients.values())

    @property
    def is_watched(self) -> bool:
        """Whether a browser has it open."""
        return any(client.is_open for client in self.clients())

    def events(self) -> list[Event]:
        """What owners did to controls that are for owners, since the last call; clients tell of all else."""
        with self._changed:
            events = list(self._events)
            self._events.clear()
        return events

    def wait(self, seconds: float) -> None:
        """Wait until a client does something, or takes a picture."""
        with self._changed:
            self._changed.wait(seconds)

    def show_board(self, board: Board) -> None:
        """Show the state of a fit to all."""
        self.board = board
        for client in self.clients():
            client._put("board", board)

    def close(self) -> None:
        """Send what waits to be sent, say that this is the end, and stop the server."""
        if not self.is_open:
            return
        for client in self.clients():
            client._put("end", None)
        with self._changed:
            self._changed.wait_for(lambda: not any(c._is_busy for c in self._clients.values()), LAST_SECONDS)
            self.is_open = False
            self._changed.notify_all()
        for client in self.clients():
            client.close()
        self._server.stop()

    def _talk(self, socket: WebSocket, is_owner: bool) -> None:
        """Serve a connection until it ends."""
        with contextlib.suppress(Closed, ValueError, TypeError, KeyError, OverflowError, RecursionError):
            said = _said(socket.receive())
            name = str(said["client"])[:40]
            client = self._join(name, is_owner)
            if client is None:
                _send(socket, "full", {}, [])
                return
            client._attach(socket)
            threading.Thread(target=_quietly, args=(client._send, socket), daemon=True).start()
            try:
                while True:
                    client._take(said)
                    said = _said(socket.receive())
            finally:
                client._detach(socket)
        socket.close()

    def _join(self, name: str, is_owner: bool) -> Client | None:
        """The client of a name; None if there are too many. An owner takes the place of a guest."""
        leaving = None
        with self._changed:
            client = self._clients.get((name, is_owner))
            if client is None:
                if len(self._clients) >= CLIENTS_MAX:
                    others = self._clients.items()
                    silent = [key for key, other in others if not other.is_open]
                    guests = [key for key, other in others if is_owner and not other.is_owner]
                    if not (may_leave := silent or guests):
                        return None
                    leaving = self._clients.pop(min(may_leave, key=lambda key: self._clients[key].seen))
                client = self._clients[name, is_owner] = Client(self, is_owner)
        if leaving:
            leaving.close()
        return client


def _quietly(send: Callable[[WebSocket], None], socket: WebSocket) -> None:
    with contextlib.suppress(Closed):
        send(socket)


def _send(socket: WebSocket, kind: str, head: Mapping[str, Any], payloads: Sequence[bytes]) -> None:
    """Send a message: the length of its head in four bytes, the head, and the payloads."""
    text = json.dumps({"kind": kind, "sizes": [len(payload) for payload in payloads], **head}).encode()
    socket.send(len(text).to_bytes(4, "big"), text, *payloads)


def _said(message: bytes) -> dict[str, Any]:
    said = json.loads(message)
    if not isinstance(said, dict):
        raise ValueError("no message")
    return said


def _event(entry: dict[str, Any]) -> Event:
    kind, key = entry["kind"], str(entry.get("key", ""))[:20]
    if kind not in get_args(Kind):
        raise ValueError("no event")
    x, y = (_number(entry.get(name, 0.0), FAR if kind != "scroll" else NOTCHES) for name in "xy")
    return Event(kind, key, x, y)


def _size(size: Any, density: Any) -> tuple[tuple[int, int], float]:
    """Height and width of pictures, and the density, within bounds."""
    width, height = (max(_number(side, SIDE_MAX), 1.0) for side in size)
    shrink = min(1.0, math.sqrt(AREA_MAX / (width * height)))
    return (max(int(shrink * height), 1), max(int(shrink * width), 1)), max(_number(density, 4.0), 1.0)


def _number(value: Any, most: float) -> float:
    """A finite number, cut off at ``most`` and its negative."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError("no number")
    return float(min(max(value, -most), most))


def _encoded(kind: str, message: Any, client: Client) -> tuple[dict[str, Any], list[bytes]]:
    """The head of a message for the browser, and its payloads."""
    page = client._page
    if kind == "facts":
        controls = [
            {"key": key, "label": control.label, "ask": control.ask}
            for key, control in page.controls.items()
            if client.is_owner or not control.owner
        ]
        frusta = np.round(np.asarray(page.frusta, np.float64), 4).tolist()
        return {"title": page.title, "controls": controls, "hasView": page.has_view, "frusta": frusta}, []
    if kind in ("picture", "notes"):
        picture, notes = message
        if picture is None:
            return asdict(notes), []
        is_full = any(side == whole for side, whole in zip(picture.shape, client.size))
        return asdict(notes), [_jpeg(picture, is_full)]
    if kind == "file":
        return {"name": message[1]}, [_compressed(message[0], "PNG")]
    if kind == "board":
        head = {name: getattr(message, name) for name in ("title", "facts", "step", "steps", "paused", "curves")}
        return {**head, "captions": [*message.images]}, [_jpeg(image, True) for image in message.images.values()]
    return {}, []


def _jpeg(picture: np.ndarray, is_good: bool) -> bytes:
    settings = {"quality": 93, "subsampling": 0} if is_good else {"quality": 85, "subsampling": 2}
    return _compressed(picture, "JPEG", **settings)


def _compressed(picture: np.ndarray, kind: str, **settings: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, kind, **settings)
    return stream.getvalue()
