"""Schedules as programs use them, in one process: real runs, real storage, a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.plan import PlanActivities, PlanAgent, plan
from support.waiting import until

from rojak_ray import (
    ScheduleBackfill,
    ScheduledRun,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
    ToolContext,
)
from rojak_ray.errors import (
    InvalidAgent,
    InvalidContext,
    InvalidId,
    InvalidLimit,
    InvalidMessage,
    InvalidSchedule,
    ScheduleExists,
    ScheduleNotFound,
)
from rojak_ray.schedules.events import Definition
from rojak_ray.schedules.requests import ScheduleAsk
from rojak_ray.storage.base import Store
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.clock import FakeClock
from rojak_ray.testing.runtime import InProcessRuntime

MORNING = datetime(2026, 6, 1, 8, tzinfo=UTC)
MINUTELY = ScheduleSpec(intervals=[ScheduleIntervalSpec(timedelta(minutes=1))])
SAYS_HI = plan("hi")


class World:
    def __init__(self, store: Store | None = None, clock: FakeClock | None = None) -> None:
        self.store = store or MemoryStore()
        self.clock = clock or FakeClock(MORNING)
        self.rojak = InProcessRuntime(self.store, clock=self.clock)

    async def until(self, condition: Any) -> Any:
        """Runs take turns of the event loop that no clock counts."""
        return await until(condition, "it")

    async def runs(self, schedule_id: str = "s", statuses: list[str] | None = None, limit: int = 10) -> list[str]:
        return [one async for one in self.rojak.list_scheduled_runs(schedule_id, statuses, limit)]


@asynccontextmanager
async def world(store: Store | None = None, clock: FakeClock | None = None) -> AsyncIterator[World]:
    made = World(store, clock)
    async with made.rojak:
        await made.rojak.create_worker([PlanActivities()])
        yield made


async def test_schedule_runs_its_agent_with_what_it_was_given():
    async with world() as here:
        handle = await here.rojak.create_schedule(
            "s", MINUTELY, PlanAgent(name="Clerk"), SAYS_HI, context_variables={"guest": "Mei"}
        )
        assert handle.id == "s"
        await here.clock.advance(61)
        await here.until(lambda: here.runs(statuses=["Completed"]))
        response = await here.rojak.get_run_result("s-2026-06-01T08:01:00Z")
        assert response.messages[-1].content == "hi"
        assert response.context_variables == {"guest": "Mei"}  # they are their owner's alone


async def test_run_reads_what_the_run_before_answered():
    def look(context: ToolContext) -> str:
        assert context.schedule is not None
        assert context.schedule["last_result"] == context.schedule.last_result
        return f"after {context.schedule.last_result}"

    agent = PlanAgent(functions=[look])
    async with world() as here:
        await here.rojak.create_schedule("s", MINUTELY, agent, plan([["look", {}]]))
        for number in (1, 2):
            await here.clock.advance(60)
            await here.until(lambda number=number: _long(here, number))
        response = await here.rojak.get_run_result("s-2026-06-01T08:02:00Z")
        assert response.messages[-1].content == "after after None"


async def test_run_learns_about_its_schedule_and_keeps_a_variable_of_that_name():
    seen: list[ScheduledRun | None] = []

    def look(context: ToolContext, context_variables: dict[str, Any]) -> str:
        seen.append(context.schedule)
        return context_variables["schedule"]

    async with world() as here:
        agent = PlanAgent(functions=[look])
        given = {"schedule": "mine"}
        schedule = await here.rojak.create_schedule("s", MINUTELY, agent, plan([["look", {}]]), context_variables=given)
        await here.clock.advance(90)
        await here.until(lambda: _long(here, 1))
        await schedule.trigger()
        await here.until(lambda: _long(here, 2))
        assert (await here.rojak.get_run_result("s-2026-06-01T08:01:00Z")).context_variables == given
        await here.rojak.run(agent=agent, messages=plan([["look", {}]]), context_variables=given)
    assert seen == [
        ScheduledRun(id="s", scheduled_at=MORNING + timedelta(minutes=1)),
        ScheduledRun(id="s", scheduled_at=MORNING + timedelta(seconds=90), manual=True, last_result="mine"),
        None,
    ]


async def test_instructions_learn_about_the_schedule_beside_the_context():
    written: list[str] = []

    def write(context_variables: dict[str, Any], about: ToolContext) -> str:
        written.append(f"{context_variables['guest']} after {about.schedule and about.schedule.last_result}")
        return written[-1]

    async with world() as here:
        agent = PlanAgent(instructions=write)
        await here.rojak.create_schedule("s", MINUTELY, agent, SAYS_HI, context_variables={"guest": "Mei"})
        for number in (1, 2):
            await here.clock.advance(60)
            await here.until(lambda number=number: _long(here, number))
        await here.rojak.run(agent=agent, messages=SAYS_HI, context_variables={"guest": "Ann"})
    assert written == ["Mei after None", "Mei after hi", "Ann after None"]


async def _long(here: World, count: int) -> bool:
    return len(await here.runs(statuses=["Completed"])) == count


async def test_description_tells_everything():
    spec = ScheduleSpec(cron_expressions=["0 9 * * 1-5"], time_zone_name="Europe/Berlin")
    policy = SchedulePolicy(ScheduleOverlapPolicy["BUFFER_ONE"], timedelta(hours=1), True)
    state = ScheduleState(note="soon", limited_actions=True, remaining_actions=2)
    async with world() as here:
        handle = await here.rojak.create_schedule(
            "s", spec, PlanAgent(name="Clerk"), "hello", {"k": 1}, 7, True, policy, state
        )
        found = await handle.describe()
        assert (found.id, found.spec, found.policy, found.state) == ("s", spec, policy, state)
        assert (found.action.agent.name, found.action.max_turns, found.action.debug) == ("Clerk", 7, True)
        assert [message.content for message in found.schedule.action.messages] == ["hello"]
        assert found.info.next_action_times == [
            datetime(2026, 6, 2, 7, tzinfo=UTC),
            datetime(2026, 6, 3, 7, tzinfo=UTC),
        ]
        assert (found.info.created_at, found.info.num_actions) == (MORNING, 0)


async def test_what_the_caller_changes_afterwards_changes_nothing():
    spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(timedelta(hours=1))])
    async with world() as here:
        handle = await here.rojak.create_schedule("s", spec, PlanAgent(), "hello")
        spec.intervals[0].every = timedelta(seconds=1)
        (await handle.describe()).state.paused = True
        found = await handle.describe()
        assert (found.spec.intervals[0].every, found.state.paused) == (timedelta(hours=1), False)


async def test_pause_trigger_unpause_and_counts():
    async with world() as here:
        handle = await here.rojak.create_schedule("s", MINUTELY, PlanAgent(), SAYS_HI)
        await handle.pause(note="holiday")
        await here.clock.advance(120)
        assert await here.runs() == []
        await handle.trigger()
        await here.until(lambda: here.runs(statuses=["Completed"]))
        assert await here.runs() == ["s-2026-06-01T08:02:00Z"]
        await handle.unpause(note="back")
        found = await handle.describe()
        assert (found.state.paused, found.state.note, found.info.num_actions) == (False, "back", 1)
        (result,) = found.info.recent_actions
        assert (result.action.run_id, result.status) == ("s-2026-06-01T08:02:00Z", "completed")


async def test_failed_runs_are_found_by_status_and_runs_of_other_origin_are_not():
    async with world() as here:
        handle = await here.rojak.create_schedule("s", MINUTELY, PlanAgent(), plan(400))
        await here.clock.advance(60)
        await here.rojak.run("s-2026", PlanAgent(), SAYS_HI)
        await here.clock.advance(30)
        assert await here.until(lambda: here.runs(statuses=["Failed", "TimedOut"])) == ["s-2026-06-01T08:01:00Z"]
        assert await here.runs(statuses=["Completed", "Running"]) == []
        assert await here.runs(limit=0) == []
        (result,) = (await handle.describe()).info.recent_actions
        assert result.status == "failed"
        assert "status 400" in (result.error or "")
        with pytest.raises(InvalidSchedule, match="Sleeping"):
            await here.runs(statuses=["Sleeping"])


async def test_cancelled_run_has_both_spellings():
    async def stay() -> str:
        await hours.clock.sleep(10**6)
        return "late"

    async with world() as hours:
        policy = SchedulePolicy(overlap=ScheduleOverlapPolicy.CANCEL_OTHER)
        await hours.rojak.create_schedule(
            "s", MINUTELY, PlanAgent(functions=[stay]), plan([["stay", {}]]), policy=policy
        )
        await hours.clock.advance(60)
        await hours.until(lambda: hours.runs(statuses=["Running"]))
        await hours.clock.advance(60)
        for word in ("Cancelled", "Canceled"):
            assert await hours.until(lambda word=word: hours.runs(statuses=[word])) == ["s-2026-06-01T08:01:00Z"]
        assert await hours.until(lambda: hours.runs(statuses=["Running"])) == ["s-2026-06-01T08:02:00Z"]


async def test_backfill_runs_what_was_before_the_schedule():
    async with world() as here:
        handle = await here.rojak.create_schedule("s", MINUTELY, PlanAgent(), SAYS_HI)
        span = ScheduleBackfill(
            MORNING - timedelta(minutes=2), MORNING - timedelta(minutes=1), ScheduleOverlapPolicy.BUFFER_ALL
        )
        await handle.backfill(span)
        await here.until(lambda: _long(here, 2))
        assert await here.runs() == ["s-2026-06-01T07:59:00Z", "s-2026-06-01T07:58:00Z"]


async def test_update_by_a_function_sees_the_schedule_and_may_decline():
    async with world() as here:
        handle = await here.rojak.create_schedule("s", MINUTELY, PlanAgent(), SAYS_HI)

        def hourly(given: ScheduleUpdateInput) -> ScheduleUpdate:
            schedule = given.description.schedule
            schedule.spec = ScheduleSpec(cron_expressions=["@hourly"])
            return ScheduleUpdate(schedule=schedule)

        async def decline(given: ScheduleUpdateInput) -> None:
            assert given.description.spec.cron_expressions == ["@hourly"]

        await handle.update(hourly)
        await handle.update(decline)
        found = await handle.describe()
        assert (found.spec.cron_expressions, found.info.last_updated_at) == (["@hourly"], MORNING)


async def check_stock() -> str:
    """Check the stock."""
    return "12 left"


def write_instructions() -> str:
    return "Be brief."


def with_other_messages(given: ScheduleUpdateInput) -> ScheduleUpdate:
    given.description.schedule.action.messages = plan([["check_stock", {}]], "again")
    return ScheduleUpdate(given.description.schedule)


def with_another_model(given: ScheduleUpdateInput) -> ScheduleUpdate:
    given.description.schedule.action.agent.model = "larger"
    return ScheduleUpdate(given.description.schedule)


@pytest.mark.parametrize(
    "change",
    [
        {"spec": ScheduleSpec(cron_expressions=["*/2 * * * *"])},
        {"policy": SchedulePolicy(pause_on_failure=True)},
        {"state": ScheduleState(note="why")},
        {"updater": lambda given: ScheduleUpdate(given.description.schedule)},
        {"updater": with_other_messages},
        {"updater": with_another_model},
    ],
    ids=["spec", "policy", "state", "nothing", "messages", "model"],
)
async def test_update_by_a_program_without_the_code_keeps_everything_else_as_it_was_recorded(change):
    store, clock = MemoryStore(), FakeClock(MORNING)
    agent = PlanAgent(functions=[check_stock], instructions=write_instructions)
    async with world(store, clock) as here:
        await here.rojak.create_schedule("s", MINUTELY, agent, plan([["check_stock", {}]]))
        await here.clock.advance(1)
        before = await recorded(here)
    async with world(store, clock) as somebody:
        handle = await somebody.rojak.get_schedule("s")
        await handle.update(change.get("updater"), **{k: v for k, v in change.items() if k != "updater"})
        after = await recorded(somebody)
    assert after.action.agent.functions == before.action.agent.functions
    assert after.action.agent.functions[0].ref is not None
    assert after.action.agent.instructions == before.action.agent.instructions
    if "spec" in change or "policy" in change or "state" in change:
        assert after.action == before.action
    async with world(store, clock) as here:
        await here.rojak.run(agent=agent, messages=SAYS_HI)
        await here.clock.advance(180)
        await here.until(lambda: here.runs(statuses=["Completed"]))


async def recorded(here: World) -> Definition:
    reply = await here.rojak._scheduler.ask(ScheduleAsk(schedule_id="s", view=True))
    assert reply.view is not None
    return reply.view.schedule.definition


async def test_description_that_somebody_changes_changes_no_record():
    async with world() as here:
        handle = await here.rojak.create_schedule("s", MINUTELY, PlanAgent(), SAYS_HI, context_variables={"a": [1]})
        before = (await recorded(here)).model_dump_json()
        found = await handle.describe()
        found.spec.intervals.append(ScheduleIntervalSpec(timedelta(seconds=1)))
        found.action.context_variables["a"].append(2)
        found.policy.pause_on_failure = found.state.paused = True
        assert (await recorded(here)).model_dump_json() == before


async def test_update_that_somebody_overtakes_is_made_again():
    async with world() as here:
        handle = await here.rojak.create_schedule("s", MINUTELY, PlanAgent(), SAYS_HI)
        asked = 0

        async def slowly(given: ScheduleUpdateInput) -> ScheduleUpdate:
            nonlocal asked
            asked += 1
            if asked == 1:
                await handle.pause(note="meanwhile")
            given.description.schedule.policy.pause_on_failure = True
            return ScheduleUpdate(given.description.schedule)

        await handle.update(slowly)
        found = await handle.describe()
        assert (asked, found.state.note, found.policy.pause_on_failure) == (2, "meanwhile", True)


async def test_schedules_are_listed_found_and_deleted():
    async with world() as here:
        for name in ("b", "a"):
            await here.rojak.create_schedule(name, MINUTELY, PlanAgent(), SAYS_HI)
        assert [one.id async for one in here.rojak.list_schedules()] == ["a", "b"]
        await (await here.rojak.get_schedule("a")).delete()
        assert [one.id async for one in here.rojak.list_schedules()] == ["b"]
        with pytest.raises(ScheduleNotFound, match="'a'"):
            await here.rojak.get_schedule("a")
        with pytest.raises(ScheduleExists, match="'b'"):
            await here.rojak.create_schedule("b", MINUTELY, PlanAgent(), SAYS_HI)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"schedule_id": "a/b"}, InvalidId),
        ({"schedule_id": "x" * 180}, InvalidId),
        ({"schedule_spec": ScheduleSpec(cron_expressions=["nonsense"])}, InvalidSchedule),
        ({"schedule_spec": "@daily"}, InvalidSchedule),
        ({"agent": None}, InvalidAgent),
        ({"messages": []}, InvalidMessage),
        ({"context_variables": {1: 1}}, InvalidContext),
        ({"context_variables": 0}, InvalidContext),
        ({"policy": 0}, InvalidSchedule),
        ({"state": ""}, InvalidSchedule),
        ({"debug": None}, InvalidLimit),
        ({"max_turns": "many"}, InvalidLimit),
        ({"policy": SchedulePolicy(catchup_window=timedelta(-1))}, InvalidSchedule),
        ({"state": ScheduleState(remaining_actions=1)}, InvalidSchedule),
    ],
)
async def test_what_is_wrong_is_refused_before_anything_is_stored(given, error):
    async with world() as here:
        request: dict[str, Any] = {"schedule_id": "s", "schedule_spec": MINUTELY, "agent": PlanAgent(), "messages": "x"}
        with pytest.raises(error):
            await here.rojak.create_schedule(**{**request, **given})
        assert not [key for key in await here.store.list("") if "scheduler" in key]


async def test_next_process_goes_on_with_schedules_that_it_never_heard_of():
    async with world() as here:
        await here.rojak.create_schedule("s", MINUTELY, PlanAgent(), SAYS_HI)
    await here.clock.advance(90)
    async with world(here.store, here.clock) as there:
        await there.until(lambda: there.runs(statuses=["Completed"]))
        await there.clock.advance(60)
        await there.until(lambda: _long(there, 2))
        assert await there.runs() == ["s-2026-06-01T08:02:00Z", "s-2026-06-01T08:01:00Z"]
