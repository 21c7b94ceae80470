"""History stays whole behind snapshots: records move into archives, and only a deletion removes them."""

import contextlib
from typing import Any

import pytest
from support.journals import OWNER, PATHS, Desk, Operation, Weather, note, tags_in

from rojak_ray.core.events import RunAccepted
from rojak_ray.core.evolve import fold
from rojak_ray.core.state import SessionState
from rojak_ray.errors import Fenced, JournalDamaged, StoreUnavailable
from rojak_ray.journal.aggregate import CONVERSATION
from rojak_ray.journal.blobs import BLOB_BYTES, Blobs
from rojak_ray.journal.journal import Journal
from rojak_ray.journal.records import JournalRecord, encode_record
from rojak_ray.journal.replay import read_records, read_stretch, replay
from rojak_ray.journal.snapshots import Snapshot, write_snapshot
from rojak_ray.messages import Message
from rojak_ray.storage.base import Store


async def told(journal: Journal, state: SessionState, tags: str) -> SessionState:
    """Append an event for each letter and snapshot after each third."""
    for number, tag in enumerate(tags, start=1):
        await journal.append(note(tag))
        state = fold(state, note(tag))
        if number % 3 == 0:
            await journal.save(journal.take_snapshot(state))
    return state


async def history(store: Store) -> str:
    return "".join(event.run_id for record in await read_records(store, PATHS, OWNER) for event in record.events)


async def test_history_is_whole_after_compactions_and_take_overs():
    desk = Desk()
    state = SessionState(owner_id="s")
    for tags in ("abcdefghi", "jklmno", "pqrstuvwx"):
        journal = await desk.opened()
        state = await told(journal, state, tags)
    assert len(desk.objects("arch")) > 2
    assert len(desk.objects("log")) < 16
    assert await history(desk.memory) == "abcdefghijklmnopqrstuvwx"
    assert "".join(tags_in((await replay(desk.memory, PATHS, OWNER)).state)) == "abcdefghijklmnopqrstuvwx"


@pytest.mark.parametrize("after", range(13))
async def test_stretch_begins_at_or_before_the_event_asked_for_with_the_state_there(after):
    desk = Desk()
    await told(await desk.opened(), SessionState(owner_id="s"), "abcdefghijkl")
    stretch = await read_stretch(desk.memory, PATHS, OWNER, CONVERSATION, after)
    events = [event for record in stretch.records for event in record.events]
    assert stretch.position.seq <= after
    assert "".join(tags_in(stretch.state)) == "abcdefghijkl"[: stretch.position.seq]
    assert "".join(tags_in(fold(stretch.state, events))) == "abcdefghijkl"


async def test_follower_near_the_end_reads_no_archive():
    desk = Desk()
    await told(await desk.opened(), SessionState(owner_id="s"), "abcdefghijkl")
    for key in desk.objects("arch"):
        desk.replace(key, b"damaged")
    assert len((await read_stretch(desk.memory, PATHS, OWNER, CONVERSATION, 9)).records) == 3
    with pytest.raises(JournalDamaged, match="arch/"):
        await read_stretch(desk.memory, PATHS, OWNER, CONVERSATION, 1)


@pytest.mark.parametrize("lost", range(1, 40))
async def test_crash_at_any_call_of_a_compaction_loses_no_history(lost):
    desk = Desk()
    journal = await desk.opened()
    state = await told(journal, SessionState(owner_id="s"), "abcdef")
    calls = 0

    async def dying(operation: Operation) -> Any:
        nonlocal calls
        calls += operation.name in {"put_new", "delete"}
        if calls >= lost:
            raise StoreUnavailable("the process is gone")
        return await operation.run()

    doomed = desk.journal(dying)
    with contextlib.suppress(StoreUnavailable):
        await told(doomed, await doomed.open(), "ghi")
    state = (await replay(desk.memory, PATHS, OWNER)).state
    expected = "".join(tags_in(state))
    assert "abcdefghi".startswith(expected)
    assert await history(desk.memory) == expected
    survivor = await desk.opened()
    await told(survivor, state, "xyzuvw")
    assert await history(desk.memory) == expected + "xyzuvw"


