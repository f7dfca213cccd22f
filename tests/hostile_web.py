"""What browsers may say: messages and requests that are well-formed, with hostile contents."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any, get_args
from urllib.parse import urlsplit

import torch
from hostile_values import BIG, NUMBERS, STRINGS, dumps, number, tree
from web_client import UPGRADE, WebClient

from tirender.scenes.base import Scene
from tirender.scenes.controls import CONTROLS
from tirender.scenes.page import show_on_page
from tirender.scenes.viewer import Viewer
from tirender.vis.display import Event, Kind
from tirender.vis.web import WebPage

KEY = {"Sec-WebSocket-Key": "A" * 22 + "==", "Sec-WebSocket-Version": "13"}
KEYS = [
    *CONTROLS,
    "mouse_left",
    "mouse_middle",
    "mouse_right",
    "shift",
    "control",
    "fresh",
    "camera_0",
    "camera_-1",
    "",
]
KEYS.remove("q")


class Sheet(Scene):
    """A picture whose colour tells where the camera is."""

    shaders = ("color", "depth")
    supersample = 1
    facts = "a sheet"
    device = torch.device("cpu")

    def draw(self, cameras: Any, shader: str, look: Any) -> torch.Tensor:
        centre = cameras.get_camera_center()
        assert centre.isfinite().all()
        color = (centre[0] / 12 + 0.5).clamp(0, 1)
        return torch.cat([color.expand(1, *look.image_size, 3), torch.ones(1, *look.image_size, 1)], dim=3)

    def depth(self, cameras: Any, image_size: tuple[int, int]) -> torch.Tensor:
        return torch.full((1, *image_size), torch.inf)


def message(rng: random.Random) -> bytes:
    """Events of which some are hostile."""
    events = []
    for _ in range(rng.choice((0, 1, 1, 2, 5, 300))):
        event: dict[str, Any] = {"kind": rng.choice(get_args(Kind)), "key": rng.choice(KEYS)}
        for axis in "xy":
            event[axis] = number(rng) if rng.random() < 0.5 else rng.uniform(-1, 1)
        events.append(event)
    said: dict[str, Any] = {"events": events, "got": rng.choice([[], ["picture"], ["picture"] * 999, ["x"]])}
    if rng.random() < 0.3:
        said |= {"size": [rng.choice(NUMBERS), rng.choice([1, 64, 300])], "density": rng.choice([1, number(rng)])}
    if rng.random() < 0.1:
        said["client"] = rng.choice(STRINGS)
    return dumps(tree(said, rng) if rng.random() < 0.5 else said)[: 1 << 17]


def frames(rng: random.Random) -> bytes:
    """A WebSocket frame, of any kind and length, sometimes not as long as it says."""
    payload = message(rng) if rng.random() < 0.5 else os.urandom(rng.choice((0, 1, 125, 126, 5000)))
    first = rng.choice((0x81, 0x82, 0x01, 0x80, 0x88, 0x89, 0x8A, 0x8F, 0xC1, 0x83, 0x09))
    length = rng.choice([len(payload)] * 4 + [0, 2**16, 2**31, 2**63, 2**64 - 1])
    mask = 0x80 if rng.random() < 0.9 else 0
    head = bytes([first, mask | 127]) + struct.pack("!Q", length) + (b"\0" * 4 if mask else b"")
    return head + payload


def request(root: str, token: str, rng: random.Random) -> bytes:
    """An HTTP request."""
    method = rng.choice(("GET", "GET", "GET", "HEAD", "POST", "PUT", "OPTIONS", "get", "\0", "G" * 70_000))
    paths = [
        f"/{token}/{name}" for name in ("", "page.js", "socket", "../x", "%2e%2e", "\0", "x" * 70_000, "?" + "1" * BIG)
    ]
    path = rng.choice(
        [*paths, "/", "*", "", f"//{token}/", f"/{'1' * BIG}/", "http://evil.example/", "/%ff/", "/\xff/"]
    )
    host = urlsplit(root).netloc
    hosts = [host] * 6 + [
        "",
        "evil.example",
        "[::1",
        "127.0.0.1:99999999",
        "x" * 5000,
        "127.0.0.1\t",
        "\xff",
        "[fe80::1%lo]",
    ]
    headers = {
        "Host": rng.choice(hosts),
        **(UPGRADE if rng.random() < 0.6 else {}),
        **(KEY if rng.random() < 0.6 else {}),
    }
    extra = {
        "Content-Length": rng.choice(["1" * BIG, "-1", "0", "x", "1e9", "\u0661"]),
        "Transfer-Encoding": "chunked",
        "Origin": rng.choice(["null", f"http://{host}", "http://evil.example", "x" * 9000, "\xff", "http://[::1"]),
        "Sec-WebSocket-Key": rng.choice(["", "x", "\xff", "A" * BIG, "===="]),
        "Sec-WebSocket-Version": rng.choice(["1" * BIG, "-13", "13, 8", ""]),
        "Expect": "100-continue",
        "X": "x" * rng.choice((1, 70_000)),
    }
    headers |= {name: extra[name] for name in extra if rng.random() < 0.15}
    lines = [f"{name}: {value}" for name, value in headers.items()] * rng.choice((1, 1, 1, 60))
    version = rng.choice(["HTTP/1.1"] * 6 + ["HTTP/1.0", "HTTP/9.9", "HTTP/1." + "1" * BIG, "HTP", ""])
    ending = rng.choice(("\r\n\r\n", "\n\n", "\r\n", "\r\n\r\n" + "x" * 1000))
    return f"{method} {path} {version}\r\n".encode("latin-1", "replace") + ("\r\n".join(lines) + ending).encode(
        "latin-1", "replace"
    )


def attack(page: WebPage, kind: str, rng: random.Random) -> None:
    """Say something to a page, and go, one way or the other."""
    address = rng.choice((page.address, page.guest_address))
    if kind == "web requests":
        url = urlsplit(address)
        with contextlib.suppress(OSError), socket.create_connection((url.hostname, url.port), timeout=5) as connection:
            connection.sendall(request(address, url.path.strip("/"), rng))
            if rng.random() < 0.9:
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 16):
                    pass
        return
    with contextlib.suppress(OSError, EOFError), WebClient(address, f"hostile {rng.randrange(30)}", (12, 8)) as browser:
        for _ in range(rng.choice((1, 1, 3))):
            if kind == "web events":
                browser.send(message(rng))
            else:
                browser.socket.sendall(frames(rng))
        if rng.random() < 0.3:
            browser.vanish()
        elif rng.random() < 0.1:
            browser.hear()


def is_up(page: WebPage) -> bool:
    """Whether a new browser gets a picture; the owner is always let in."""
    with WebClient(page.address, "witness", (12, 8)) as browser:
        return bool(browser.hear("picture")[0]["camera"])


@contextlib.contextmanager
def hostile_page() -> Iterator[WebPage]:
    """A page that shows a sheet."""
    page = WebPage("hostile", CONTROLS, port=0)
    thread = threading.Thread(target=show_on_page, args=(page, lambda save: Viewer(Sheet(), "sheet", save)))
    thread.start()
    try:
        yield page
    finally:
        page._events.append(Event("press", "q"))
        thread.join(30)
        page.close()
    assert not thread.is_alive()
