"""The server's side of a WebSocket (RFC 6455): messages both ways over one connection of a browser."""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import socket
import struct
import threading
from typing import BinaryIO

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # from the RFC
MESSAGE_MAX = 1 << 17  # bytes of what is received
GOODBYE_SECONDS = 0.5  # to wait for what is being sent
CONTINUED, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class Closed(Exception):
    """The connection is closed, or broke the rules."""


def accept_key(key: str) -> str | None:
    """The answer to a ``Sec-WebSocket-Key``; None if it is none."""
    try:
        if len(base64.b64decode(key, validate=True)) != 16:
            return None
    except (binascii.Error, ValueError):
        return None
    return base64.b64encode(hashlib.sha1(key.encode() + MAGIC).digest()).decode()


class WebSocket:
    """A connection after its handshake; one thread may receive while another sends.

    Args:
        connection: with a timeout, after which a silent peer counts as gone.
        stream: to read from it.
    """

    def __init__(self, connection: socket.socket, stream: BinaryIO) -> None:
        self._connection, self._stream = connection, stream
        self._sending = threading.Lock()

    def receive(self) -> bytes:
        """The next message.

        Raises:
            Closed: the peer has closed, vanished, or broken the rules.
        """
        message = b""
        while True:
            is_last, opcode, payload = self._frame(MESSAGE_MAX - len(message))
            if opcode == CLOSE:
                raise Closed
            if opcode == PING:
                self._send(PONG, payload)
            elif opcode in (TEXT, BINARY, CONTINUED):
                message += payload
                if is_last:
                    return message
            elif opcode != PONG:
                raise Closed

    def send(self, *parts: bytes) -> None:
        """Send a binary message.

        Raises:
            Closed: the peer is gone.
        """
        self._send(BINARY, *parts)

    def ping(self) -> None:
        """Make a peer that is there answer.

        Raises:
            Closed: it is gone.
        """
        self._send(PING)

    def close(self) -> None:
        """Say goodbye, unless something is being sent, and end what waits."""
        with contextlib.suppress(OSError):
            if self._sending.acquire(timeout=GOODBYE_SECONDS):
                try:
                    self._connection.sendall(bytes([0x80 | CLOSE, 0]))
                finally:
                    self._sending.release()
            self._connection.shutdown(socket.SHUT_RDWR)

    def _frame(self, longest: int) -> tuple[bool, int, bytes]:
        first, second = self._read(2)
        if first & 0x70 or not second & 0x80:  # extensions that nobody asked for; a frame without a mask
            raise Closed
        length = second & 0x7F
        if length >= 126:
            length = int.from_bytes(self._read(2 if length == 126 else 8), "big")
        if length > longest:
            raise Closed
        mask = self._read(4)
        payload = self._read(length)
        stretched = (mask * (length // 4 + 1))[:length]
        plain = int.from_bytes(payload, "big") ^ int.from_bytes(stretched, "big")
        return bool(first & 0x80), first & 0x0F, plain.to_bytes(length, "big")

    def _read(self, n: int) -> bytes:
        try:
            data = self._stream.read(n)
        except (OSError, ValueError) as error:  # ValueError: closed by the other thread
            raise Closed from error
        if len(data) < n:
            raise Closed
        return data

    def _send(self, opcode: int, *parts: bytes) -> None:
        length = sum(map(len, parts))
        if length < 126:
            head = struct.pack("!BB", 0x80 | opcode, length)
        elif length < 1 << 16:
            head = struct.pack("!BBH", 0x80 | opcode, 126, length)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 127, length)
        try:
            with self._sending:
                for part in (head, *parts):
                    self._connection.sendall(part)
        except (OSError, ValueError) as error:
            raise Closed from error
