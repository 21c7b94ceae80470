"""A journal in fair weather, and two writers of one journal."""

import asyncio

import pytest
from support.journals import OWNER, PATHS, CountingIds, Desk, Weather, note, plainly, tags_in
from support.stories import agent, call, running

from rojak_ray.core.state import SessionState
from rojak_ray.errors import Fenced, RojakError, StoreUnavailable
from rojak_ray.journal.journal import Journal
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.journal.replay import exists, read_records, replay
from rojak_ray.journal.schema import SCHEMA_VERSION
from rojak_ray.journal.snapshots import Position
from rojak_ray.storage.memory import MemoryStore

OPENING_CALLS = 8
"""What opening an empty journal asks of the store."""


async def stored_tags(desk):
    return tags_in((await replay(desk.memory, PATHS, OWNER)).state)


async def test_open_empty_journal_gives_the_empty_state_and_writes_a_claim_and_a_fence():
    desk = Desk()
    journal = desk.journal()
    assert await journal.open() == SessionState(owner_kind="session", owner_id="s")
    assert list(desk.memory.snapshot()) == [PATHS.epoch(OWNER, 1), PATHS.slot(OWNER, 1)]
    assert (journal.position.slot, journal.position.seq, journal.position.epoch) == (1, 0, 1)


async def test_append_numbers_events_through_the_whole_journal():
    journal = await Desk().opened()
    assert await journal.append(note("a", "b")) == 2
    assert await journal.append(note("c")) == 3
    assert (journal.position.slot, journal.position.seq) == (3, 3)


async def test_append_is_one_object_and_one_store_call():
    desk = Desk()
    calls = []

    async def counted(operation):
        calls.append(operation.place)
        return await operation.run()

    journal = await desk.opened(counted)
    calls.clear()
    await journal.append(note(*"abcdef"))
    assert calls == ["put_new log"]
    assert len(desk.objects("log")) == 2


async def test_open_costs_the_same_calls_however_often_it_was_opened_before():
    desk = Desk()
    calls = []

    async def counted(operation):
        calls.append(operation.place)
        return await operation.run()

    for opening in range(3):
        calls.clear()
        await desk.opened(counted)
        reads = ["get log"] * opening
        looks = ["list epoch", "put_new epoch", "list tail", "list snap", "list log"]
        assert calls == [*looks, *reads, "put_new log", "list log", "list snap"]


async def test_reopened_journal_folds_what_was_appended():
    desk = Desk()
    journal = await desk.opened()
    await journal.append(note("a", "b"))
    await journal.append(note("c"))
    again = desk.journal()
    assert tags_in(await again.open()) == ["a", "b", "c"]
    assert (again.position.seq, again.position.epoch) == (3, 2)
    assert await again.append(note("d")) == 4
    assert await stored_tags(desk) == list("abcd")


async def test_fold_of_a_conversation_survives_reopening():
    story = running(agent()).asks(call("c1", arguments='{"x": "\\ud800 \u00e9"}')).returns("c1", "ünï 🦉 \x00 \u2028")
    desk = Desk()
    journal = await desk.opened()
    for event in story.history:
        await journal.append([event])
    assert await desk.journal().open() == story.state


async def test_half_characters_in_stored_text_come_back():
    desk = Desk()
    journal = await desk.opened()
    await journal.append(note("\ud83d half"))
    assert await stored_tags(desk) == ["\ud83d half"]


async def test_stored_bytes_are_ascii_without_secrets_of_the_platform():
    desk = Desk()
    await (await desk.opened()).append(note("ünï"))
    for key, data in desk.memory.snapshot().items():
        head, body, end = data.decode("ascii").split("\n")
        assert head.startswith("rojak-record sha256=")
        assert body.startswith(f'{{"version":{SCHEMA_VERSION},') or "/epoch/" in key
        assert end == ""


