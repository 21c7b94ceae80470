"""What starting, resting, following and deleting ask of storage: PUT, GET, LIST and DELETE, counted in one process.

`python -m benchmarks.store_requests` prints a table; `make cost` has it, with the same of commit 808e6d8 beside it.
Time is a clock that the measurement moves, so the counts are the same everywhere.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from benchmarks import report
from rojak_ray import OfflineAgent
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.sessions.alarm import set_timer
from rojak_ray.sessions.batches import Follow
from rojak_ray.sessions.pool_settings import PoolSettings
from rojak_ray.sessions.requests import Ask
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.storage.probe import check_durable
from rojak_ray.testing.clock import FakeClock
from rojak_ray.testing.runtime import InProcessRuntime

KINDS = ("PUT", "GET", "LIST", "DELETE")
MINUTE_S = 60.0
HEAD = ("requests of (before)", *KINDS)

BEFORE: dict[str, tuple[int, ...]] = {
    "starting an actor on a storage that was used before": (19, 4, 11, 11),
    "a minute of a program with ten sessions at rest": (0, 0, 12, 0),
    "a minute of following a session at rest": (0, 1, 64, 0),
    "deleting a session while 10,000 others wait for their time": (6, 4, 24, 7),
}
"""Of commit 808e6d8, by this module."""


class Counting(MemoryStore):
    """Counts requests as a bucket bills them: a page of a listing has 1,000 keys."""

    def __init__(self) -> None:
        """Nothing is counted yet."""
        super().__init__()
        self.counts: Counter[str] = Counter()

    @property
    def shared(self) -> bool:
        """As if others could see it."""
        return True

    async def get(self, key: str) -> bytes:
        """Counted."""
        self.counts["GET"] += 1
        return await super().get(key)

    async def put_new(self, key: str, data: bytes) -> None:
        """Counted."""
        self.counts["PUT"] += 1
        await super().put_new(key, data)

    async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """Counted, a thousand keys at a time."""
        found = await super().list(prefix, after=after, limit=limit)
        self.counts["LIST"] += max(1, -(-len(found) // 1000))
        return found

    async def delete(self, key: str) -> None:
        """Counted."""
        self.counts["DELETE"] += 1
        await super().delete(key)


async def starting_an_actor(store: Counting, clock: FakeClock) -> None:
    """The check of the storage at an actor's start, on a storage that was used before."""
    await check_durable(store)
    store.counts.clear()
    await check_durable(store)


async def resting(store: Counting, clock: FakeClock) -> None:
    """A minute of a program with ten sessions at rest."""
    async with InProcessRuntime(store, clock=clock) as runtime:
        for number in range(10):
            await runtime.create_session(f"s{number}", OfflineAgent())
        await clock.advance(600)
        store.counts.clear()
        await clock.advance(MINUTE_S)
        counts, store.counts = store.counts, Counter()
    store.counts = counts


async def following(store: Counting, clock: FakeClock) -> None:
    """A minute of following a session at rest, above a minute of rest."""
    async with InProcessRuntime(store, clock=clock) as runtime:
        await runtime.create_session("s", OfflineAgent())
        await clock.advance(600)
        store.counts.clear()
        await clock.advance(MINUTE_S)
        rest = store.counts.copy()
        store.counts.clear()
        ask = Ask(follow=Follow(after=10**6, wait_s=MINUTE_S - 1))
        task = asyncio.create_task(runtime._local.ask(Owner("session", "s"), ask))
        await clock.advance(MINUTE_S)
        await task
        counts, store.counts = store.counts - rest, Counter()
    store.counts = counts


async def deleting(store: Counting, clock: FakeClock) -> None:
    """Deleting a session with one turn, while ten thousand others wait for a time."""
    paths = Paths("rojak")
    async with InProcessRuntime(store, clock=clock, settings=PoolSettings(timers_s=1e7)) as runtime:
        session = await runtime.create_session("s", OfflineAgent())
        await session.send_messages("hi")
        for number in range(10_000):
            await set_timer(store, paths, Owner("session", f"o{number}"), clock.now())
        await clock.advance(600)
        store.counts.clear()
        await runtime.delete_session("s")
        counts, store.counts = store.counts, Counter()
    store.counts = counts


CASES: dict[str, Callable[[Counting, FakeClock], Awaitable[None]]] = {
    "starting an actor on a storage that was used before": starting_an_actor,
    "a minute of a program with ten sessions at rest": resting,
    "a minute of following a session at rest": following,
    "deleting a session while 10,000 others wait for their time": deleting,
}


async def measure(name: str) -> tuple[int, ...]:
    """The counts of a case, by kind."""
    store = Counting()
    await CASES[name](store, FakeClock())
    return tuple(store.counts[kind] for kind in KINDS)


def line(name: str) -> list[str]:
    """A case as a line of a table: each count, and in brackets what it was."""
    now = asyncio.run(measure(name))
    return [name, *(f"{count} ({before})" for count, before in zip(now, BEFORE[name], strict=True))]


def main() -> None:
    """The command line."""
    print(report.table(HEAD, [line(name) for name in CASES]))


if __name__ == "__main__":
    main()
