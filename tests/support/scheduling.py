"""A scheduler over runs that the test ends, and storage that may fail anywhere."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from support.journals import CountingIds
from support.plans import ACTION, EVERY_MINUTE, MONDAY

from rojak_ray.agents.scheduled import ScheduledRun
from rojak_ray.errors import RequestConflict, RunNotFound, StoreUnavailable
from rojak_ray.journal.paths import Paths
from rojak_ray.schedules.commands import Command, CreateSchedule
from rojak_ray.schedules.events import Action, Definition
from rojak_ray.schedules.ports import Outcome
from rojak_ray.schedules.requests import ListedRun, ScheduleAsk
from rojak_ray.schedules.service import SchedulerService
from rojak_ray.schedules.spec import ScheduleOverlapPolicy, SchedulePolicy, ScheduleSpec, ScheduleState
from rojak_ray.schedules.state import ScheduleRecord
from rojak_ray.storage.base import Store
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.clock import FakeClock


@dataclass
class World:
    """What outlives a scheduler: storage, the clock, and the runs, which are somewhere else."""

    store: Store = field(default_factory=MemoryStore)
    clock: FakeClock = field(default_factory=lambda: FakeClock(MONDAY))
    requests: dict[str, str] = field(default_factory=dict[str, str])
    """Which request started a run, by run id, in order: a run that exists."""

    told: dict[str, ScheduledRun] = field(default_factory=dict[str, ScheduledRun])
    """What a run was told about its schedule."""

    outcomes: dict[str, Outcome] = field(default_factory=dict[str, Outcome])
    attempts: Counter[str] = field(default_factory=Counter[str])
    cancelled: list[str] = field(default_factory=list[str])
    refuse_starts: int = 0
    ends_at_once: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)
    schedulers: int = 0

    @property
    def started(self) -> list[str]:
        """Times of the runs that exist, without the day."""
        return [run_id.rpartition("T")[2].removesuffix(":00Z") for run_id in self.requests]

    def end(self, *, status: Any = "completed", result: str | None = "ok", error: str | None = None) -> None:
        """The oldest run that is going ends."""
        going = next(run_id for run_id in self.requests if run_id not in self.outcomes)
        self.outcomes[going] = Outcome(status, result, error)
        self.news.set()
        self.news = asyncio.Event()

    # The port

    async def start(self, run_id: str, request: str, action: Action, schedule: ScheduledRun) -> None:
        self.attempts[run_id] += 1
        if self.refuse_starts:
            self.refuse_starts -= 1
            raise StoreUnavailable("no host")
        if self.requests.setdefault(run_id, request) != request:
            raise RequestConflict("taken")
        self.told.setdefault(run_id, schedule)
        if self.ends_at_once:
            self.outcomes.setdefault(run_id, Outcome("completed", run_id))

    async def outcome(self, run_id: str, wait_s: float) -> Outcome | None:
        if run_id not in self.requests:
            raise RunNotFound(run_id)
        if run_id not in self.outcomes:
            await self.news.wait()
        return self.outcomes.get(run_id)

    async def cancel(self, run_id: str) -> None:
        self.cancelled.append(run_id)
        self.outcomes.setdefault(run_id, Outcome("cancelled", error="cancelled"))
        self.news.set()
        self.news = asyncio.Event()

    # Schedulers

    def scheduler(self, store: Store | None = None) -> Desk:
        """A new process that holds the schedules."""
        self.schedulers += 1
        ids = CountingIds(f"x{self.schedulers}-")
        return Desk(SchedulerService(store or self.store, Paths("rojak"), self, self.clock, ids), self.clock)

    @asynccontextmanager
    async def open(self, store: Store | None = None) -> AsyncIterator[Desk]:
        desk = self.scheduler(store)
        await desk.service.start()
        await self.clock.advance()
        yield desk
        await desk.service.close()


@dataclass
class Desk:
    """Asks a scheduler."""

    service: SchedulerService
    clock: FakeClock

    async def create(
        self,
        schedule_id: str = "s",
        spec: ScheduleSpec = EVERY_MINUTE,
        policy: SchedulePolicy | None = None,
        state: ScheduleState | None = None,
        incarnation: str = "i",
    ) -> None:
        definition = Definition(action=ACTION, spec=spec, policy=policy or SchedulePolicy())
        await self.tell(
            CreateSchedule(
                schedule_id=schedule_id,
                incarnation=incarnation,
                definition=definition,
                state=state or ScheduleState(),
            ),
            schedule_id,
        )

    async def create_if_missing(self, schedule_id: str, overlap: ScheduleOverlapPolicy, incarnation: str) -> None:
        """What a program does whose creation was cut off: the same request again."""
        await self.create(schedule_id, policy=SchedulePolicy(overlap=overlap), incarnation=incarnation)

    async def tell(self, command: Command, schedule_id: str = "s") -> None:
        await self.service.ask(ScheduleAsk(schedule_id=schedule_id, command=command))

    async def look(self, schedule_id: str = "s") -> ScheduleRecord:
        view = (await self.service.ask(ScheduleAsk(schedule_id=schedule_id, view=True))).view
        assert view is not None
        return view.schedule

    async def runs(self, schedule_id: str = "s", after: str = "", limit: int = 100) -> list[ListedRun]:
        return list((await self.service.ask(ScheduleAsk(schedule_id=schedule_id, runs_after=after, limit=limit))).runs)