@pytest.mark.parametrize("harm", ["flip", "cut", "remove", "foreign"])
async def test_damaged_archive_is_named_and_hinders_nobody_who_does_not_read_it(harm):
    desk = Desk()
    await told(await desk.opened(), SessionState(owner_id="s"), "abcdefghi")
    key = min(desk.objects("arch"))
    data = desk.objects("arch")[key]
    match harm:
        case "flip":
            desk.replace(key, data[:200] + bytes([data[200] ^ 1]) + data[201:])
        case "cut":
            desk.replace(key, data[:-1])
        case "foreign":
            await desk.memory.put_new(f"{PATHS.archives(OWNER)}notes", b"mine")
        case _:
            await desk.memory.delete(key)
    with pytest.raises(JournalDamaged) as caught:
        await history(desk.memory)
    assert caught.value.key
    assert "".join(tags_in((await replay(desk.memory, PATHS, OWNER)).state)) == "abcdefghi"


async def test_deletion_removes_archives_and_history_begins_anew():
    desk = Desk()
    journal = await desk.opened()
    await told(journal, SessionState(owner_id="s"), "abcdefghi")
    await journal.purge(SessionState(owner_id="s"))
    assert not desk.objects("arch")
    assert await history(desk.memory) == ""
    state = await told(journal, SessionState(owner_id="s"), "123456789")
    assert await history(desk.memory) == "123456789"
    reopened = await desk.opened()
    await told(reopened, state, "xyz")
    assert await history(desk.memory) == "123456789xyz"


async def test_reader_that_looks_while_records_move_sees_all_of_them():
    desk = Desk()
    journal = await desk.opened()
    state = await told(journal, SessionState(owner_id="s"), "abcdef")

    class MovingStore:
        """Lets the writer compact between the reader's look at the archives and at the log."""

        moved = False

        def __getattr__(self, name: str) -> Any:
            return getattr(desk.memory, name)

        async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
            found = await desk.memory.list(prefix, after=after, limit=limit)
            if prefix == PATHS.archives(OWNER) and not self.moved:
                self.moved = True
                await told(journal, state, "ghi")
            return found

    assert await history(MovingStore()) == "abcdefghi"


async def test_write_that_lands_late_in_a_freed_slot_is_no_history():
    desk = Desk()
    journal = await desk.opened()
    state = await told(journal, SessionState(owner_id="s"), "abcdef")
    late = JournalRecord(
        owner_kind="session", owner_id="s", slot=2, epoch=1, write_id="late", previous="", first_seq=1, at=""
    )
    key = PATHS.slot(OWNER, 2)
    assert key not in desk.objects("log")
    await desk.memory.put_new(key, encode_record(late)[0])
    await told(journal, state, "ghijkl")
    assert await history(desk.memory) == "abcdefghijkl"
    assert key not in desk.objects("log")


async def test_purge_whose_snapshot_a_newer_writer_removed_says_that_it_was_fenced():
    desk = Desk()

    async def removed(operation: Operation) -> Any:
        if operation.place == "get snap":
            await desk.memory.delete(operation.key)
        return await operation.run()

    journal = desk.journal(removed)
    state = await journal.open()
    with pytest.raises(Fenced):
        await journal.purge(state)


async def test_append_whose_slot_was_taken_and_compacted_since_says_that_it_was_fenced():
    desk = Desk()

    async def compacted(operation: Operation) -> Any:
        if operation.place == "get log":
            await desk.memory.delete(operation.key)
        return await operation.run()

    weather = Weather()
    old = await desk.opened(weather)
    await (await desk.opened()).append(note("a"))
    weather.handler = compacted
    with pytest.raises(Fenced):
        await old.append(note("b"))


