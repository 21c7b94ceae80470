import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

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
    assert store.snapshot() == {"existing": b"x"}


class Counting(Shared):
    """Counts requests, by method."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    async def get(self, key: str) -> bytes:
        self.counts["get"] += 1
        return await super().get(key)

    async def put_new(self, key: str, data: bytes) -> None:
        self.counts["put"] += 1
        await super().put_new(key, data)

    async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        self.counts["list"] += 1
        return await super().list(prefix, after=after, limit=limit)


async def test_good_verdict_is_kept_for_a_week_and_whoever_starts_next_reads_one_object() -> None:
    store, monday = Counting(), datetime(2026, 6, 1, tzinfo=UTC)
    await check_durable(store, monday)
    assert len(store.snapshot()) == 1
    store.counts.clear()
    for day in range(7):
        await check_durable(store, monday + timedelta(days=day))
    assert store.counts == {"get": 7}
    await check_durable(store, monday + timedelta(days=7))
    assert store.counts["put"] > 10
    assert len(store.snapshot()) == 1, "the verdict of the week before is kept"


async def test_verdict_about_another_place_or_of_other_content_does_not_count() -> None:
    here = Counting()
    await check_durable(here, datetime(2026, 6, 1, tzinfo=UTC))
    ((key, _),) = here.snapshot().items()

    class Elsewhere(Counting):
        url = "memory://elsewhere"

    for store, content in ((Elsewhere(), here.snapshot()[key]), (Counting(), b"damaged")):
        await store.put_new(key, content)
        store.counts.clear()
        await check_durable(store, datetime(2026, 6, 1, tzinfo=UTC))
        assert store.counts["put"] > 10


async def test_bad_verdict_is_not_kept() -> None:
    store = NeverDeletes()
    for _ in range(2):
        with pytest.raises(StoreRefused):
            await check_durable(store)


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
