import asyncio
import random

import pytest

from rojak_ray.errors import ObjectExists, ObjectNotFound, StoreRefused, StoreUnavailable
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.stores import (
    FailAfter,
    FailBefore,
    FaultyStore,
    Hold,
    LandLate,
    RecordingStore,
    Write,
    nth,
    sometimes,
)


async def test_a_failed_write_does_not_land() -> None:
    inner = MemoryStore()
    store = FaultyStore(inner, nth("put", 2, FailBefore(StoreRefused)))
    await store.put_new("a", b"1")
    with pytest.raises(StoreRefused) as caught:
        await store.put_new("b", b"2")
    assert caught.value.key == "b"
    await store.put_new("c", b"3")
    assert inner.snapshot() == {"a": b"1", "c": b"3"}


async def test_a_lost_reply_lands_all_the_same() -> None:
    inner = MemoryStore({"d": b"x"})
    store = FaultyStore(inner, lambda _call: FailAfter())
    for call in (store.put_new("a", b"1"), store.delete("d"), store.get("a"), store.list("")):
        with pytest.raises(StoreUnavailable):
            await call
    assert inner.snapshot() == {"a": b"1"}


async def test_a_lost_reply_of_a_refused_write_is_still_a_refusal() -> None:
    store = FaultyStore(MemoryStore({"a": b"x"}), nth("put", 1, FailAfter()))
    with pytest.raises(ObjectExists):
        await store.put_new("a", b"y")


async def test_a_held_call_waits_for_its_release() -> None:
    hold, inner = Hold(), MemoryStore()
    store = FaultyStore(inner, nth("put", 1, hold))
    writing = asyncio.create_task(store.put_new("a", b"1"))
    await hold.reached.wait()
    await store.put_new("b", b"2")
    assert not writing.done()
    assert inner.snapshot() == {"b": b"2"}
    hold.release.set()
    await writing
    assert await store.get("a") == b"1"


async def test_late_writes_land_in_order_and_lose_against_what_is_there() -> None:
    inner = MemoryStore()
    store = FaultyStore(inner, lambda call: LandLate() if call.operation == "put" else None)
    for key in ("a", "b", "c"):
        with pytest.raises(StoreUnavailable):
            await store.put_new(key, b"late")
    assert store.late == ("a", "b", "c")
    await inner.put_new("b", b"first")
    await store.land(1)
    assert inner.snapshot() == {"a": b"late", "b": b"first"}
    await store.land()
    assert inner.snapshot() == {"a": b"late", "b": b"first", "c": b"late"}
    assert store.late == ()


async def test_an_outage_ends() -> None:
    store = FaultyStore(MemoryStore({"a": b"x"}))
    store.outage = True
    for call in (store.get("a"), store.put_new("b", b"x"), store.list(""), store.delete("a")):
        with pytest.raises(StoreUnavailable):
            await call
    store.outage = False
    assert await store.list("") == ["a"]


async def faults_seen(seed: int) -> list[str]:
    store = FaultyStore(MemoryStore(), sometimes(random.Random(seed), fail=0.2, lose_reply=0.2, land_late=0.2))
    seen = []
    for number in range(100):
        try:
            await store.put_new(f"{number}", b"x")
            seen.append("ok")
        except StoreUnavailable as error:
            seen.append(str(error).split()[1])
    return [*seen, *store.late]


async def test_dice_repeat_with_their_seed() -> None:
    first = await faults_seen(7)
    assert first == await faults_seen(7)
    assert first != await faults_seen(8)
    assert {"ok", "failure:", "loss"} <= set(first)


async def test_every_prefix_of_a_recording_can_be_rebuilt() -> None:
    store = RecordingStore(MemoryStore())
    await store.put_new("a", b"1")
    with pytest.raises(ObjectExists):
        await store.put_new("a", b"2")
    with pytest.raises(ObjectNotFound):
        await store.get("b")
    await store.put_new("b", b"2")
    await store.delete("a")
    await store.put_new("a", b"3")
    assert store.writes == [
        Write("put", "a", b"1"),
        Write("put", "b", b"2"),
        Write("delete", "a"),
        Write("put", "a", b"3"),
    ]
    states = [store.rebuild(count).snapshot() for count in range(5)]
    assert states == [{}, {"a": b"1"}, {"a": b"1", "b": b"2"}, {"b": b"2"}, {"b": b"2", "a": b"3"}]
    assert store.rebuild().snapshot() == states[-1]
    await store.rebuild().put_new("c", b"x")
    assert await store.list("") == ["a", "b"], "a rebuilt store is a copy"
