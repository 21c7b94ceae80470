"""`SessionHost`: the one task that changes a conversation. A plain class; Ray's actors are shells around it.

The loop: take what arrived (commands and finished steps), decide, append to the journal, fold, answer, start what is
pending. What arrives during an append goes into the next one. Any failure of storage ends the host: what is true is
then in the journal alone, and opening it again tells.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from rojak_ray.clock import Clock
from rojak_ray.core.commands import CheckTimers, Command, Delete, OpenSession, RecordStep, Recover, Rest, StartRun
from rojak_ray.core.decide import set_aside_text
from rojak_ray.core.events import Event, RunEnded
from rojak_ray.core.evolve import evolve
from rojak_ray.core.lives import began
from rojak_ray.core.pending import pending
from rojak_ray.core.state import SessionState
from rojak_ray.core.steps import CallModel
from rojak_ray.core.waiting import next_deadline, next_due
from rojak_ray.errors import (
    Fenced,
    InternalError,
    RequestError,
    RojakError,
    RunNotFound,
    SessionNotFound,
    SessionSetAside,
    StorageError,
    StoreRefused,
    StoreUnavailable,
)
from rojak_ray.journal.journal import Journal
from rojak_ray.journal.snapshots import Snapshot
from rojak_ray.logs import get_logger
from rojak_ray.sessions.batches import Batch, Follow
from rojak_ray.sessions.deciding import decide_safely
from rojak_ray.sessions.endings import Endings
from rojak_ray.sessions.events import SessionEvent
from rojak_ray.sessions.feed import Feed
from rojak_ray.sessions.inbox import Inbox, Item
from rojak_ray.sessions.naming import Naming
from rojak_ray.sessions.narration import log_event
from rojak_ray.sessions.order import Turnstile
from rojak_ray.sessions.ports import Needs, StepExecutor
from rojak_ray.sessions.probation import Suspicion
from rojak_ray.sessions.publish import publish
from rojak_ray.sessions.requests import Ask, Reply, RunView, SessionView, view_run, view_session
from rojak_ray.sessions.take_over import take_over
from rojak_ray.sessions.under_way import UnderWay

logger = get_logger(__name__)

_FINISH_LOOK_S = 0.1

FOR_EVER = datetime.max.replace(tzinfo=UTC)


class HostClosed(StoreUnavailable):
    """The host was let go between finding it and asking it; a new one answers."""


@dataclass(frozen=True, slots=True)
class HostStatistics:
    """A look at one host."""

    events: int
    running_steps: int
    queued_runs: int
    idle: bool


class SessionHost:
    """Drives one conversation.

    Guarantees to whoever asks: when `ask` returns, what it says is in the journal. When it raises a RequestError,
    nothing changed. When it raises a StorageError, the commands may or may not have been taken: ask again, with the
    same ids, and they are taken once.
    """

    def __init__(
        self,
        journal: Journal,
        executor: StepExecutor,
        clock: Clock,
        on_end: Callable[[SessionHost], None] | None = None,
        suspicion: Suspicion | None = None,
        needs: Needs | None = None,
    ) -> None:
        """Nothing happens until `open`; `on_end` is told when the host has ended, for whatever reason."""
        self.owner = journal.owner
        self.failure: RojakError | None = None
        """Why the host ended; None while it serves."""

        self.reign = 0
        """In which reign it was opened; its pool says so."""

        self.last_used = clock.monotonic()
        self._journal = journal
        self._clock = clock
        self._on_end = on_end
        self._suspicion = suspicion or Suspicion()
        self._state = SessionState()
        self._naming = Naming(self.owner, needs)
        self._turnstile = Turnstile()
        self._feed = Feed(clock)
        self._inbox = Inbox()
        self._endings = Endings()
        self._under_way = UnderWay(executor, clock, self._feed, self._inbox.post)
        self._driver: asyncio.Task[None] | None = None
        self._snapshotting: asyncio.Task[None] | None = None
        self._taking_over: asyncio.Task[None] | None = None
        self._recording = False
        self._held = False
        """Whether steps must not start yet: what the last host left has not been taken over."""

        self._finishing = False
        """Whether no step may begin here any more."""

        self._progress = asyncio.Event()
        self._rang_at: datetime | None = None
        """Up to when the alarm clock has rung here: timers until then are used up."""

    @property
    def state(self) -> SessionState:
        """The conversation as the journal has it."""
        return self._state

    @property
    def epoch(self) -> int:
        """Which host of this conversation it is: each one that opens it has a higher number."""
        return self._journal.epoch

    @property
    def idle(self) -> bool:
        """Whether nothing runs, waits or has just arrived."""
        return self._state.idle and not self._asked and not self._under_way.count

    @property
    def _asked(self) -> bool:
        """Whether somebody has asked for something that is not in the state yet."""
        return bool(self._inbox or self._recording or self._turnstile.waiting)

    @property
    def may_go(self) -> bool:
        """Whether nothing is left to do here: it is idle, or its run is recorded as resting.

        One that has finished early has steps left, which somebody has to begin: another cluster, or this one again.
        """
        resting = self._state.run is not None and self._state.run.rested and not self._rang(next_due(self._state))
        return self.idle or (resting and not self._asked and not self._finishing)

    def _rang(self, at: datetime | None) -> bool:
        """Whether the timer for then was taken here already, so that nobody will be woken by it."""
        return at is not None and self._rang_at is not None and self._rang_at >= at

    def statistics(self) -> HostStatistics:
        """Counts for people."""
        queued = len(self._state.queue)
        return HostStatistics(self._journal.position.seq, self._under_way.count, queued, self.idle)

    async def open(self, *, new: bool = False) -> None:
        """Claim the journal, replay it and go on where it stops. `new` as in `AggregateJournal.open`.

        Raises:
            StorageError: The journal cannot be opened; the host is of no use.
        """
        self._state = await self._journal.open(new=new)
        self._naming.follow(self._state, found=True)
        if not self._state.opened and self._journal.position.seq:
            await self._journal.purge(self._state)  # whoever deleted it may not have got so far
        self._snapshot_if_due()  # it may be opened again and again, and never told anything
        self._feed.advance(None, self._journal.position.seq, None, idle=self._state.idle, set_aside=None)
        self._driver = asyncio.create_task(self._drive(), name=f"drive {self.owner}")
        if not self._state.idle:
            self._held = True
            recoveries = self._state.run.recoveries if self._state.run else 0
            self._taking_over = asyncio.create_task(
                take_over(self.owner, recoveries, self._inbox, self._suspicion, self._progress, self._clock),
                name=f"take over {self.owner}",
            )

    async def ask(self, ask: Ask) -> Reply:
        """Take the commands, in order, then wait as long as asked for the run.

        Raises:
            RequestError: A command was refused.
            StorageError: The journal could not take them; see the class.
        """
        self.last_used = self._clock.monotonic()
        if ask.place is not None:
            await self._turnstile.enter(ask.place)
        follow = self._placed(ask)
        created = await self._submit(ask.commands) if ask.commands else False
        run = await self._await_run(ask.await_run, ask.wait_s) if ask.await_run else None
        self.last_used = self._clock.monotonic()
        batch = await self.follow(follow) if follow else None
        if ask.view:
            await self._confirm()
        if run is not None and not self._endings.waiting:
            self._naming.answered()
        return Reply(created=created, run=run, view=self._view() if ask.view else None, batch=batch)

    async def follow(self, follow: Follow) -> Batch | None:
        """See `Feed.follow`. Following alone does not keep a conversation in memory."""
        batch = await self._feed.follow(follow)
        if batch is not None and not batch.events:
            await self._find_out_whether_overtaken()
        return batch

    def _placed(self, ask: Ask) -> Follow | None:
        """The follower's place; one that follows its own commands begins before them, also if they came before."""
        if ask.follow is None:
            return None
        self._feed.want()
        if ask.follow.after is not None:
            return ask.follow
        known = any(isinstance(c, StartRun) and self._state.knows(c.run_id) for c in ask.commands)
        return ask.follow.model_copy(update={"after": 0 if known else self._feed.position})

    def _view(self) -> SessionView:
        if not self._state.opened:
            raise SessionNotFound(f"{self.owner} was deleted.")
        return view_session(self._state)

    async def close(self) -> None:
        """Stop: running steps are cancelled, nothing more is written. The journal has all that counts."""
        self._end(HostClosed(f"The host of {self.owner} was closed; ask again."))
        await asyncio.gather(*self._tasks(), return_exceptions=True)

    def _tasks(self) -> list[asyncio.Task[None]]:
        every = (self._driver, self._snapshotting, self._taking_over, *self._under_way.tasks)
        return [task for task in every if task is not None]

    async def _submit(self, commands: tuple[Command, ...]) -> bool:
        """Take commands; True if they began the conversation that is there, now or when they came first."""
        answers = [self._inbox.post(command, answered=True) for command in commands]
        return any([await answer for answer in answers])

    async def _await_run(self, run_id: str, wait_s: float) -> RunView | None:
        """The run as it stands after at most `wait_s` seconds, sooner if it ends; None if only the record has it."""
        run = view_run(self._state, run_id)
        if run is None:
            if self._state.knows(run_id):
                return None
            raise RunNotFound(f"Run {run_id!r} is not known to {self.owner}.")
        if wait_s <= 0 or self._state.outcome(run_id) is not None:
            return run
        if self.failure is not None:
            raise self.failure
        if self._state.set_aside is not None:
            raise SessionSetAside(set_aside_text(self._state))
        ended = await self._endings.wait(run_id, wait_s)
        if ended is not None:
            return ended
        await self._find_out_whether_overtaken()
        return view_run(self._state, run_id) or run

    async def _find_out_whether_overtaken(self) -> None:
        """A host that writes nothing would never hear of it, and those who wait here would wait for ever."""
        try:
            await self._confirm()
        except Fenced:
            raise
        except StorageError as error:
            logger.debug("%s may have been taken over: %s", self.owner, error)

    async def _confirm(self) -> None:
        """See that what is known here is the latest.

        Raises:
            Fenced: Somebody took over, and this host has ended.
            StorageError: It cannot be told now.
        """
        try:
            await self._journal.confirm()
        except Fenced as error:
            self._end(error)
            raise

    @property
    def resting_until(self) -> datetime | None:
        """When something is to be done again, if nothing is to be done here now and nobody looks on.

        None: there is something to do, or somebody waits for the outcome. `FOR_EVER`: nothing before an answer comes.
        """
        busy = self._asked or self._held or self._endings.waiting or not self._under_way.quiet or self._finishing
        if busy or self._state.run is None or self._state.set_aside is not None or self.failure is not None:
            return None
        return next_due(self._state) or FOR_EVER

    async def rest(self, until: datetime) -> bool:
        """Record that nothing is to be done for a while, once its timer is stored; False if something came up before.

        Raises:
            StorageError: It is not recorded, and the host has ended.

        Crash safety:
            No step begins while it is being recorded, nor after it returned True: close the host then. So a journal
            that says that it rests tells the next host that nothing was under way.
        """
        if self.resting_until != until or self._rang(until):
            return False  # while its timer was being stored
        self._under_way.hold()
        await self._submit((Rest(until=None if until == FOR_EVER else until),))
        if self._state.run is not None and self._state.run.rested:
            return True
        if self._finishing:  # meanwhile: then what it has held stays so
            return False
        self._under_way.release()
        self._start_pending()
        return False

    async def finish(self, within_s: float) -> None:
        """Begin no more steps, wait for those that run, and record that nothing of the run is under way.

        What still runs after `within_s` seconds is left as it is: whoever opens the conversation next takes it for
        interrupted. Close the host then.

        Raises:
            StorageError: It could not be recorded, and the host has ended.
        """
        self._finishing = True
        self._under_way.hold()
        ends_at = self._clock.monotonic() + within_s
        while self.failure is None and (self._asked or not self._under_way.quiet):
            if self._clock.monotonic() >= ends_at:
                return
            await self._clock.sleep(_FINISH_LOOK_S)
        # What an earlier host left under way, and this one has not yet taken over, may have been interrupted.
        if self.failure is None and not self._held and self._state.run is not None:
            await self._submit((Rest(leaves=True),))

    async def _drive(self) -> None:
        # Nothing is started before `Recover` is recorded: what was under way when the last host was lost may have
        # run, and only the state after it says which attempt comes next and which call must not come again.
        try:
            while True:
                await self._inbox.arrival()
                items = self._inbox.take()
                self._recording = True  # what arrived is neither in the inbox nor in the state yet
                await self._handle(items)
                self._recording = False
        except asyncio.CancelledError:
            raise
        except RojakError as error:
            self._end(error)
        except Exception as error:
            logger.exception("host ended by a bug", extra={"owner": str(self.owner)})
            self._end(InternalError(f"The host of {self.owner} failed: {type(error).__name__}: {error}"))

    async def _handle(self, items: list[Item]) -> None:
        """Decide on a batch, make it durable, then answer."""
        state, events, accepted = self._state, list[Event](), list[Item]()
        refused, ended = list[tuple[Item, RojakError | None]](), list[RunView]()
        told: list[SessionEvent] | None = [] if self._feed.wanted else None
        number = self._journal.position.seq
        try:
            for item in items:
                try:
                    new = decide_safely(state, item.command)
                except (RequestError, InternalError) as error:
                    if isinstance(error, InternalError) and item.answer is None:
                        raise
                    refused.append((item, error))
                    continue
                accepted.append(item)
                if isinstance(item.command, CheckTimers):
                    self._rang_at = max(item.command.at, self._rang_at or item.command.at)
                events.extend(new)
                for event in new:
                    number += 1
                    state = self._fold(state, event, number, told)
                    if isinstance(event, RunEnded) and (run := view_run(state, event.run_id)):
                        ended.append(run)
            if events:
                self._ask_early(state)
                await self._journal.append(events)
            elif any(item.answer is not None for item in items) and (error := await self._unconfirmed()):
                refused, accepted = [*refused, *((item, error) for item in accepted)], []
            if not state.opened and any(isinstance(item.command, Delete) for item in accepted):
                await self._purge(state)
        except BaseException:
            self._inbox.put_back(items)  # whoever ends this host answers them, or has done so
            raise
        self._state = state
        self._naming.follow(state)
        self._held = self._held and not any(isinstance(item.command, Recover) for item in items)
        if state.run is None or not state.run.recoveries or state.set_aside is not None:
            self._progress.set()
        self._snapshot_if_due()
        self._answer_all([*((item, None) for item in accepted), *refused], ended)
        if state.set_aside is not None:
            self._endings.fail(SessionSetAside(set_aside_text(state)))
        self._start_pending()
        self._advance_feed(told)

    def _answer_all(self, items: list[tuple[Item, RojakError | None]], ended: list[RunView]) -> None:
        for item, error in items:
            item.created = isinstance(item.command, OpenSession) and began(self._state, item.command)
            item.respond(error)
        for run in ended:
            self._endings.tell(run)

    async def _unconfirmed(self) -> StorageError | None:
        """Why an answer that needs no record must not be given; storage that fails ends no steps here."""
        try:
            await self._journal.confirm()
        except (StoreUnavailable, StoreRefused) as error:
            return error
        return None

    def _advance_feed(self, told: list[SessionEvent] | None) -> None:
        state = self._state
        asked = pending(state) if self._feed.wanted else ()
        speaking = next((step for step in asked if isinstance(step, CallModel)), None)
        set_aside = set_aside_text(state) if state.set_aside is not None else None
        self._feed.advance(told, self._journal.position.seq, speaking, idle=state.idle, set_aside=set_aside)

    def _fold(self, state: SessionState, event: Event, number: int, told: list[SessionEvent] | None) -> SessionState:
        log_event(self.owner, state, event)
        after = evolve(state, event)
        if told is not None:
            told += publish(state, event, after, number)
        return after

    async def _purge(self, state: SessionState) -> None:
        """Remove what a deleted conversation stored, after any snapshot of it that is on its way."""
        if self._snapshotting is not None:
            await asyncio.wait([self._snapshotting])
        await self._journal.purge(state)

    def _snapshot_if_due(self) -> None:
        """Beside the loop: nobody waits for a snapshot."""
        if self._journal.wants_snapshot and self._snapshotting is None:
            taken = self._journal.take_snapshot(self._state)
            self._snapshotting = asyncio.create_task(self._save(taken), name=f"snapshot {self.owner}")

    async def _save(self, snapshot: Snapshot[SessionState]) -> None:
        try:
            await self._journal.save(snapshot)
        except StorageError as error:
            logger.warning("no snapshot of %s: %s", self.owner, error)
        finally:
            self._snapshotting = None

    @property
    def wants_tail_mark(self) -> bool:
        """Whether the last record has no mark yet."""
        return self.failure is None and not self._journal.tail_marked

    async def mark_tail(self) -> None:
        """Let the removal of the last record be noticed too; for moments in which nobody waits."""
        if not self.wants_tail_mark:
            return
        try:
            await self._journal.mark_tail()
        except StorageError as error:
            logger.info("the last record of %s is not marked: %s", self.owner, error)

    def _ask_early(self, state: SessionState) -> None:
        """Start the next question while what leads to it is being written.

        A question changes nothing outside and its answer is recorded after what it was asked about: if the write
        fails, the host ends and the answer is dropped. Its idempotency key names what is asked, so another question
        in its place gets another key. Functions, retrievers and functions that write instructions may change
        something outside: they wait until what they build on is durable.
        """
        for step in pending(state) if not self._held else ():
            if isinstance(step, CallModel) and step.attempt == 1:
                self._under_way.start(step)

    def _start_pending(self) -> None:
        """Run every pending step that is not running; stop those that no longer matter."""
        reported = {
            (item.command.step_id, item.command.attempt) for item in self._inbox if isinstance(item.command, RecordStep)
        }  # these came during the append and are next
        self._under_way.only(pending(self._state) if not self._held else (), reported)
        self._under_way.watch(next_deadline(self._state) if not self._held else None)

    def _end(self, error: RojakError) -> None:
        if self.failure is not None:
            return
        self.failure = error
        current = asyncio.current_task()
        for task in self._tasks():
            if task is not current:
                task.cancel()
        self._inbox.fail(error)
        self._endings.fail(error)
        self._feed.end(error)
        self._naming.ended()
        if self._on_end is not None:
            self._on_end(self)
