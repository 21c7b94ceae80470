"""Work in the background goes on whatever it raises, and stops when it is told to."""

import asyncio
import logging

import pytest

from rojak_ray import errors
from rojak_ray.concurrency import at_most, background
from rojak_ray.testing.clock import FakeClock

OURS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.RojakError)]


class RustPanic(BaseException):
    """As extensions raise it: no Exception."""


BUGS = [ValueError, RecursionError, KeyError, TimeoutError, asyncio.CancelledError, RustPanic, StopAsyncIteration]


@pytest.mark.parametrize("kind", [*OURS, *BUGS])
async def test_work_goes_on_after_any_error(kind):
    clock, rounds = FakeClock(), 0

    async def work():
        nonlocal rounds
        rounds += 1
        if rounds < 4:
            raise kind("no")
        await asyncio.Event().wait()

    task = background("work", work, clock)
    await clock.advance(60)
    assert rounds == 4
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_pauses_double_up_to_the_longest_and_are_short_again_after_a_long_run():
    clock, begins = FakeClock(), []

    async def work():
        begins.append(clock.monotonic())
        if len(begins) == 6:
            await clock.sleep(100)
        raise ValueError("no")

    task = background("work", work, clock, first_pause_s=1, longest_pause_s=5)
    await clock.advance(118)
    assert begins == [0, 1, 3, 7, 12, 17, 118]
    task.cancel()


async def test_work_that_returns_is_done():
    clock, rounds = FakeClock(), []

    async def work():
        rounds.append(1)
        if len(rounds) < 3:
            raise errors.StoreUnavailable("away")

    task = background("work", work, clock)
    await clock.advance(10)
    assert task.done()
    assert task.result() is None
    assert len(rounds) == 3


async def test_cancelling_ends_it_while_it_works_and_while_it_pauses():
    clock = FakeClock()

    async def works():
        await asyncio.Event().wait()

    async def fails():
        raise ValueError("no")

    tasks = [background("works", works, clock), background("fails", fails, clock)]
    await clock.advance(0.1)
    for task in tasks:
        task.cancel()
    assert [type(end) for end in await asyncio.gather(*tasks, return_exceptions=True)] == 2 * [asyncio.CancelledError]


async def test_it_says_what_failed_and_bugs_with_their_traceback(caplog):
    clock = FakeClock()
    raised = [errors.StoreUnavailable("the bucket is away"), ValueError("a bug")]

    async def work():
        if raised:
            raise raised.pop(0)
        await asyncio.Event().wait()

    with caplog.at_level(logging.WARNING, "rojak_ray"):
        task = background("read timers", work, clock)
        await clock.advance(10)
        task.cancel()
    ours, bug = caplog.records
    assert "could not read timers" in ours.getMessage()
    assert "the bucket is away" in ours.getMessage()
    assert ours.exc_info is None
    assert "read timers" in bug.getMessage()
    assert bug.exc_info is not None


async def test_everybody_has_a_turn_before_the_first_error_is_raised():
    done, most, now = [], 0, 0

    async def work(item):
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        done.append(item)
        if item in {1, 3}:
            raise ValueError(item)

    with pytest.raises(ValueError, match="1"):
        await at_most(2, work, range(6))
    assert sorted(done) == list(range(6))
    assert most == 2
