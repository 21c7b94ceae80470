import asyncio

import pytest

from rojak_ray.errors import InvalidStorage, StoreRefused, StoreUnavailable
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.storage.probe import check_durable, probe
from rojak_ray.testing.stores import FailAfter, FailBefore, FaultyStore, nth


class Shared(MemoryStore):
    @property
    def shared(self) -> bool:
        return True


class Overwrites(Shared):
    async def put_new(self, key: str, data: bytes) -> None:
        await self.delete(key)
        await super().put_new(key, data)


class ChecksThenWrites(Shared):
    """Right for one writer at a time, like fsspec's local driver."""

    async def put_new(self, key: str, data: bytes) -> None:
        taken = key in self.snapshot()
        await asyncio.sleep(0)
        if not taken:
            await self.delete(key)
        await super().put_new(key, data)


class OverwritesSilently(Shared):
    async def put_new(self, key: str, data: bytes) -> None:
        try:
            await super().put_new(key, data)
        finally:
            self._objects[key] = data


class ListsLate(Shared):
    async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        return (await super().list(prefix, after=after, limit=limit))[:-1]


class ListsBackwards(Shared):
    async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        return (await super().list(prefix, after=after, limit=limit))[::-1]


class IgnoresAfter(Shared):
    async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        return await super().list(prefix, limit=limit)


class NeverDeletes(Shared):
    async def delete(self, key: str) -> None:
        return


class Truncates(Shared):
    async def put_new(self, key: str, data: bytes) -> None:
        await super().put_new(key, data[:1])


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (Overwrites, "no atomic create"),
        (ChecksThenWrites, "8 of 8 concurrent writers"),
        (OverwritesSilently, "changed the object"),
        (ListsLate, "cached or delayed"),
        (ListsBackwards, "byte order"),
        (IgnoresAfter, "start and end"),
        (NeverDeletes, "still be read"),
        (Truncates, "other content"),
    ],
)
async def test_a_broken_promise_is_found_and_named(broken: type[MemoryStore], words: str) -> None:
    store = broken()
    report = await probe(store)
    assert not report.ok
    assert words in " ".join(check.words for check in report.failures)
    with pytest.raises(StoreRefused, match="cannot be used as storage") as caught:
        await check_durable(store)
    assert words in str(caught.value)


async def test_a_good_store_passes_in_words_and_stays_clean() -> None:
    store = Shared({"existing": b"x"})
    report = await probe(store)
    assert report.ok
    assert all(check.words.endswith(".") for check in report.checks)
    await check_durable(store)
    assert store.snapshot() == {"existing": b"x"}


async def test_a_lost_reply_is_no_broken_promise() -> None:
    """A client that repeats a request whose reply was lost is told that its own object exists."""

    class Repeats(FaultyStore):
        async def put_new(self, key: str, data: bytes) -> None:
            try:
                await super().put_new(key, data)
            except StoreUnavailable:
                await super().put_new(key, data)

    for number in range(1, 12):
        report = await probe(Repeats(MemoryStore(), nth("put", number, FailAfter())))
        assert report.ok, report.failures


async def test_memory_cannot_be_shared() -> None:
    with pytest.raises(InvalidStorage, match="one process"):
        await check_durable(MemoryStore())


async def test_an_outage_is_told_from_a_refusal() -> None:
    store = FaultyStore(Shared())
    store.outage = True
    with pytest.raises(StoreUnavailable, match="outage"):
        await check_durable(store)
    with pytest.raises(StoreRefused, match="Scripted failure"):
        await check_durable(FaultyStore(Shared(), nth("put", 1, FailBefore(StoreRefused))))
