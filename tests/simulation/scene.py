"""One process in virtual time, over a store that can be told to fail or to take its time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from rojak_ray.core.commands import Command, OpenSession, StartRun
from rojak_ray.journal.paths import Owner
from rojak_ray.journal.replay import replay
from rojak_ray.sessions.pool import HostPool
from rojak_ray.sessions.pool_settings import PoolSettings
from rojak_ray.sessions.requests import Ask, Reply
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.stores import FaultyStore

from .loop import VirtualLoop
from .work import PLAIN, Outside, Worker, message
from .world import PATHS, LaneClock, LaneIds

OWNER = Owner("session", "s")


class SlowStore(FaultyStore):
    """Every call takes a while."""

    delay_s = 0.0

    async def _meet(self, operation, key):
        await asyncio.sleep(self.delay_s)
        return await super()._meet(operation, key)


class Scene:
    """One process over a store that can be told to fail, in virtual time."""

    def __init__(self, loop: VirtualLoop) -> None:
        random = Random(3)
        self.loop = loop
        self.memory = MemoryStore()
        self.store = SlowStore(self.memory)
        self.outside = Outside(random, loop.time)
        self.worker = Worker(self.outside, "p", self.never)
        self.pool = self.new_pool()

    def new_pool(self) -> HostPool:
        ids = LaneIds(f"p{self.loop.time()}")
        return HostPool(self.store, PATHS, self.worker, LaneClock(self.loop), ids, PoolSettings(session_idle_s=1e6))

    async def never(self) -> None:
        await self.loop.create_future()

    async def ask(self, *commands: Command, wait_for: str | None = None) -> Reply:
        return await self.pool.ask(OWNER, Ask(commands=commands, await_run=wait_for, wait_s=20.0 if wait_for else 0.0))

    async def opened(self, incarnation: str = "i") -> None:
        await self.ask(OpenSession(owner_kind="session", owner_id="s", incarnation=incarnation, agent=PLAIN))

    async def status(self, run_id: str) -> str | None:
        return (await replay(self.memory, PATHS, OWNER)).state.status(run_id)

    def ran(self) -> list[str]:
        return [execution.name for execution in self.outside.executions if execution.step.kind == "call_function"]


def start(run_id: str) -> StartRun:
    """A request that leads to one payment."""
    return StartRun(run_id=run_id, input_digest="d", messages=(message(run_id, [["pay"]]),))


def played(play: Callable[[Scene], Awaitable[None]]) -> None:
    """Run a test in virtual time."""
    loop = VirtualLoop(Random(1))

    async def main() -> None:
        scene = Scene(loop)
        await play(scene)
        await scene.pool.close()

    loop.run(main(), deadline=1e5)
