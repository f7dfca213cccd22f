"""The HTTP server behind a page: it gives the page's files and WebSockets to those who know a token, to nobody else.

A page of another site gets nothing, even if it knows the token: the names in Host and Origin are checked.
"""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from urllib.parse import urlsplit

from tirender.vis.websocket import WebSocket, accept_key

REQUEST_SECONDS = 10.0  # for a request to arrive
SILENCE_SECONDS = 60.0  # after which a WebSocket counts as broken; browsers answer pings
CONNECTIONS_MAX = 100
FILES = {
    "": ("page.html", "text/html; charset=utf-8"),
    "page.css": ("page.css", "text/css; charset=utf-8"),
    "page.js": ("page.js", "text/javascript; charset=utf-8"),
}
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src blob: data:; "
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Connection": "close",
}

Tokens = Mapping[str, bool]  # by token, whether it is the owner's
Talk = Callable[[WebSocket, bool], None]


class WebServer(ThreadingHTTPServer):
    """The server; :meth:`stop` ends it."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 32

    def __init__(self, family: socket.AddressFamily, place: tuple[str, int], tokens: Tokens, talk: Talk) -> None:
        self.address_family = family
        self.tokens, self.talk = tokens, talk
        machine = socket.gethostname().lower()
        self.names = {"localhost", place[0].lower(), machine, f"{machine}.local"}
        self._free = threading.BoundedSemaphore(CONNECTIONS_MAX)
        super().__init__(place, _Handler)

    @property
    def root(self) -> str:
        """The address, without a token."""
        host, port = str(self.server_address[0]), self.server_address[1]
        if ipaddress.ip_address(host).is_unspecified:  # it listens at all addresses of the machine
            host = socket.gethostname()
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    @property
    def is_exposed(self) -> bool:
        """Whether other machines reach it."""
        return not ipaddress.ip_address(str(self.server_address[0])).is_loopback

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # that of HTTP looks the host's name up, which may take seconds

    def stop(self) -> None:
        self.shutdown()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):  # browsers come and go
            print(f"tirender: page: {type(error).__name__}: {error}", file=sys.stderr)


def serve(tokens: Tokens, talk: Talk, host: str, port: int, may_differ: bool) -> WebServer:
    """Start a server in a thread.

    Args:
        tokens: that it accepts.
        talk: called for each WebSocket, in a thread of its own, with whether its token is the owner's.
        host, port: where to listen.
        may_differ: whether another port will do if this one is taken.
    Raises:
        OSError: the host or the port cannot be had.
    """
    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError) as error:
        raise OSError(f"--host: expected an address of this machine, got {host!r}") from error
    try:
        server = WebServer(family, place[:2], tokens, talk)  # type: ignore[arg-type]
    except OSError as error:
        if not may_differ:
            reason = (error.strerror or str(error)).lower()
            raise OSError(f"--host, --port: expected a free address, got {host}:{port} ({reason})") from error
        server = WebServer(family, (str(place[0]), 0), tokens, talk)
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    server: WebServer
    protocol_version = "HTTP/1.1"
    timeout = REQUEST_SECONDS

    def do_GET(self) -> None:
        self.close_connection = True
        if not self._is_from_here():
            self._answer(403, b"not from there")
            return
        parts = self.path.split("?")[0].split("/")
        given = parts[1].encode(errors="replace") if len(parts) == 3 else b""
        is_owner = next((owner for token, owner in self.server.tokens.items() if _same(token, given)), None)
        if is_owner is not None and parts[2] == "socket":
            self._upgrade(is_owner)
        elif is_owner is not None and parts[2] in FILES:
            name, kind = FILES[parts[2]]
            self._answer(200, Path(__file__).with_name("page").joinpath(name).read_bytes(), kind)
        else:
            self._answer(404, b"not here")

    def _is_from_here(self) -> bool:
        """Whether the browser was sent by nobody else: its names for this server are our own, and the page is ours."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        # A site that has its own name resolved to this machine comes with that name; an address is never another's.
        if name.lower() not in self.server.names and not _is_address(name):
            return False
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return False
        is_opened = self.headers.get("Sec-Fetch-Dest") == "document"
        return is_opened or self.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")

    def _upgrade(self, is_owner: bool) -> None:
        key = accept_key(self.headers.get("Sec-WebSocket-Key", ""))
        if key is None or self.headers.get("Upgrade", "").lower() != "websocket":
            self._answer(400, b"no WebSocket")
            return
        if self.headers.get("Sec-WebSocket-Version") != "13":
            self._answer(426, b"WebSocket version 13", extra={"Sec-WebSocket-Version": "13"})
            return
        self.send_response_only(101)
        for name, value in {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": key}.items():
            self.send_header(name, value)
        self.end_headers()
        self.connection.settimeout(SILENCE_SECONDS)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.server.talk(WebSocket(self.connection, self.rfile), is_owner)  # type: ignore[arg-type]

    def _answer(self, status: int, body: bytes, kind: str = "text/plain", extra: Mapping[str, str] = {}) -> None:
        self.send_response_only(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), **HEADERS, **extra}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def _same(token: str, given: bytes) -> bool:
    return secrets.compare_digest(token.encode(), given)


def _is_address(name: str) -> bool:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    return False
