"""`Followers`: one task for each run that schedules have planned or started: start it, wait for its end, tell.

All of it may be done twice: starting is idempotent by the run's id and request, the index by its keys, and news that
came before leads to nothing. So a follower needs no memory of its own, and the journal says what there is to follow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC
from functools import partial

from rojak_ray.agents.scheduled import ScheduledRun
from rojak_ray.clock import Clock
from rojak_ray.concurrency import background
from rojak_ray.errors import (
    InternalError,
    JournalDamaged,
    RequestConflict,
    RequestError,
    RojakError,
    RunNotFound,
    SchemaTooNew,
    SessionSetAside,
)
from rojak_ray.logs import get_logger
from rojak_ray.schedules.commands import Command, RecordEnd, RecordNoStart, RecordStart
from rojak_ray.schedules.events import Start
from rojak_ray.schedules.index import RunIndex, run_id_of
from rojak_ray.schedules.ports import Outcome, Runs
from rojak_ray.schedules.state import Run, ScheduleRecord

logger = get_logger(__name__)

_WAIT_S = 20.0
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 15.0
_MOST_COPIES = 1000
_MOST_BUGS = 20
"""After so many in a row, more than four minutes of them, a run that cannot be looked at counts as failed."""

LONGEST_RESULT = 64 * 1024
"""Characters of a run's answer that are kept for the next run; its record has all of it."""

Key = tuple[str, int]


