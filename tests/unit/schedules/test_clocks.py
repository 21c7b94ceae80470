"""Clocks that are wrong for a moment: no time is lost for good, none starts two runs, nothing is deleted by mistake."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.plans import EVERY_MINUTE, MONDAY, Plan
from support.scheduling import World

from rojak_ray.errors import ScheduleNotFound
from rojak_ray.schedules import ScheduleIntervalSpec, ScheduleOverlapPolicy, SchedulePolicy, ScheduleSpec
from rojak_ray.schedules.commands import PauseSchedule, TriggerSchedule, UnpauseSchedule
from rojak_ray.schedules.events import ClockBehind, ClockCorrected
from rojak_ray.schedules.passing import BELIEVED_AFTER, MOST_BEHIND

ALLOW_ALL = SchedulePolicy(overlap=ScheduleOverlapPolicy.ALLOW_ALL)
HOURLY = ScheduleSpec(intervals=[ScheduleIntervalSpec(timedelta(hours=1))])
HOUR, DAY, YEAR = timedelta(hours=1), timedelta(days=1), timedelta(days=365)


def since(world: World, begin: datetime) -> list[str]:
    """Times of runs after a moment, as they should be named."""
    first = f"s-{begin:%Y-%m-%dT%H:%M:%SZ}"
    return sorted(run_id.removeprefix("s-") for run_id in world.requests if run_id > first)


SKIP, BUFFER_ALL = ScheduleOverlapPolicy.SKIP, ScheduleOverlapPolicy.BUFFER_ALL


@pytest.mark.parametrize(
    ("ahead", "overlap"),
    [(timedelta(minutes=15), SKIP), (14 * HOUR, SKIP), (DAY, BUFFER_ALL), (YEAR, SKIP), (30 * YEAR, BUFFER_ALL)],
)
async def test_clock_that_was_ahead_for_a_moment_is_forgotten_within_minutes(ahead, overlap):
    world = World(ends_at_once=True)
    async with world.open() as desk:
        await desk.create(policy=SchedulePolicy(overlap=overlap, catchup_window=DAY))
        await world.clock.advance(90)
        world.clock.set(MONDAY + timedelta(seconds=90) + ahead)
        await world.clock.advance(3)
        world.clock.set(MONDAY + timedelta(seconds=93))
        await world.clock.advance(420)
        runs = since(world, MONDAY)
        for minute in range(1, 9):
            assert f"2026-06-01T08:0{minute}:00Z" in runs
        schedule = await desk.look()
        assert schedule.passed <= world.clock.now()
        assert schedule.waiting == ()


@pytest.mark.parametrize("paused", [True, False])
async def test_clock_that_was_ahead_when_a_schedule_was_made_changed_or_unpaused(paused):
    world = World(ends_at_once=True)
    world.clock.set(MONDAY + YEAR)
    async with world.open() as desk:
        await desk.create(policy=ALLOW_ALL)
        if paused:
            await desk.tell(PauseSchedule())
            await desk.tell(UnpauseSchedule())
    world.clock.set(MONDAY)
    async with world.open():
        await world.clock.advance(181)
        assert since(world, MONDAY) == [f"2026-06-01T08:0{minute}:00Z" for minute in (1, 2, 3)]


async def test_clock_that_is_behind_for_a_moment_starts_nothing_old_and_loses_nothing():
    """A machine that starts in the year 2000, before it is told the time."""
    world = World(ends_at_once=True)
    async with world.open() as desk:
        await desk.create(policy=ALLOW_ALL)
        await world.clock.advance(61)
    world.clock.set(datetime(2000, 1, 1, tzinfo=MONDAY.tzinfo))
    async with world.open() as desk:
        await world.clock.advance(40)
        world.clock.set(MONDAY + timedelta(seconds=150))
        await world.clock.advance(40)
        assert sorted(world.requests) == [f"s-2026-06-01T08:0{minute}:00Z" for minute in (1, 2, 3)]
        assert set(world.attempts.values()) == {1}
        assert (await desk.look()).behind_since is None


async def test_jump_deletes_no_schedule_that_has_nothing_left_to_do():
    world = World(ends_at_once=True)
    async with world.open() as desk:
        await desk.create(spec=ScheduleSpec(intervals=EVERY_MINUTE.intervals, end_at=MONDAY + timedelta(seconds=30)))
        world.clock.set(MONDAY + YEAR)
        await world.clock.advance(300)
        world.clock.set(MONDAY + timedelta(minutes=5))
        await world.clock.advance(120)
        assert (await desk.look()).schedule_id == "s"
        world.clock.set(MONDAY + 9 * DAY)
        await world.clock.advance(120)
        assert (await desk.look()).schedule_id == "s"  # a clock is trusted when it has gone on for ten minutes
        await world.clock.advance(600)
        with pytest.raises(ScheduleNotFound):
            await desk.look()


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-5 * 365 * 24, 365 * 24), st.integers(0, 130)), min_size=1, max_size=4),
    st.sampled_from([ScheduleOverlapPolicy.SKIP, ScheduleOverlapPolicy.ALLOW_ALL, ScheduleOverlapPolicy.BUFFER_ONE]),
)
def test_whatever_clocks_showed_the_times_after_the_correction_come_once_each(jumps, overlap):
    """Given any jumps (in hours) and how many seconds they lasted, when the clock is right, so are the runs again."""
    plan = Plan(HOURLY, SchedulePolicy(overlap=overlap, catchup_window=timedelta(hours=2))).advance(61)
    right = 61.0
    for jump, seconds in jumps:
        for _ in range(2):
            plan.advance(right + 60 * jump)
            while plan.now.runs:
                plan.end(right + 60 * jump)
            right += seconds / 120
    for step in range(1, 5):  # the clock is right from here on, and looked at when the schedule wants to be woken
        while (wake := plan.wakes(right)) is not None and wake <= 120 + 60 * step:
            right = max(right, wake)
            plan.advance(right)
            while plan.now.runs:
                plan.end(right)
        assert plan.now.passed == MONDAY + timedelta(hours=2 + step), jumps
        assert plan.now.waiting == ()


def test_small_step_back_is_waited_for_and_a_large_one_believed_after_a_minute():
    plan = Plan(policy=ALLOW_ALL).advance(30)
    small = 30 - MOST_BEHIND / timedelta(minutes=1)
    assert plan.advance(small).told == []
    assert [type(event) for event in plan.advance(10).told] == [ClockBehind]
    assert plan.advance(10.9).told == []
    told = plan.advance(10 + BELIEVED_AFTER / timedelta(minutes=1)).told
    assert isinstance(told[0], ClockCorrected)
    assert plan.now.passed == MONDAY + timedelta(minutes=11)
    ids = [run.plan.run_id for run in plan.now.runs]
    assert len(set(ids)) == len(ids) - 1  # 08:11 is asked for again, which starts no second run
    requests = {(run.plan.run_id, run.plan.start.by_time) for run in plan.now.runs}
    assert len(requests) == len(set(ids))


async def test_time_that_comes_again_starts_no_second_run():
    world = World()
    async with world.open() as desk:
        await desk.create(spec=HOURLY, policy=ALLOW_ALL)
        await world.clock.advance(2 * 3600)
        world.clock.set(MONDAY + timedelta(minutes=30))
        await world.clock.advance(3 * 3600)
        assert sorted(world.requests) == [f"s-2026-06-01T{hour:02}:00:00Z" for hour in (9, 10, 11)]
        await desk.tell(TriggerSchedule(request_id="t"))
        assert len(set(world.requests.values())) == len(world.requests)
