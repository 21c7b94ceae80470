"""Lost replies, outages, and a crash between any two calls of the store."""

import asyncio
import contextlib

import pytest
from support.journals import OWNER, PATHS, Desk, Weather, doubled, note, plainly, tags_in

from rojak_ray.errors import Fenced, ObjectExists, StoreRefused, StoreUnavailable
from rojak_ray.journal.replay import replay


class Crash(Exception):
    """The process ended here."""


async def stored_tags(desk):
    return tags_in((await replay(desk.memory, PATHS, OWNER)).state)


def failing(places, error, *, landed, times=1):
    """A handler that answers the first calls at these places with an error, after doing what was asked or not."""
    left = dict.fromkeys(places, times)

    async def handle(operation):
        if left.get(operation.place, 0):
            left[operation.place] -= 1
            if landed:
                await operation.run()
            raise error
        return await operation.run()

    return handle


UNAVAILABLE = StoreUnavailable("no answer")


@pytest.mark.parametrize("landed", [True, False])
@pytest.mark.parametrize("places", [("put_new epoch",), ("put_new log",), ("put_new epoch", "put_new log")])
async def test_lost_reply_while_opening_is_settled(places, landed):
    desk = Desk()
    journal = await desk.opened(failing(places, UNAVAILABLE, landed=landed))
    assert (len(desk.objects("epoch")), len(desk.objects("log"))) == (1, 1)
    await journal.append(note("a"))
    assert await stored_tags(desk) == ["a"]


@pytest.mark.parametrize("landed", [True, False])
@pytest.mark.parametrize("times", [1, 3])
async def test_lost_reply_of_an_append_counts_once(landed, times):
    desk = Desk()
    weather = Weather()
    journal = await desk.opened(weather)
    weather.handler = failing(["put_new log"], UNAVAILABLE, landed=landed, times=1 if landed else times)
    assert await journal.append(note("a", "b")) == 2
    assert await journal.append(note("c")) == 3
    assert await stored_tags(desk) == ["a", "b", "c"]


async def test_reply_lost_inside_a_client_that_retries_reads_back_as_success():
    """The client wrote, lost the reply, tried again by itself and reports that the object exists: it is ours."""
    desk = Desk()
    weather = Weather()
    weather.handler = failing(["put_new epoch", "put_new log"], ObjectExists("taken"), landed=True)
    journal = await desk.opened(weather)
    weather.handler = failing(["put_new log"], ObjectExists("taken"), landed=True)
    await journal.append(note("a"))
    assert await stored_tags(desk) == ["a"]
    assert len(desk.objects("epoch")) == 1


async def test_reply_and_read_back_both_lost_is_still_settled():
    desk = Desk()
    weather = Weather()
    journal = await desk.opened(weather)
    handler = failing(["put_new log", "get log"], UNAVAILABLE, landed=True)
    weather.handler = handler
    assert await journal.append(note("a")) == 1
    assert await stored_tags(desk) == ["a"]


async def test_unavailable_store_fails_the_append_after_a_few_tries_with_waits():
    desk = Desk()
    weather = Weather()
    journal = await desk.opened(weather)
    weather.handler = failing(["put_new log", "get log"], UNAVAILABLE, landed=False, times=99)
    with pytest.raises(StoreUnavailable):
        await journal.append(note("a"))
    assert 0 < desk.clock.elapsed < 5


@pytest.mark.parametrize("landed", [True, False])
async def test_append_with_unknown_outcome_refuses_more_until_opened_by_a_new_writer(landed):
    desk = Desk()
    weather = Weather()
    journal = await desk.opened(weather)
    weather.handler = _write_then_silence(landed=landed)
    with pytest.raises(StoreUnavailable):
        await journal.append(note("a"))
    weather.handler = plainly
    with pytest.raises(StoreUnavailable, match="open it again"):
        await journal.append(note("b"))
    again = desk.journal()
    assert tags_in(await again.open()) == (["a"] if landed else [])
    await again.append(note("c"))
    assert await stored_tags(desk) == (["a", "c"] if landed else ["c"])


async def test_append_with_unknown_outcome_may_go_on_after_the_same_object_is_opened_again():
    """Its own message says: open it again."""
    desk = Desk()
    weather = Weather()
    journal = await desk.opened(weather)
    weather.handler = _write_then_silence(landed=True)
    with pytest.raises(StoreUnavailable):
        await journal.append(note("a"))
    weather.handler = plainly
    assert tags_in(await journal.open()) == ["a"]
    await journal.append(note("b"))
    assert await stored_tags(desk) == ["a", "b"]


async def test_write_that_lands_after_the_client_gave_up_is_harmless_once_fenced():
    desk = Desk()
    weather = Weather()
    journal = await desk.opened(weather)
    late = []

    async def hold(operation):
        if operation.place == "put_new log":
            late.append(operation.run)
        raise UNAVAILABLE

    weather.handler = hold
    with pytest.raises(StoreUnavailable):
        await journal.append(note("late"))
    again = await desk.opened()
    for write in late:
        with pytest.raises(ObjectExists):
            await write()
    await again.append(note("b"))
    assert await stored_tags(desk) == ["b"]


