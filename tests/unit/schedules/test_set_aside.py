"""One schedule that cannot be advanced, one odd record, one error that nobody expected: all others go on."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect

import pytest
from support.plans import EVERY_MINUTE
from support.scheduling import World

from rojak_ray import errors
from rojak_ray.errors import InvalidSchedule, RojakError, SessionSetAside, StoreUnavailable
from rojak_ray.schedules import ScheduleOverlapPolicy, SchedulePolicy, ScheduleSpec
from rojak_ray.schedules import decide as decide_module
from rojak_ray.schedules import events as schedule_events
from rojak_ray.schedules.commands import (
    BackfillSchedule,
    DeleteSchedule,
    PauseSchedule,
    TriggerSchedule,
    UpdateSchedule,
)
from rojak_ray.schedules.events import Span
from rojak_ray.schedules.ports import Outcome
from rojak_ray.schedules.requests import ScheduleAsk
from rojak_ray.schedules.spec import ScheduleState
from rojak_ray.schedules.times import Timetable, compile_spec
from rojak_ray.storage.memory import MemoryStore

ALLOW_ALL = SchedulePolicy(overlap=ScheduleOverlapPolicy.ALLOW_ALL)
LOST_ZONE = ScheduleSpec(cron_expressions=["* * * * *"], time_zone_name="Europe/Kyiv")
"""A zone that another node knows and this one, in the tests below, does not."""


def made(error: type[BaseException]) -> BaseException:
    """An error of a class, whatever its constructor wants."""
    try:
        return error("boom")
    except TypeError:
        parameters = list(inspect.signature(error).parameters.values())
        return error(
            *("boom" for one in parameters if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD)
        )


OURS = [one for one in vars(errors).values() if inspect.isclass(one) and issubclass(one, RojakError)]
EVERY_ERROR = [*OURS, ZeroDivisionError, TypeError, OverflowError, RecursionError, MemoryError, TimeoutError, OSError]


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch):
    """Make the times of every schedule in that zone raise something."""

    def set_to(error: BaseException | None) -> None:
        def compile_or_fail(spec: ScheduleSpec) -> Timetable:
            if error is not None and spec.time_zone_name == LOST_ZONE.time_zone_name:
                raise error
            return compile_spec(spec)

        monkeypatch.setattr(schedule_events, "compile_spec", compile_or_fail)

    return set_to


async def view_of(desk, schedule_id: str = "s"):
    return (await desk.service.ask(ScheduleAsk(schedule_id=schedule_id, view=True))).view


@pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: error.__name__)
async def test_schedule_whose_times_cannot_be_told_is_set_aside_alone(error, broken):
    world = World(ends_at_once=True)
    async with world.open() as desk:
        await desk.create("bad", spec=LOST_ZONE, policy=ALLOW_ALL, incarnation="b")
        await desk.create("good", policy=ALLOW_ALL, incarnation="g")
    broken(made(error))
    async with world.open() as desk:
        objects = len(world.store.snapshot())
        await world.clock.advance(181)
        assert [run_id for run_id in world.requests if run_id.startswith("good")] == [
            f"good-2026-06-01T08:0{minute}:00Z" for minute in (1, 2, 3)
        ]
        assert len(world.store.snapshot()) - objects < 40, "it is opened again and again"
        view = await view_of(desk, "bad")
        assert error.__name__ in view.set_aside
        assert view.next_times == ()
        assert (await view_of(desk, "good")).set_aside is None
        assert [one.set_aside is None for one in (await desk.service.ask(ScheduleAsk(list_after=""))).schedules] == [
            False,
            True,
        ]


async def test_schedule_that_is_set_aside_can_be_triggered_paused_updated_and_deleted(broken):
    world = World(ends_at_once=True)
    async with world.open() as desk:
        for name in ("a", "b"):
            await desk.create(name, spec=LOST_ZONE, policy=ALLOW_ALL, incarnation=name)
    broken(InvalidSchedule("time_zone_name is no zone this machine knows"))
    async with world.open() as desk:
        await world.clock.advance(61)
        assert world.started == []
        await desk.tell(TriggerSchedule(request_id="t"), "a")
        await desk.tell(PauseSchedule(note="look at it"), "a")
        span = Span.begin(world.clock.now(), world.clock.now(), None)
        with pytest.raises(InvalidSchedule):
            await desk.tell(BackfillSchedule(request_id="x", spans=(span,) * 1001), "a")
        await world.clock.advance(1)
        assert [run_id.rpartition("Z")[2] for run_id in world.requests] == ["-2"]  # no time of its own has this id
        view = await view_of(desk, "a")
        assert view.set_aside is not None
        assert view.schedule.state.note == "look at it"
        definition = view.schedule.definition.model_copy(update={"spec": EVERY_MINUTE})
        await desk.tell(UpdateSchedule(definition=definition, state=ScheduleState()), "a")
        view = await view_of(desk, "a")
        assert view.set_aside is None
        assert view.next_times
        await world.clock.advance(60)
        assert len(world.requests) == 2
        await desk.tell(DeleteSchedule(), "b")
        await world.clock.advance(600)
        assert len((await desk.service.ask(ScheduleAsk(list_after=""))).schedules) == 1


async def test_schedule_goes_on_by_itself_when_what_kept_it_back_is_mended(broken):
    world = World(ends_at_once=True)
    async with world.open() as desk:
        await desk.create(spec=LOST_ZONE, policy=ALLOW_ALL)
    broken(OSError("tzdata is being replaced"))
    async with world.open() as desk:
        await world.clock.advance(90)
        assert (await view_of(desk)).set_aside is not None
        broken(None)
        desk.service._opening.result()._state.schedules["s"].definition.__dict__.pop("timetable", None)
        await world.clock.advance(300)
        assert world.started[:3] == ["08:01", "08:02", "08:03"]
        assert (await view_of(desk)).set_aside is None


async def test_what_cannot_be_read_back_is_refused_and_leaves_nothing():
    world = World()
    async with world.open() as desk:
        await desk.create()
        before = len(world.store.snapshot())
        state = ScheduleState()
        for odd in (None, "nope", 1.5):
            state.limited_actions = odd
            with pytest.raises(InvalidSchedule):
                await desk.create("odd", state=state, incarnation="o")
            unread = UpdateSchedule.model_construct(
                definition=(await desk.look()).definition, state=dataclasses.replace(ScheduleState(), paused=odd)
            )
            with pytest.raises(InvalidSchedule):
                await desk.tell(unread)
        assert len(world.store.snapshot()) == before
    async with world.open() as desk:
        assert (await desk.look()).state == ScheduleState()


async def test_bug_in_one_command_is_told_to_its_caller_and_stops_nobody(monkeypatch):
    world = World(ends_at_once=True)
    async with world.open() as desk:
        await desk.create(policy=ALLOW_ALL)
        await desk.create("other", policy=ALLOW_ALL, incarnation="o")

        def settle(story):
            if story.id == "s":
                raise ZeroDivisionError("a bug")

        monkeypatch.setattr(decide_module, "settle", settle)
        with pytest.raises(errors.InternalError, match="a bug"):
            await desk.tell(PauseSchedule(note="x"))
        monkeypatch.undo()
        await world.clock.advance(61)
        assert [run_id for run_id in world.requests if run_id.startswith("other")] == ["other-2026-06-01T08:01:00Z"]


class Stalling(MemoryStore):
    """Storage whose next record takes for ever."""

    stalled = False

    async def put_new(self, key: str, data: bytes) -> None:
        if self.stalled and "/log/" in key:
            await asyncio.get_running_loop().create_future()
        await super().put_new(key, data)


async def test_caller_whose_record_is_being_written_is_answered_when_the_scheduler_closes():
    world = World(store=Stalling())
    async with world.open() as desk:
        await desk.create()
        world.store.stalled = True
        asking = [asyncio.create_task(desk.tell(PauseSchedule(note=note))) for note in ("a", "b")]
        await world.clock.advance(0.1)
        late = asyncio.create_task(desk.tell(PauseSchedule(note="c")))
        await world.clock.advance(0.1)
    for asked in (*asking, late):
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(asked, 5)


class Failing(MemoryStore):
    """Storage that fails so often with an error of the test's choice."""

    error: BaseException | None = None
    times = 0

    def _fail(self) -> None:
        if self.times and self.error is not None:
            self.times -= 1
            raise self.error

    async def put_new(self, key: str, data: bytes) -> None:
        self._fail()
        await super().put_new(key, data)

    async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        self._fail()
        return await super().list(prefix, after=after, limit=limit)


@pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: error.__name__)
async def test_whatever_storage_raises_schedules_go_on(error):
    """But where it says that somebody newer has them: then they go on when they are asked for."""
    world = World(store=Failing(), ends_at_once=True)
    async with world.open() as desk:
        await desk.create(policy=ALLOW_ALL)
        await world.clock.advance(61)
        world.store.error, world.store.times = made(error), 7
        await world.clock.advance(400)
        world.store.times = 0
        if error in {errors.Fenced, errors.ObjectExists, errors.ObjectNotFound}:
            await desk.look()
        await world.clock.advance(60)
        assert world.started[-1] == "08:08"
        assert len(world.started) == 8


@pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: error.__name__)
@pytest.mark.parametrize("where", ["start", "outcome", "cancel"])
async def test_whatever_a_run_raises_its_schedule_and_the_others_go_on(error, where):
    world = World()
    failures = [made(error)] * 3
    work = getattr(world, where)

    async def fail(run_id: str, *rest):
        if run_id.startswith("s-") and failures:
            raise failures.pop()
        return await work(run_id, *rest)

    setattr(world, where, fail)
    async with world.open() as desk:
        await desk.create(policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.CANCEL_OTHER))
        await desk.create("other", policy=ALLOW_ALL, incarnation="o")
        await world.clock.advance(60 * 10)
        mine = [run_id for run_id in world.requests if run_id.startswith("s-")]
        assert len(mine) >= 5
        assert mine[-1].endswith("08:10:00Z")
        assert sum(run_id.startswith("other-") for run_id in world.requests) == 10


