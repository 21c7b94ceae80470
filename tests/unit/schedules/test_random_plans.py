"""Whatever people ask, runs do and clocks show, in any order: what must hold after every command."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest
from support.plans import Plan

from rojak_ray.errors import RequestError
from rojak_ray.schedules import (
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
    matching_times,
)
from rojak_ray.schedules.events import StartsSettled, TimesPassed
from rojak_ray.schedules.state import evolve
from rojak_ray.schedules.story import MOST_WAITING

POLICIES = tuple(ScheduleOverlapPolicy)
SPECS = (
    ScheduleSpec(intervals=[ScheduleIntervalSpec(timedelta(minutes=1))]),
    ScheduleSpec(intervals=[ScheduleIntervalSpec(timedelta(minutes=3))], jitter=timedelta(minutes=2)),
    ScheduleSpec(cron_expressions=["*/7 8-9 * * *"], time_zone_name="Asia/Kathmandu"),
)


class Life:
    """Drives one plan with random commands, checking it after each."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        policy = SchedulePolicy(
            overlap=self.random.choice(POLICIES),
            catchup_window=self.random.choice((None, timedelta(minutes=5))),
            pause_on_failure=self.random.random() < 0.3,
        )
        self.plan = Plan(self.random.choice(SPECS), policy)
        self.clock = 0.0
        self.taken: list[str] = []
        self.considered = 0
        self.passed = self.plan.now.passed
        self.seen = len(self.plan.events)

    def act(self) -> None:
        number, plan, overlap = self.random.random(), self.plan, self.random.choice((None, *POLICIES))
        self.clock += self.random.choice((0, 0.1, 1, 1.5, 4, 30))
        # Now and then the clock is set back, and the command comes at an earlier time.
        at = self.clock if number < 0.95 else self.clock - self.random.uniform(0, 60)
        try:
            if number < 0.4:
                plan.advance(at)
            elif number < 0.6 and plan.now.runs:
                plan.end(at, self.random.choice(("completed", "failed", "cancelled", "timed_out")))
            elif number < 0.65:
                plan.trigger(at, overlap)
            elif number < 0.7:
                plan.backfill(at, at - self.random.uniform(0, 60), at, overlap)
            elif number < 0.75:
                plan.pause(at)
            elif number < 0.85:
                plan.unpause(at)
            elif number < 0.88:
                state = ScheduleState(limited_actions=self.random.random() < 0.5, remaining_actions=0)
                if state.limited_actions:
                    state.remaining_actions = self.random.randrange(4)
                plan.update(at, policy=SchedulePolicy(overlap=overlap or POLICIES[0]), state=state)
            elif any(run.started_at is None for run in plan.now.runs):
                plan.fail_to_start(at, missed=self.random.random() < 0.5)
        except RequestError as error:
            raise AssertionError("a sound command was refused") from error
        self.check()

    def check(self) -> None:
        schedule = self.plan.now
        for event in self.plan.events[self.seen :]:
            if isinstance(event, TimesPassed):
                self.considered += len(event.starts) + event.missed + event.dropped
            if isinstance(event, StartsSettled):
                self.taken += [plan.run_id for plan in event.runs if not plan.start.manual]
        self.seen = len(self.plan.events)
        assert len(self.taken) == len(set(self.taken)), "a time led to two runs"
        assert schedule.passed >= self.passed, "a time that was over came back"
        self.passed = schedule.passed
        assert len(schedule.waiting) <= MOST_WAITING
        assert sum(run.plan.tracked for run in schedule.runs) <= 1, "two runs that exclude each other are going"
        holds = any(run.plan.tracked for run in schedule.runs)
        assert holds or not schedule.waiting, "something waits for nothing"
        numbers = [run.plan.start.number for run in schedule.runs] + [start.number for start in schedule.waiting]
        assert len(numbers) == len(set(numbers))
        assert all(number < schedule.next_number for number in numbers)


@pytest.mark.parametrize("seed", range(40))
def test_random_life_of_a_schedule_keeps_every_promise(seed: int):
    life = Life(seed)
    for _ in range(60):
        life.act()
    folded = None
    for event in life.plan.events:
        folded = evolve(folded, event)
    assert folded == life.plan.schedule


@pytest.mark.parametrize("seed", range(10))
def test_every_time_of_an_undisturbed_schedule_is_accounted_for(seed: int):
    """Started, skipped, missed, dropped or waiting: none is forgotten, however late it is looked at."""
    random = Random(seed)
    spec = random.choice((SPECS[0], SPECS[2]))
    plan = Plan(spec, SchedulePolicy(random.choice((POLICIES[0], POLICIES[1], POLICIES[2], POLICIES[5]))))
    clock = 0.0
    for _ in range(40):
        clock += random.choice((0.3, 1, 2, 20))
        plan.advance(clock)
        if plan.now.runs and random.random() < 0.5:
            plan.end(clock)
    schedule = plan.now
    until = schedule.created_at + timedelta(minutes=clock)
    going = len(schedule.runs) + len(schedule.waiting)
    started = sum(run.started_at is not None for run in schedule.runs)
    counted = schedule.started - started + schedule.skipped + schedule.missed + schedule.dropped + going
    assert counted == len(matching_times(spec, schedule.created_at, until))
