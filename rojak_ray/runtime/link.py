"""A way past Ray's calls between two processes of one machine: `LinkServer` takes requests, `Link` makes them.

It carries nothing that a call could not carry, and whoever uses it knows the call as well: without a link (another
machine, another user, not Linux) everything works through Ray, and a link that breaks is asked again through Ray,
which knows what became of the process at its other end.
"""

from __future__ import annotations

import asyncio
import hmac
import itertools
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias
from weakref import WeakSet

from rojak_ray.concurrency import cancelled_by_us
from rojak_ray.errors import InternalError
from rojak_ray.logs import get_logger
from rojak_ray.runtime.frames import (
    HEAD_BYTES,
    Content,
    Frames,
    Kind,
    address_of,
    enabled,
    name_and_secret,
    new_name,
    new_secret,
    pack,
    pack_reply,
    proof,
    same_user,
    unpack_head,
    unpack_reply,
)
from rojak_ray.sessions.failures import describe

logger = get_logger(__name__)

Handler: TypeAlias = Callable[[bytes], Awaitable[Content]]

_CONNECT_S = 5.0
_MOST_STRANGERS = 64
"""Connections that have not shown the secret, at once; programs that find no room ask through Ray."""

_BACKLOG = 1024


class LinkLost(Exception):
    """The process at the other end, or the connection to it, is gone. What was asked may have been done."""


class LinkServer:
    """Takes requests of this user's processes on this machine.

    Work for a process that is gone is stopped, since whoever takes its place does it anew. Asks go on: a program that
    leaves does not take back what it said.
    """

    def __init__(self, handlers: Mapping[Kind, Handler]) -> None:
        """Nothing is opened yet. A handler gives errors back and raises none."""
        self._handlers = handlers
        self._opening: asyncio.Task[str] | None = None
        self._server: asyncio.Server | None = None
        self._asks: set[asyncio.Task[None]] = set()
        self._guests: WeakSet[Frames] = WeakSet()
        self._work: dict[Frames, dict[int, asyncio.Task[None]]] = {}
        """What ends when whoever asked for it leaves, by connection and number."""

    async def name(self) -> str:
        """What to connect to, and the secret that opens it; it listens from then on. Nothing if there are no links.

        For Ray's calls alone, and for no log: whoever has it reads and writes what is held here.
        """
        if not enabled():
            return ""
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(), name="open the link")
        return await asyncio.shield(self._opening)

    def close(self) -> None:
        """Take no more connections. For tests: an actor's server ends with its process."""
        if self._server is not None:
            self._server.close()

    async def _open(self) -> str:
        name, secret = new_name(), new_secret()
        listening = _socket()  # made here: not every event loop takes a name that begins with a zero
        try:
            listening.bind(name)
            self._server = await asyncio.get_running_loop().create_unix_server(
                lambda: self._greeted(secret), sock=listening, backlog=_BACKLOG
            )
        except OSError as error:
            listening.close()
            logger.warning("no link, so every request is a call of Ray's: %s", error)
            return ""
        return address_of(name, secret)

    def _greeted(self, secret: str) -> Frames:
        """Somebody connects. Too many who have not shown the secret would take the descriptors that storage needs."""
        strangers = sum(frames.unknown for frames in self._guests)
        frames = Frames(secret, self._arrived, self._ended, serves=True, welcome=strangers < _MOST_STRANGERS)
        self._guests.add(frames)
        return frames

    def _arrived(self, frames: Frames, number: int, kind: Kind, body: bytes) -> None:
        work = self._work.setdefault(frames, {})
        if kind is Kind.CANCEL:
            if number in work:
                work[number].cancel()
            return
        task = asyncio.create_task(self._handle(frames, number, kind, body))
        if kind is Kind.ASK:  # a program that leaves has asked all the same
            self._asks.add(task)
            task.add_done_callback(self._asks.discard)
        else:
            work[number] = task
            task.add_done_callback(lambda _: work.pop(number, None))

    def _ended(self, frames: Frames) -> None:
        for task in list(self._work.pop(frames, {}).values()):
            task.cancel()

    async def _handle(self, frames: Frames, number: int, kind: Kind, body: bytes) -> None:
        handler = self._handlers.get(kind)
        try:
            content: Content = await handler(body) if handler else InternalError(f"Nobody here takes a {kind.name}.")
        except GeneratorExit:  # the event loop is gone
            raise
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and cancelled_by_us():
                raise
            logger.exception("a request over a link failed")
            content = InternalError(describe(error))
        frames.send(pack_reply(number, content))


