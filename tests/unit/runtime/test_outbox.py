"""Replies that are fetched: none is lost, mixed up or waited for in vain, whatever happens between host and client."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from rojak_ray.errors import RunNotFound
from rojak_ray.runtime.outbox import Answer, Collector, Delivery, Outbox, RepliesLost, Ticket
from rojak_ray.testing.clock import FakeClock

_DEADLINE_S = 5.0


class Desk:
    """A host whose answers come when the test says so."""

    def __init__(self) -> None:
        self._answers: dict[str, asyncio.Future[Answer]] = {}

    def work(self, name: str) -> Callable[[], Awaitable[Answer]]:
        future = self._answers.setdefault(name, asyncio.get_running_loop().create_future())
        return lambda: future

    def finish(self, name: str, answer: Answer | None = None) -> None:
        self.work(name)
        self._answers[name].set_result(name.encode() if answer is None else answer)


def outbox(life: str = "one", most_held: int = 0, clock: FakeClock | None = None) -> Outbox:
    return Outbox(clock or FakeClock(), life, most_held)


def collector(host: Callable[[], Outbox], wait_s: float = _DEADLINE_S) -> Collector:
    async def fetch(client: str, life: str, after: int) -> list[Delivery] | None:
        return await host().fetch(client, life, after, wait_s)

    return Collector(fetch)


def ask(client: Collector, box: Outbox, work: Callable[[], Awaitable[Answer]]) -> asyncio.Task[Answer]:
    return asyncio.create_task(client.ask(lambda name: box.answer(name, work)))


async def settled() -> None:
    """Everything that can go on now has gone on."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_few_callers_are_answered_in_their_calls() -> None:
    desk, box = Desk(), outbox(most_held=2)
    calls = [asyncio.create_task(box.answer("me", desk.work(name))) for name in ("a", "b", "c")]
    await settled()
    assert [call.done() for call in calls] == [False, False, True], "the third is not kept waiting"
    assert isinstance(await calls[2], Ticket)

    desk.finish("a")
    assert await calls[0] == b"a"
    again = asyncio.create_task(box.answer("me", desk.work("d")))
    await settled()
    assert not again.done(), "there is room for one again"


async def test_a_client_without_a_name_is_always_answered_in_its_call() -> None:
    desk, box = Desk(), outbox()
    call = asyncio.create_task(box.answer("", desk.work("a")))
    await settled()
    desk.finish("a")
    assert await call == b"a"


async def test_a_crowd_gets_its_own_answers_whatever_their_order() -> None:
    desk, box = Desk(), outbox(most_held=3)
    client = collector(lambda: box)
    names = [f"run {n}" for n in range(50)]
    calls = [ask(client, box, desk.work(name)) for name in names]
    await settled()
    for name in reversed(names):
        desk.finish(name)
    assert await asyncio.gather(*calls) == [name.encode() for name in names]


async def test_two_clients_do_not_get_each_others_answers() -> None:
    desk, box = Desk(), outbox()
    mine, yours = collector(lambda: box), collector(lambda: box)
    calls = [ask(mine, box, desk.work("mine")), ask(yours, box, desk.work("yours"))]
    await settled()
    desk.finish("yours")
    desk.finish("mine")
    assert await asyncio.gather(*calls) == [b"mine", b"yours"]


async def test_an_error_is_an_answer() -> None:
    desk, box = Desk(), outbox()
    call = ask(collector(lambda: box), box, desk.work("a"))
    desk.finish("a", RunNotFound("no such run"))
    assert isinstance(await call, RunNotFound)


async def test_a_reply_that_overtakes_its_ticket_is_not_lost() -> None:
    desk, box = Desk(), outbox()
    client = collector(lambda: box)
    first = ask(client, box, desk.work("first"))
    held = asyncio.Event()

    async def late(name: str) -> Answer | Ticket:
        given = await box.answer(name, desk.work("late"))
        await held.wait()
        return given

    second = asyncio.create_task(client.ask(late))
    await settled()
    desk.finish("late")
    await settled()
    held.set()
    async with asyncio.timeout(_DEADLINE_S):
        assert await second == b"late"
    desk.finish("first")
    assert await first == b"first"


async def test_replies_stay_until_the_client_says_that_they_came() -> None:
    desk, box = Desk(), outbox()
    for name in ("a", "b"):
        desk.finish(name)
        assert isinstance(await box.answer("me", desk.work(name)), Ticket)
    await settled()
    lost = await box.fetch("me", "one", 0, 0)
    assert await box.fetch("me", "one", 0, 0) == lost, "nobody knows whether the first answer arrived"
    assert lost is not None
    assert [delivery.answer for delivery in lost] == [b"a", b"b"]
    assert await box.fetch("me", "one", lost[0].position, 0) == lost[1:]
    assert await box.fetch("me", "one", lost[1].position, 0) == []


async def test_tickets_of_a_host_that_was_started_again_are_lost_and_its_own_are_not() -> None:
    desk, boxes = Desk(), [outbox("one")]
    client = collector(lambda: boxes[-1], wait_s=0)
    old = ask(client, boxes[0], desk.work("old"))
    await settled()
    boxes.append(outbox("two"))
    new = ask(client, boxes[1], desk.work("new"))
    with pytest.raises(RepliesLost):
        async with asyncio.timeout(_DEADLINE_S):
            await old
    desk.finish("new")
    assert await new == b"new"


async def test_a_fetch_that_fails_is_told_to_all_and_the_next_one_works() -> None:
    desk, box, broken = Desk(), outbox(), [True]

    async def fetch(client: str, life: str, after: int) -> list[Delivery] | None:
        if broken:
            raise ConnectionError("the host is gone")
        return await box.fetch(client, life, after, _DEADLINE_S)

    client = Collector(fetch)
    calls = [ask(client, box, desk.work(name)) for name in ("a", "b")]
    for call in calls:
        with pytest.raises(ConnectionError):
            await call
    broken.clear()
    again = ask(client, box, desk.work("c"))
    desk.finish("c")
    assert await again == b"c"


async def test_a_caller_that_gives_up_disturbs_nobody() -> None:
    desk, box = Desk(), outbox()
    client = collector(lambda: box)
    calls = [ask(client, box, desk.work(name)) for name in ("a", "b")]
    await settled()
    calls[0].cancel()
    desk.finish("a")
    desk.finish("b")
    assert await calls[1] == b"b"
    assert calls[0].cancelled()


async def test_a_client_that_is_closed_leaves_nobody_waiting() -> None:
    desk, box = Desk(), outbox()
    client = collector(lambda: box)
    call = ask(client, box, desk.work("a"))
    await settled()
    await client.aclose()
    with pytest.raises(RepliesLost):
        await call


async def test_a_client_that_fetches_again_after_it_was_forgotten_misses_nothing() -> None:
    clock = FakeClock()
    desk, box = Desk(), outbox(clock=clock)
    client = collector(lambda: box)
    for name in ("a", "b"):
        desk.finish(name)
        assert await ask(client, box, desk.work(name)) == name.encode()
    await clock.advance(1000)
    desk.finish("of another")
    await box.answer("another client", desk.work("of another"))
    await settled()

    desk.finish("c")
    async with asyncio.timeout(_DEADLINE_S):
        assert await ask(client, box, desk.work("c")) == b"c"
