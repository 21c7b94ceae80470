"""What happened to schedules, in the past tense: the scheduler's journal, from which everything else is folded."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cached_property
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import Field, JsonValue

from rojak_ray.agents.spec import AgentSpec
from rojak_ray.core.events import DEFAULT_MODEL_CALLS
from rojak_ray.messages import Message, Record
from rojak_ray.schedules.spec import ScheduleOverlapPolicy, SchedulePolicy, ScheduleSpec, ScheduleState
from rojak_ray.schedules.times import Timetable, compile_spec

EndStatus = Literal["completed", "failed", "cancelled", "terminated", "timed_out"]
Stop = Literal["cancel", "terminate"]


class Action(Record):
    """What a schedule starts runs with."""

    agent: AgentSpec
    providers: dict[str, str] = {}
    """What names the providers of the program that made the schedule, by agent type."""

    messages: tuple[Message, ...]
    context_variables: dict[str, JsonValue] = {}
    max_turns: int | None = None
    max_model_calls: int | None = DEFAULT_MODEL_CALLS
    debug: bool = False


class Definition(Record):
    """What a person says about a schedule."""

    action: Action
    spec: ScheduleSpec
    policy: SchedulePolicy = Field(default_factory=SchedulePolicy)

    @cached_property
    def timetable(self) -> Timetable:
        """The spec, ready to be asked.

        Raises:
            InvalidSchedule: It cannot be followed on this machine.
        """
        return compile_spec(self.spec)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, which makes a timetable of its own."""
        copy = super().model_copy(update=update, deep=deep)
        vars(copy).pop("timetable", None)
        return copy


class Start(Record):
    """A run that is to be started: because its time came, or because somebody asked."""

    number: int
    """Counts the starts of a schedule."""

    nominal: datetime
    due: datetime
    """The nominal time with jitter."""

    overlap: ScheduleOverlapPolicy | None = None
    """None: the schedule's policy when its turn comes."""

    manual: bool = False
    backfill: bool = False
    """Asked for by a backfill."""

    first_copy: int = 1
    """The first number its run may have: 2 if the plain id is another start's, also one that is still to come."""

    by_time: bool = False
    """Its request is named by its time, so that a time that comes twice is the same request. False: by its number."""


class _About(Record):
    schedule_id: str


class ScheduleCreated(_About):
    """A schedule began."""

    kind: Literal["schedule_created"] = "schedule_created"
    incarnation: str
    """Differs between two schedules that used the same id one after the other; the seed of its jitter."""

    definition: Definition
    state: ScheduleState
    at: datetime


class ScheduleUpdated(_About):
    """A person replaced what it does or when."""

    kind: Literal["schedule_updated"] = "schedule_updated"
    definition: Definition
    state: ScheduleState
    at: datetime
    passed: datetime
    """Nominal times up to here are over."""


class SchedulePaused(_About):
    """It takes no times into account until it is unpaused."""

    kind: Literal["schedule_paused"] = "schedule_paused"
    note: str | None = None


class ScheduleUnpaused(_About):
    """It goes on; what passed meanwhile is forgotten."""

    kind: Literal["schedule_unpaused"] = "schedule_unpaused"
    note: str | None = None
    passed: datetime


class ScheduleDeleted(_About):
    """It is gone; what it started goes on."""

    kind: Literal["schedule_deleted"] = "schedule_deleted"


class TimesPassed(_About):
    """Times came: some lead to starts, others were noticed too late or found no room."""

    kind: Literal["times_passed"] = "times_passed"
    passed: datetime
    starts: tuple[Start, ...] = ()
    missed: int = 0
    dropped: int = 0


class ClockBehind(_About):
    """The clock shows much less than what has passed: since when, or that it does no longer."""

    kind: Literal["clock_behind"] = "clock_behind"
    since: datetime | None


class ClockCorrected(_About):
    """What had passed was told by a clock that was ahead; it goes on from where the right one stands."""

    kind: Literal["clock_corrected"] = "clock_corrected"
    passed: datetime
    forgotten: tuple[int, ...] = ()
    """Numbers of starts that waited for times that come again."""


class Triggered(_About):
    """Somebody asked for a run now; without a start there was no room for it."""

    kind: Literal["triggered"] = "triggered"
    request_id: str
    start: Start | None


class BackfillAsked(_About):
    """Somebody asked to go through a span of time as if it passed now."""

    kind: Literal["backfill_asked"] = "backfill_asked"
    request_id: str
    spans: tuple[Span, ...]


class BackfillAdvanced(_About):
    """A part of the first span was gone through; `rest` is what is left of it."""

    kind: Literal["backfill_advanced"] = "backfill_advanced"
    starts: tuple[Start, ...]
    rest: Span | None


class BackfillsCancelled(_About):
    """Somebody called off what is left of the backfills; runs that they started go on."""

    kind: Literal["backfills_cancelled"] = "backfills_cancelled"


class RequestTaken(_About):
    """A caller's request, by the name that he gave it, was taken, whatever it led to."""

    kind: Literal["request_taken"] = "request_taken"
    request: str
    """Fingerprint of schedule, kind of request and the caller's name for it."""

    input: str
    """Fingerprint of what was asked."""


class Span(Record):
    """Nominal times after one instant, up to another."""

    after: datetime
    until: datetime
    overlap: ScheduleOverlapPolicy | None = None

    @classmethod
    def begin(cls, first: datetime, last: datetime, overlap: ScheduleOverlapPolicy | None) -> Span:
        """From one instant to another, both included."""
        return cls(after=first - timedelta(microseconds=1), until=last, overlap=overlap)


class PlannedRun(Record):
    """A start whose turn came."""

    start: Start
    run_id: str
    tracked: bool
    """Whether it holds others back (not with ALLOW_ALL)."""


class StartsSettled(_About):
    """Waiting starts were looked at: some are taken, some wait on, the others are over."""

    kind: Literal["starts_settled"] = "starts_settled"
    runs: tuple[PlannedRun, ...] = ()
    waiting: tuple[int, ...] = ()
    """Numbers of those that wait on."""

    skipped: int = 0
    stop: Stop | None = None
    """What is to happen to the runs that hold the waiting ones back."""


class RunStarted(_About):
    """A planned run exists."""

    kind: Literal["scheduled_run_started"] = "scheduled_run_started"
    number: int
    run_id: str
    at: datetime


class RunNotStarted(_About):
    """A planned run could not be started: never in time, or its id belongs to something else."""

    kind: Literal["scheduled_run_not_started"] = "scheduled_run_not_started"
    number: int
    missed: bool
    error: str
    at: datetime


class RunEnded(_About):
    """A run has its outcome."""

    kind: Literal["scheduled_run_ended"] = "scheduled_run_ended"
    number: int
    status: EndStatus
    result: str | None = None
    """What it answered last."""

    error: str | None = None


Event: TypeAlias = Annotated[
    ScheduleCreated
    | ScheduleUpdated
    | SchedulePaused
    | ScheduleUnpaused
    | ScheduleDeleted
    | TimesPassed
    | ClockBehind
    | ClockCorrected
    | Triggered
    | BackfillAsked
    | BackfillAdvanced
    | BackfillsCancelled
    | RequestTaken
    | StartsSettled
    | RunStarted
    | RunNotStarted
    | RunEnded,
    Field(discriminator="kind"),
]
