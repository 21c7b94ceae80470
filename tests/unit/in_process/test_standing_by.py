"""Two programs on one storage: one works, the other stands by, and one follows the other without loss."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from support.plan import PlanAgent, plan
from support.waiting import HANG_S, until
from support.worlds import WatchedPlan

from rojak_ray import function
from rojak_ray.errors import RunNotFound, SessionNotFound, StandsBy
from rojak_ray.journal.paths import Owner
from rojak_ray.reign.reign import Duty
from rojak_ray.reign.succession import ReignSettings
from rojak_ray.schedules import ScheduleSpec
from rojak_ray.sessions.pool_settings import PoolSettings
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.clock import FakeClock
from rojak_ray.testing.runtime import InProcessRuntime

HASTY = ReignSettings(look_s=0.05, hurry_s=0.02, patience_s=0.05)
PATIENT = replace(HASTY, patience_s=HANG_S)
OTHERS = ("/reign/", "/alive/", "/tail/")
AGENT = PlanAgent(name="A")


@contextlib.asynccontextmanager
async def runtime(store, *functions, **options):
    settings = PoolSettings(reign=options.pop("reign", HASTY))
    async with InProcessRuntime(store, settings=settings, **options) as made:
        await made.create_worker([WatchedPlan()])
        for fn in functions:
            made._gateway.refer(fn)
        yield made


def content(store):
    """What is stored, apart from who rules and the marks of quiet moments."""
    return {key: value for key, value in store.snapshot().items() if not any(part in key for part in OTHERS)}


class Gate:
    """A function that counts its calls and waits to be let through."""

    def __init__(self, **options):
        self.calls = []
        self.open = asyncio.Event()

        @function(**options)
        async def pass_through() -> str:
            self.calls.append(len(self.calls) + 1)
            await self.open.wait()
            return "through"

        self.fn = pass_through

    @property
    def plan(self):
        return plan([["pass_through", {}]], "done")


@pytest.mark.parametrize("at_most_once", [False, True])
async def test_a_second_program_leaves_a_living_ones_work_alone(at_most_once):
    store, gate = MemoryStore(), Gate(at_most_once=at_most_once)
    async with runtime(store, gate.fn) as first:
        handle = await first.start_run("r", PlanAgent(name="A", functions=[gate.fn]), gate.plan)
        await until(lambda: gate.calls, "the call")
        async with runtime(store, gate.fn) as second:
            waiting = asyncio.create_task(second.get_run_result("r"))
            await asyncio.sleep(0.2)
            assert second.statistics().open_hosts == 0
            gate.open.set()
            there = await asyncio.wait_for(waiting, HANG_S)
        here = await handle.result()
    assert gate.calls == [1]
    assert [message.content for message in here.messages] == [message.content for message in there.messages]
    assert "through" in [message.content for message in here.messages]


async def test_who_stands_by_answers_from_storage_and_refuses_changes_by_naming_the_ruler():
    store = MemoryStore()
    async with runtime(store) as first:
        session = await first.create_session("s", AGENT)
        await session.send_messages(plan("hello"))
        async with runtime(store) as second:
            before = content(store)
            session = await second.get_session("s")
            assert (await session.history())[-1].content == "hello"
            assert (await session.get_result()).messages[-1].content == "hello"
            assert [event.kind async for event in session.events(until_idle=True)]
            with pytest.raises(RunNotFound):
                await second.get_run_result("nobody")
            for change in (
                lambda: session.send_messages(plan("more")),
                lambda: second.create_session("t", AGENT),
                lambda: second.run("r", AGENT, plan("x")),
                lambda: second.delete_session("s"),
                lambda: second.create_schedule("d", ScheduleSpec(cron_expressions=["* * * * *"]), AGENT, "x"),
            ):
                with pytest.raises(StandsBy, match=f"process {os.getpid()}") as refused:
                    await change()
                assert refused.value.retryable
            assert second.statistics().open_hosts == 0
            assert content(store) == before
        await session_goes_on(first)


async def session_goes_on(rojak):
    session = await rojak.get_session("s")
    await session.send_messages(plan("and on"))
    assert (await session.history())[-1].content == "and on"


async def test_a_change_that_waits_is_made_as_soon_as_the_other_program_has_gone():
    store = MemoryStore()
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(runtime(store))
        await first.create_session("s", AGENT)
        async with runtime(store, reign=PATIENT) as second:
            waiting = asyncio.create_task(second.run("r", AGENT, plan("mine")))
            await asyncio.sleep(0.1)
            assert not waiting.done()
            await stack.aclose()
            assert (await asyncio.wait_for(waiting, HANG_S)).messages[-1].content == "mine"


async def test_work_of_a_program_that_ends_goes_on_in_the_one_that_stood_by():
    store, gate = MemoryStore(), Gate()
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(runtime(store, gate.fn))
        await first.start_run("r", PlanAgent(name="A", functions=[gate.fn]), gate.plan)
        await until(lambda: gate.calls, "the call")
        async with runtime(store, gate.fn) as second:
            gate.open.set()
            await stack.aclose()
            response = await asyncio.wait_for(second.get_run_result("r"), HANG_S)
    assert response.messages[-1].content == "done"


async def test_taking_over_lets_running_steps_end_where_they_run_and_the_rest_go_on_here():
    store, gate = MemoryStore(), Gate(at_most_once=True)
    after = []

    async def afterwards() -> str:
        after.append("called")
        return "afterwards"

    story = plan([["pass_through", {}]], [["afterwards", {}]], "done")
    agent = PlanAgent(name="A", functions=[gate.fn, afterwards])
    async with runtime(store, gate.fn, afterwards) as first:
        handle = await first.start_run("r", agent, story)
        session = await first.create_session("idle", AGENT)
        await session.send_messages(plan("hello"))
        await until(lambda: gate.calls, "the call")
        waiting = asyncio.create_task(handle.result())
        async with runtime(store, gate.fn, afterwards, takeover=True, reign=PATIENT) as second:
            session = await second.get_session("idle")  # nothing of it runs, so it changes hands at once
            await asyncio.wait_for(session.send_messages(plan("here now")), HANG_S)
            assert not after
            gate.open.set()
            response = await asyncio.wait_for(second.get_run_result("r"), HANG_S)
            assert first.statistics().open_hosts == 0
            # Whoever waits at the old one hears of it, too.
            assert (await asyncio.wait_for(waiting, HANG_S)).messages[-1].content == "done"
            with pytest.raises(StandsBy):
                await first.run("new", AGENT, plan("x"))
    assert gate.calls == [1]
    assert after == ["called"]
    told = [message.content for message in response.messages if message.role == "tool"]
    assert told == ["through", "afterwards"]


async def test_what_does_not_end_in_time_is_taken_away_when_the_time_is_over():
    store, gate = MemoryStore(), Gate()
    brief = replace(PATIENT, drain_s=0.3, margin_s=0.1)
    async with runtime(store, gate.fn, reign=brief) as first:
        await first.start_run("r", PlanAgent(name="A", functions=[gate.fn]), gate.plan)
        await until(lambda: gate.calls, "the call")
        async with runtime(store, gate.fn, reign=brief, takeover=True) as second:
            await until(lambda: len(gate.calls) == 2, "the call is made again here")
            gate.open.set()
            response = await asyncio.wait_for(second.get_run_result("r"), HANG_S)
    assert response.messages[-1].content == "done"


async def test_what_a_dead_host_of_the_old_ruler_had_open_is_not_waited_for():
    store, gate = MemoryStore(), Gate()
    patient = replace(PATIENT, drain_s=1e6)
    async with runtime(store, gate.fn, reign=patient) as first:
        await first.start_run("r", PlanAgent(name="A", functions=[gate.fn]), gate.plan)
        await until(lambda: gate.calls, "the call")
        pool = first._local._pool

        async def die() -> None:  # as the process of a host does, of which others of its cluster live on
            opening = pool._hosts.pop(Owner("run", "r"))
            await (await opening).close()

        await first._home.run(die)
        async with runtime(store, gate.fn, reign=patient, takeover=True) as second:
            await until(lambda: len(gate.calls) == 2, "it is gone on with at once")
            gate.open.set()
            response = await asyncio.wait_for(second.get_run_result("r"), HANG_S)
            assert first._local.reign.standing.duty is Duty.STANDS_BY, "the old one has signed off"
    assert response.messages[-1].content == "done"


async def test_schedules_act_once_whoever_looks_and_go_on_with_whoever_follows():
    store, clock = MemoryStore(), FakeClock(datetime(2026, 6, 1, 8, 59, 30, tzinfo=UTC))

    def started():
        return sum("/schedule-runs/" in key and key.endswith("-1") for key in store.snapshot())

    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(runtime(store, clock=clock))
        await first.create_schedule("tick", ScheduleSpec(cron_expressions=["* * * * *"]), AGENT, plan("hi"))
        async with runtime(store, clock=clock) as second:
            handle = await second.get_schedule("tick")
            info = (await handle.describe()).info
            assert info.next_action_times
            assert f"process {os.getpid()}" in (info.stands_by or ""), "who starts its runs is said"
            assert [each.id async for each in second.list_schedules()] == ["tick"]
            for _ in range(10):
                await clock.advance(60)
            await until(lambda: started() == 10, "ten runs")
            await stack.aclose()
            await until(lambda: second._local.reign.rules, "the second one rules")
            await until(lambda: second._local.scheduler.statistics().schedules, "its scheduler is open")
            for _ in range(10):
                await clock.advance(60)
            await until(lambda: started() == 20, "ten more")
            assert (await handle.describe()).info.stands_by is None


PROGRAM = """
import asyncio, sys
sys.path[:0] = {path!r}
from support.plan import PlanAgent, plan
from support.worlds import WatchedPlan
from rojak_ray.testing.runtime import InProcessRuntime

