"""What looking, deleting and waiting ask of storage: nothing that they do not need."""

from __future__ import annotations

import asyncio
from collections import Counter

from support.plan import PlanActivities, PlanAgent, plan
from support.worlds import NEVER_S

from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.sessions.alarm import set_timer
from rojak_ray.sessions.batches import Follow
from rojak_ray.sessions.pool_settings import PoolSettings
from rojak_ray.sessions.requests import Ask
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.clock import FakeClock
from rojak_ray.testing.runtime import InProcessRuntime

PATHS = Paths("rojak")


class Counting(MemoryStore):
    """Counts listings by folder."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: Counter[str] = Counter()

    async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        self.listed[prefix] += 1
        return await super().list(prefix, after=after, limit=limit)


async def test_deleting_lists_no_timers_of_others():
    store, clock = Counting(), FakeClock()
    async with InProcessRuntime(store, clock=clock, settings=PoolSettings(timers_s=NEVER_S)) as runtime:
        await runtime.create_session("s", PlanAgent())
        await set_timer(store, PATHS, Owner("session", "another"), clock.now())
        store.listed.clear()
        await runtime.delete_session("s")
        assert store.listed[PATHS.timers] == 0


async def test_follower_of_a_session_at_rest_looks_less_and_less_often():
    store, clock = Counting(), FakeClock()
    settings = PoolSettings(sweep_s=1, session_idle_s=2, timers_s=NEVER_S)
    async with InProcessRuntime(store, clock=clock, settings=settings) as runtime:
        await runtime.create_worker([PlanActivities()])
        await runtime.create_session("s", PlanAgent())
        await clock.advance(10)
        assert runtime.statistics().open_hosts == 0
        owner = Owner("session", "s")
        follow = Follow(after=10**6, wait_s=60)
        following = asyncio.create_task(runtime._local._pool.ask(owner, Ask(follow=follow)))
        await clock.advance(0.5)
        store.listed.clear()
        await clock.advance(58)
        assert store.listed[PATHS.log(owner)] <= 6
        assert not following.done()
        await (await runtime.get_session("s")).send_messages(plan("news"))  # it is opened here: no need to look
        await clock.advance(0.1)
        await asyncio.wait_for(following, 5)