async def test_record_size_does_not_depend_on_what_was_appended_before():
    desk = Desk()
    journal = await desk.opened()
    for _ in range(200):
        await journal.append(note("same size"))
    sizes = [len(data) for data in list(desk.objects("log").values())[1:]]
    assert max(sizes) - min(sizes) <= 12  # numbers and write ids grow by a digit now and then


async def test_replay_without_claim_writes_nothing_and_disturbs_nobody():
    desk = Desk()
    journal = await desk.opened()
    await journal.append(note("a"))
    before = desk.memory.snapshot()
    found = await replay(desk.memory, PATHS, OWNER)
    assert found.position == journal.position
    assert desk.memory.snapshot() == before
    await journal.append(note("b"))


async def test_replay_of_nothing_is_the_empty_state():
    found = await replay(MemoryStore(), PATHS, OWNER)
    assert (found.state, found.position) == (SessionState(owner_kind="session", owner_id="s"), Position())
    assert await read_records(MemoryStore(), PATHS, OWNER) == []


async def test_exists_tells_a_written_journal_from_none():
    desk = Desk()
    assert not await exists(desk.memory, PATHS, OWNER)
    await desk.opened()
    assert await exists(desk.memory, PATHS, OWNER)
    assert not await exists(desk.memory, PATHS, Owner("run", "s"))
    assert not await exists(desk.memory, Paths("other"), OWNER)


async def test_owners_and_namespaces_do_not_meet():
    desk = Desk()
    for owner in (OWNER, Owner("run", "s"), Owner("session", "S")):
        journal = desk.journal(owner=owner)
        await journal.open()
        await journal.append(note(str(owner)))
    other = Journal(desk.memory, Paths("other"), OWNER, desk.clock, CountingIds("o"))
    assert tags_in(await other.open()) == []
    assert await stored_tags(desk) == [str(OWNER)]


async def test_long_journal_is_read_whole_and_in_order():
    desk = Desk()
    journal = await desk.opened()
    tags = [f"t{number}" for number in range(150)]
    for tag in tags:
        await journal.append(note(tag))
    assert await stored_tags(desk) == tags


async def test_newer_writer_fences_the_older_and_its_event_does_not_count():
    desk = Desk()
    old = await desk.opened()
    await old.append(note("a"))
    new = desk.journal()
    assert tags_in(await new.open()) == ["a"]
    with pytest.raises(Fenced) as fenced:
        await old.append(note("lost"))
    assert fenced.value.key == PATHS.slot(OWNER, 3)
    assert not fenced.value.retryable
    await new.append(note("b"))
    assert await stored_tags(desk) == ["a", "b"]


async def test_fenced_writer_stays_fenced():
    """Answering a later append with a retryable error would invite its host to take the journal back."""
    desk = Desk()
    old = await desk.opened()
    await desk.opened()
    for _ in range(2):
        with pytest.raises(Fenced):
            await old.append(note("lost"))


async def test_append_to_a_journal_that_was_never_opened_is_refused():
    desk = Desk()
    with pytest.raises(RojakError):
        await desk.journal().append(note("a"))
    assert desk.memory.snapshot() == {}


async def test_append_after_a_failed_open_is_refused():
    desk = Desk()

    async def no_fence(operation):
        if operation.place == "put_new log":
            raise StoreUnavailable("no fence")
        return await operation.run()

    weather = Weather()
    weather.handler = no_fence
    journal = desk.journal(weather)
    with pytest.raises(StoreUnavailable):
        await journal.open()
    weather.handler = plainly
    with pytest.raises(RojakError):
        await journal.append(note("a"))
    assert await stored_tags(desk) == []


async def test_second_append_beside_one_under_way_is_refused():
    desk = Desk()
    gate = asyncio.Event()

    async def slow(operation):
        if operation.number > OPENING_CALLS:
            await gate.wait()
        return await operation.run()

    journal = await desk.opened(slow)
    first = asyncio.create_task(journal.append(note("a")))
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable):
        await journal.append(note("b"))
    gate.set()
    await first
    await journal.append(note("c"))
    assert await stored_tags(desk) == ["a", "c"]


