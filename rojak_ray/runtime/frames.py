"""Messages between processes of one machine: frames over a socket without a name in the file system.

A call of a Ray actor passes through several threads of both processes, and each has to wake up: 0.9 ms there and back
on two cores, many times what a socket takes. Processes on one machine speak through one where they can (decision 0020).
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import secrets
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
_PROOF_BYTES = 32
_PROOF_S = 5.0
_USERS = 2**32 - 1

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
    """A name for a socket. It is no secret: /proc/net/unix shows it to whoever shares the network namespace."""
    return f"\0rojak-{RandomIds().new_id()}"


def new_secret() -> str:
    """What opens a link. It is told by Ray's calls alone, which ask for Ray's token."""
    return secrets.token_hex(32)


def address_of(name: str, secret: str) -> str:
    """Where a server listens and what opens it, as one text."""
    return f"{name} {secret}"


def name_and_secret(address: str) -> tuple[str, str]:
    """The parts of an address."""
    name, _, secret = address.partition(" ")
    return name, secret


def proof(secret: str, side: str) -> bytes:
    """What `side` ("server" or "client") says to show that it knows the secret, without telling it."""
    return hmac.digest(secret.encode(), f"rojak link {side}".encode(), "sha256")


def same_user(connection: socket.socket) -> bool:
    """Whether a process of this user, or of root, is at the other end: anyone on the machine may try to connect.

    The kernel shows a user whom our user namespace does not know as the overflow user, "nobody". So who runs as nobody
    in a namespace of its own is not told from all of them, and is turned away.
    """
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(packed)[1]
    return user in (os.geteuid(), 0) and (user != _overflow_user() or _knows_every_user())


def _overflow_user() -> int:
    return int(_read("/proc/sys/kernel/overflowuid") or 65534)


def _knows_every_user() -> bool:
    """Whether this process is in a user namespace that has all users of the machine as they are."""
    return _read("/proc/self/uid_map").split() == ["0", "0", str(_USERS)]


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


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
    """One end of a connection. Nothing is read, and nothing answered, before the other end has shown the secret."""

    def __init__(
        self,
        secret: str,
        arrived: Callable[[Frames, int, Kind, bytes], None],
        ended: Callable[[Frames], None] = lambda _: None,
        *,
        serves: bool,
        welcome: bool = True,
    ) -> None:
        """`arrived` is told of every frame with its number, kind and body; `ended` once that none will follow.

        Whoever is not welcome is turned away unheard.
        """
        mine, theirs = ("server", "client") if serves else ("client", "server")
        self._mine, self._theirs = proof(secret, mine), proof(secret, theirs)
        self._serves = serves
        self._welcome = welcome
        self._arrived = arrived
        self._ended = ended
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._known = False
        self._decided = asyncio.Event()
        self._patience: asyncio.TimerHandle | None = None

    @property
    def unknown(self) -> bool:
        """Whether it has yet to show the secret, and may still do so."""
        leaves = self._transport is not None and self._transport.is_closing()
        return self._welcome and not self._known and not leaves

    @property
    def open(self) -> bool:
        """Whether something may still be sent."""
        return self._known and self._transport is not None and not self._transport.is_closing()

    async def opened(self) -> bool:
        """Wait until the other end has shown the secret; False if it did not, and the connection has ended."""
        await self._decided.wait()
        return self.open

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
        if not self._welcome or not same_user(transport.get_extra_info("socket")):
            self._transport.abort()
            return
        self._patience = asyncio.get_running_loop().call_later(_PROOF_S, self._transport.abort)
        if not self._serves:
            self._transport.write(self._mine)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        buffer = self._buffer
        buffer += data
        if not self._known and not self._get_to_know():
            return
        while len(buffer) >= HEAD_BYTES:
            length, number, kind = unpack_head(buffer)
            end = HEAD_BYTES + length
            if len(buffer) < end:
                return
            body = bytes(memoryview(buffer)[HEAD_BYTES:end])
            del buffer[:end]
            self._arrived(self, number, kind, body)

    def _get_to_know(self) -> bool:
        """Whether the other end has shown the secret by now. If it has shown anything else, the connection ends."""
        if self._transport is None or self._transport.is_closing() or len(self._buffer) < _PROOF_BYTES:
            return False
        if not hmac.compare_digest(bytes(self._buffer[:_PROOF_BYTES]), self._theirs):
            self._transport.abort()
            return False
        del self._buffer[:_PROOF_BYTES]
        self._known = True
        if self._patience is not None:
            self._patience.cancel()
        if self._serves:
            self._transport.write(self._mine)
        self._decided.set()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._buffer.clear()
        if self._patience is not None:
            self._patience.cancel()
        self._decided.set()
        self._ended(self)
