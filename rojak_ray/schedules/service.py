"""`SchedulerService`: keeps one `SchedulerHost` going, and answers whoever asks it. A plain class, also within Ray."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from rojak_ray.clock import Clock
from rojak_ray.concurrency import background
from rojak_ray.errors import Fenced
from rojak_ray.ids import IdSource
from rojak_ray.journal.journal import AggregateJournal
from rojak_ray.journal.paths import Paths
from rojak_ray.journal.replay import exists
from rojak_ray.logs import get_logger
from rojak_ray.reign.reign import Duty, Reign
from rojak_ray.schedules.host import SchedulerHost, SchedulerStatistics
from rojak_ray.schedules.index import RunIndex
from rojak_ray.schedules.ports import Runs
from rojak_ray.schedules.reading import SCHEDULER, SCHEDULES, read_schedules
from rojak_ray.schedules.requests import ScheduleAsk, ScheduleReply
from rojak_ray.schedules.retention import Retention
from rojak_ray.storage.base import Store

logger = get_logger(__name__)

_FIRST_PAUSE_S = 0.2


async def has_schedules(store: Store, paths: Paths) -> bool:
    """Whether anybody ever created a schedule here, so that a scheduler has to run."""
    return await exists(store, paths, SCHEDULER)


class SchedulerService:
    """The scheduler of a namespace, opened again whenever storage failed under it."""

    def __init__(
        self, store: Store, paths: Paths, runs: Runs, clock: Clock, ids: IdSource, reign: Reign | None = None
    ) -> None:
        """Nothing is opened before `start` or the first request, nor while `reign` says that another cluster works."""
        self._reign = reign or Reign.sole()
        self._store = store
        self._paths = paths
        self._runs = runs
        self._clock = clock
        self._ids = ids
        self._index = RunIndex(store, paths)
        self._opening: asyncio.Task[SchedulerHost] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._retention = Retention(store, paths, clock, ids, self._retentions)
        self._retaining: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> None:
        """Go on with the schedules there are; nothing if there are none.

        Crash safety:
            Opening is a claim: of any number of schedulers of a namespace the last one acts, and what several of
            them start is started once.
        """
        if self._opening is None and await has_schedules(self._store, self._paths):
            await self._host()

    async def ask(self, ask: ScheduleAsk) -> ScheduleReply:
        """Answer a request.

        Raises:
            RequestError: The command was refused; nothing changed.
            StorageError: It may or may not have been taken; the same again is taken once.
        """
        if ask.unlist is not None:
            await self._index.remove(ask.unlist)
            return ScheduleReply()
        if ask.runs_after is not None:
            return ScheduleReply(runs=tuple(await self._index.list(ask.schedule_id, ask.runs_after, ask.limit)))
        if not self._reign.rules:
            if ask.command is None:
                return self._from_elsewhere(await read_schedules(self._store, self._paths, ask, self._clock.now()))
            await self._reign.admit()
        host = await self._host()
        if ask.command is None:
            try:
                await host.confirm()
            except Fenced:  # what another scheduler does is in storage
                return await read_schedules(self._store, self._paths, ask, self._clock.now())
        if ask.asked_before is not None:
            return ScheduleReply(asked_before=host.asked_before(ask.schedule_id, ask.asked_before))
        if ask.command is not None:
            try:
                await host.apply(ask.schedule_id, ask.command)
            except Fenced:  # another scheduler took over and may be gone again; commands are safe to take twice
                host = await self._host()
                await host.apply(ask.schedule_id, ask.command)
        views = host.views(ask.list_after, ask.limit) if ask.list_after is not None else ()
        return ScheduleReply(view=host.view(ask.schedule_id) if ask.view else None, schedules=views)

    def _from_elsewhere(self, reply: ScheduleReply) -> ScheduleReply:
        """What storage tells, with who acts on it if that is another cluster."""
        standing = self._reign.standing
        if standing.duty not in {Duty.STANDS_BY, Duty.YIELDS}:
            return reply
        change = {"stands_by": standing.ruler or "another cluster"}
        view = reply.view.model_copy(update=change) if reply.view is not None else None
        schedules = tuple(each.model_copy(update=change) for each in reply.schedules)
        return reply.model_copy(update={"view": view, "schedules": schedules})

    def statistics(self) -> SchedulerStatistics:
        """Counts for people; zeros while nothing is open."""
        opening = self._opening
        if opening is None or not opening.done() or opening.cancelled() or opening.exception() is not None:
            return SchedulerStatistics(0, 0, 0)
        return opening.result().statistics()

    async def close(self) -> None:
        """Stop; the schedules go on when somebody opens them again."""
        self._closed = True
        await self.pause()

    async def pause(self) -> None:
        """Leave the schedules to another cluster; they may be opened again here."""
        working = [task for task in (self._keeper, self._retaining) if task is not None]
        self._keeper = self._retaining = None
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        opening, self._opening = self._opening, None
        if opening is not None:
            if not opening.done():
                opening.cancel()
            for host in await asyncio.gather(opening, return_exceptions=True):
                if isinstance(host, SchedulerHost):
                    await host.close()

    async def _host(self) -> SchedulerHost:
        opening = self._opening
        if opening is None:
            opening = self._opening = asyncio.create_task(self._open(), name="open schedules")
        try:
            # Shielded: a caller that gives up must not stop an opening that others wait for.
            return await asyncio.shield(opening)
        finally:
            failed = opening.done() and (opening.cancelled() or opening.exception() is not None)
            if failed and self._opening is opening:
                self._opening = None

    async def _open(self) -> SchedulerHost:
        journal = AggregateJournal(self._store, self._paths, SCHEDULER, self._clock, self._ids, SCHEDULES)
        host = SchedulerHost(journal, self._runs, self._index, self._clock, self._ended)
        await host.open()
        if self._keeper is None:
            self._keeper = background(
                "keep the schedules open", self._keep_open, self._clock, first_pause_s=_FIRST_PAUSE_S
            )
        if self._retaining is None:
            self._retaining = background("remove old runs of schedules", self._retention.run, self._clock)
        return host

    def _retentions(self) -> dict[str, timedelta]:
        opening = self._opening
        if opening is None or not opening.done() or opening.cancelled() or opening.exception() is not None:
            return {}
        return opening.result().retentions()

    def _ended(self, host: SchedulerHost) -> None:
        """The host ended by itself: whoever asks next opens another one, if `_keep_open` was not faster."""
        self._opening = None

    async def _keep_open(self) -> None:
        """See that schedules go on without being asked, unless somebody newer has them. For `background`.

        Raises:
            RojakError: What ended the host, or kept it from being opened: begin again.
        """
        try:
            failure = await (await self._host()).ended()
        except Fenced as error:
            failure = error
        # Whoever fences a cluster that rules did not know of it, or has asked for one thing and is gone.
        taken = isinstance(failure, Fenced) and not self._reign.standing.number
        if self._closed or taken or not self._reign.rules:
            logger.info("schedules are somebody else's now: %s", failure)
            self._keeper = None
            return
        raise failure
