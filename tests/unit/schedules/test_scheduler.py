"""The scheduler as a plain class: what it starts when, what survives it, and what it tells."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.plans import EVERY_MINUTE, MONDAY
from support.scheduling import World

from rojak_ray.errors import JournalDamaged, ScheduleExists, ScheduleNotFound
from rojak_ray.schedules import ScheduleIntervalSpec, ScheduleOverlapPolicy, SchedulePolicy, ScheduleSpec
from rojak_ray.schedules.commands import (
    BackfillSchedule,
    DeleteSchedule,
    PauseSchedule,
    TriggerSchedule,
    UnpauseSchedule,
)
from rojak_ray.schedules.events import Span
from rojak_ray.schedules.requests import ScheduleAsk

ALLOW_ALL = SchedulePolicy(overlap=ScheduleOverlapPolicy.ALLOW_ALL)


def names(*minutes: str) -> list[str]:
    return [f"s-2026-06-01T{minute}:00Z" for minute in minutes]


async def test_runs_start_when_their_times_come_and_results_are_recorded():
    world = World()
    async with world.open() as desk:
        await desk.create()
        await world.clock.advance(59.9)
        assert world.started == []
        await world.clock.advance(0.2)
        assert world.started == ["08:01"]
        world.end(result="fine")
        await world.clock.advance(60)
        assert world.started == ["08:01", "08:02"]
        schedule = await desk.look()
        assert [(result.run_id, result.status) for result in schedule.recent] == list(
            zip(names("08:01", "08:02"), ("completed", "running"), strict=True)
        )
        assert world.told[names("08:02")[0]]["last_result"] == "fine"


async def test_next_scheduler_catches_up_and_starts_nothing_twice():
    world = World(ends_at_once=True)
    async with world.open() as desk:
        await desk.create(policy=ALLOW_ALL)
        await world.clock.advance(150)
    await world.clock.advance(150)
    assert world.started == ["08:01", "08:02"]
    async with world.open() as desk:
        await world.clock.advance(1)
        assert world.started == ["08:01", "08:02", "08:03", "08:04", "08:05"]
        assert (await desk.look()).started == 5
    assert set(world.attempts.values()) == {1}


async def test_run_that_goes_on_is_watched_by_the_next_scheduler():
    world = World()
    async with world.open() as desk:
        await desk.create()
        await world.clock.advance(61)
    world.end(status="failed", result=None, error="boom")
    async with world.open() as desk:
        await world.clock.advance(1)
        assert (await desk.look()).last_failure == "boom"


async def test_several_schedules_that_come_due_together_share_a_write():
    world = World(ends_at_once=True)
    async with world.open() as desk:
        for number in range(20):
            await desk.create(f"s{number}", incarnation=f"i{number}")
        await world.clock.advance(60)
        assert len(world.requests) == 20
        journal = [key for key in await world.store.list("") if "/log/" in key]
        assert len(journal) < 20 + 6


async def test_scheduler_that_was_replaced_stops_and_its_request_is_answered_by_opening_again():
    world = World(ends_at_once=True)
    async with world.open() as old:
        await old.create(policy=ALLOW_ALL)
        async with world.open() as new:
            await world.clock.advance(60)
            assert world.started == ["08:01"]
            await new.tell(PauseSchedule())
        await old.tell(UnpauseSchedule())
        assert not (await old.look()).state.paused
    assert set(world.attempts.values()) <= {1, 2}


async def test_start_that_storage_refuses_is_tried_again_within_the_catchup_window():
    world = World(refuse_starts=3)
    async with world.open() as desk:
        await desk.create()
        await world.clock.advance(60)
        assert world.started == []
        await world.clock.advance(5)
        assert world.started == ["08:01"]
        assert (await desk.look()).missed == 0


async def test_start_that_never_succeeds_is_missed_after_the_catchup_window():
    world = World(refuse_starts=10**6)
    async with world.open() as desk:
        await desk.create(policy=SchedulePolicy(catchup_window=timedelta(seconds=20)))
        await world.clock.advance(119)
        schedule = await desk.look()
        assert (schedule.missed, schedule.runs) == (1, ())


async def test_time_whose_id_belongs_to_something_else_is_told_and_a_manual_start_gets_a_number():
    world = World(requests={names("08:01")[0]: "mine"}, ends_at_once=True)
    async with world.open() as desk:
        await desk.create(policy=ALLOW_ALL)
        await world.clock.advance(61)
        assert (await desk.look()).recent[0].error == "RequestConflict: taken"
        await world.clock.advance(60)
        span = Span(after=MONDAY + timedelta(seconds=59), until=MONDAY + timedelta(seconds=120))
        await desk.tell(BackfillSchedule(request_id="b", spans=(span,)))
        await world.clock.advance(1)
        assert list(world.requests)[1:] == [*names("08:02"), f"{names('08:01')[0]}-2", f"{names('08:02')[0]}-2"]
        listed = [(run.run_id, run.status) for run in await desk.runs()]
        assert listed == [
            (names("08:02")[0], "completed"),
            (f"{names('08:02')[0]}-2", "completed"),
            (f"{names('08:01')[0]}-2", "completed"),
        ]


async def test_other_run_is_cancelled_and_listed_as_terminated_if_that_was_the_policy():
    world = World()
    async with world.open() as desk:
        await desk.create(policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.TERMINATE_OTHER))
        await world.clock.advance(121)
        assert world.cancelled == names("08:01")
        assert world.started == ["08:01", "08:02"]
        assert [(run.run_id, run.status) for run in await desk.runs()] == [
            (names("08:02")[0], "running"),
            (names("08:01")[0], "terminated"),
        ]


async def test_runs_are_listed_in_pages_the_latest_first():
    world = World(ends_at_once=True)
    async with world.open() as desk:
        await desk.create(spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(timedelta(seconds=1))]), policy=ALLOW_ALL)
        await world.clock.advance(25)
        found: list[str] = []
        while page := await desk.runs(after=found[-1] if found else "", limit=4):
            found += [run.place for run in page]
        assert len(found) == len(set(found)) == 25
        assert found == sorted(found)
        assert (await desk.runs(limit=1))[0].run_id == "s-2026-06-01T08:00:25Z"
        assert await desk.runs("unknown") == []


async def test_clock_that_jumps_is_noticed_without_anybody_asking():
    world = World(ends_at_once=True)
    async with world.open() as desk:
        await desk.create(policy=ALLOW_ALL)
        await world.clock.advance(30)
        world.clock.set(MONDAY + timedelta(minutes=3))
        await world.clock.advance(1)
        assert world.started == ["08:01", "08:02", "08:03"]
        world.clock.set(MONDAY)
        await world.clock.advance(180)
        assert world.started == ["08:01", "08:02", "08:03"]
        await world.clock.advance(60)
        assert world.started == ["08:01", "08:02", "08:03", "08:04"]


async def test_requests_to_schedules_that_are_not_there_or_there_already_are_refused():
    async with World().open() as desk:
        with pytest.raises(ScheduleNotFound, match="'s'"):
            await desk.tell(TriggerSchedule(request_id="r"))
        with pytest.raises(ScheduleNotFound, match="'s'"):
            await desk.look()
        await desk.create()
        with pytest.raises(ScheduleExists):
            await desk.create(incarnation="other")
        await desk.tell(DeleteSchedule())
        await desk.create(incarnation="other")
        assert (await desk.look()).incarnation == "other"


async def test_deleted_schedule_starts_nothing_more_and_its_run_goes_on():
    world = World()
    async with world.open() as desk:
        await desk.create(policy=ALLOW_ALL)
        await world.clock.advance(61)
        await desk.tell(DeleteSchedule())
        await world.clock.advance(300)
        assert (world.started, world.cancelled) == (["08:01"], [])
        world.end()
        await world.clock.advance(1)
        assert [run.status for run in await desk.runs()] == ["completed"]


async def test_schedules_are_listed_in_order():
    async with World().open() as desk:
        for name in ("c", "a", "b"):
            await desk.create(name, incarnation=name)
        reply = await desk.service.ask(ScheduleAsk(list_after="", limit=2))
        assert [view.schedule.schedule_id for view in reply.schedules] == ["a", "b"]
        reply = await desk.service.ask(ScheduleAsk(list_after="b", limit=2))
        assert [view.schedule.schedule_id for view in reply.schedules] == ["c"]


async def test_next_times_are_the_next_ten_or_as_many_as_remain():
    async with World().open() as desk:
        await desk.create()
        view = (await desk.service.ask(ScheduleAsk(schedule_id="s", view=True))).view
        assert view is not None
        assert view.next_times == tuple(MONDAY + timedelta(minutes=number) for number in range(1, 11))


async def test_many_schedules_due_at_once_all_start():
    world = World(ends_at_once=True)
    async with world.open() as desk:
        for number in range(450):
            await desk.create(f"s{number}", EVERY_MINUTE, ALLOW_ALL, incarnation=f"i{number}")
        await world.clock.advance(61)
        assert len(world.requests) == 450


async def test_fenced_scheduler_does_not_fight():
    world = World(ends_at_once=True)
    async with world.open() as old:
        await old.create(policy=ALLOW_ALL)
        async with world.open():
            await world.clock.advance(61)
            epochs = [key for key in await world.store.list("") if "/epoch/" in key]
            assert len(epochs) == 2
            await world.clock.advance(600)
            assert [key for key in await world.store.list("") if "/epoch/" in key] == epochs


async def test_last_record_is_marked_in_a_quiet_moment_so_that_its_removal_is_noticed():
    world = World()
    async with world.open() as desk:
        await desk.create()
        await world.clock.advance(2.5)
    log = [key for key in await world.store.list("") if "/log/" in key]
    await world.store.delete(log[-1])
    with pytest.raises(JournalDamaged, match=log[-1]):
        await world.scheduler().service.start()


async def test_overtaken_scheduler_tells_and_refuses_nothing_that_is_no_longer_so():
    world = World()
    async with world.open() as old, world.open() as new:
        await old.create()
        await new.create("t", incarnation="j")  # it opens the schedules, which fences the one before
        await new.tell(PauseSchedule(note="elsewhere"))
        assert (await old.look()).state.note == "elsewhere"
        views = (await old.service.ask(ScheduleAsk(list_after="", limit=9))).schedules
        assert [view.schedule.schedule_id for view in views] == ["s", "t"]
        await new.tell(PauseSchedule(note="again"))
        await old.tell(DeleteSchedule(), "t")
        with pytest.raises(ScheduleNotFound):
            await new.look("t")


async def test_overtaken_scheduler_refuses_nothing_that_has_become_possible():
    world = World()
    async with world.open() as old:
        await old.create()
        async with world.open() as new:
            await new.tell(DeleteSchedule())
        await old.create(incarnation="j")
        assert (await old.look()).incarnation == "j"
