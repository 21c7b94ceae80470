"""`decide(schedule, command)`: which facts a command leads to, and `wake_at`: when time itself will lead to some.

Pure, as in `core`: the time is in the command. A schedule's times up to `passed` are over for good, so a clock that
is set back starts nothing twice, and one that jumps ahead goes through the catch-up window.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import assert_never

from rojak_ray.errors import InternalError, InvalidSchedule, ScheduleChanged, ScheduleExists, ScheduleNotFound
from rojak_ray.schedules.commands import (
    Advance,
    BackfillSchedule,
    Command,
    CreateSchedule,
    DeleteSchedule,
    PauseSchedule,
    RecordEnd,
    RecordNoStart,
    RecordStart,
    TriggerSchedule,
    UnpauseSchedule,
    UpdateSchedule,
)
from rojak_ray.schedules.events import (
    BackfillAdvanced,
    BackfillAsked,
    Definition,
    Event,
    PlannedRun,
    RunEnded,
    RunNotStarted,
    RunStarted,
    ScheduleCreated,
    ScheduleDeleted,
    SchedulePaused,
    ScheduleUnpaused,
    ScheduleUpdated,
    Span,
    Start,
    StartsSettled,
    Stop,
    TimesPassed,
    Triggered,
)
from rojak_ray.schedules.index import run_id_of
from rojak_ray.schedules.spec import ScheduleOverlapPolicy, ScheduleState, check_policy, check_state
from rojak_ray.schedules.state import ScheduleRecord, evolve
from rojak_ray.schedules.times import Tick, Timetable, compile_spec

MOST_WAITING = 1000
"""Starts that may wait; more are dropped."""

_MOST_BACKFILLED = MOST_WAITING // 2
"""Backfills leave the other half of the room to times that come."""

_BACKFILLS_AT_ONCE = 10
_TIMES_AT_ONCE = 5000
"""Times looked at in one decision; a schedule that was away for long takes several."""

_BACKFILL_PAUSE = timedelta(seconds=1)
IDLE_FOR_GOOD = timedelta(days=7)
"""A schedule that has nothing left to do is deleted after this time."""

MOST_SPANS = 1000


def decide(schedule: ScheduleRecord | None, command: Command) -> list[Event]:
    """The events a command leads to; none if it changes nothing.

    Raises:
        InvalidSchedule: What it says cannot be followed.
        ScheduleExists: Another schedule has the id.
        ScheduleNotFound: There is no such schedule.
        ScheduleChanged: Somebody else was faster.
    """
    if command.at is None:
        raise InternalError("A command to a schedule needs a time.")
    if isinstance(command, CreateSchedule):
        return _create(schedule, command, command.at)
    if schedule is None:
        if isinstance(command, Advance | RecordStart | RecordNoStart | RecordEnd):
            return []  # what a deleted schedule left behind
        raise ScheduleNotFound("There is no such schedule; create it with create_schedule first.")
    story = _Story(schedule)
    _pass_time(story, command.at)
    _settle(story)
    _perform(story, command, command.at)
    if not story.gone:
        _backfill(story)
        _settle(story)
    return story.events


_Change = (
    UpdateSchedule
    | PauseSchedule
    | UnpauseSchedule
    | TriggerSchedule
    | BackfillSchedule
    | DeleteSchedule
    | Advance
    | RecordStart
    | RecordNoStart
    | RecordEnd
)


def _perform(story: _Story, command: _Change, now: datetime) -> None:
    match command:
        case Advance():
            _expire(story, now)
        case DeleteSchedule():
            story.tell(ScheduleDeleted(schedule_id=story.id))
        case UpdateSchedule():
            _update(story, command, now)
        case PauseSchedule():
            if not story.schedule.state.paused or story.schedule.state.note != command.note:
                story.tell(SchedulePaused(schedule_id=story.id, note=command.note))
        case UnpauseSchedule():
            _unpause(story, command, now)
        case TriggerSchedule():
            _trigger(story, command, now)
        case BackfillSchedule():
            _ask_backfill(story, command)
        case RecordStart() | RecordNoStart() | RecordEnd():
            _record(story, command, now)
        case _:
            assert_never(command)


@dataclass
class _Story:
    """Events in the making, with the schedule they lead to: later decisions see earlier ones."""

    schedule: ScheduleRecord
    events: list[Event] = field(default_factory=list[Event])
    gone: bool = False

    @property
    def id(self) -> str:
        return self.schedule.schedule_id

    def tell(self, event: Event) -> None:
        self.events.append(event)
        after = evolve(self.schedule, event)
        if after is None:
            self.gone = True
        else:
            self.schedule = after

    def start(self, tick: Tick, offset: int, overlap: ScheduleOverlapPolicy | None, *, manual: bool) -> Start:
        """The next start but `offset`."""
        number = self.schedule.next_number + offset
        return Start(number=number, nominal=tick.nominal, due=tick.due, overlap=overlap, manual=manual)

    @property
    def timetable(self) -> Timetable:
        return compile_spec(self.schedule.definition.spec)


def _check(definition: Definition, state: ScheduleState) -> Timetable:
    check_policy(definition.policy)
    check_state(state)
    return compile_spec(definition.spec)


def _create(schedule: ScheduleRecord | None, command: CreateSchedule, now: datetime) -> list[Event]:
    if schedule is not None:
        if schedule.incarnation == command.incarnation:
            return []
        raise ScheduleExists(
            f"The schedule {command.schedule_id!r} is there already; get it with get_schedule to update or delete it."
        )
    _check(command.definition, command.state)
    return [
        ScheduleCreated(
            schedule_id=command.schedule_id,
            incarnation=command.incarnation,
            definition=command.definition,
            state=command.state,
            at=now,
        )
    ]


def _update(story: _Story, command: UpdateSchedule, now: datetime) -> None:
    schedule = story.schedule
    if command.token is not None and command.token != schedule.token:
        raise ScheduleChanged(f"The schedule {story.id!r} was changed meanwhile; look at it and update it again.")
    timetable = _check(command.definition, command.state)
    passed = max(schedule.passed, timetable.passed(now, schedule.incarnation))
    story.tell(
        ScheduleUpdated(schedule_id=story.id, definition=command.definition, state=command.state, at=now, passed=passed)
    )


def _unpause(story: _Story, command: UnpauseSchedule, now: datetime) -> None:
    schedule = story.schedule
    if not schedule.state.paused and schedule.state.note == command.note:
        return
    passed = schedule.passed
    if schedule.state.paused:
        passed = max(passed, story.timetable.passed(now, schedule.incarnation))
    story.tell(ScheduleUnpaused(schedule_id=story.id, note=command.note, passed=passed))


def _trigger(story: _Story, command: TriggerSchedule, now: datetime) -> None:
    if command.request_id in story.schedule.requests:
        return
    tick = Tick(now.replace(microsecond=0), now)
    room = len(story.schedule.waiting) < MOST_WAITING
    start = story.start(tick, 0, command.overlap, manual=True) if room else None
    story.tell(Triggered(schedule_id=story.id, request_id=command.request_id, start=start))


def _ask_backfill(story: _Story, command: BackfillSchedule) -> None:
    if command.request_id in story.schedule.requests:
        return
    if len(story.schedule.backfills) + len(command.spans) > MOST_SPANS:
        raise InvalidSchedule(f"The schedule {story.id!r} has too many backfills under way; wait for some to finish.")
    story.tell(BackfillAsked(schedule_id=story.id, request_id=command.request_id, spans=command.spans))


def _record(story: _Story, command: RecordStart | RecordNoStart | RecordEnd, now: datetime) -> None:
    run = story.schedule.run(command.number)
    if run is None:
        return
    if isinstance(command, RecordStart):
        if run.started_at is None:
            started = RunStarted(schedule_id=story.id, number=command.number, run_id=command.run_id, at=now)
            story.tell(started)
        return
    if isinstance(command, RecordNoStart):
        missed = RunNotStarted(
            schedule_id=story.id, number=command.number, missed=command.missed, error=command.error, at=now
        )
        story.tell(missed)
        return
    status = command.status
    if status == "cancelled" and run.stop == "terminate":
        status = "terminated"
    ended = RunEnded(
        schedule_id=story.id, number=command.number, status=status, result=command.result, error=command.error
    )
    story.tell(ended)
    schedule = story.schedule
    if status in ("failed", "timed_out") and schedule.definition.policy.pause_on_failure and not schedule.state.paused:
        why = "timeout" if status == "timed_out" else "failure"
        note = f"paused due to {why} of run {run.plan.run_id}: {command.error or ''}".removesuffix(": ")
        story.tell(SchedulePaused(schedule_id=story.id, note=note))


def _pass_time(story: _Story, now: datetime) -> None:
    """Take the times into account that have come."""
    schedule = story.schedule
    if not schedule.acts:
        return
    starts: list[Start] = []
    missed = dropped = 0
    passed: datetime | None = None
    for tick in _due(schedule, story.timetable, now):
        passed = tick.nominal
        if now - tick.due > schedule.catchup_window:
            missed += 1
        elif len(schedule.waiting) + len(starts) >= MOST_WAITING:
            dropped += 1
        else:
            starts.append(story.start(tick, len(starts), None, manual=False))
        if missed + dropped + len(starts) >= _TIMES_AT_ONCE:
            break
    if passed is not None:
        story.tell(
            TimesPassed(schedule_id=story.id, passed=passed, starts=tuple(starts), missed=missed, dropped=dropped)
        )


def _due(schedule: ScheduleRecord, timetable: Timetable, now: datetime) -> Iterator[Tick]:
    for tick in timetable.ticks(schedule.passed, schedule.incarnation):
        if tick.due > now:
            return
        yield tick


def _backfill(story: _Story) -> None:
    """Go on with the first backfill, as far as there is room."""
    schedule = story.schedule
    if not schedule.backfills or len(schedule.waiting) >= _MOST_BACKFILLED:
        return
    span = schedule.backfills[0]
    most = min(_BACKFILLS_AT_ONCE, _MOST_BACKFILLED - len(schedule.waiting))
    starts: list[Start] = []
    rest: Span | None = None
    for tick in story.timetable.ticks(span.after, schedule.incarnation):
        if tick.nominal > span.until:
            break
        if len(starts) == most:
            rest = Span(after=starts[-1].nominal, until=span.until, overlap=span.overlap)
            break
        starts.append(story.start(tick, len(starts), span.overlap, manual=True))
    story.tell(BackfillAdvanced(schedule_id=story.id, starts=tuple(starts), rest=rest))


@dataclass
class _Sorted:
    """What is to become of the starts that wait."""

    beside: list[Start] = field(default_factory=list[Start])
    next: Start | None = None
    waiting: list[Start] = field(default_factory=list[Start])
    skipped: int = 0
    stop: Stop | None = None


def _sort(schedule: ScheduleRecord) -> _Sorted:
    """Apply the overlap policies to the starts that wait, in order."""
    running = any(run.plan.tracked for run in schedule.runs)
    found = _Sorted()
    for start in schedule.waiting:
        overlap = start.overlap or schedule.definition.policy.overlap
        if overlap is ScheduleOverlapPolicy.ALLOW_ALL:
            found.beside.append(start)
        elif not running and found.next is None:
            found.next = start
        else:
            _apply(found, start, overlap, running=running)
    if found.stop is not None:
        found.waiting = [*found.beside, *found.waiting]  # they start when what is being stopped has ended
        found.beside = []
    return found


def _apply(found: _Sorted, start: Start, overlap: ScheduleOverlapPolicy, *, running: bool) -> None:
    match overlap:
        case ScheduleOverlapPolicy.SKIP:
            found.skipped += 1
        case ScheduleOverlapPolicy.BUFFER_ONE if found.waiting:
            found.skipped += 1
        case ScheduleOverlapPolicy.BUFFER_ONE | ScheduleOverlapPolicy.BUFFER_ALL:
            found.waiting.append(start)
        case ScheduleOverlapPolicy.CANCEL_OTHER | ScheduleOverlapPolicy.TERMINATE_OTHER if not running:
            found.next = start  # the one before has not begun: replace it
        case ScheduleOverlapPolicy.CANCEL_OTHER:
            found.stop = found.stop or "cancel"
            found.waiting.append(start)
        case ScheduleOverlapPolicy.TERMINATE_OTHER:
            found.stop = "terminate"
            found.waiting.append(start)
        case _:
            raise InternalError(f"{overlap!r} is applied before.")


def _settle(story: _Story) -> None:
    """Start what may start; once more if some of it is over, because the schedule does not act."""
    while story.schedule.waiting:
        schedule = story.schedule
        found = _sort(schedule)
        chosen = [*found.beside, *([found.next] if found.next else [])]
        taken = list(_takeable(schedule, chosen))
        runs = tuple(
            PlannedRun(start=start, run_id=run_id_of(story.id, start), tracked=start is found.next) for start in taken
        )
        stop = found.stop if any(run.stop != found.stop for run in schedule.runs if run.plan.tracked) else None
        if stop is None and len(found.waiting) == len(schedule.waiting):
            return
        story.tell(
            StartsSettled(
                schedule_id=story.id,
                runs=runs,
                waiting=tuple(start.number for start in found.waiting),
                skipped=found.skipped,
                stop=stop,
            )
        )
        if len(taken) == len(chosen):
            return


def _takeable(schedule: ScheduleRecord, starts: Iterable[Start]) -> Iterator[Start]:
    """Those that may be taken: of starts that nobody asked for, only while the schedule acts."""
    state = schedule.state
    left = state.remaining_actions if state.limited_actions else None
    for start in starts:
        if start.manual:
            yield start
        elif not state.paused and left != 0:
            left = left - 1 if left is not None else None
            yield start


def next_ticks(schedule: ScheduleRecord, now: datetime) -> Iterator[Tick]:
    """The times to come, whether or not the schedule is paused."""
    timetable = compile_spec(schedule.definition.spec)
    after = schedule.passed if schedule.acts else max(schedule.passed, timetable.passed(now, schedule.incarnation))
    return timetable.ticks(after, schedule.incarnation)


def wake_at(schedule: ScheduleRecord, now: datetime) -> datetime | None:
    """When to `Advance` a schedule next; None: not before something else happens to it."""
    found: list[datetime] = []
    if schedule.backfills and len(schedule.waiting) < _MOST_BACKFILLED:
        overlap = schedule.backfills[0].overlap or schedule.definition.policy.overlap
        beside = overlap is ScheduleOverlapPolicy.ALLOW_ALL
        found.append(now + _BACKFILL_PAUSE if beside else now)
    tick = next(next_ticks(schedule, now), None) if schedule.acts else None
    if tick is not None:
        found.append(tick.due)
    elif not schedule.state.paused and (expires := _expires_at(schedule)) is not None:
        found.append(expires)
    return min(found, default=None)


def _expires_at(schedule: ScheduleRecord) -> datetime | None:
    if schedule.runs or schedule.waiting or schedule.backfills:
        return None
    active = [schedule.created_at, schedule.updated_at, *(result.started_at for result in schedule.recent)]
    return max(moment for moment in active if moment is not None) + IDLE_FOR_GOOD


def _expire(story: _Story, now: datetime) -> None:
    schedule = story.schedule
    expires = _expires_at(schedule)
    if expires is None or expires > now or schedule.state.paused:
        return
    if schedule.acts and next(story.timetable.ticks(schedule.passed, schedule.incarnation), None) is not None:
        return
    story.tell(ScheduleDeleted(schedule_id=story.id))
