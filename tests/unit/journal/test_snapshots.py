"""Snapshots shorten what opening reads, and compaction removes what they cover: nothing counts on either."""

import contextlib
import json
from typing import Any

import pytest
from support.journals import OWNER, PATHS, CountingIds, Desk, Operation, Weather, note, tags_in

from rojak_ray.core.evolve import fold
from rojak_ray.core.state import SessionState
from rojak_ray.errors import JournalDamaged
from rojak_ray.journal.aggregate import CONVERSATION
from rojak_ray.journal.journal import Journal
from rojak_ray.journal.paths import number_of
from rojak_ray.journal.replay import replay
from rojak_ray.journal.schema import SCHEMA_VERSION
from rojak_ray.journal.snapshots import latest_snapshot
from rojak_ray.journal.thresholds import SNAPSHOT_REPLAYED


async def written(desk: Desk, journal: Journal, state: SessionState, tags: str) -> SessionState:
    """Append an event for each letter, as a host does."""
    for tag in tags:
        events = note(tag)
        await journal.append(events)
        state = fold(state, events)
    return state


async def snapshotted(desk: Desk, handler: Any = None) -> tuple[Journal, SessionState]:
    """A journal with two snapshots and records before, between and after them."""
    journal = desk.journal(handler)
    state = await journal.open()
    state = await written(desk, journal, state, "ab")
    await journal.save(journal.take_snapshot(state))
    state = await written(desk, journal, state, "cd")
    await journal.save(journal.take_snapshot(state))
    return journal, await written(desk, journal, state, "ef")


def log_slots(desk: Desk) -> list[int]:
    return [number_of(key) for key in desk.objects("log")]


async def test_opening_reads_only_what_came_after_the_latest_snapshot():
    desk = Desk()
    _, state = await snapshotted(desk)
    places: list[str] = []

    async def counted(operation: Operation) -> Any:
        places.append(operation.place)
        return await operation.run()

    reopened = desk.journal(counted)
    assert await reopened.open() == state
    assert places.count("get log") == 2
    assert places.count("get snap") == 1


async def test_compaction_removes_what_both_snapshots_cover_but_never_a_fence():
    desk = Desk()
    await snapshotted(desk)
    # slot 1 is the fence, 2 and 3 are covered by the older snapshot, 4 and 5 by the newer one only
    assert log_slots(desk) == [1, 4, 5, 6, 7]


async def test_damaged_newest_snapshot_falls_back_to_the_older_one():
    desk = Desk()
    _, state = await snapshotted(desk)
    newest = sorted(key for key in desk.memory.snapshot() if "/snap/" in key)[-1]
    data = desk.memory.snapshot()[newest]
    await desk.memory.delete(newest)
    await desk.memory.put_new(newest, data[:-20])

    assert (await replay(desk.memory, PATHS, OWNER)).state == state


async def test_journal_whose_snapshots_are_all_gone_is_damaged_never_shorter():
    desk = Desk()
    await snapshotted(desk)
    for key in desk.memory.snapshot():
        if "/snap/" in key:
            await desk.memory.delete(key)

    with pytest.raises(JournalDamaged):
        await replay(desk.memory, PATHS, OWNER)


async def test_snapshot_of_another_slot_is_not_trusted():
    desk = Desk()
    _, state = await snapshotted(desk)
    older, newer = sorted(key for key in desk.memory.snapshot() if "/snap/" in key)
    data = desk.memory.snapshot()[older]
    await desk.memory.delete(newer)
    await desk.memory.put_new(newer, data)

    assert (await replay(desk.memory, PATHS, OWNER)).state == state


async def test_writer_fenced_before_a_compaction_cannot_append_after_it():
    desk = Desk()
    stale = desk.journal()
    await stale.open()
    journal, state = await snapshotted(desk)
    for tags in ("gh", "ij"):
        state = await written(desk, journal, state, tags)
        await journal.save(journal.take_snapshot(state))

    with pytest.raises(Exception, match="newer writer"):
        await stale.append(note("z"))
    assert tags_in((await replay(desk.memory, PATHS, OWNER)).state) == list("abcdefghij")


