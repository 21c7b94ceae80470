"""Runs that wait for people: they hold no process, survive everything, and go on when somebody answers."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from support.journals import InstantClock
from support.plan import PlanAgent, plan
from support.waiting import until
from support.worlds import WatchedPlan, world

from rojak_ray.agents import ToolContext, WaitForAnswer, function
from rojak_ray.errors import CallNotWaiting, ModelUnavailable, RequestConflict
from rojak_ray.journal.paths import Paths
from rojak_ray.retry import RetryOptions, RetryPolicy
from rojak_ray.sessions.pool_settings import PoolSettings
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.runtime import InProcessRuntime

PATHS = Paths("rojak")


class SteppedClock(InstantClock):
    """Time passes when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.sleepers: list[tuple[float, asyncio.Event]] = []

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self.sleepers.append((self.elapsed + seconds, woken))
        await woken.wait()

    async def pass_until(self, condition: Callable[[], Any], step: timedelta) -> None:
        """Let time pass in steps until something is true."""
        for _ in range(200):
            if condition():
                return
            self.elapsed += step.total_seconds()
            for _, woken in (due := [sleeper for sleeper in self.sleepers if sleeper[0] <= self.elapsed]):
                woken.set()
            self.sleepers = [sleeper for sleeper in self.sleepers if sleeper not in due]
            for _ in range(60):
                await asyncio.sleep(0)
        raise AssertionError("time passed in vain")


PROMPT = PoolSettings(sweep_s=0.01, session_idle_s=0.02, run_idle_s=0.02, timers_s=0.01)
ASKED: list[str] = []


@function(at_most_once=True)
def ask_boss(context: ToolContext, days: float = 30) -> WaitForAnswer:
    """Ask the boss."""
    ASKED.append(context.idempotency_key)
    return WaitForAnswer("May the guest stay?", timeout_in_seconds=days * 86400)


AGENT = PlanAgent(name="A", functions=[ask_boss])
PLAN = plan([["ask_boss", {}]], "Then welcome.")


@pytest.fixture(autouse=True)
def nobody_asked():
    ASKED.clear()


def let_go(store: MemoryStore) -> bool:
    return not any(key.startswith(PATHS.active) for key in store.snapshot())


def timers(store: MemoryStore) -> list[str]:
    return [key for key in store.snapshot() if key.startswith(PATHS.timers)]


async def test_person_answers_while_the_caller_waits():
    async with world() as w:
        session = await w.rojak.create_session("s", AGENT)
        running = asyncio.create_task(session.send_messages(PLAN))
        await until(session.open_questions, "a question")
        (question,) = await session.open_questions()
        assert (question.name, question.question) == ("ask_boss", "May the guest stay?")
        await session.answer(question.call_id, {"granted": True})
        answer = await running
        assert [message.content for message in answer.messages[-2:]] == ['{"granted": true}', "Then welcome."]
        with pytest.raises(CallNotWaiting):
            await session.answer(question.call_id, "again")


async def test_run_that_waits_a_month_holds_no_host_and_goes_on_in_another_process():
    store = MemoryStore()
    async with InProcessRuntime(store, settings=PROMPT) as first:
        await first.create_worker([WatchedPlan()])
        handle = await first.start_run("r", AGENT, PLAN)
        await until(lambda: let_go(store) and timers(store), "going to storage")
        assert first.statistics().open_hosts == 0
        (question,) = await handle.open_questions()
        assert first.statistics().open_hosts == 0, "looking wakes nobody"
    async with InProcessRuntime(store, settings=PROMPT) as second:
        await second.create_worker([WatchedPlan()])
        handle = await second.start_run("r", AGENT, PLAN)
        await handle.answer(question.call_id, "yes")
        assert (await handle.result()).messages[-1].content == "Then welcome."
    assert len(ASKED) == 1


async def test_nobody_answers_in_time_and_the_alarm_clock_wakes_the_run():
    store = MemoryStore()
    clock = SteppedClock()
    async with InProcessRuntime(store, clock=clock, settings=PoolSettings(sweep_s=60, run_idle_s=300)) as rojak:
        await rojak.create_worker([WatchedPlan()])
        handle = await rojak.start_run("r", AGENT, PLAN)
        await until(handle.open_questions, "a question")
        await clock.pass_until(lambda: let_go(store), timedelta(minutes=2))
        assert timers(store)
        begun = clock.now()
        await clock.pass_until(lambda: not let_go(store), timedelta(hours=12))
        assert clock.now() - begun >= timedelta(days=29)
        answer = await handle.result()
    assert answer.messages[-2].content == "TimeoutError: nobody answered ask_boss in time."
    assert len(ASKED) == 1
    assert not timers(store)


