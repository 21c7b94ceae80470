"""A journal over a store that can be told to misbehave, with a clock that never waits and ids that count."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from rojak_ray.core.events import Event, RunAccepted
from rojak_ray.core.state import SessionState
from rojak_ray.journal.journal import Journal
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.storage.base import Store
from rojak_ray.storage.memory import MemoryStore

Result = TypeVar("Result")

OWNER = Owner("session", "s")
PATHS = Paths("rojak")


class InstantClock:
    """Time passes only when somebody sleeps, and then at once."""

    def __init__(self) -> None:
        self.elapsed = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.elapsed)

    def monotonic(self) -> float:
        return self.elapsed

    async def sleep(self, seconds: float) -> None:
        self.elapsed += seconds
        await asyncio.sleep(0)


class CountingIds:
    """`w1`, `w2`, ... for one writer, never the same as another's."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._count = 0

    def new_id(self) -> str:
        self._count += 1
        return f"{self._prefix}{self._count}"


@dataclass(frozen=True)
class Operation:
    """One call of a store."""

    number: int
    name: str
    key: str
    run: Callable[[], Awaitable[Any]]

    @property
    def place(self) -> str:
        """`put_new epoch`, `list log`, ...: what it does to which part of a journal."""
        parts = self.key.strip("/").split("/")
        return (
            f"{self.name} {next(part for part in reversed(parts) if part in {'epoch', 'log', 'snap', 'tail', 'blob'})}"
        )


Handler = Callable[[Operation], Awaitable[Any]]


async def plainly(operation: Operation) -> Any:
    """The handler that changes nothing."""
    return await operation.run()


class Weather:
    """A handler that may be exchanged for another one while the store is in use."""

    def __init__(self) -> None:
        self.handler: Handler = plainly

    async def __call__(self, operation: Operation) -> Any:
        return await self.handler(operation)


class TamperedStore:
    """Passes every call on through a handler, which may do anything before, after or instead."""

    url = "memory://"
    shared = False

    def __init__(self, inner: Store, handler: Handler) -> None:
        self.inner = inner
        self.count = 0
        self.handler = handler

    async def _through(self, name: str, key: str, run: Callable[[], Awaitable[Result]]) -> Result:
        self.count += 1
        return await self.handler(Operation(self.count, name, key, run))

    async def get(self, key: str) -> bytes:
        return await self._through("get", key, lambda: self.inner.get(key))

    async def put_new(self, key: str, data: bytes) -> None:
        await self._through("put_new", key, lambda: self.inner.put_new(key, data))

    async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        return await self._through("list", prefix, lambda: self.inner.list(prefix, after=after, limit=limit))

    async def folders(self, prefix: str) -> list[str]:
        return await self._through("folders", prefix, lambda: self.inner.folders(prefix))

    async def delete(self, key: str) -> None:
        await self._through("delete", key, lambda: self.inner.delete(key))

    async def aclose(self) -> None:
        await self.inner.aclose()


@dataclass
class Desk:
    """Writers of one journal over one memory store."""

    memory: MemoryStore = field(default_factory=MemoryStore)
    clock: InstantClock = field(default_factory=InstantClock)
    writers: int = 0

    def journal(self, handler: Handler | None = None, owner: Owner = OWNER) -> Journal:
        """A new writer, which has not opened the journal yet."""
        self.writers += 1
        store = self.memory if handler is None else TamperedStore(self.memory, handler)
        return Journal(store, PATHS, owner, self.clock, CountingIds(f"w{self.writers}-"))

    async def opened(self, handler: Handler | None = None) -> Journal:
        """A new writer that owns the journal."""
        journal = self.journal(handler)
        await journal.open()
        return journal

    def objects(self, folder: str) -> dict[str, bytes]:
        """What is stored under `log`, `epoch`, `snap`, `blob` or `tail`, by key, in order."""
        prefix = f"{PATHS.owner(OWNER)}{folder}/"
        return {key: data for key, data in sorted(self.memory.snapshot().items()) if key.startswith(prefix)}

    def replace(self, key: str, data: bytes | None) -> None:
        """Damage an object behind everybody's back; None removes it."""
        objects = self.memory.snapshot()
        objects.pop(key)
        self.memory = MemoryStore(objects if data is None else {**objects, key: data})


def note(*tags: str) -> tuple[Event, ...]:
    """Events that remember a tag each, in order, in the queue of the folded state."""
    return tuple(RunAccepted(run_id=tag, input_digest="", messages=()) for tag in tags)


def tags_in(state: SessionState) -> list[str]:
    """What `note` left in a state."""
    return [queued.run_id for queued in state.queue]


def doubled(tags: Iterable[str]) -> set[str]:
    """Tags that occur more than once."""
    seen: set[str] = set()
    return {tag for tag in tags if tag in seen or seen.add(tag)}