class Followers:
    """The tasks behind one host."""

    def __init__(
        self,
        runs: Runs,
        index: RunIndex,
        clock: Clock,
        look_up: Callable[[str], ScheduleRecord | None],
        post: Callable[[str, Command], None],
    ) -> None:
        """Nothing is followed yet; `look_up` gives a schedule as it stands, `post` takes news of its runs."""
        self._runs = runs
        self._index = index
        self._clock = clock
        self._look_up = look_up
        self._post = post
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._stops: dict[Key, asyncio.Task[None]] = {}

    @property
    def count(self) -> int:
        """Runs that are followed."""
        return len(self._tasks)

    def follow(self, schedule: ScheduleRecord) -> None:
        """Follow every run of a schedule, and stop those that are to be stopped."""
        for run in schedule.runs:
            key = (schedule.incarnation, run.plan.start.number)
            if key not in self._tasks:
                self._begin(self._tasks, key, partial(self._follow, schedule, run))
            if run.stop is not None and run.started_at is not None and key not in self._stops:
                self._begin(self._stops, key, partial(self._stop, run.plan.run_id))

    def stop(self) -> None:
        """Follow nothing any more; the runs go on."""
        for task in (*self._tasks.values(), *self._stops.values()):
            task.cancel()

    async def close(self) -> None:
        """Stop, and wait until that is done."""
        self.stop()
        await asyncio.gather(*self._tasks.values(), *self._stops.values(), return_exceptions=True)

    def _begin(self, tasks: dict[Key, asyncio.Task[None]], key: Key, work: Callable[[], Awaitable[None]]) -> None:
        task = background(f"follow run {key[1]}", work, self._clock, first_pause_s=_FIRST_PAUSE_S)
        tasks[key] = task
        task.add_done_callback(lambda _: tasks.pop(key, None))

    async def _follow(self, schedule: ScheduleRecord, run: Run) -> None:
        start, run_id = run.plan.start, run.plan.run_id
        if run.started_at is None:
            copy = await self._start(schedule, run)
            if copy is None:
                return
            run_id = run_id_of(schedule.schedule_id, start, copy)
            await self._insist(lambda: self._index.add(schedule.schedule_id, start, copy, run_id))
            self._post(schedule.schedule_id, RecordStart(number=start.number, run_id=run_id))
        else:
            copy = _copy_of(schedule.schedule_id, start, run_id)
        ended = await self._outcome(run_id)
        status = ended.status
        if status == "cancelled" and self._terminated(schedule, start.number):
            status = "terminated"
        if ended.gone:
            await self._insist(lambda: self._index.remove(run_id))
        else:
            await self._insist(lambda: self._index.end(schedule.schedule_id, start, copy, status))
        result = ended.result[:LONGEST_RESULT] if ended.result else ended.result
        news = RecordEnd(number=start.number, status=ended.status, result=result, error=ended.error)
        self._post(schedule.schedule_id, news)

    async def _start(self, schedule: ScheduleRecord, run: Run) -> int | None:
        """Start a run, for as long as that makes sense; None: it will not be started.

        A time has one run: if its id belongs to something else, that is told. What a person asked for by hand may
        come at a time that has its run already, and gets the next free number.
        """
        start = run.plan.start
        request = _request_of(schedule, start)
        pause, copy = _FIRST_PAUSE_S, start.first_copy
        while self._wanted(schedule, start.number):
            run_id = run_id_of(schedule.schedule_id, start, copy)
            try:
                await self._runs.start(run_id, request, schedule.definition.action, _about(schedule, run))
            except RequestConflict as error:
                if not start.manual or copy == _MOST_COPIES:
                    self._give_up(schedule, start, error, missed=False)
                    return None
                copy += 1
            except (RequestError, JournalDamaged, SchemaTooNew) as error:
                self._give_up(schedule, start, error, missed=False)
                return None
            except RojakError as error:
                if self._clock.now() - start.due > schedule.catchup_window:
                    self._give_up(schedule, start, error, missed=True)
                    return None
                logger.warning("could not start %s yet: %s", run_id, error)
                await self._clock.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            else:
                return copy
        return None

    def _give_up(self, schedule: ScheduleRecord, start: Start, error: RojakError, *, missed: bool) -> None:
        logger.warning("run %d of schedule %r was not started: %s", start.number, schedule.schedule_id, error)
        text = f"{type(error).__name__}: {error}"
        self._post(schedule.schedule_id, RecordNoStart(number=start.number, error=text, missed=missed))

    def _wanted(self, schedule: ScheduleRecord, number: int) -> bool:
        """Whether a planned run is still planned: its schedule may have been deleted."""
        current = self._look_up(schedule.schedule_id)
        return current is not None and current.incarnation == schedule.incarnation and current.run(number) is not None

    def _terminated(self, schedule: ScheduleRecord, number: int) -> bool:
        current = self._look_up(schedule.schedule_id)
        run = current.run(number) if current is not None and current.incarnation == schedule.incarnation else None
        return run is not None and run.stop == "terminate"

    async def _outcome(self, run_id: str) -> Outcome:
        pause, bugs = _FIRST_PAUSE_S, 0
        while True:
            try:
                ended = await self._runs.outcome(run_id, _WAIT_S)
            except RunNotFound:
                why = "RunNotFound: the run is gone; it was deleted, or its storage was lost"
                return Outcome("failed", error=why, gone=True)
            except (SessionSetAside, JournalDamaged, SchemaTooNew) as error:
                # Whatever becomes of it later, it will not end by itself: nobody may have to wait for it.
                return Outcome("failed", error=f"{type(error).__name__}: {error}")
            except RojakError as error:  # storage, Ray: it has not ended as far as anybody knows
                bugs = bugs + 1 if isinstance(error, InternalError) else 0
                if bugs == _MOST_BUGS:
                    return Outcome("failed", error=f"{type(error).__name__}: {error}")
                logger.info("no news of %s: %s", run_id, error)
                await self._clock.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            else:
                if ended is not None:
                    return ended
                pause, bugs = _FIRST_PAUSE_S, 0

    async def _stop(self, run_id: str) -> None:
        await self._insist(lambda: self._runs.cancel(run_id))

    async def _insist(self, act: Callable[[], Awaitable[None]]) -> None:
        """Do what has to be done, until it is."""
        pause = _FIRST_PAUSE_S
        while True:
            try:
                await act()
            except RequestError as error:
                logger.warning("given up: %s", error)
                return
            except RojakError as error:
                logger.warning("will try again: %s", error)
                await self._clock.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            else:
                return


def _request_of(schedule: ScheduleRecord, start: Start) -> str:
    """What names a start: one that time alone leads to is named by its time, so that this has one run if it recurs."""
    if start.by_time:
        return f"{schedule.incarnation}/{start.nominal.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return f"{schedule.incarnation}/{start.number}"


def _about(schedule: ScheduleRecord, run: Run) -> ScheduledRun:
    """What a run can know about its schedule."""
    start, tracked = run.plan.start, run.plan.tracked
    return ScheduledRun(
        id=schedule.schedule_id,
        scheduled_at=start.due,
        manual=start.manual,
        last_result=schedule.last_result if tracked else None,
        last_failure=schedule.last_failure if tracked else None,
    )


def _copy_of(schedule_id: str, start: Start, run_id: str) -> int:
    """Which run of its time this is, from its id."""
    rest = run_id.removeprefix(run_id_of(schedule_id, start))
    return int(rest[1:]) if rest else 1