class Link:
    """Makes requests, any number at once."""

    def __init__(self, secret: str) -> None:
        """See `connect`."""
        self._loop = asyncio.get_running_loop()
        self._frames = Frames(secret, self._arrived, self._ended, serves=False)
        self._numbers = itertools.count()
        self._awaited: dict[int, asyncio.Future[Content]] = {}

    @classmethod
    async def connect(cls, address: str) -> Link | None:
        """A link to that server; None if it cannot be reached from here, or another one listens there."""
        if not enabled() or not address:
            return None
        name, secret = name_and_secret(address)
        link = cls(secret)
        connection = _socket()
        try:
            async with asyncio.timeout(_CONNECT_S):
                await link._loop.sock_connect(connection, name)
                await link._loop.create_unix_connection(lambda: link._frames, sock=connection)
                if not await link._frames.opened():
                    logger.debug("no link: the other end does not know the secret")
        except (OSError, TimeoutError) as error:
            link._frames.close()
            connection.close()
            logger.debug("no link: %s", error)
        return link if link.open else None

    @property
    def open(self) -> bool:
        """Whether it may be asked, from the event loop that runs now."""
        return self._frames.open and self._loop is asyncio.get_running_loop()

    async def request(self, kind: Kind, body: bytes, *, cancels: bool = False) -> Content:
        """The reply to a request. If this call is cancelled, so is the work behind it if `cancels`.

        Raises:
            LinkLost: No reply will come.
        """
        number = next(self._numbers)
        reply: asyncio.Future[Content] = asyncio.get_running_loop().create_future()
        if not self.open:
            raise LinkLost("The connection to a process of this machine was lost.")
        self._awaited[number] = reply
        self._frames.send(pack(number, kind, body))
        try:
            return await reply
        except asyncio.CancelledError:
            if cancels:
                self._frames.send(pack(number, Kind.CANCEL, b""))
            raise
        finally:
            self._awaited.pop(number, None)

    def close(self) -> None:
        """Whoever waits is told that the link is lost."""
        if not self._loop.is_closed():  # else the connection went with it, and nobody waits
            self._frames.close()

    def _arrived(self, frames: Frames, number: int, kind: Kind, body: bytes) -> None:
        reply = self._awaited.get(number)
        if reply is not None and not reply.done():
            reply.set_result(unpack_reply(kind, body))

    def _ended(self, frames: Frames) -> None:
        for reply in self._awaited.values():
            if not reply.done():
                reply.set_exception(LinkLost("The connection to a process of this machine was lost."))


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.setblocking(False)
    return made


class BlockingLink:
    """Makes requests one after another, for a thread that has nothing else to do."""

    def __init__(self, address: str) -> None:
        """Connect.

        Raises:
            OSError: There is no such server here, or there are no links.
        """
        if not enabled():
            raise ConnectionRefusedError("Links are not used here.")
        name, secret = name_and_secret(address)
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.settimeout(_CONNECT_S)  # also whatever functions have made the default of this process
            self._socket.connect(name)
            if not (same_user(self._socket) and self._know_each_other(secret)):
                raise PermissionError("Somebody else listens there.")
            self._socket.settimeout(None)
        except BaseException:
            self._socket.close()
            raise
        self._received = self._socket.makefile("rb")

    def _know_each_other(self, secret: str) -> bool:
        self._socket.sendall(proof(secret, "client"))
        expected, shown = proof(secret, "server"), b""
        while len(shown) < len(expected):
            part = self._socket.recv(len(expected) - len(shown))
            if not part:
                return False
            shown += part
        return hmac.compare_digest(shown, expected)

    def request(self, kind: Kind, body: bytes) -> Content:
        """The reply to a request.

        Raises:
            LinkLost: The other process is gone.
        """
        try:
            self._socket.sendall(pack(0, kind, body))
            length, _, answered = unpack_head(self._read(HEAD_BYTES))
            return unpack_reply(answered, self._read(length))
        except OSError as error:
            raise LinkLost(str(error)) from error

    def close(self) -> None:
        """End the connection."""
        self._received.close()
        self._socket.close()

    def _read(self, count: int) -> bytes:
        data = self._received.read(count)
        if len(data) < count:
            raise LinkLost("The process that was asked is gone.")
        return data