@pytest.mark.parametrize("dies_at", range(1, 16))
async def test_dying_at_any_call_of_a_snapshot_loses_nothing(dies_at: int):
    desk, weather = Desk(), Weather()
    journal, state = await snapshotted(desk, weather)
    count = 0

    async def dying(operation: Operation) -> Any:
        nonlocal count
        count += 1
        if count >= dies_at:
            raise ConnectionAbortedError("the process died")
        return await operation.run()

    weather.handler = dying
    with contextlib.suppress(ConnectionAbortedError):
        await journal.save(journal.take_snapshot(state))

    assert await desk.journal().open() == state


async def test_snapshot_taken_before_an_append_that_overtakes_it_covers_only_its_own_position():
    desk = Desk()
    journal = await desk.opened()
    state = await written(desk, journal, SessionState(owner_id="s"), "ab")
    taken = journal.take_snapshot(state)
    await written(desk, journal, state, "c")
    await journal.save(taken)

    found, _ = await latest_snapshot(desk.memory, PATHS, OWNER, CONVERSATION)
    assert found is not None
    assert found.position == taken.position
    assert tags_in(await desk.journal().open()) == list("abc")


async def test_snapshot_holds_no_more_than_json():
    desk = Desk()
    await snapshotted(desk)
    for key, data in desk.memory.snapshot().items():
        if "/snap/" in key:
            assert json.loads(data.split(b"\n", 1)[1])["version"] == SCHEMA_VERSION


async def opened_again_and_again(desk: Desk, times: int, *, told: bool) -> list[int]:
    """Open a journal so many times, appending one event each time if `told`; the store's calls of each opening."""
    costs: list[int] = []
    for number in range(times):
        calls = 0

        async def counted(operation: Operation) -> Any:
            nonlocal calls
            calls += 1
            return await operation.run()

        journal = desk.journal(counted)
        state = await journal.open()
        costs.append(calls)
        if told:
            state = await written(desk, journal, state, chr(ord("a") + number % 26))
        if journal.wants_snapshot:
            await journal.save(journal.take_snapshot(state))
    return costs


@pytest.mark.parametrize("told", [True, False], ids=["one message each", "nothing but fences"])
async def test_opening_stays_cheap_for_who_is_opened_often_and_told_little(told):
    desk = Desk()
    costs = await opened_again_and_again(desk, 200, told=told)
    assert desk.objects("snap")
    assert max(costs) < SNAPSHOT_REPLAYED + 16
    assert max(costs[100:]) <= max(costs[:100]) + 1  # which had no snapshot to read at first
    replayed = await replay(desk.memory, PATHS, OWNER)
    assert len(replayed.fences) == 200
    assert replayed.position.seq == (200 if told else 0)


async def test_what_was_recorded_before_counts_towards_the_next_snapshot():
    desk = Desk()
    first = desk.journal()
    state = await written(desk, first, await first.open(), "abc")
    assert not first.wants_snapshot
    size = sum(len(desk.memory.snapshot()[key]) for key in desk.objects("log"))

    second = Journal(desk.memory, PATHS, OWNER, desk.clock, CountingIds("second"), snapshot_bytes=size)
    assert await second.open() == state
    assert second.wants_snapshot
    second.take_snapshot(state)
    assert not second.wants_snapshot


async def test_snapshot_that_is_larger_than_what_came_after_it_is_not_written_again():
    desk = Desk()
    first = desk.journal()
    state = await written(desk, first, await first.open(), "abcdefghijklmnopqrstuvwxyz")
    await first.save(first.take_snapshot(state))

    reopened = Journal(desk.memory, PATHS, OWNER, desk.clock, CountingIds("again"), snapshot_bytes=1)
    await reopened.open()
    assert not reopened.wants_snapshot
