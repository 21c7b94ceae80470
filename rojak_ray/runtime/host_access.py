"""`HostAccess`: from a client to one actor that holds conversations."""

from __future__ import annotations

import asyncio
from typing import Any

from ray.actor import ActorHandle

from rojak_ray.journal.paths import Owner
from rojak_ray.runtime.catalog import Version
from rojak_ray.runtime.envelope import Envelope
from rojak_ray.runtime.outbox import MOST_HELD, Answer, Collector, Delivery

_CALLS_AT_ONCE = 2 * MOST_HELD
"""More than a host keeps waiting, so that there is always room for those that get a ticket."""


class HostAccess:
    """Asks one actor; a crowd's replies are fetched together."""

    def __init__(self, handle: ActorHandle[Any], *, shared: bool) -> None:
        """Nothing is asked yet. A shared host gives tickets, a session's own actor has too few callers for that."""
        self._handle: Any = handle
        self._shared = shared
        self._collector = Collector(self._fetch)
        self._room = asyncio.Semaphore(_CALLS_AT_ONCE)

    async def ask(self, owner: Owner, packed: bytes, registered: Version, *, waits: bool) -> Answer:
        """Bring a packed `Ask`. If it only waits for a run, its reply may be fetched instead of being waited for.

        Raises:
            RepliesLost: As below.
            RayError: The actor did not answer. Ask again, with the same ids.
        """
        if not (waits and self._shared):
            answer: Answer = await self._handle.ask.remote(Envelope(owner, registered, "", packed).pack())
            return answer

        async def call(client: str) -> Any:
            async with self._room:
                return await self._handle.ask.remote(Envelope(owner, registered, client, packed).pack())

        return await self._collector.ask(call)

    async def aclose(self) -> None:
        """Stop fetching."""
        await self._collector.aclose()

    async def _fetch(self, client: str, life: str, after: int) -> list[Delivery] | None:
        deliveries: list[Delivery] | None = await self._handle.fetch.remote(client, life, after)
        return deliveries
