"""The way to schedules where no cluster runs: they can be looked at and changed, and nothing of them is started."""

from __future__ import annotations

import asyncio

from rojak_ray.agents.scheduled import ScheduledRun
from rojak_ray.clock import SystemClock
from rojak_ray.ids import RandomIds
from rojak_ray.journal.paths import Paths
from rojak_ray.schedules.events import Action
from rojak_ray.schedules.ports import Outcome
from rojak_ray.schedules.requests import ScheduleAsk, ScheduleReply
from rojak_ray.schedules.service import SchedulerService
from rojak_ray.sessions.unattended import StorageGateway
from rojak_ray.storage.base import Store


class StorageScheduler:
    """A `Scheduler` over storage alone.

    A look reads. A change is made as if by a cluster that rules for a moment, and refused while another one does; what
    comes due in that moment is started by the next cluster.
    """

    def __init__(self, store: Store, paths: Paths, gateway: StorageGateway) -> None:
        """Nothing is opened. `gateway` is the way to the conversations of the same storage, and claims for both."""
        self._gateway = gateway
        self._service = SchedulerService(store, paths, _StartsNothing(), SystemClock(), RandomIds(), gateway.reign)

    async def ask(self, ask: ScheduleAsk) -> ScheduleReply:
        """See `Scheduler.ask`.

        Raises:
            StandsBy: It is a change, and another cluster rules.
        """
        if ask.command is not None:
            await self._gateway.rule()
        return await self._service.ask(ask)

    async def close(self) -> None:
        """Let go, before the gateway does."""
        await self._service.close()


class _StartsNothing:
    """Leaves every run to whoever opens the schedules next."""

    async def start(self, run_id: str, request: str, action: Action, schedule: ScheduledRun) -> None:
        await _never()

    async def outcome(self, run_id: str, wait_s: float) -> Outcome | None:
        await _never()

    async def cancel(self, run_id: str) -> None:
        await _never()


async def _never() -> None:
    await asyncio.get_running_loop().create_future()
