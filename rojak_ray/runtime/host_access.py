"""`HostAccess`: from a client to one actor that holds conversations, over a link once there is one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from ray.actor import ActorHandle

from rojak_ray.errors import InternalError
from rojak_ray.journal.paths import Owner
from rojak_ray.runtime.catalog import Version
from rojak_ray.runtime.envelope import Envelope
from rojak_ray.runtime.frames import Kind
from rojak_ray.runtime.host_map import HostMap
from rojak_ray.runtime.link import Link, LinkLost
from rojak_ray.runtime.linking import Linking
from rojak_ray.runtime.outbox import MOST_HELD, Answer, Collector, Delivery, RepliesLost

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
        self._linking = Linking(handle)

    async def ask(self, owner: Owner, packed: bytes, registered: Version, hosts: HostMap, *, waits: bool) -> Answer:
        """Bring a packed `Ask`. If it only waits for a run, its reply may be fetched instead of being waited for.

        Raises:
            RepliesLost: As below.
            RayError: The actor did not answer. Ask again, with the same ids.
        """
        link = self._linking.link
        if link is not None:
            return await self._ask_over(link, Envelope(owner, registered, "", packed, hosts).pack())
        answer = await self._ask_through_ray(Envelope(owner, registered, "", packed, hosts), waits=waits)
        self._linking.begin()
        return answer

    async def _ask_over(self, link: Link, packed: bytes) -> Answer:
        try:
            content = await link.request(Kind.ASK, packed)
        except LinkLost as error:
            raise RepliesLost(str(error)) from error
        if content is None:
            raise InternalError("A host gave no answer.")
        return content

    async def _ask_through_ray(self, envelope: Envelope, *, waits: bool) -> Answer:
        if not (waits and self._shared):
            answer: Answer = await self._handle.ask.remote(envelope.pack())
            return answer

        async def call(client: str) -> Any:
            async with self._room:
                return await self._handle.ask.remote(replace(envelope, client=client).pack())

        return await self._collector.ask(call)

    async def aclose(self) -> None:
        """Stop fetching, and whoever still waits over the link."""
        await self._linking.aclose()
        await self._collector.aclose()

    async def _fetch(self, client: str, life: str, after: int) -> list[Delivery] | None:
        deliveries: list[Delivery] | None = await self._handle.fetch.remote(client, life, after)
        return deliveries
