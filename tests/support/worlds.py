"""An in-process world for tests of conversations: a runtime, a model that follows plans, and what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from support.journals import InstantClock
from support.plan import PlanActivities

from rojak_ray.agents import AgentCallParams, AgentResponse
from rojak_ray.sessions.pool_settings import PoolSettings
from rojak_ray.storage.base import Store
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.runtime import InProcessRuntime

NEVER_S = 1e6


class WatchedPlan(PlanActivities):
    """Follows plans and remembers every question; `before` is called with each of them first."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[AgentCallParams] = []
        self.before: Callable[[AgentCallParams], Any] = lambda params: None

    async def call(self, params: AgentCallParams) -> AgentResponse:
        self.asked.append(params)
        self.before(params)
        return await super().call(params)


class World:
    """A runtime and its parts."""

    def __init__(self, store: Store | None = None, settings: PoolSettings | None = None, **options: Any) -> None:
        self.store = store or MemoryStore()
        self.clock = WaitingClock()
        self.model = WatchedPlan()
        self.rojak = InProcessRuntime(self.store, clock=self.clock, settings=settings, **options)


class WaitingClock(InstantClock):
    """Sleeps at once, and remembers how long each sleep would have been."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        if seconds >= NEVER_S:
            await asyncio.Event().wait()
        self.waits.append(seconds)
        await super().sleep(seconds)


@asynccontextmanager
async def world(
    store: Store | None = None, settings: PoolSettings | None = None, **options: Any
) -> AsyncIterator[World]:
    """A world whose model is registered."""
    # On an instant clock a sweep would spin, and so would the alarm clock; tests that want sweeps ask for them.
    given = settings or PoolSettings(sweep_s=NEVER_S, code_wait_s=0.05)
    made = World(store, replace(given, timers_s=NEVER_S), **options)
    async with made.rojak:
        await made.rojak.create_worker([made.model])
        yield made
