"""Messages between processes of one machine: frames over a socket without a name in the file system.

A call of a Ray actor passes through several threads of both processes, and each has to wake up: 0.9 ms there and back
on two cores, many times what a socket takes. Processes on one machine speak through one where they can (decision 0020).
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import sys
from collections.abc import Callable
from enum import IntEnum
from typing import TypeAlias, cast

from rojak_ray import errors
from rojak_ray.errors import RojakError
from rojak_ray.ids import RandomIds

SETTING = "ROJAK_LINKS"
"""Environment variable; `off`: a process neither opens links nor uses them, and every request is a call of Ray's."""

_HEAD = struct.Struct("!QQB")
HEAD_BYTES = _HEAD.size
_CREDENTIALS = struct.Struct("3i")

Content: TypeAlias = bytes | RojakError | None
"""What a reply says: an answer, the error that stands for one, or that there is none."""


class Kind(IntEnum):
    """What a frame is."""

    ASK = 1
    """To a host: an `Envelope`."""

    TAKE = 2
    """To a host, by a function process: see `FunctionPool.take`."""

    EXECUTE = 3
    """To a step worker: an `Assignment`."""

    CANCEL = 4
    """Whoever asked under this number has left."""

    ANSWER = 10
    ERROR = 11
    NOTHING = 12


def enabled() -> bool:
    """Whether this process may use links: there are sockets in the abstract namespace, and nobody turned links off."""
    return sys.platform == "linux" and os.environ.get(SETTING) != "off"


def new_name() -> str:
    """A name for a socket that nobody can guess."""
    return f"\0rojak-{RandomIds().new_id()}"


def same_user(connection: socket.socket) -> bool:
    """Whether a process of this user, or of root, is at the other end: anyone on the machine may try to connect."""
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return _CREDENTIALS.unpack(packed)[1] in (os.geteuid(), 0)


def pack(number: int, kind: Kind, body: bytes) -> bytes:
    """One frame."""
    return _HEAD.pack(len(body), number, kind) + body


def unpack_head(head: bytes | bytearray) -> tuple[int, int, Kind]:
    """Length of the body, number and kind."""
    length, number, kind = _HEAD.unpack_from(head)
    return length, number, Kind(kind)


def pack_reply(number: int, content: Content) -> bytes:
    """A reply as a frame."""
    if content is None:
        return pack(number, Kind.NOTHING, b"")
    if isinstance(content, bytes):
        return pack(number, Kind.ANSWER, content)
    known = next(each for each in type(content).__mro__ if each.__module__ == errors.__name__)
    fields = {name: value for name, value in vars(content).items() if not name.startswith("_")}
    return pack(number, Kind.ERROR, json.dumps([known.__name__, str(content), fields], default=str).encode())


def unpack_reply(kind: Kind, body: bytes) -> Content:
    """What a reply says."""
    if kind is Kind.NOTHING:
        return None
    if kind is Kind.ANSWER:
        return body
    name, message, fields = json.loads(body)
    error: RojakError = getattr(errors, name)(message, **fields)  # their fields are their keyword arguments
    return error


class Frames(asyncio.Protocol):
    """One end of a connection."""

    def __init__(
        self, arrived: Callable[[Frames, int, Kind, bytes], None], ended: Callable[[Frames], None] = lambda _: None
    ) -> None:
        """`arrived` is told of every frame with its number, kind and body; `ended` once that none will follow."""
        self._arrived = arrived
        self._ended = ended
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()

    @property
    def open(self) -> bool:
        """Whether something may still be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, frame: bytes) -> None:
        """Send a frame; to nobody, if the other end has left."""
        if self.open and self._transport is not None:
            self._transport.write(frame)

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)
        if not same_user(transport.get_extra_info("socket")):
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= HEAD_BYTES:
            length, number, kind = unpack_head(buffer)
            end = HEAD_BYTES + length
            if len(buffer) < end:
                return
            body = bytes(memoryview(buffer)[HEAD_BYTES:end])
            del buffer[:end]
            self._arrived(self, number, kind, body)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._buffer.clear()
        self._ended(self)