async def forever() -> str:
    print("called", flush=True)
    await asyncio.Event().wait()

async def main():
    async with InProcessRuntime({folder!r}) as rojak:
        await rojak.create_worker([WatchedPlan()])
        await rojak.create_worker(functions=[forever])
        agent = PlanAgent(name="A", functions=["forever"])
        await rojak.run("r", agent, plan([["forever", {{}}]], "done"))

asyncio.run(main())
"""


async def test_a_program_that_was_killed_is_followed_at_once_on_its_machine(tmp_path):
    async def forever() -> str:
        return "this time"

    program = PROGRAM.format(path=[os.getcwd() + "/tests"], folder=str(tmp_path / "storage"))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert await asyncio.to_thread(process.stdout.readline) == "called\n"
            async with InProcessRuntime(str(tmp_path / "storage"), settings=PoolSettings(reign=HASTY)) as beside:
                with pytest.raises(StandsBy, match=f"process {process.pid}"):
                    await beside.run("other", AGENT, plan("x"))
        finally:
            process.send_signal(signal.SIGKILL)
    async with asyncio.timeout(HANG_S):
        async with InProcessRuntime(str(tmp_path / "storage")) as after:
            assert after._local.reign.rules
            await after.create_worker([WatchedPlan()], functions=[forever])
            response = await after.get_run_result("r")
    assert response.messages[-1].content == "done"


def test_a_program_that_forgot_to_close_is_followed_at_once_by_the_next_in_its_process(tmp_path):
    """As in a notebook, where a cell is interrupted and run again."""
    left = []

    async def forget() -> None:
        rojak = InProcessRuntime(str(tmp_path / "storage"))
        await rojak.create_worker([WatchedPlan()])
        await rojak.create_session("s", AGENT)
        left.append(rojak)

    async def again() -> str:
        async with InProcessRuntime(str(tmp_path / "storage"), settings=PoolSettings(reign=HASTY)) as rojak:
            await rojak.create_worker([WatchedPlan()])
            session = await rojak.get_session("s")
            return (await session.send_messages(plan("still here"))).messages[-1].content

    asyncio.run(forget())
    assert asyncio.run(again()) == "still here"


async def test_two_namespaces_and_two_stores_know_nothing_of_each_other():
    store = MemoryStore()
    async with runtime(store) as one, runtime(store, namespace="other") as two, runtime(MemoryStore()) as three:
        for rojak in (one, two, three):
            assert (await rojak.run("r", AGENT, plan("mine"))).messages[-1].content == "mine"


async def test_a_program_that_only_looks_or_is_refused_writes_nothing_and_keeps_nobody_waiting():
    store = MemoryStore()
    async with runtime(store) as looks:
        assert [each async for each in looks.list_schedules()] == []
        with pytest.raises(SessionNotFound):
            await looks.get_session("nobody")
        with pytest.raises(SessionNotFound):
            await looks.delete_session("nobody")
        assert store.snapshot() == {}
        async with runtime(store) as works:
            assert (await works.run("r", AGENT, plan("at once"))).messages[-1].content == "at once"
            assert (await looks.get_run_result("r")).messages[-1].content == "at once"
            with pytest.raises(StandsBy):
                await looks.run("other", AGENT, plan("x"))
