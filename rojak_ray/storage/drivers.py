"""The seam between the object store and its vendors: what a driver does, and what its errors mean."""

from __future__ import annotations

import contextlib
import socket
import warnings
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, Protocol

from rojak_ray.redaction import NO_SECRETS, Secrets, without_named

if TYPE_CHECKING:
    from aiohttp import ClientSession

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 15
"""Longest silence on a connection; the time of a whole call is bounded by the object store."""

PAGE_SIZE = 1000
CONNECTIONS = 64

_FINAL = frozenset({407, 411, 413, 414, 431, 501, 505})
"""Statuses that the same request gets again, whoever between us and the vendor sends them."""

_SHOWN = 300


class Outcome(Enum):
    """What a failed call says about the object, or about us."""

    TAKEN = "the condition of the write did not hold: the object exists"
    MISSING = "there is no such object"
    NO_BUCKET = "there is no such bucket"
    NOT_ALLOWED = "refused to who we are; other credentials may be let in"
    REFUSED = "repeating the call cannot help"
    UNKNOWN = "no answer of the vendor's, or one that asks to come back: the call may have taken effect"


class NotTheVendor(Exception):
    """What answered was not the vendor but something in between (a proxy, a login page): nothing is known."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(f"the answer ({status}) is not the vendor's: {words}")
        self.status = status


@dataclass(frozen=True)
class Page:
    """A part of a listing: names in the vendor's order, and where the next part begins; None after the last."""

    names: list[str]
    next: str | None = None


Expect = Callable[[int], None]
"""Called with the size of an object in bytes once it is known, and before it is read."""


class Driver(Protocol):
    """One bucket through one vendor's client, bound to the event loop that made it. Names are full object names.

    A method returns only what the vendor said. An answer without the vendor's mark raises `NotTheVendor`.
    """

    failures: ClassVar[tuple[type[Exception], ...]]
    """Roots of everything the vendor's packages are known to raise for a failed call."""

    credentials: ClassVar[str]
    """For messages: where the vendor's client finds its credentials."""

    async def create(self, name: str, data: bytes) -> None:
        """Write an object in one request, if none has this name."""
        ...

    async def read(self, name: str, expect: Expect) -> bytes:
        """The whole object."""
        ...

    async def remove(self, name: str) -> None:
        """Remove an object."""
        ...

    async def page(self, prefix: str, after: str, start: str | None) -> Page:
        """Names that start with `prefix`, at least those greater than `after`, asked for anew.

        `start` is where the page before says that this one begins; None for the first.
        """
        ...

    async def folders(self, prefix: str, start: str | None) -> Page:
        """Names up to the first slash after `prefix`, each once; by pages too."""
        ...

    def secrets(self) -> Iterable[str]:
        """What was sent last to prove who we are, and what it was made with."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...

    @staticmethod
    def outcome(error: Exception) -> Outcome:
        """What one of `failures` means. An error nobody has seen before is UNKNOWN."""
        ...


def status_outcome(status: int) -> Outcome:
    """What an HTTP status of the vendor's means where it gives no better code. 404 says nothing without a code."""
    if status in {401, 403}:
        return Outcome.NOT_ALLOWED
    if status in _FINAL or (300 <= status < 500 and status not in {404, 408, 409, 412, 425, 429}):
        return Outcome.REFUSED
    return Outcome.UNKNOWN


def foreign_outcome(status: int) -> Outcome:
    """What a status means that something between us and the vendor sent."""
    if status in {401, 403}:
        return Outcome.NOT_ALLOWED
    return Outcome.REFUSED if status in _FINAL else Outcome.UNKNOWN


def is_page(content_type: str) -> bool:
    """Whether an answer is a page for people. Vendors store and answer with other types."""
    return "html" in content_type.lower()


def vendor_words(error: BaseException, secrets: Secrets = NO_SECRETS) -> str:
    """An error of a vendor's package in one line, without what it may repeat of our secrets."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return secrets.redact(without_named(text))[:_SHOWN]


def silence_bounded_socket(address: tuple[object, ...]) -> socket.socket:
    """A socket whose peer may stop taking what we send for READ_TIMEOUT_S, and no longer (on Linux).

    Timeouts of reading begin when a request is sent; without this one a peer that stops in the middle of a large
    object would hold us for as long as the whole object may take.
    """
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)  # type: ignore[arg-type]
    if hasattr(socket, "TCP_USER_TIMEOUT") and family in {socket.AF_INET, socket.AF_INET6}:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, READ_TIMEOUT_S * 1000)
    return made


def close_with(owner: object, sessions: Callable[[], Iterable[ClientSession]]) -> None:
    """Close the sessions of an owner that is dropped without having been closed: aiohttp would complain on stderr."""
    weakref.finalize(owner, _close_now, sessions)


def _close_now(sessions: Callable[[], Iterable[ClientSession]]) -> None:
    for session in sessions():
        closing = session.close()
        with warnings.catch_warnings(), contextlib.suppress(StopIteration, RuntimeError):
            warnings.simplefilter("ignore")
            closing.send(None)  # there may be no loop any more to await it on; what counts is its beginning
        closing.close()
