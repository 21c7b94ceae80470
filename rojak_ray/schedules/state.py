"""Schedules folded from their events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal, assert_never

from rojak_ray.messages import Record
from rojak_ray.schedules.events import (
    BackfillAdvanced,
    BackfillAsked,
    BackfillsCancelled,
    ClockBehind,
    ClockCorrected,
    Definition,
    EndStatus,
    Event,
    PlannedRun,
    RequestTaken,
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
from rojak_ray.schedules.spec import DEFAULT_CATCHUP_WINDOW, SHORTEST_CATCHUP_WINDOW, ScheduleState

KEPT_RESULTS = 10
_KEPT_REQUESTS = 64

Status = Literal["running"] | EndStatus


class Run(Record):
    """A run that is planned or going."""

    plan: PlannedRun
    started_at: datetime | None = None
    """None: not known to be started."""

    stop: Stop | None = None


class Result(Record):
    """A run that was started, for people."""

    number: int
    run_id: str
    scheduled_at: datetime
    started_at: datetime
    status: Status = "running"
    error: str | None = None


class ScheduleRecord(Record):
    """Everything about one schedule."""

    schedule_id: str
    incarnation: str
    definition: Definition
    state: ScheduleState
    created_at: datetime
    updated_at: datetime | None = None
    token: int = 1
    """Grows when what a person can say about it changes."""

    passed: datetime
    """Nominal times up to here are over. It only goes back if a clock that was far ahead had told it."""

    behind_since: datetime | None = None
    """Set while the clock shows much less than `passed`: since when, as the clock says."""

    next_number: int = 1
    waiting: tuple[Start, ...] = ()
    backfills: tuple[Span, ...] = ()
    runs: tuple[Run, ...] = ()
    recent: tuple[Result, ...] = ()
    """The latest, oldest first."""

    started: int = 0
    missed: int = 0
    skipped: int = 0
    dropped: int = 0
    last_result: str | None = None
    """What the last run that completed answered (runs beside others do not count)."""

    last_failure: str | None = None
    """What the last run ended in, if it failed."""

    requests: tuple[str, ...] = ()
    """The latest triggers and backfills, so that one whose reply was lost can be asked again."""

    @property
    def catchup_window(self) -> timedelta:
        """How late a time may be noticed."""
        window = self.definition.policy.catchup_window
        return DEFAULT_CATCHUP_WINDOW if window is None else max(window, SHORTEST_CATCHUP_WINDOW)

    @property
    def acts(self) -> bool:
        """Whether times lead to starts."""
        state = self.state
        return not state.paused and (not state.limited_actions or state.remaining_actions > 0)

    def run(self, number: int) -> Run | None:
        """A planned or going run by its number."""
        return next((run for run in self.runs if run.plan.start.number == number), None)


class SchedulerState(Record):
    """All schedules of a namespace, by id."""

    schedules: dict[str, ScheduleRecord] = {}
    requests: dict[str, str] = {}
    """Requests that callers named, also to schedules that are gone: fingerprints of names, and of what was asked."""


def evolve_all(state: SchedulerState, event: Event) -> SchedulerState:
    """The state after an event of any schedule."""
    if isinstance(event, RequestTaken):
        requests = {**state.requests, event.request: event.input}
        return SchedulerState.model_construct(schedules=state.schedules, requests=requests)
    schedules = state.schedules.copy()
    after = evolve(schedules.get(event.schedule_id), event)
    if after is None:
        schedules.pop(event.schedule_id, None)
    else:
        schedules[event.schedule_id] = after
    return SchedulerState.model_construct(schedules=schedules, requests=state.requests)


def evolve(schedule: ScheduleRecord | None, event: Event) -> ScheduleRecord | None:
    """A schedule after an event; None: there is none. Total over the events that `decide` writes."""
    if isinstance(event, ScheduleCreated):
        return ScheduleRecord(
            schedule_id=event.schedule_id,
            incarnation=event.incarnation,
            definition=event.definition,
            state=event.state,
            created_at=event.at,
            passed=event.at,
        )
    if schedule is None or isinstance(event, ScheduleDeleted):
        return None
    if isinstance(event, RequestTaken):
        return schedule
    return schedule.model_copy(update=_changes(schedule, event))


def _changes(schedule: ScheduleRecord, event: Event) -> dict[str, Any]:
    match event:
        case ScheduleUpdated():
            return {
                "definition": event.definition,
                "state": event.state,
                "updated_at": event.at,
                "passed": event.passed,
                "token": schedule.token + 1,
            }
        case SchedulePaused():
            return _paused(schedule, event.note, True)
        case ScheduleUnpaused():
            return {**_paused(schedule, event.note, False), "passed": event.passed}
        case TimesPassed():
            counts = {"missed": schedule.missed + event.missed, "dropped": schedule.dropped + event.dropped}
            return {**_added(schedule, event.starts), **counts, "passed": event.passed}
        case ClockBehind() | ClockCorrected():
            return _clock_judged(schedule, event)
        case Triggered():
            starts = (event.start,) if event.start else ()
            dropped = schedule.dropped + (event.start is None)
            return {**_added(schedule, starts), **_remembered(schedule, event.request_id), "dropped": dropped}
        case BackfillAsked() | BackfillAdvanced() | BackfillsCancelled():
            return _backfilled(schedule, event)
        case StartsSettled():
            return _settled(schedule, event)
        case RunStarted():
            return _run_started(schedule, event)
        case RunNotStarted():
            return _run_not_started(schedule, event)
        case RunEnded():
            return _run_ended(schedule, event)
        case ScheduleCreated() | ScheduleDeleted() | RequestTaken():
            return {}
        case _:
            assert_never(event)


def _clock_judged(schedule: ScheduleRecord, event: ClockBehind | ClockCorrected) -> dict[str, Any]:
    if isinstance(event, ClockBehind):
        return {"behind_since": event.since}
    forgotten = set(event.forgotten)
    waiting = tuple(start for start in schedule.waiting if start.number not in forgotten)
    return {"passed": event.passed, "behind_since": None, "waiting": waiting}


def _backfilled(
    schedule: ScheduleRecord, event: BackfillAsked | BackfillAdvanced | BackfillsCancelled
) -> dict[str, Any]:
    if isinstance(event, BackfillAsked):
        return {**_remembered(schedule, event.request_id), "backfills": (*schedule.backfills, *event.spans)}
    if isinstance(event, BackfillsCancelled):
        return {"backfills": (), "waiting": tuple(start for start in schedule.waiting if not start.backfill)}
    rest = (event.rest,) if event.rest else ()
    return {**_added(schedule, event.starts), "backfills": (*rest, *schedule.backfills[1:])}


def _paused(schedule: ScheduleRecord, note: str | None, paused: bool) -> dict[str, Any]:
    state = schedule.state
    changed = ScheduleState(note, paused, state.limited_actions, state.remaining_actions)
    return {"state": changed, "token": schedule.token + 1}


def _added(schedule: ScheduleRecord, starts: tuple[Start, ...]) -> dict[str, Any]:
    numbers = [start.number + 1 for start in starts]
    return {"waiting": (*schedule.waiting, *starts), "next_number": max([schedule.next_number, *numbers])}


def _remembered(schedule: ScheduleRecord, request_id: str) -> dict[str, Any]:
    return {"requests": (*schedule.requests, request_id)[-_KEPT_REQUESTS:]}


def _settled(schedule: ScheduleRecord, event: StartsSettled) -> dict[str, Any]:
    waiting = set(event.waiting)
    runs = schedule.runs
    if event.stop is not None:
        runs = tuple(run.model_copy(update={"stop": event.stop}) if run.plan.tracked else run for run in runs)
    changes: dict[str, Any] = {
        "waiting": tuple(start for start in schedule.waiting if start.number in waiting),
        "runs": (*runs, *(Run(plan=plan) for plan in event.runs)),
        "skipped": schedule.skipped + event.skipped,
    }
    taken = sum(not plan.start.manual for plan in event.runs)
    state = schedule.state
    if state.limited_actions and taken:
        left = max(0, state.remaining_actions - taken)
        changes["state"] = ScheduleState(state.note, state.paused, True, left)
        changes["token"] = schedule.token + 1
    return changes


def _run_started(schedule: ScheduleRecord, event: RunStarted) -> dict[str, Any]:
    run = schedule.run(event.number)
    if run is None:
        return {}
    plan = run.plan.model_copy(update={"run_id": event.run_id})
    started = run.model_copy(update={"plan": plan, "started_at": event.at})
    result = Result(
        number=event.number, run_id=event.run_id, scheduled_at=run.plan.start.due.astimezone(UTC), started_at=event.at
    )
    return {
        "runs": tuple(started if other is run else other for other in schedule.runs),
        "recent": (*schedule.recent, result)[-KEPT_RESULTS:],
        "started": schedule.started + 1,
    }


def _run_not_started(schedule: ScheduleRecord, event: RunNotStarted) -> dict[str, Any]:
    run = schedule.run(event.number)
    if run is None:
        return {}
    changes: dict[str, Any] = {"runs": tuple(other for other in schedule.runs if other is not run)}
    if event.missed:
        return {**changes, "missed": schedule.missed + 1}
    result = Result(
        number=event.number,
        run_id=run.plan.run_id,
        scheduled_at=run.plan.start.due,
        started_at=event.at,
        status="failed",
        error=event.error,
    )
    return {**changes, "recent": (*schedule.recent, result)[-KEPT_RESULTS:]}


def _run_ended(schedule: ScheduleRecord, event: RunEnded) -> dict[str, Any]:
    run = schedule.run(event.number)
    if run is None:
        return {}

    def told(result: Result) -> Result:
        ended = {"status": event.status, "error": event.error}
        return result.model_copy(update=ended) if result.number == event.number else result

    changes: dict[str, Any] = {
        "runs": tuple(other for other in schedule.runs if other is not run),
        "recent": tuple(map(told, schedule.recent)),
    }
    if run.plan.tracked and event.status == "completed":
        changes.update(last_result=event.result, last_failure=None)
    elif run.plan.tracked and event.status in ("failed", "timed_out"):
        changes.update(last_failure=event.error)
    return changes
