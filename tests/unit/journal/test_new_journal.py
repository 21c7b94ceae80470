"""A journal in which nothing was found: opened by its first claim alone, and properly if somebody was quicker."""

import pytest
from support.journals import OWNER, PATHS, Desk, note, tags_in

from rojak_ray.core.state import SessionState
from rojak_ray.errors import Fenced, StoreUnavailable
from rojak_ray.journal.replay import replay

EMPTY = SessionState(owner_kind="session", owner_id="s")


async def stored_tags(desk):
    return tags_in((await replay(desk.memory, PATHS, OWNER)).state)


def noting(calls):
    async def handle(operation):
        calls.append(operation.place)
        return await operation.run()

    return handle


async def test_its_first_claim_is_all_it_takes():
    desk, calls = Desk(), []
    journal = desk.journal(noting(calls))
    assert await journal.open(new=True) == EMPTY
    assert (calls, journal.epoch) == (["put_new epoch"], 1)
    await journal.append(note("a"))
    assert calls == ["put_new epoch", "put_new log"]
    again = desk.journal()
    assert tags_in(await again.open()) == ["a"]
    assert again.epoch == 2


async def test_somebody_who_was_quicker_is_read_and_fenced():
    desk = Desk()
    quick, late = desk.journal(), desk.journal()
    await quick.open(new=True)
    await quick.append(note("a"))
    assert tags_in(await late.open(new=True)) == ["a"]
    with pytest.raises(Fenced):
        await quick.append(note("b"))
    await late.append(note("c"))
    assert await stored_tags(desk) == ["a", "c"]


async def test_rival_that_comes_before_its_first_record_takes_its_slot():
    desk = Desk()
    first, rival = desk.journal(), desk.journal()
    await first.open(new=True)
    assert await rival.open(new=True) == EMPTY
    with pytest.raises(Fenced):
        await first.append(note("a"))
    await rival.append(note("b"))
    assert await stored_tags(desk) == ["b"]


async def test_dying_after_the_claim_leaves_the_next_one_a_journal_to_open_properly():
    desk = Desk()
    await desk.journal().open(new=True)  # and it is never heard of again
    following = desk.journal()
    assert await following.open(new=True) == EMPTY
    assert following.epoch == 2
    await following.append(note("a"))
    assert await stored_tags(desk) == ["a"]


@pytest.mark.parametrize("landed", [True, False], ids=["landed", "did not land"])
async def test_lost_reply_to_its_claim_is_settled(landed):
    desk, tries = Desk(), []

    async def lost_once(operation):
        if operation.place == "put_new epoch":
            tries.append(operation)
            if len(tries) == 1:
                if landed:
                    await operation.run()
                raise StoreUnavailable("lost")
        return await operation.run()

    journal = desk.journal(lost_once)
    await journal.open(new=True)
    assert journal.epoch == 1
    await journal.append(note("a"))
    assert await stored_tags(desk) == ["a"]


async def test_claim_whose_outcome_stays_unknown_opens_nothing():
    desk = Desk()

    async def dark(operation):
        raise StoreUnavailable("dark")

    journal = desk.journal(dark)
    with pytest.raises(StoreUnavailable):
        await journal.open(new=True)
    with pytest.raises(StoreUnavailable, match="open it first"):
        await journal.append(note("a"))
