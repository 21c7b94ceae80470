"""`decide(schedule, command)`: which facts a command leads to.

Pure, as in `core`: the time is in the command. What came due before comes first (`passing`), and the overlap policies
have their say after each change (`overlap`).
"""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

from rojak_ray.errors import InternalError, InvalidSchedule, ScheduleChanged, ScheduleExists, ScheduleNotFound
from rojak_ray.schedules.commands import (
    Advance,
    BackfillSchedule,
    CancelBackfills,
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
    BackfillAsked,
    BackfillsCancelled,
    Definition,
    Event,
    RunEnded,
    RunNotStarted,
    RunStarted,
    ScheduleCreated,
    ScheduleDeleted,
    SchedulePaused,
    ScheduleUnpaused,
    ScheduleUpdated,
    Triggered,
)
from rojak_ray.schedules.overlap import settle
from rojak_ray.schedules.passing import expire, first_free_copy, go_through_backfill, pass_time
from rojak_ray.schedules.spec import ScheduleOverlapPolicy, ScheduleState, check_policy, check_state
from rojak_ray.schedules.state import ScheduleRecord
from rojak_ray.schedules.story import MOST_WAITING, Story
from rojak_ray.schedules.times import Tick, Timetable

MOST_SPANS = 1000


def decide(schedule: ScheduleRecord | None, command: Command, *, stuck: bool = False) -> list[Event]:
    """The events a command leads to; none if it changes nothing.

    Args:
        schedule: None if there is none of this id.
        command: With its time.
        stuck: Time cannot be taken into account, so only the command is. For a schedule whose times cannot be told.

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
    story = Story(schedule)
    if not stuck:
        pass_time(story, command.at)
        settle(story)
    _perform(story, command, command.at, stuck=stuck)
    if not story.gone:
        if not stuck:
            go_through_backfill(story, command.at)
        settle(story)
    return story.events


_Change = (
    UpdateSchedule
    | PauseSchedule
    | UnpauseSchedule
    | TriggerSchedule
    | BackfillSchedule
    | CancelBackfills
    | DeleteSchedule
    | Advance
    | RecordStart
    | RecordNoStart
    | RecordEnd
)


def _perform(story: Story, command: _Change, now: datetime, *, stuck: bool) -> None:
    match command:
        case Advance():
            if command.may_expire and not stuck:
                expire(story, now)
        case DeleteSchedule():
            story.tell(ScheduleDeleted(schedule_id=story.id))
        case UpdateSchedule():
            _update(story, command, now)
        case PauseSchedule():
            if not story.schedule.state.paused or story.schedule.state.note != command.note:
                story.tell(SchedulePaused(schedule_id=story.id, note=command.note))
        case UnpauseSchedule():
            _unpause(story, command, now, stuck=stuck)
        case TriggerSchedule():
            _trigger(story, command, now, stuck=stuck)
        case BackfillSchedule():
            _ask_backfill(story, command)
        case CancelBackfills():
            if story.schedule.backfills or any(start.backfill for start in story.schedule.waiting):
                story.tell(BackfillsCancelled(schedule_id=story.id))
        case RecordStart() | RecordNoStart() | RecordEnd():
            _record(story, command, now)
        case _:
            assert_never(command)


def _check(definition: Definition, state: ScheduleState) -> Timetable:
    check_policy(definition.policy)
    check_state(state)
    return definition.timetable


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


def _update(story: Story, command: UpdateSchedule, now: datetime) -> None:
    schedule = story.schedule
    if command.token is not None and command.token != schedule.token:
        raise ScheduleChanged(f"The schedule {story.id!r} was changed meanwhile; look at it and update it again.")
    timetable = _check(command.definition, command.state)
    passed = max(schedule.passed, timetable.passed(now, schedule.incarnation))
    story.tell(
        ScheduleUpdated(schedule_id=story.id, definition=command.definition, state=command.state, at=now, passed=passed)
    )


def _unpause(story: Story, command: UnpauseSchedule, now: datetime, *, stuck: bool) -> None:
    schedule = story.schedule
    if not schedule.state.paused and schedule.state.note == command.note:
        return
    passed = schedule.passed
    if schedule.state.paused and not stuck:
        passed = max(passed, story.timetable.passed(now, schedule.incarnation))
    story.tell(ScheduleUnpaused(schedule_id=story.id, note=command.note, passed=passed))


def _trigger(story: Story, command: TriggerSchedule, now: datetime, *, stuck: bool) -> None:
    if command.request_id in story.schedule.requests:
        return
    tick = Tick(now.replace(microsecond=0), now)
    overlap = command.overlap or story.schedule.definition.policy.overlap
    start = None
    if len(story.schedule.waiting) < MOST_WAITING or overlap is not ScheduleOverlapPolicy.BUFFER_ALL:
        copy = 2 if stuck else _copy_for(story, tick.nominal, now)
        start = story.asked_start(tick, 0, command.overlap, first_copy=copy, backfill=False)
    story.tell(Triggered(schedule_id=story.id, request_id=command.request_id, start=start))


def _copy_for(story: Story, nominal: datetime, now: datetime) -> int:
    second = int(nominal.timestamp())
    matches = next(story.timetable.after(second - 1), None) == second
    return first_free_copy(story, nominal, now) if matches else 1


def _ask_backfill(story: Story, command: BackfillSchedule) -> None:
    if command.request_id in story.schedule.requests:
        return
    if len(story.schedule.backfills) + len(command.spans) > MOST_SPANS:
        raise InvalidSchedule(f"The schedule {story.id!r} has too many backfills under way; wait for some to finish.")
    story.tell(BackfillAsked(schedule_id=story.id, request_id=command.request_id, spans=command.spans))


def _record(story: Story, command: RecordStart | RecordNoStart | RecordEnd, now: datetime) -> None:
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