async def test_write_that_lands_between_load_and_fence_of_the_next_writer_counts():
    desk = Desk()
    weather = Weather()
    journal = await desk.opened(weather)
    late = []

    async def hold(operation):
        if operation.place == "put_new log":
            late.append(operation.run)
        raise UNAVAILABLE

    weather.handler = hold
    with pytest.raises(StoreUnavailable):
        await journal.append(note("late"))

    async def land_first(operation):
        if operation.place == "put_new log" and late:
            await late.pop()()
            late.clear()
        return await operation.run()

    assert tags_in(await desk.journal(land_first).open()) == ["late"]


async def test_refused_write_is_told_at_once_and_nothing_is_stored():
    desk = Desk()
    weather = Weather()
    journal = await desk.opened(weather)
    weather.handler = failing(["put_new log"], StoreRefused("disk full"), landed=False)
    with pytest.raises(StoreRefused):
        await journal.append(note("a"))
    assert desk.clock.elapsed == 0
    assert await stored_tags(desk) == []


@pytest.mark.parametrize("place", ["list epoch", "put_new epoch", "list log", "get log", "put_new log"])
async def test_open_of_an_unavailable_store_raises_and_loses_nothing(place):
    desk = Desk()
    await (await desk.opened()).append(note("a"))
    journal = desk.journal(failing([place], UNAVAILABLE, landed=False, times=99))
    with pytest.raises(StoreUnavailable):
        await journal.open()
    assert tags_in(await desk.journal().open()) == ["a"]


async def test_lost_reply_to_a_fenced_writer_does_not_make_it_believe_it_won():
    desk = Desk()
    weather = Weather()
    old = await desk.opened(weather)
    new = await desk.opened()
    await new.append(note("a"))
    weather.handler = failing(["put_new log"], UNAVAILABLE, landed=False)
    with pytest.raises(Fenced):
        await old.append(note("lost"))
    assert await stored_tags(desk) == ["a"]


def _write_then_silence(*, landed):
    async def handle(operation):
        if landed and operation.name == "put_new":
            with contextlib.suppress(ObjectExists):
                await operation.run()
        raise UNAVAILABLE

    return handle


async def _two_owners_in_turn(desk, handler, acknowledged, *, new=False):
    """Open, append, hand over to a second writer, append, and let the first find out."""
    first = desk.journal(handler)
    await first.open(new=new)
    for batch in (("a1",), ("a2", "a3")):
        await first.append(note(*batch))
        acknowledged += batch
    second = await desk.opened(handler)
    await second.append(note("b1"))
    acknowledged.append("b1")
    with pytest.raises(Fenced):
        await first.append(note("lost"))
    await second.append(note("b2"))
    acknowledged.append("b2")


def _crash_at(number, moment):
    operations = 0

    async def handle(operation):
        nonlocal operations
        operations += 1
        if operations == number:
            if moment == "after":
                await operation.run()
            raise Crash
        if operations > number:
            raise Crash  # the process is gone; nothing more may happen
        return await operation.run()

    return handle


@pytest.mark.parametrize(("new", "calls"), [(False, 16), (True, 10)], ids=["opened properly", "opened as new"])
async def test_crash_at_any_store_call_loses_and_doubles_nothing(new, calls):
    """The scenario, cut at its k-th store call, before or after it took effect, for all k."""
    cuts = 0
    for moment in ("before", "after"):
        for number in range(1, 200):
            desk, acknowledged = Desk(), []
            try:
                await _two_owners_in_turn(desk, _crash_at(number, moment), acknowledged, new=new)
            except Crash:
                cuts += 1
            else:
                break
            where = f"cut {moment} call {number}"
            journal = desk.journal()
            found = tags_in(await journal.open())
            assert found[: len(acknowledged)] == acknowledged, where
            expected = ["a1", "a2", "a3", "b1", "b2"]
            assert found == expected[: len(found)], where
            assert not doubled(found), where
            await journal.append(note("after"))
            assert await stored_tags(desk) == [*found, "after"], where
    assert cuts >= 2 * calls


async def test_crash_at_every_call_of_recovery_too_loses_nothing():
    """Crash loops: each new owner dies one call later than the last, then one lives."""
    desk, acknowledged = Desk(), []
    await _two_owners_in_turn(desk, plainly, acknowledged)
    for number in range(1, 40):
        for moment in ("before", "after"):
            tag = f"{moment}{number}"
            try:
                journal = await desk.opened(_crash_at(number, moment))
                await journal.append(note(tag))
                acknowledged.append(tag)
            except Crash:
                pass
    found = await stored_tags(desk)
    assert not doubled(found)
    assert [tag for tag in found if tag in acknowledged] == acknowledged


async def test_killed_append_is_replayed_whole_or_not_at_all():
    for yields in range(6):
        desk = Desk()

        async def slow(operation):
            await asyncio.sleep(0)
            result = await operation.run()
            await asyncio.sleep(0)
            return result

        journal = await desk.opened(slow)
        task = asyncio.create_task(journal.append(note("a", "b", "c")))
        for _ in range(yields):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert tags_in(await desk.journal().open()) in ([], ["a", "b", "c"])
