"""What time itself leads to: times that come, backfills that go on, clocks that were wrong, and an end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from rojak_ray.schedules.events import (
    BackfillAdvanced,
    ClockBehind,
    ClockCorrected,
    ScheduleDeleted,
    Span,
    Start,
    TimesPassed,
)
from rojak_ray.schedules.spec import ScheduleOverlapPolicy
from rojak_ray.schedules.state import ScheduleRecord
from rojak_ray.schedules.story import MOST_WAITING, Story
from rojak_ray.schedules.times import Tick, Timetable

_MOST_BACKFILLED = MOST_WAITING // 2
"""Backfills leave the other half of the room to times that come."""

_BACKFILLS_AT_ONCE = 10
_TIMES_AT_ONCE = 5000
"""Times looked at in one decision; a schedule that was away for long takes several."""

_STARTS_AT_ONCE = 100
"""Of those that need no room, if there is none."""

_BACKFILL_PAUSE = timedelta(seconds=1)
IDLE_FOR_GOOD = timedelta(days=7)
"""A schedule that has nothing left to do is deleted after this time."""

MOST_BEHIND = timedelta(minutes=10)
"""A clock that is set back by less is waited for: nothing starts until it shows again what it has shown."""

BELIEVED_AFTER = timedelta(minutes=1)
"""A clock that is set back by more is believed when it has gone on for so long: it was wrong before, not now."""


def pass_time(story: Story, now: datetime) -> None:
    """Take the times into account that have come, as many as there is room for: the rest is for the next decision."""
    _judge_clock(story, now)
    schedule = story.schedule
    if not schedule.acts:
        return
    room = MOST_WAITING - len(schedule.waiting)
    # Only these wait for each other; others are settled at once, so that they need no room, but for a moment.
    queueing = schedule.definition.policy.overlap is ScheduleOverlapPolicy.BUFFER_ALL
    most = room if queueing else max(room, _STARTS_AT_ONCE)
    starts: list[Start] = []
    missed = dropped = 0
    passed: datetime | None = None
    for tick in _due(schedule, story.timetable, now):
        if now - tick.due > schedule.catchup_window:
            missed += 1
        elif queueing and room <= 0:
            dropped += 1
        elif len(starts) >= most:
            break
        else:
            starts.append(story.due_start(tick, len(starts)))
        passed = tick.nominal
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


def _judge_clock(story: Story, now: datetime) -> None:
    """Find out whether what has passed was told by a clock that was ahead, and go back to now if so.

    A time that was started early by such a clock has its run; it leads to the same request again, which starts none.
    What waits for such a time is forgotten: it comes again.
    """
    schedule = story.schedule
    since = schedule.behind_since
    if not _clock_is_behind(schedule, now):
        if since is not None:
            story.tell(ClockBehind(schedule_id=story.id, since=None))
    elif since is None or since > now:
        story.tell(ClockBehind(schedule_id=story.id, since=now))
    elif now - since >= BELIEVED_AFTER:
        early = tuple(start.number for start in schedule.waiting if start.by_time and start.nominal > since)
        story.tell(ClockCorrected(schedule_id=story.id, passed=since, forgotten=early))


def _clock_is_behind(schedule: ScheduleRecord, now: datetime) -> bool:
    return schedule.passed - now > MOST_BEHIND


def go_through_backfill(story: Story, now: datetime) -> None:
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
        copy = first_free_copy(story, tick.nominal, now)
        starts.append(story.asked_start(tick, len(starts), span.overlap, first_copy=copy, backfill=True))
    story.tell(BackfillAdvanced(schedule_id=story.id, starts=tuple(starts), rest=rest))


def first_free_copy(story: Story, nominal: datetime, now: datetime) -> int:
    """The first number for the run of a start by hand: the plain id of a time that may yet start a run is not its."""
    schedule = story.schedule
    planned = (run.plan.start for run in schedule.runs if run.started_at is None)
    coming = nominal > story.over(now) or any(
        not start.manual and start.nominal == nominal for start in (*schedule.waiting, *planned)
    )
    return 2 if coming else 1


def next_ticks(schedule: ScheduleRecord, now: datetime) -> Iterator[Tick]:
    """The times to come, whether or not the schedule is paused."""
    timetable = schedule.definition.timetable
    after = schedule.passed
    if _clock_is_behind(schedule, now):
        after = timetable.passed(now, schedule.incarnation)  # where it will go on; see `_judge_clock`
    elif not schedule.acts:
        after = max(after, timetable.passed(now, schedule.incarnation))
    return timetable.ticks(after, schedule.incarnation)


def wake_at(schedule: ScheduleRecord, now: datetime) -> datetime | None:
    """When to `Advance` a schedule next; None: not before something else happens to it."""
    found: list[datetime] = []
    if schedule.backfills and len(schedule.waiting) < _MOST_BACKFILLED:
        overlap = schedule.backfills[0].overlap or schedule.definition.policy.overlap
        beside = overlap is ScheduleOverlapPolicy.ALLOW_ALL
        found.append(now + _BACKFILL_PAUSE if beside else now)
    if _clock_is_behind(schedule, now):
        since = schedule.behind_since
        found.append(now if since is None or since > now else since + BELIEVED_AFTER)
        return min(found)
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


def expire(story: Story, now: datetime) -> None:
    """Delete a schedule that has had nothing left to do for long."""
    schedule = story.schedule
    expires = _expires_at(schedule)
    if expires is None or expires > now or schedule.state.paused:
        return
    if schedule.acts and next(story.timetable.ticks(schedule.passed, schedule.incarnation), None) is not None:
        return
    story.tell(ScheduleDeleted(schedule_id=story.id))
