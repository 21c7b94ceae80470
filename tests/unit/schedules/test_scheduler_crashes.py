"""The scheduler's process dies at each of its calls to the outside, before or after the call took effect.

Whoever takes over starts what was due: no time is lost, and none leads to two runs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.journals import Operation, TamperedStore
from support.scheduling import World

from rojak_ray.errors import StoreUnavailable
from rojak_ray.schedules import ScheduleOverlapPolicy, SchedulePolicy
from rojak_ray.schedules.commands import TriggerSchedule

TICKS = ("08:01", "08:02", "08:03")


@dataclass
class Mortal:
    """A process that ends at its n-th call to the outside; what it still tries then comes to nothing."""

    dies_at: int
    after_effect: bool
    calls: int = 0
    dead: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, operation: Operation) -> Any:
        return await self.through(operation.run)

    async def through(self, run: Callable[[], Awaitable[Any]]) -> Any:
        self.calls += 1
        if self.calls < self.dies_at:
            return await run()
        if self.calls == self.dies_at and self.after_effect:
            await run()
        self.dead.set()
        return await asyncio.Event().wait()


@dataclass
class MortalWorld(World):
    """Starting a run is a call to the outside, too."""

    mortal: Mortal | None = None

    async def start(self, *request: Any) -> None:
        if self.mortal is None or self.mortal.dead.is_set():
            await super().start(*request)
        else:
            await self.mortal.through(lambda: World.start(self, *request))


async def morning(world: World, desk: Any) -> None:
    await desk.create("a", policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.ALLOW_ALL))
    await desk.create("b", policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.BUFFER_ALL), incarnation="j")
    await world.clock.advance(65)
    await desk.tell(TriggerSchedule(request_id="t"), "a")
    await world.clock.advance(65)


async def live(dies_at: int, after_effect: bool) -> tuple[MortalWorld, Mortal]:
    """A morning in which the first process dies, and a second one takes over in time for the third minute."""
    mortal = Mortal(dies_at, after_effect)
    world = MortalWorld(ends_at_once=True, mortal=mortal)
    first = world.scheduler(TamperedStore(world.store, mortal))
    work = asyncio.create_task(morning(world, first))
    dying = asyncio.create_task(mortal.dead.wait())
    await asyncio.wait({work, dying}, return_when=asyncio.FIRST_COMPLETED)
    for task in (work, dying):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await first.service.close()
    world.mortal = None
    async with world.open() as desk:
        await desk.create_if_missing("a", ScheduleOverlapPolicy.ALLOW_ALL, "i")
        await desk.create_if_missing("b", ScheduleOverlapPolicy.BUFFER_ALL, "j")
        await world.clock.advance(max(0.0, 185 - world.clock.monotonic()))
        await world.clock.advance(5)
        for schedule_id in ("a", "b"):
            schedule = await desk.look(schedule_id)
            runs = await desk.runs(schedule_id)
            automatic = [run for run in runs if run.run_id[-4:] == ":00Z"]
            since = [tick for tick in TICKS if tick > f"{schedule.created_at:%H:%M}"]
            assert sorted(run.run_id[-9:-4] for run in automatic) == since, "a time was lost or led to two runs"
            assert {run.status for run in runs} == {"completed"}
            assert (schedule.started, schedule.missed, schedule.runs) == (len(runs), 0, ())
            assert {run.run_id for run in runs} == {one for one in world.requests if one[0] == schedule_id}
    return world, mortal


@pytest.mark.parametrize("after_effect", [False, True])
async def test_no_time_is_lost_or_doubled_whichever_call_is_the_last(after_effect):
    _, healthy = await live(10**6, after_effect)
    assert healthy.calls > 25
    for number in range(1, healthy.calls + 1):
        try:
            await live(number, after_effect)
        except AssertionError as error:
            raise AssertionError(f"live({number}, {after_effect})") from error


@pytest.mark.parametrize("every", [2, 3, 5])
async def test_storage_that_keeps_failing_delays_and_changes_nothing(every):
    """Each n-th call fails, with or without having taken effect."""
    world = World(ends_at_once=True)
    healthy = {"from": 10**6}

    async def handler(operation: Operation) -> Any:
        if operation.number >= healthy["from"] and operation.number % every == 0:
            if operation.number % 2:
                await operation.run()
            raise StoreUnavailable("bad weather")
        return await operation.run()

    store = TamperedStore(world.store, handler)
    async with world.open(store) as desk:
        await desk.create("a", policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.ALLOW_ALL))
        healthy["from"] = store.count
        await world.clock.advance(185)
        healthy["from"] = 10**6
        await world.clock.advance(30)
        assert world.started == list(TICKS)
        schedule = await desk.look("a")
        assert (schedule.started, schedule.missed, schedule.runs) == (3, 0, ())
        assert [run.status for run in await desk.runs("a")] == ["completed"] * 3
