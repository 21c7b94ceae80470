"""One bucket that everybody shares and nobody kills, and the wire over which a process reaches it.

The bucket remembers everything that ever landed in it, by whom and when: that is what the audit believes. The wire
loses requests and replies, lets writes land late, answers slowly, tears listings, and is out for a while. Whatever was
sent before its process was killed still takes effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Literal, TypeVar

from rojak_ray.errors import ObjectExists, StorageError, StoreRefused, StoreUnavailable
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.stores import Operation

from .loop import Lane, VirtualLoop

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Landed:
    """A write that took effect; `data` is None for a deletion."""

    at: float
    lane: str
    key: str
    data: bytes | None


class Bucket:
    """A memory store and its history."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.store = MemoryStore()
        self.history: list[Landed] = []
        self._loop = loop

    def get(self, key: str) -> bytes:
        return now(self.store.get(key))

    def put_new(self, lane: str, key: str, data: bytes) -> None:
        now(self.store.put_new(key, data))
        self.history.append(Landed(self._loop.time(), lane, key, data))

    def list(self, prefix: str, after: str, limit: int | None) -> list[str]:
        return now(self.store.list(prefix, after=after, limit=limit))

    def delete(self, lane: str, key: str) -> None:
        now(self.store.delete(key))
        self.history.append(Landed(self._loop.time(), lane, key, None))


def now(coroutine: Any) -> Any:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("a memory store does not wait")


@dataclass(frozen=True, slots=True)
class Weather:
    """How often calls meet with which trouble."""

    lost_request: float = 0.0
    lost_reply: float = 0.0
    late: float = 0.0
    repeated: float = 0.0
    """The client's library tries a write twice and takes its own first try for somebody else's."""

    slow: float = 0.0
    torn: float = 0.0
    """A listing sees some of what changed while it was under way, and not the rest."""

    stalled_write: float = 0.0
    """Its process stops before it is sent."""

    latest_s: float = 30.0


CLEAR = Weather()

Accident = Literal["kill before", "kill after", "stall before", "stall after"]


