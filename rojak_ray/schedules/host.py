"""`SchedulerHost`: the one task that changes the schedules of a namespace, from opening their journal to losing it.

The loop: take what arrived (commands, news of runs) and what came due, decide, append to the journal, fold, answer,
start what was planned. Nothing is started before the decision is durable, and everything that is started has an id
that follows from the decision: whoever takes over starts the same runs again, which is no second start.

Idle schedules cost nothing: each waits in a heap for its next time.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from rojak_ray.clock import Clock
from rojak_ray.errors import Fenced, InternalError, RojakError, StorageError, StoreRefused, StoreUnavailable
from rojak_ray.journal.journal import AggregateJournal
from rojak_ray.journal.snapshots import Snapshot
from rojak_ray.logs import get_logger
from rojak_ray.schedules.batch import Batch, reason_of, was_taken
from rojak_ray.schedules.clock_watch import ClockWatch
from rojak_ray.schedules.commands import Advance, Command
from rojak_ray.schedules.events import Event
from rojak_ray.schedules.followers import Followers
from rojak_ray.schedules.index import RunIndex
from rojak_ray.schedules.passing import wake_at
from rojak_ray.schedules.ports import Runs
from rojak_ray.schedules.reading import view_of, views_of
from rojak_ray.schedules.requests import NamedRequest, ScheduleView
from rojak_ray.schedules.state import ScheduleRecord, SchedulerState

logger = get_logger(__name__)

_DUE_AT_ONCE = 200
"""Schedules that are advanced in one append; those that come due at the same moment start in such portions."""

_SET_ASIDE = timedelta(minutes=5)
"""How often a schedule that was set aside is looked at again: what kept it back may have been mended."""

_NOTHING_S = 60.0

_LOOK_S = 1.0
"""A clock that was set, or slept with its machine, is noticed within this time."""


@dataclass(slots=True)
class _Item:
    schedule_id: str
    command: Command
    answer: asyncio.Future[None] | None = None


@dataclass(frozen=True, slots=True)
class SchedulerStatistics:
    """A look at the scheduler."""

    schedules: int
    runs: int
    events: int


class SchedulerHost:
    """Drives all schedules of a namespace. When it ends, `failure` says why, and another one may take over."""

    def __init__(
        self,
        journal: AggregateJournal[SchedulerState, Event],
        runs: Runs,
        index: RunIndex,
        clock: Clock,
        on_end: Callable[[SchedulerHost], None],
    ) -> None:
        """Nothing happens until `open`; `on_end` is told when the host has ended by itself."""
        self.failure: RojakError | None = None
        self._journal = journal
        self._clock = clock
        self._on_end = on_end
        self._state = SchedulerState()
        self._inbox: list[_Item] = []
        self._arrived = asyncio.Event()
        self._heap: list[tuple[float, str]] = []
        self._wakes: dict[str, float] = {}
        """When each schedule is to be woken; other entries of the heap are out of date."""

        self._watch = ClockWatch(clock)
        self._set_aside: dict[str, str] = {}
        """Schedules whose times cannot be told, with the reason; looked at again now and then."""

        self._ended = asyncio.Event()
        self._followers = Followers(runs, index, clock, self._look_up, self._post)
        self._driver: asyncio.Task[None] | None = None
        self._snapshotting: asyncio.Task[None] | None = None
        self._marking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Claim the journal, replay it and go on where it stops.

        Raises:
            StorageError: The journal cannot be opened; the host is of no use.
        """
        self._state = await self._journal.open()
        now = self._clock.now().timestamp()
        for schedule_id in self._state.schedules:
            self._wake_at(schedule_id, now)  # to see what came due meanwhile, a portion at a time
        self._snapshot_if_due()  # it may be opened again and again, and never told anything
        self._driver = asyncio.create_task(self._drive(), name="drive schedules")

    def statistics(self) -> SchedulerStatistics:
        """Counts for people."""
        return SchedulerStatistics(len(self._state.schedules), self._followers.count, self._journal.position.seq)

    async def ended(self) -> RojakError:
        """Wait until it has ended; why."""
        await self._ended.wait()
        return self.failure or InternalError("The scheduler ended.")

    async def apply(self, schedule_id: str, command: Command) -> None:
        """Take a command; when it returns, what it led to is durable.

        Raises:
            RequestError: It was refused, and nothing changed.
            StorageError: It may or may not have been taken; the same command again is taken once.
        """
        if self.failure is not None:
            raise self.failure
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._inbox.append(_Item(schedule_id, command, answer))
        self._arrived.set()
        await answer

    def retentions(self) -> dict[str, timedelta]:
        """For how long schedules keep their runs, where they do not for ever; none while the clock is not trusted."""
        if not self._watch.trusted:
            return {}
        kept = ((one, record.definition.policy.keep_runs) for one, record in self._state.schedules.items())
        return {schedule_id: keep for schedule_id, keep in kept if keep is not None}

    async def confirm(self) -> None:
        """See that what is known here is the latest.

        Raises:
            Fenced: Another scheduler took over, and this one has ended.
            StorageError: It cannot be told now.
        """
        if self.failure is not None:
            raise self.failure
        try:
            await self._journal.confirm()
        except Fenced as error:
            self._end(error)
            raise

    def asked_before(self, schedule_id: str, named: NamedRequest) -> bool:
        """Whether a request that its caller named was taken before.

        Raises:
            RequestConflict: The name was used for something else.
        """
        return was_taken(self._state.requests, schedule_id, named.kind, named.request)

    def view(self, schedule_id: str) -> ScheduleView:
        """A schedule as it stands.

        Raises:
            ScheduleNotFound: There is none of this id.
        """
        return view_of(self._state, schedule_id, self._clock.now(), self._set_aside)

    def views(self, after: str, limit: int) -> tuple[ScheduleView, ...]:
        """The schedules whose ids come after one, in order."""
        return views_of(self._state, after, limit, self._clock.now(), self._set_aside)

    async def close(self) -> None:
        """Stop. Runs go on; what is planned is started by whoever opens the journal next."""
        self._end(StoreUnavailable("The scheduler was closed; ask again."), told=False)
        await asyncio.gather(*self._tasks(), self._followers.close(), return_exceptions=True)

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [task for task in (self._driver, self._snapshotting, self._marking) if task is not None]

    def _look_up(self, schedule_id: str) -> ScheduleRecord | None:
        return self._state.schedules.get(schedule_id)

    def _post(self, schedule_id: str, command: Command) -> None:
        if self.failure is None:
            self._inbox.append(_Item(schedule_id, command))
            self._arrived.set()

    async def _drive(self) -> None:
        try:
            while True:
                await self._wait()
                items, self._inbox = self._inbox, []
                due = self._take_due()
                if items or due:
                    await self._handle(items, due)
                    await asyncio.sleep(0)  # storage in memory never waits: let others have their turn
                else:
                    self._mark_tail()
        except asyncio.CancelledError:
            raise
        except RojakError as error:
            self._end(error)
        except Exception as error:
            logger.exception("scheduler ended by a bug")
            self._end(InternalError(f"The scheduler failed: {type(error).__name__}: {error}"))
        finally:
            self._answer_inbox()

    async def _wait(self) -> None:
        """Until something arrives or comes due, but not long."""
        if self._inbox:
            self._arrived.clear()
            return
        self._drop_outdated()
        left = self._heap[0][0] - self._clock.now().timestamp() if self._heap else _LOOK_S
        if not self._heap and self._journal.tail_marked:
            await self._arrived.wait()
        elif left > 0:
            arriving = asyncio.create_task(self._arrived.wait())
            sleeping = asyncio.create_task(self._clock.sleep(min(left, _LOOK_S)))
            try:
                await asyncio.wait({arriving, sleeping}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                arriving.cancel()
                sleeping.cancel()
        self._arrived.clear()

    def _drop_outdated(self) -> None:
        while self._heap and self._wakes.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)

    def _take_due(self) -> list[str]:
        now = self._clock.now().timestamp()
        if self._watch.was_set():
            for schedule_id in self._state.schedules:
                self._wake_at(schedule_id, now)
        due: list[str] = []
        self._drop_outdated()
        while self._heap and self._heap[0][0] <= now and len(due) < _DUE_AT_ONCE:
            due.append(self._heap[0][1])
            del self._wakes[due[-1]]
            self._drop_outdated()
        return due

    def _wake_at(self, schedule_id: str, moment: float) -> None:
        if self._wakes.get(schedule_id) != moment:
            self._wakes[schedule_id] = moment
            heapq.heappush(self._heap, (moment, schedule_id))

    async def _handle(self, items: list[_Item], due: list[str]) -> None:
        """Decide on a batch, make it durable, then answer and start what it leads to."""
        now = self._clock.now()
        batch = Batch(self._state, now)
        outcomes: list[tuple[_Item, RojakError | None]] = []
        try:
            for item in items:
                try:
                    batch.take(item.schedule_id, item.command)
                except RojakError as error:
                    outcomes.append((item, error))
                else:
                    outcomes.append((item, None))
            for schedule_id in due:
                self._advance(batch, schedule_id)
            if batch.events:
                await self._journal.append(batch.events)
            elif any(item.answer is not None for item in items) and (unknown := await self._unconfirmed()):
                outcomes = [(item, unknown) for item, _ in outcomes]
        except BaseException:
            self._inbox = items + self._inbox  # whoever ends this host answers them
            raise
        self._state = batch.state
        self._note_set_aside(batch)
        self._snapshot_if_due()
        for item, error in outcomes:
            _answer(item, error)
        for schedule_id, changed in batch.touched.items():
            self._look_after(schedule_id, now, changed=changed)

    async def _unconfirmed(self) -> StorageError | None:
        """Why an answer that needs no record must not be given."""
        try:
            await self._journal.confirm()
        except (StoreUnavailable, StoreRefused) as error:
            return error
        return None

    def _advance(self, batch: Batch, schedule_id: str) -> None:
        """Let time pass for one schedule; whatever is wrong with it is its own matter."""
        try:
            batch.take(schedule_id, Advance(may_expire=self._watch.trusted))
        except RojakError as error:
            batch.set_aside[schedule_id] = reason_of(error)
            batch.touched.setdefault(schedule_id, False)

    def _note_set_aside(self, batch: Batch) -> None:
        for schedule_id, reason in batch.set_aside.items():
            if reason is None or schedule_id not in self._state.schedules:
                self._set_aside.pop(schedule_id, None)
            else:
                self._set_aside[schedule_id] = reason

    def _look_after(self, schedule_id: str, now: datetime, *, changed: bool) -> None:
        """Follow a schedule's runs, and wake it when its time comes."""
        schedule = self._state.schedules.get(schedule_id)
        if schedule is None:
            self._wakes.pop(schedule_id, None)
            return
        self._followers.follow(schedule)
        try:
            wake = wake_at(schedule, now) if schedule_id not in self._set_aside else now + _SET_ASIDE
        except Exception as error:
            if not isinstance(error, RojakError):
                logger.exception("a bug sets schedule %r aside", schedule_id)
            self._set_aside[schedule_id], wake = reason_of(error), now + _SET_ASIDE
        if wake is None:
            self._wakes.pop(schedule_id, None)
        elif wake <= now and not changed:  # nothing came of it now, so do not ask again at once
            self._wake_at(schedule_id, now.timestamp() + _NOTHING_S)
        else:
            self._wake_at(schedule_id, wake.timestamp())

    def _snapshot_if_due(self) -> None:
        """Beside the loop: nobody waits for a snapshot."""
        if self._journal.wants_snapshot and self._snapshotting is None:
            taken = self._journal.take_snapshot(self._state)
            self._snapshotting = asyncio.create_task(self._save(taken), name="snapshot of schedules")

    async def _save(self, snapshot: Snapshot[SchedulerState]) -> None:
        try:
            await self._journal.save(snapshot)
        except StorageError as error:
            logger.warning("no snapshot of the schedules: %s", error)
        finally:
            self._snapshotting = None

    def _mark_tail(self) -> None:
        """In a quiet moment, beside the loop: let the removal of the last record be noticed, too."""
        if not self._journal.tail_marked and (self._marking is None or self._marking.done()):
            self._marking = asyncio.create_task(self._mark(), name="mark the end of the schedules' journal")

    async def _mark(self) -> None:
        try:
            await self._journal.mark_tail()
        except StorageError as error:
            logger.info("the last record of the schedules is not marked: %s", error)

    def _end(self, error: RojakError, *, told: bool = True) -> None:
        if self.failure is not None:
            return
        self.failure = error
        current = asyncio.current_task()
        for task in self._tasks():
            if task is not current:
                task.cancel()
        self._followers.stop()
        self._answer_inbox()
        self._ended.set()
        if told:
            self._on_end(self)

    def _answer_inbox(self) -> None:
        """Tell whoever still waits why the host has ended; also those whose record was on its way then."""
        if self.failure is None:
            return
        items, self._inbox = self._inbox, []
        for item in items:
            _answer(item, self.failure)


def _answer(item: _Item, error: RojakError | None) -> None:
    if item.answer is None or item.answer.done():
        return
    if error is None:
        item.answer.set_result(None)
    else:
        item.answer.set_exception(error)