@pytest.mark.parametrize("error", [SessionSetAside, errors.JournalDamaged, errors.SchemaTooNew, errors.RunNotFound])
@pytest.mark.parametrize("pauses", [True, False])
async def test_run_that_will_not_end_by_itself_has_failed_for_its_schedule(error, pauses):
    world = World()

    async def never(run_id: str, wait_s: float) -> Outcome | None:
        raise made(error)

    world.outcome = never
    async with world.open() as desk:
        await desk.create(policy=SchedulePolicy(pause_on_failure=pauses))
        await world.clock.advance(121)
        schedule = await desk.look()
        assert schedule.recent[0].status == "failed"
        assert error.__name__ in schedule.recent[0].error
        assert schedule.state.paused is pauses
        assert len(world.requests) == (1 if pauses else 2)


async def test_run_that_a_bug_keeps_out_of_reach_fails_after_some_minutes():
    world = World()

    async def unreachable(run_id: str, wait_s: float) -> Outcome | None:
        raise errors.InternalError("a bug")

    world.outcome = unreachable
    async with world.open() as desk:
        await desk.create()
        await world.clock.advance(120)
        assert (await desk.look()).recent[0].status == "running"
        await world.clock.advance(240)
        assert (await desk.look()).recent[0].status == "failed"


async def test_long_answers_are_kept_in_part_and_are_in_no_view():
    world = World()
    async with world.open() as desk:
        await desk.create()
        await world.clock.advance(61)
        world.end(result="x" * 10**6)
        await world.clock.advance(60)
        assert len(world.told["s-2026-06-01T08:02:00Z"].last_result or "") == 64 * 1024
        assert (await desk.look()).last_result is None