class Wire:
    """A process's way to the bucket: a `Store`."""

    url = "memory://simulated"
    shared = False

    def __init__(self, loop: VirtualLoop, random: Random, bucket: Bucket, lane: Lane, weather: Weather) -> None:
        self.weather = weather
        self.out_until = 0.0
        self.refusing_until = 0.0
        self.accidents: dict[int, Accident] = {}
        """What happens to the process at which of its calls."""

        self.calls = 0
        self.on_accident: Callable[[Accident], bool] = lambda accident: False
        self.stops_at_write: Callable[[], bool] | None = None
        """Asked at every write; true if the process was just killed."""

        self.stops_landed = False
        self.on_trouble: Callable[[str, str, str], None] = lambda kind, operation, key: None
        self._loop = loop
        self._random = random
        self._bucket = bucket
        self._lane = lane

    async def get(self, key: str) -> bytes:
        return await self._call("get", key, lambda: self._bucket.get(key))

    async def put_new(self, key: str, data: bytes) -> None:
        await self._call("put", key, lambda: self._bucket.put_new(self._lane.name, key, data))

    async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        if self._random.random() < self.weather.torn:
            return await self._torn_list(prefix, after, limit)
        return await self._call("list", prefix, lambda: self._bucket.list(prefix, after, limit))

    async def delete(self, key: str) -> None:
        await self._call("delete", key, lambda: self._bucket.delete(self._lane.name, key))

    async def aclose(self) -> None:
        """Nothing to let go of."""

    async def _torn_list(self, prefix: str, after: str, limit: int | None) -> list[str]:
        """Two looks at different moments; what is in one of them only may be in the answer or not."""
        before = set(self._bucket.list(prefix, after, None))
        later = await self._call("list", prefix, lambda: self._bucket.list(prefix, after, None))
        changed = before.symmetric_difference(later)
        if changed:
            self.on_trouble("torn", "list", prefix)
        seen = [key for key in sorted(before | set(later)) if key not in changed or self._random.random() < 0.5]
        return seen[:limit]

    async def _call(self, operation: Operation, key: str, act: Callable[[], Result]) -> Result:
        self.calls += 1
        accident = self.accidents.get(self.calls)
        if accident is not None:
            await self._suffer(accident, act)
        if operation in {"put", "delete"} and self.stops_at_write is not None and self.stops_at_write():
            if self.stops_landed:
                _quietly(act)
            await self._loop.create_future()
        random, weather = self._random, self.weather
        if operation == "put" and weather.stalled_write and random.random() < weather.stalled_write:
            await self._suffer("stall before", act)
        delay = random.uniform(0.001, 0.02) if random.random() >= weather.slow else random.uniform(0.3, 6.0)
        future: asyncio.Future[Result] = self._loop.create_future()
        kind = self._misfortune(operation)
        if kind is not None:
            self.on_trouble(kind, operation, key)
        if self._loop.time() < self.out_until:
            self._fail(future, delay, StoreUnavailable(f"outage: {operation} {key}", key=key))
        elif self._loop.time() < self.refusing_until and operation in {"put", "delete"}:
            self._fail(future, delay, StoreRefused(f"read-only: {operation} {key}", key=key))
        elif kind is None:
            self._answer(future, delay, act)
        else:
            self._spoil(kind, future, delay, key, act)
        return await future

    def _misfortune(self, operation: Operation) -> str | None:
        dice, weather = self._random.random(), self.weather
        if dice < weather.lost_request:
            return "lost request"
        dice -= weather.lost_request
        if dice < weather.lost_reply:
            return "lost reply"
        dice -= weather.lost_reply
        if operation in {"put", "delete"} and dice < weather.late:
            return "late"
        dice -= weather.late
        return "repeated" if operation == "put" and 0 <= dice < weather.repeated else None

    def _answer(self, future: asyncio.Future[Any], delay: float, act: Callable[[], Any]) -> None:
        """It takes effect at once and the reply comes later, or at the end."""
        if self._random.random() < 0.5:
            try:
                result = act()
            except StorageError as error:
                self._fail(future, delay, error)
            else:
                self._later(delay, lambda: future.done() or future.set_result(result))
        else:
            self._later(delay, lambda: _settle(future, act))

    def _spoil(self, kind: str, future: asyncio.Future[Any], delay: float, key: str, act: Callable[[], Any]) -> None:
        """The other ways a call ends."""
        patience = self._random.uniform(0.05, 2.0)
        unanswered = StoreUnavailable(f"{kind}: {key}", key=key)
        if kind == "repeated":
            self._later(delay, lambda: _repeat(future, key, act))
            return
        if kind == "lost reply":
            self._later(self._random.uniform(0, patience), lambda: _quietly(act))
        elif kind == "late":
            self._later(patience + self._random.uniform(0, self.weather.latest_s), lambda: _quietly(act))
        self._fail(future, patience, unanswered)

    async def _suffer(self, accident: Accident, act: Callable[[], Any]) -> None:
        if not self.on_accident(accident):
            return
        if accident == "kill after":
            _quietly(act)
        if accident in {"kill before", "kill after"}:
            await self._loop.create_future()
        if accident == "stall before":
            await asyncio.sleep(0)  # comes back when the lane is thawed

    def _fail(self, future: asyncio.Future[Any], delay: float, error: StorageError) -> None:
        self._later(delay, lambda: future.done() or future.set_exception(error))

    def _later(self, delay: float, act: Callable[[], Any]) -> None:
        self._loop.call_later(delay, act, context=self._loop.world.context)


def _settle(future: asyncio.Future[Any], act: Callable[[], Any]) -> None:
    try:
        result = act()
    except StorageError as error:
        if not future.done():
            future.set_exception(error)
    else:
        if not future.done():
            future.set_result(result)


def _repeat(future: asyncio.Future[Any], key: str, act: Callable[[], Any]) -> None:
    _quietly(act)
    if not future.done():
        future.set_exception(ObjectExists(f"{key} exists already.", key=key))


def _quietly(act: Callable[[], Any]) -> None:
    try:
        act()
    except StorageError:
        return
