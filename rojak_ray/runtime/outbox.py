"""Replies that are fetched, so that a crowd need not wait with a pending call for each of it.

A call that waits in an async actor holds a stack there and buffers at both ends, 100 KB together. So a host keeps only
some callers waiting. It gives each of the others a ticket at once, and its client fetches the replies of all its
tickets together: `Outbox` is the host's side, `Collector` the client's. Neither is durable, nor needs to be: a ticket
that is lost with its host means asking again, which is harmless (`HostPool.ask`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from rojak_ray.clock import Clock
from rojak_ray.errors import RojakError
from rojak_ray.ids import RandomIds

Answer: TypeAlias = bytes | RojakError
"""A packed reply, or the error that stands for one."""

MOST_HELD = 32
FETCH_S = 10.0
"""How long a fetch waits for the first reply."""

_FORGET_S = 120.0
"""A client that has fetched nothing for so long is gone."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """Stands for a reply that can be fetched when it is there."""

    life: str
    """Of the outbox: its tickets end with it."""

    number: int


@dataclass(frozen=True, slots=True)
class Delivery:
    """A reply that was fetched."""

    position: int
    """Among all that its outbox delivers."""

    number: int
    """Of the ticket."""

    answer: Answer


class RepliesLost(Exception):
    """The outbox that had the reply is gone; ask again."""


@dataclass(slots=True)
class _Box:
    fetched_at: float
    replies: deque[Delivery] = field(default_factory=deque[Delivery])
    arrived: asyncio.Event = field(default_factory=asyncio.Event)


class Outbox:
    """A host's replies that its clients will fetch."""

    def __init__(self, clock: Clock, life: str, most_held: int = MOST_HELD) -> None:
        """`most_held` callers are kept waiting, the others get tickets of this `life`."""
        self._clock = clock
        self._life = life
        self._most_held = most_held
        self._held = 0
        self._number = 0
        self._position = 0
        self._boxes: dict[str, _Box] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(self, client: str, work: Callable[[], Awaitable[Answer]]) -> Answer | Ticket:
        """What `work` gives, or a ticket for it if many wait already and the client fetches (it has a name).

        `work` gives errors back and raises none.
        """
        if not client or self._held < self._most_held:
            self._held += 1
            try:
                return await work()
            finally:
                self._held -= 1
        self._number += 1
        task = asyncio.create_task(self._deliver(client, self._number, work), name=f"answer {self._number}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return Ticket(self._life, self._number)

    async def fetch(self, client: str, life: str, after: int, wait_s: float) -> list[Delivery] | None:
        """The replies to a client past a position; None if that life is over.

        Those up to that position have arrived and are forgotten; the others stay until they are fetched again, since
        nobody knows whether the answer to this call will arrive.
        """
        if life != self._life:
            return None
        box = self._box(client)
        while box.replies and box.replies[0].position <= after:
            box.replies.popleft()
        if not box.replies:
            box.arrived.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await box.arrived.wait()
        box.fetched_at = self._clock.monotonic()
        return list(box.replies)

    async def _deliver(self, client: str, number: int, work: Callable[[], Awaitable[Answer]]) -> None:
        answer = await work()
        box = self._box(client)
        self._position += 1
        box.replies.append(Delivery(self._position, number, answer))
        box.arrived.set()

    def _box(self, client: str) -> _Box:
        box = self._boxes.get(client)
        if box is None:
            now = self._clock.monotonic()
            self._boxes = {name: box for name, box in self._boxes.items() if now - box.fetched_at < _FORGET_S}
            box = self._boxes[client] = _Box(now)
        return box


class Collector:
    """One client's tickets of one host."""

    def __init__(self, fetch: Callable[[str, str, int], Awaitable[list[Delivery] | None]]) -> None:
        """`fetch` calls `Outbox.fetch` with a client, a life and a position."""
        self.client = RandomIds().new_id()
        """Its own: two that fetch for one client would forget each other's replies."""

        self._fetch = fetch
        self._after = ("", 0)
        self._asking = 0
        self._awaited: dict[Ticket, asyncio.Future[Answer]] = {}
        self._early: dict[Ticket, Answer] = {}
        """Replies that overtook their tickets."""

        self._fetcher: asyncio.Task[None] | None = None

    async def ask(self, call: Callable[[str], Awaitable[Answer | Ticket]]) -> Answer:
        """What `call` gives when it is told the name to fetch under, now or later.

        Raises:
            RepliesLost: A ticket's reply will not come.
            Exception: What `call` or `fetch` raised.
        """
        self._asking += 1  # a reply may overtake its ticket
        try:
            given = await call(self.client)
            if not isinstance(given, Ticket):
                return given
            reply = self._claim(given)
        finally:
            self._asking -= 1
            if not self._asking:
                self._early.clear()  # whoever they were for has given up
        try:
            return await reply
        finally:
            self._awaited.pop(given, None)

    def _claim(self, ticket: Ticket) -> asyncio.Future[Answer]:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if ticket in self._early:
            future.set_result(self._early.pop(ticket))
            return future
        self._awaited[ticket] = future
        if self._fetcher is None or self._fetcher.done():
            self._fetcher = asyncio.create_task(self._keep_fetching(), name="fetch replies")
        return future

    async def aclose(self) -> None:
        """Stop; whoever waits is told that the reply is lost."""
        if self._fetcher is not None:
            self._fetcher.cancel()
            await asyncio.gather(self._fetcher, return_exceptions=True)

    async def _keep_fetching(self) -> None:
        try:
            while self._awaited:
                life = next(iter(self._awaited)).life  # the oldest ticket's, so that none of a life that is over waits
                await self._fetch_once(life, self._after[1] if self._after[0] == life else 0)
        except asyncio.CancelledError:
            self._fail(RepliesLost("This client was closed."))
            raise
        except Exception as error:  # noqa: BLE001  (whoever waits is told)
            self._fail(error)

    async def _fetch_once(self, life: str, after: int) -> None:
        try:
            async with asyncio.timeout(2 * FETCH_S):
                deliveries = await self._fetch(self.client, life, after)
        except TimeoutError as error:
            raise RepliesLost("The host did not say in time whether there are replies.") from error
        if deliveries is None:
            self._fail(RepliesLost("The host was started again."), life)
            return
        for delivery in deliveries:
            ticket = Ticket(life, delivery.number)
            future = self._awaited.pop(ticket, None)
            if future is None:
                self._early[ticket] = delivery.answer
            elif not future.done():
                future.set_result(delivery.answer)
            self._after = (life, delivery.position)

    def _fail(self, error: Exception, life: str | None = None) -> None:
        for ticket in [each for each in self._awaited if life in (None, each.life)]:
            future = self._awaited.pop(ticket)
            if not future.done():
                future.set_exception(error)
