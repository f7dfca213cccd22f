"""A client of a page for tests: it speaks HTTP and WebSocket, well or badly, as it is told."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

PATIENCE = 30.0  # seconds until a page must have answered
UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}


def ask(address: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> tuple[int, str, bytes]:
    """Make a request: the status, the headers and the body of the answer.

    Args:
        address: of the page, or below it.
        headers: in place of, or beside, those of a browser.
        method: of the request.
    """
    parts = urlsplit(address)
    headers = {"Host": parts.netloc, **(headers or {})}
    lines = [f"{method} {parts.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    with socket.create_connection((parts.hostname, parts.port), PATIENCE) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        answer = b""
        while chunk := connection.recv(1 << 16):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode(), body


class WebClient:
    """A browser that has the page open.

    Args:
        address: of the page.
        name: of the browser.
        size: width and height of its pictures.
    """

    def __init__(self, address: str, name: str = "one", size: tuple[int, int] = (96, 64)) -> None:
        parts = urlsplit(address)
        self.socket = socket.create_connection((parts.hostname, parts.port), PATIENCE)
        key = base64.b64encode(os.urandom(16)).decode()
        headers = {"Host": parts.netloc, "Sec-WebSocket-Key": key, **UPGRADE}
        lines = [f"GET {parts.path}socket HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self._stream = self.socket.makefile("rb")
        assert self._stream.readline().split()[1] == b"101"
        while self._stream.readline() != b"\r\n":
            pass
        if name:
            self.say(client=name, size=size, density=1)

    def say(self, **message: Any) -> None:
        self.send(json.dumps(message).encode())

    def press(self, *keys: str) -> None:
        self.say(events=[{"kind": kind, "key": key} for key in keys for kind in ("press", "release")])

    def send(self, payload: bytes, first: int = 0x81) -> None:
        """Send a frame; ``first`` is its first byte: a text that ends here."""
        length, mask = len(payload), os.urandom(4)
        head = bytes([first, 0x80 | length]) if length < 126 else bytes([first, 0xFF]) + struct.pack("!Q", length)
        self.socket.sendall(head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)))

    def hear(self, kind: str | None = None) -> tuple[dict[str, Any], list[bytes]]:
        """The next message of a kind, or of any: its head and its payloads; says that it has seen them."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            opcode, message = self._frame()
            if opcode == 9:
                self.send(message, 0x8A)
            if opcode != 2:
                continue
            length = int.from_bytes(message[:4], "big")
            head, payloads = json.loads(message[4 : 4 + length]), []
            rest = message[4 + length :]
            for size in head["sizes"]:
                payloads.append(rest[:size])
                rest = rest[size:]
            if head["kind"] != "end":
                self.say(got=[head["kind"]])
            if kind in (None, head["kind"]):
                return head, payloads
        raise TimeoutError(f"no {kind or 'message'}")

    @property
    def is_closed(self) -> bool:
        """Whether the server closes the connection, after what it still sends."""
        try:
            while self._frame()[0] != 8:
                pass
        except (EOFError, ConnectionError):
            pass
        except TimeoutError:
            return False
        return True

    def vanish(self) -> None:
        """End the connection without a word, as a killed browser does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._stream.close()
        self.socket.close()

    def __enter__(self) -> WebClient:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self.socket.close()

    def _frame(self) -> tuple[int, bytes]:
        first, length = self._read(2)
        if length >= 126:
            length = int.from_bytes(self._read(2 if length == 126 else 8), "big")
        return first & 15, self._read(length)

    def _read(self, n: int) -> bytes:
        data = self._stream.read(n)
        if len(data) < n:
            raise EOFError
        return data