async def test_cancelled_append_leaves_a_journal_that_must_be_opened_again():
    desk = Desk()
    gate = asyncio.Event()

    async def slow(operation):
        result = await operation.run()
        if operation.number > OPENING_CALLS:
            await gate.wait()
        return result

    journal = await desk.opened(slow)
    task = asyncio.create_task(journal.append(note("a")))
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(StoreUnavailable):
        await journal.append(note("b"))
    assert tags_in(await desk.journal().open()) == ["a"]


async def test_stalled_candidate_between_claim_and_fence_finds_out_and_takes_over_properly():
    """It claimed epoch 2, slept while epoch 3 opened and wrote, and woke up: nothing of epoch 3 may be lost."""
    desk = Desk()
    first = await desk.opened()
    await first.append(note("a"))
    wake, asleep = asyncio.Event(), asyncio.Event()

    async def stall_once(operation):
        if operation.place == "put_new log" and not wake.is_set():
            asleep.set()
            await wake.wait()
        return await operation.run()

    stalled = desk.journal(stall_once)
    opening = asyncio.create_task(stalled.open())
    await asleep.wait()
    third = await desk.opened()
    await third.append(note("b"))
    wake.set()
    assert tags_in(await opening) == ["a", "b"]
    assert stalled.position.epoch == 4
    with pytest.raises(Fenced):
        await third.append(note("lost"))
    await stalled.append(note("c"))
    assert await stored_tags(desk) == ["a", "b", "c"]


async def test_stalled_candidate_that_has_claimed_only_binds_nobody():
    desk = Desk()
    first = await desk.opened()

    async def die_at_fence(operation):
        if operation.place == "put_new log":
            raise asyncio.CancelledError
        return await operation.run()

    with pytest.raises(asyncio.CancelledError):
        await desk.journal(die_at_fence).open()
    assert len(desk.objects("epoch")) == 2
    await first.append(note("a"))
    assert await stored_tags(desk) == ["a"]


async def test_record_written_between_load_and_fence_is_read_before_serving():
    desk = Desk()
    active = await desk.opened()
    raced = False

    async def race(operation):
        nonlocal raced
        if operation.place == "put_new log" and not raced:
            raced = True
            await active.append(note("just in time"))
        return await operation.run()

    assert tags_in(await desk.journal(race).open()) == ["just in time"]
    with pytest.raises(Fenced):
        await active.append(note("too late"))


async def test_record_found_beyond_the_fence_makes_the_opening_start_over():
    """What garbage collection could bring about: the world has moved past the slot we won."""
    desk = Desk()
    first = await desk.opened()
    await first.append(note("a"))
    moved = False

    async def move_on(operation):
        nonlocal moved
        result = await operation.run()
        if operation.place == "put_new log" and not moved:
            moved = True
            await desk.opened()
        return result

    journal = desk.journal(move_on)
    assert tags_in(await journal.open()) == ["a"]
    assert journal.position.epoch == 4


async def test_open_gives_up_when_others_keep_winning():
    desk = Desk()
    busy = False

    async def outrun(operation):
        nonlocal busy
        if operation.place == "put_new log" and not busy:
            busy = True
            await desk.opened()
            busy = False
        return await operation.run()

    with pytest.raises(Fenced, match="session 's'"):
        await desk.journal(outrun).open()
    assert desk.clock.elapsed > 0


async def test_two_candidates_at_once_leave_one_writer():
    desk = Desk()

    async def interleave(operation):
        await asyncio.sleep(0)
        return await operation.run()

    one, two = desk.journal(interleave), desk.journal(interleave)
    await asyncio.gather(one.open(), two.open())
    outcomes = []
    for journal, tag in ((one, "one"), (two, "two")):
        try:
            await journal.append(note(tag))
            outcomes.append(tag)
        except Fenced:
            pass
    assert len(outcomes) == 1
    assert await stored_tags(desk) == outcomes
