"""Whatever a caller waits for when its host, or the whole program, is closed: it is told."""

from __future__ import annotations

import asyncio

import pytest
from simulation.scene import OWNER, Scene, played, start
from simulation.work import message
from simulation.world import PATHS
from support.plan import PlanActivities, PlanAgent
from support.waiting import HANG_S

from rojak_ray.core.commands import CancelRun, Command, Delete, StartRun, UpdateConfig
from rojak_ray.errors import RojakError, StorageError, StoreUnavailable
from rojak_ray.schedules import ScheduleSpec
from rojak_ray.sessions.batches import Follow
from rojak_ray.sessions.requests import Ask
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.runtime import InProcessRuntime
from rojak_ray.testing.stores import Call, Fault, Hold

COMMANDS: dict[str, Command] = {
    "a request": start("r2"),
    "a change": UpdateConfig(max_turns=3),
    "a cancellation": CancelRun(request_id="c"),
    "a deletion": Delete(),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_who_waits_for_a_record_that_is_being_written(command: Command):
    async def play(scene: Scene) -> None:
        await scene.opened()
        hold = Hold()

        def script(call: Call) -> Fault | None:
            written = call.operation == "put" and PATHS.log(OWNER) in call.key
            return hold if written and not hold.reached.is_set() else None

        scene.store.script = script
        asking = asyncio.create_task(scene.ask(command))
        await hold.reached.wait()
        closing = asyncio.create_task(scene.pool.close())
        await asyncio.sleep(1.0)
        hold.release.set()
        await closing
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(asking, 10.0)

    played(play)


def test_who_waits_for_an_outcome_or_for_news():
    async def play(scene: Scene) -> None:
        await scene.opened()
        await scene.ask(StartRun(run_id="r", input_digest="d", messages=(message("r", [["approve"]]),)))
        waits = [
            Ask(await_run="r", wait_s=1e4),
            Ask(await_run="r", wait_s=1e4, follow=Follow(after=0, run_id="other", wait_s=1e4)),
        ]
        asking = [asyncio.create_task(scene.pool.ask(OWNER, ask)) for ask in waits]
        await asyncio.sleep(1.0)
        await scene.pool.close()
        for task in asking:
            with pytest.raises(StorageError):
                await asyncio.wait_for(task, 10.0)

    played(play)


@pytest.mark.parametrize("number", range(1, 9))
async def test_program_whose_storage_fails_once_while_it_begins_comes_up_whole(number: int) -> None:
    memory = MemoryStore()
    async with InProcessRuntime(memory) as runtime:
        await runtime.create_worker([PlanActivities()])
        await runtime.create_schedule("s", ScheduleSpec(), PlanAgent(name="A"), "x")
    calls = iter(range(1, 1_000_000))

    class FailsOnce(MemoryStore):
        async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
            if next(calls) == number:
                raise StoreUnavailable("once")
            return await super().list(prefix, after=after, limit=limit)

    store = FailsOnce()
    for key, value in memory.snapshot().items():
        await store.put_new(key, value)
    runtime = InProcessRuntime(store)
    try:
        try:
            await runtime.__aenter__()
        except RojakError:
            await runtime.__aenter__()
        async with asyncio.timeout(HANG_S):
            while runtime._local._ringing is None or not runtime._local.scheduler.statistics().schedules:
                await asyncio.sleep(0.01)
    finally:
        await runtime.close()
