"""The actor that holds the schedules of a namespace: a shell around `SchedulerService`, which does the work."""

from __future__ import annotations

import asyncio
import functools

from rojak_ray.clock import SystemClock
from rojak_ray.concurrency import background
from rojak_ray.errors import InternalError, RojakError
from rojak_ray.ids import RandomIds
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.logs import get_logger, set_up_process
from rojak_ray.reign.duties import follow
from rojak_ray.runtime.gateway import RayGateway
from rojak_ray.runtime.reigning import ReignNews
from rojak_ray.runtime.settings import RuntimeSettings
from rojak_ray.schedules.host import SchedulerStatistics
from rojak_ray.schedules.requests import ScheduleAsk
from rojak_ray.schedules.runs import GatewayRuns
from rojak_ray.schedules.service import SchedulerService
from rojak_ray.sessions.alarm import AlarmClock
from rojak_ray.sessions.requests import Ask, Reply
from rojak_ray.storage.open import open_store
from rojak_ray.storage.probe import check_durable

logger = get_logger(__name__)

_LONGEST_NEWS_S = 2.0


class SchedulerActor:
    """The cluster's alarm clock: starts runs when their times come, also when no program is there.

    It also wakes conversations that went to storage to wait for an answer or for another attempt.
    """

    def __init__(self, settings: RuntimeSettings) -> None:
        """Go on with the schedules that an earlier life of this actor, or of the whole cluster, has left."""
        set_up_process()
        self._store = open_store(settings.storage, settings.storage_options)
        ids = RandomIds()
        paths, clock = Paths(settings.namespace), SystemClock()
        self._gateway = RayGateway(settings, lambda: False)
        self._news = ReignNews(settings, self._store)
        self._listening = background("hear who rules", self._news.run, clock, longest_pause_s=_LONGEST_NEWS_S)
        runs = GatewayRuns(self._gateway)
        self._service = SchedulerService(self._store, paths, runs, clock, ids, self._news.reign)
        self._alarm = AlarmClock(self._store, paths, clock, self._wake)
        self._clock = clock
        self._timers_s = settings.pool.timers_s
        self._ringing: asyncio.Task[None] | None = None
        self._checked: asyncio.Task[None] | None = None
        duty = functools.partial(follow, self._news.reign, self._begin, self._end)
        self._obedience = background("go on with the schedules", duty, clock)

    async def ask(self, packed: bytes) -> bytes | RojakError:
        """Bring a packed `ScheduleAsk` to the schedules; a packed `ScheduleReply` comes back.

        Errors are returned, not raised: they cross processes as they are.

        Crash safety: see `SchedulerService.ask`; what a reply says is durable.
        """
        try:
            await self._check_storage()
            reply = await self._service.ask(ScheduleAsk.model_validate_json(packed))
            return reply.model_dump_json().encode()
        except RojakError as error:
            return error.with_traceback(None)
        except Exception as error:
            logger.exception("request to the scheduler failed")
            return InternalError(f"{type(error).__name__}: {error}")

    async def statistics(self) -> SchedulerStatistics:
        """Counts for people."""
        return self._service.statistics()

    async def _wake(self, owner: Owner, ask: Ask) -> Reply:
        await self._gateway.connect()
        return await self._gateway.ask(owner, ask)

    async def _begin(self) -> None:
        if self._ringing is None:
            self._ringing = background("ring timers", lambda: self._alarm.run(self._timers_s), self._clock)
        await self._check_storage()
        await self._service.start()

    async def _end(self) -> None:
        ringing, self._ringing = self._ringing, None
        if ringing is not None:
            ringing.cancel()
            await asyncio.gather(ringing, return_exceptions=True)
        await self._service.pause()

    async def _check_storage(self) -> None:
        """Prove once that the storage keeps its promises; again if that failed."""
        if self._checked is None or (self._checked.done() and self._checked.exception() is not None):
            self._checked = asyncio.create_task(check_durable(self._store))
        await asyncio.shield(self._checked)
