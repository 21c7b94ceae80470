"""Stores that misbehave on purpose, and one that remembers: for tests of whatever has to survive a store's failures."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeVar

from rojak_ray.errors import ObjectExists, StorageError, StoreUnavailable
from rojak_ray.storage.base import Store
from rojak_ray.storage.memory import MemoryStore

_T = TypeVar("_T")

Operation = Literal["get", "put", "list", "delete"]


@dataclass(frozen=True)
class Call:
    """One call of a store: its operation, its key (or prefix), and how many of its kind there have been, from 1."""

    operation: Operation
    key: str
    number: int


@dataclass(frozen=True)
class FailBefore:
    """The call has no effect and raises."""

    error: Callable[[str], StorageError] = StoreUnavailable


@dataclass(frozen=True)
class FailAfter:
    """The call takes effect, and its reply is lost: it raises StoreUnavailable."""


@dataclass(frozen=True)
class Hold:
    """The call waits. `reached` is set when it has come so far, and it goes on when the test sets `release`."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True)
class LandLate:
    """A write raises StoreUnavailable now and takes effect when the test calls `FaultyStore.land`."""


Fault = FailBefore | FailAfter | Hold | LandLate
Script = Callable[[Call], Fault | None]


class Dice(Protocol):
    """What a script needs of `random.Random`."""

    def random(self) -> float:
        """A number from 0 up to, not including, 1."""
        ...


def no_faults(call: Call) -> None:
    """A script under which every call goes well."""


def nth(operation: Operation, number: int, fault: Fault) -> Script:
    """A script with one fault, at the `number`-th call of an operation (from 1)."""
    return lambda call: fault if (call.operation, call.number) == (operation, number) else None


def sometimes(dice: Dice, *, fail: float = 0.05, lose_reply: float = 0.05, land_late: float = 0.0) -> Script:
    """A script that throws dice at every call, with a probability for each fault; late landing is for writes only."""

    def script(call: Call) -> Fault | None:
        throw = dice.random()
        if throw < fail:
            return FailBefore()
        if throw < fail + lose_reply:
            return FailAfter()
        if call.operation == "put" and throw < fail + lose_reply + land_late:
            return LandLate()
        return None

    return script


class FaultyStore:
    """A store in front of another one that fails where its script says, and altogether while `outage` is set.

    Several of them over one inner store are several clients of it, each with its own faults.
    """

    def __init__(self, inner: Store, script: Script = no_faults) -> None:
        self.outage = False
        self.script = script
        self._inner = inner
        self._calls: dict[Operation, int] = {"get": 0, "put": 0, "list": 0, "delete": 0}
        self._late: list[tuple[str, bytes]] = []

    @property
    def url(self) -> str:
        """The inner store's."""
        return self._inner.url

    @property
    def shared(self) -> bool:
        """The inner store's."""
        return self._inner.shared

    @property
    def late(self) -> tuple[str, ...]:
        """Keys of the writes that have not landed yet."""
        return tuple(key for key, _ in self._late)

    async def land(self, count: int | None = None) -> None:
        """Let the oldest `count` late writes take effect, or all. Finding its key taken, a write is lost silently."""
        landing, self._late = self._late[:count], self._late[count:] if count is not None else []
        for key, data in landing:
            await _put_if_free(self._inner, key, data)

    async def get(self, key: str) -> bytes:
        """Read, or fail."""
        fault = await self._meet("get", key)
        data = await self._inner.get(key)
        return _reply(fault, key, data)

    async def put_new(self, key: str, data: bytes) -> None:
        """Write, or fail, or both.

        Crash safety: as bad as the script makes it.
        """
        fault = await self._meet("put", key)
        if isinstance(fault, LandLate):
            self._late.append((key, data))
            raise _lost(key)
        await self._inner.put_new(key, data)
        _reply(fault, key, None)

    async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """List, or fail."""
        fault = await self._meet("list", prefix)
        keys = await self._inner.list(prefix, after=after, limit=limit)
        return _reply(fault, prefix, keys)

    async def folders(self, prefix: str) -> list[str]:
        """List folders, or fail; a script sees a listing like any other."""
        fault = await self._meet("list", prefix)
        return _reply(fault, prefix, await self._inner.folders(prefix))

    async def delete(self, key: str) -> None:
        """Delete, or fail, or both."""
        fault = await self._meet("delete", key)
        await self._inner.delete(key)
        _reply(fault, key, None)

    async def aclose(self) -> None:
        """Close the inner store. Late writes stay on their way."""
        await self._inner.aclose()

    async def _meet(self, operation: Operation, key: str) -> Fault | None:
        """Count the call, suffer what comes before its effect, and return the fault for what comes after."""
        self._calls[operation] += 1
        fault = self.script(Call(operation, key, self._calls[operation]))
        if isinstance(fault, Hold):
            fault.reached.set()
            await fault.release.wait()
        if self.outage:
            raise StoreUnavailable(f"Scripted outage: {operation} {key!r} was not done.", key=key)
        if isinstance(fault, FailBefore):
            error = fault.error(f"Scripted failure: {operation} {key!r} was not done.")
            error.key = key
            raise error
        return fault


@dataclass(frozen=True)
class Write:
    """A write that took effect. `data` is None for a deletion."""

    operation: Literal["put", "delete"]
    key: str
    data: bytes | None = None


class RecordingStore:
    """A store in front of another one that keeps every write that took effect, in order.

    `rebuild` makes the store as a crash after so many writes would leave it.
    """

    def __init__(self, inner: Store) -> None:
        self.writes: list[Write] = []
        self._inner = inner

    @property
    def url(self) -> str:
        """The inner store's."""
        return self._inner.url

    @property
    def shared(self) -> bool:
        """The inner store's."""
        return self._inner.shared

    def rebuild(self, count: int | None = None) -> MemoryStore:
        """A fresh store with the effect of the first `count` writes, or of all."""
        return replay_writes(self.writes[:count])

    async def get(self, key: str) -> bytes:
        """Read from the inner store."""
        return await self._inner.get(key)

    async def put_new(self, key: str, data: bytes) -> None:
        """Write to the inner store, then remember.

        Crash safety: the inner store's.
        """
        await self._inner.put_new(key, data)
        self.writes.append(Write("put", key, bytes(data)))

    async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        """List the inner store."""
        return await self._inner.list(prefix, after=after, limit=limit)

    async def folders(self, prefix: str) -> list[str]:
        """List the inner store's folders."""
        return await self._inner.folders(prefix)

    async def delete(self, key: str) -> None:
        """Delete from the inner store, then remember."""
        await self._inner.delete(key)
        self.writes.append(Write("delete", key))

    async def aclose(self) -> None:
        """Close the inner store; what was remembered stays."""
        await self._inner.aclose()


def replay_writes(writes: Sequence[Write]) -> MemoryStore:
    """A fresh store after these writes."""
    objects: dict[str, bytes] = {}
    for write in writes:
        if write.data is None:
            objects.pop(write.key, None)
        else:
            objects[write.key] = write.data
    return MemoryStore(objects)


async def _put_if_free(store: Store, key: str, data: bytes) -> None:
    try:
        await store.put_new(key, data)
    except ObjectExists:
        return


def _reply(fault: Fault | None, key: str, value: _T) -> _T:
    if isinstance(fault, FailAfter):
        raise _lost(key)
    return value


def _lost(key: str) -> StoreUnavailable:
    return StoreUnavailable(f"Scripted loss of the reply for {key!r}.", key=key)
