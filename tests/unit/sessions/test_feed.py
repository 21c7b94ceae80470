"""A feed keeps little, tells nothing too early, and lets nobody wait for anybody."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.journals import InstantClock
from support.stories import agent, running

from rojak_ray.core.steps import CallModel
from rojak_ray.errors import StoreUnavailable
from rojak_ray.sessions.batches import Follow
from rojak_ray.sessions.events import FunctionResultEvent, TextDeltaEvent, seq_of
from rojak_ray.sessions.feed import RING_BYTES, RING_EVENTS, Feed

STEP = running(agent("A")).model_step
assert isinstance(STEP, CallModel)


def result(number: int, output: str = "x") -> FunctionResultEvent:
    return FunctionResultEvent(
        seq=seq_of(number, 0), run_id="r", agent="A", call_id="c", name="f", output=output, failed=False
    )


def feed_at(number: int = 0) -> Feed:
    feed = Feed(InstantClock())
    feed.want()
    advance(feed, None, number)
    return feed


def advance(feed: Feed, told: Any, number: int, speaking: CallModel | None = None, *, idle: bool = False) -> None:
    feed.advance(told, number, speaking, idle=idle, set_aside=None)


def texts(feed: Feed, follow: Follow) -> list[str]:
    batch = feed.read(follow)
    assert batch is not None
    return [event.text for event in batch.events if isinstance(event, TextDeltaEvent)]


def test_memory_is_bounded_whatever_nobody_reads() -> None:
    feed = feed_at()
    for number in range(1, 5 * RING_EVENTS):
        advance(feed, [result(number, "x" * (number % 3000))], number)
        events, size, _ = feed.statistics()
        assert events <= RING_EVENTS
        assert size <= RING_BYTES
    advance(feed, [result(6000, "x" * 2 * RING_BYTES)], 6000)
    assert feed.statistics()[1] == 0, "one that is larger than all may keep is read from storage"
    assert feed.read(Follow(after=seq_of(5999, 0))) is None
    listen = feed.listener(STEP)
    for _ in range(1000):
        listen("x" * 10_000)
    assert feed.statistics()[2] < 1_000_000


def test_a_follower_behind_the_ring_is_sent_to_storage_and_others_are_not() -> None:
    feed = feed_at()
    for number in range(1, 2 * RING_EVENTS):
        advance(feed, [result(number)], number)
    assert feed.read(Follow(after=seq_of(3, 0))) is None
    batch = feed.read(Follow(after=seq_of(2 * RING_EVENTS - 3, 0)))
    assert batch is not None
    assert [event.seq for event in batch.events] == [seq_of(2 * RING_EVENTS - 2, 0), seq_of(2 * RING_EVENTS - 1, 0)]


def test_events_that_nobody_wanted_are_not_kept_and_not_skipped() -> None:
    feed = Feed(InstantClock())
    advance(feed, None, 3)
    feed.want()
    assert feed.read(Follow(after=seq_of(2, 0))) is None, "what came before is in storage"
    advance(feed, [result(4)], 4)
    advance(feed, None, 5)  # decided before anybody wanted it, durable after
    assert feed.read(Follow(after=seq_of(4, 0))) is None


def test_text_of_an_early_question_is_kept_back_until_it_is_durable() -> None:
    feed = feed_at()
    feed.listener(STEP)("early")
    assert texts(feed, Follow(after=feed.position)) == []
    advance(feed, [result(1)], 1, STEP)
    assert texts(feed, Follow()) == ["early"]


def test_text_of_an_early_question_that_nothing_came_of_is_dropped() -> None:
    feed = feed_at()
    feed.listener(STEP)("early")
    advance(feed, [result(1)], 1, None)
    advance(feed, [result(2)], 2, STEP)
    assert texts(feed, Follow()) == []


def test_text_of_an_attempt_that_is_over_is_not_told() -> None:
    feed = feed_at()
    listen = feed.listener(STEP)
    advance(feed, [result(1)], 1, STEP)
    listen("first")
    advance(feed, [result(2)], 2, STEP.model_copy(update={"attempt": 2}))
    listen(" late")
    assert texts(feed, Follow()) == []


async def test_the_slow_follower_gets_one_large_piece_and_the_fast_one_small_ones() -> None:
    feed = feed_at()
    advance(feed, [result(1)], 1, STEP)
    listen = feed.listener(STEP)
    fast: list[str] = []
    follow = Follow(after=seq_of(1, 0), wait_s=5)
    for word in ("one ", "two ", "three"):
        listen(word)
        batch = await feed.follow(follow)
        assert batch is not None
        fast += [event.text for event in batch.events if isinstance(event, TextDeltaEvent)]
        follow = follow.model_copy(update={"after": batch.after, "seen": batch.seen})
    assert fast == ["one ", "two ", "three"]
    assert texts(feed, Follow(after=seq_of(1, 0))) == ["one two three"]


async def test_a_waiting_follower_hears_of_the_end_of_the_host() -> None:
    feed = feed_at()
    waiting = asyncio.create_task(feed.follow(Follow(after=feed.position, wait_s=30)))
    await asyncio.sleep(0)
    feed.end(StoreUnavailable("gone"))
    with pytest.raises(StoreUnavailable):
        await waiting


async def test_only_who_asks_for_it_is_told_that_nothing_comes() -> None:
    feed = feed_at(3)
    advance(feed, [], 3, idle=True)
    at_once = await feed.follow(Follow(after=feed.position, wait_s=30, until_idle=True))
    assert at_once is not None
    assert (at_once.idle, at_once.events) == (True, ())
    waiting = asyncio.create_task(feed.follow(Follow(after=feed.position, wait_s=30)))
    await asyncio.sleep(0)
    assert not waiting.done()
    advance(feed, [result(4)], 4)
    batch = await waiting
    assert batch is not None
    assert len(batch.events) == 1
