"""`PerLoop`: the clients of one settings object, one for each event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Client = TypeVar("Client")


class PerLoop(Generic[Client]):
    """A client of an HTTP library belongs to the event loop that first used it.

    Of what travels to another process only the settings do: clients stay behind.
    """

    def __init__(self, make: Callable[[], Client]) -> None:
        """`make` is called when a loop first asks."""
        self._make = make
        self._clients: dict[asyncio.AbstractEventLoop, Client] = {}

    def get(self) -> Client:
        """The running loop's client."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            for closed in [known for known in self._clients if known.is_closed()]:
                del self._clients[closed]
            self._clients[loop] = self._make()
        return self._clients[loop]

    def take(self) -> Client | None:
        """The running loop's client, to be closed; the next `get` makes another."""
        return self._clients.pop(asyncio.get_running_loop(), None)

    def __reduce__(self) -> tuple[Any, ...]:
        """See the class."""
        return PerLoop, (self._make,)