async def test_a_dozen_restarts_while_waiting_set_nothing_aside():
    store = MemoryStore()
    for _ in range(12):
        async with InProcessRuntime(store, settings=PROMPT) as rojak:
            await rojak.create_worker([WatchedPlan()])
            handle = await rojak.start_run("r", AGENT, PLAN)
            await until(handle.open_questions, "a question")
    async with InProcessRuntime(store, settings=PROMPT) as rojak:
        await rojak.create_worker([WatchedPlan()])
        handle = await rojak.start_run("r", AGENT, PLAN)
        (question,) = await handle.open_questions()
        await handle.answer(question.call_id, "yes")
        await handle.result()
    assert len(ASKED) == 1


async def test_long_wait_for_another_attempt_goes_to_storage_and_is_not_begun_anew():
    store = MemoryStore()
    clock = SteppedClock()
    policy = RetryPolicy(initial_interval_in_seconds=7200, maximum_attempts=2)
    agent = PlanAgent(name="A", retry_options=RetryOptions(retry_policy=policy))
    model = WatchedPlan()
    times = []

    def fail_first(params):
        times.append(clock.now())
        if len(times) == 1:
            raise ModelUnavailable("overloaded")

    model.before = fail_first
    async with InProcessRuntime(store, clock=clock, settings=PoolSettings(sweep_s=60, run_idle_s=300)) as rojak:
        await rojak.create_worker([model])
        handle = await rojak.start_run("r", agent, plan("at last"))
        await clock.pass_until(lambda: let_go(store) and timers(store), timedelta(minutes=2))
        await clock.pass_until(lambda: len(times) == 2, timedelta(minutes=2))
        assert (await handle.result()).messages[-1].content == "at last"
    assert timedelta(hours=2) <= times[1] - times[0] < timedelta(hours=2.5, minutes=10)


async def test_deleted_session_leaves_no_timer():
    store = MemoryStore()
    async with InProcessRuntime(store, settings=PROMPT) as rojak:
        await rojak.create_worker([WatchedPlan()])
        session = await rojak.create_session("s", AGENT)
        waiting = asyncio.create_task(session.send_messages(PLAN))
        await until(session.open_questions, "a question")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await until(lambda: timers(store), "a timer")
        await rojak.delete_session("s")
        assert not timers(store)


def test_time_to_answer_must_lie_ahead():
    with pytest.raises(ValueError, match="more than 0"):
        WaitForAnswer(timeout_in_seconds=0)


async def test_answer_that_comes_late_or_twice_is_told_the_truth_whoever_holds_the_run():
    store = MemoryStore()
    async with InProcessRuntime(store, settings=PROMPT) as first:
        await first.create_worker([WatchedPlan()])
        handle = await first.start_run("r", AGENT, PLAN)
        await until(handle.open_questions, "a question")
        (question,) = await handle.open_questions()
        await handle.answer(question.call_id, "yes", request_id="press-1")
        await handle.answer(question.call_id, "yes", request_id="press-1")
        await handle.result()
        await until(lambda: let_go(store), "going to storage")
    async with InProcessRuntime(store, settings=PROMPT) as second:
        handle = second.get_run("r")
        await handle.answer(question.call_id, "yes", request_id="press-1")
        with pytest.raises(CallNotWaiting) as refused:
            await handle.answer(question.call_id, "yes", request_id="press-2")
        assert refused.value.reason == "answered"
        with pytest.raises(RequestConflict, match="press-1"):
            await handle.answer(question.call_id, "no", request_id="press-1")
        assert second.statistics().open_hosts == 0, "nothing is to be done for any of them"


async def test_function_and_events_know_the_question_by_the_same_id():
    told: list[str] = []

    def ask(context: ToolContext) -> WaitForAnswer:
        """Ask."""
        told.append(context.call_id)
        return WaitForAnswer("Which?", options=["left", "right"])

    async with world() as w:
        session = await w.rojak.create_session("s", PlanAgent(name="A", functions=[ask]))
        running = asyncio.create_task(session.send_messages(plan([["ask", {}]], "thanks")))
        await until(session.open_questions, "a question")
        (question,) = await session.open_questions()
        assert (question.tool_call_id, question.options) == ("call-0-0", ("left", "right"))
        await session.answer(question.call_id, "left")
        await running
        events = [event async for event in session.events(until_idle=True)]
    named = [(event.call_id, event.tool_call_id) for event in events if hasattr(event, "call_id")]
    assert set(named) == {(question.call_id, "call-0-0")}
    assert [event.options for event in events if event.kind == "waiting"] == [("left", "right")]
    assert told == [question.call_id]


@pytest.mark.parametrize("options", ["yes", [1], [None]])
def test_options_are_texts(options):
    with pytest.raises(ValueError, match="list of texts"):
        WaitForAnswer(options=options)
