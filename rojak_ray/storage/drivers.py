"""The seam between the object store and its vendors: what a driver does, and what its errors mean."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Protocol

CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 15
"""Longest silence on a connection; the time of a whole call is bounded by the object store."""

PAGE_SIZE = 1000
CONNECTIONS = 64


class Outcome(Enum):
    """What a vendor's error says about the call."""

    TAKEN = "the condition of the write did not hold: the object exists"
    MISSING = "there is no such object"
    NO_BUCKET = "there is no such bucket"
    REFUSED = "repeating the call cannot help"
    UNKNOWN = "no answer, or one that asks to come back: the call may have taken effect"


@dataclass(frozen=True)
class Page:
    """A part of a listing: names in the vendor's order, and where the next part begins; None after the last."""

    names: list[str]
    next: str | None = None


class Driver(Protocol):
    """One bucket through one vendor's client, bound to the event loop that made it. Names are full object names."""

    failures: ClassVar[tuple[type[Exception], ...]]
    """Roots of everything the vendor's packages raise for a failed call."""

    credentials: ClassVar[str]
    """For messages: where the vendor's client finds its credentials."""

    @classmethod
    async def open(cls, bucket: str) -> Driver:
        """Make a client on the running event loop. Does not ask the bucket anything."""
        ...

    async def create(self, name: str, data: bytes) -> None:
        """Write an object if none has this name."""
        ...

    async def read(self, name: str) -> bytes:
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

    async def close(self) -> None:
        """Close the connections."""
        ...

    @staticmethod
    def outcome(error: Exception) -> Outcome:
        """What one of `failures` means. An error nobody has seen before is UNKNOWN."""
        ...


def status_outcome(status: int) -> Outcome:
    """What an HTTP status means where the vendor gives no better code."""
    if status == 404:
        return Outcome.MISSING
    if status == 412:
        return Outcome.TAKEN
    if 300 <= status < 500 and status not in {408, 409, 429}:
        return Outcome.REFUSED
    return Outcome.UNKNOWN