async def test_purge_of_a_writer_that_was_overtaken_leaves_the_newer_ones_archives():
    desk = Desk()
    state = SessionState(owner_id="s")

    async def overtaken(operation: Operation) -> Any:
        if operation.name == "list" and operation.key == PATHS.archives(OWNER):
            await told(await desk.opened(), state, "abcdefghi")
        return await operation.run()

    old = desk.journal(overtaken)
    await old.open()
    await old.purge(state)
    assert desk.objects("arch")
    assert await history(desk.memory) == "abcdefghi"


async def test_values_of_records_that_another_writer_archived_stay():
    desk = Desk()
    large = "x" * (BLOB_BYTES + 1)
    first = await desk.opened()
    said = RunAccepted(run_id="large", input_digest="", messages=(Message(role="user", content=large),))
    await first.append([said])
    second = await desk.opened()
    state = fold(SessionState(owner_id="s"), [said])
    state = await told(second, state, "abc")
    looked = False

    async def beside(operation: Operation) -> Any:
        nonlocal looked
        if operation.name == "list" and operation.key == PATHS.log(OWNER) and not looked:
            looked = True
            await second.save(late)  # archives the records before the third one lists what is left
        return await operation.run()

    third_weather = Weather()
    third = await desk.opened(third_weather)
    late = Snapshot(second.position, second.take_snapshot(state).fences, state)
    third_weather.handler = beside
    await told(third, state, "def")
    await told(third, fold(state, note("d", "e", "f")), "ghi")
    assert looked
    assert desk.objects("arch")
    assert (await read_records(desk.memory, PATHS, OWNER))[1].events == (said,)


async def test_writer_that_was_overtaken_confirms_nothing():
    desk = Desk()
    old = await desk.opened()
    await old.confirm()
    await desk.opened()
    with pytest.raises(Fenced):
        await old.confirm()
    with pytest.raises(Fenced):
        await old.append(note("a"))


async def test_void_record_of_an_older_writer_keeps_nobody_from_confirming():
    desk = Desk()
    old = await desk.opened()
    new = await desk.opened()
    void = JournalRecord(
        owner_kind="session", owner_id="s", slot=3, epoch=1, write_id="v", previous="", first_seq=1, at=""
    )
    await desk.memory.put_new(PATHS.slot(OWNER, 3), encode_record(void)[0])
    await new.confirm()
    with pytest.raises(Fenced):
        await old.confirm()


@pytest.mark.parametrize("after_seq", [0, 1, 5])
async def test_snapshot_that_lands_when_what_follows_it_is_archived_is_no_gap_for_followers(after_seq):
    desk = Desk()
    journal = await desk.opened()
    state = await told(journal, SessionState(owner_id="s"), "a")
    late = journal.take_snapshot(state)
    state = await told(journal, state, "bcdefghij")
    await write_snapshot(desk.memory, PATHS, OWNER, late, Blobs(desk.memory, PATHS, OWNER, desk.clock), "late")

    stretch = await read_stretch(desk.memory, PATHS, OWNER, CONVERSATION, after_seq=after_seq)
    assert fold(stretch.state, [event for record in stretch.records for event in record.events]) == state


async def test_snapshot_that_lands_after_the_deletion_of_what_it_holds_is_not_read_by_followers():
    desk = Desk()
    journal = await desk.opened()
    state = await told(journal, SessionState(owner_id="s"), "a")
    late = journal.take_snapshot(state)
    await told(journal, state, "bc")
    await journal.purge(SessionState(owner_id="s"))
    await write_snapshot(desk.memory, PATHS, OWNER, late, Blobs(desk.memory, PATHS, OWNER, desk.clock), "late")
    await told(journal, SessionState(owner_id="s"), "d")

    stretch = await read_stretch(desk.memory, PATHS, OWNER, CONVERSATION, after_seq=1)
    assert stretch.state == SessionState(owner_id="s")
    assert [record.first_seq for record in stretch.records] == [4]
