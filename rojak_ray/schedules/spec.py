"""What people write to say when a schedule acts: Temporal's names, fields and defaults.

Plain dataclasses, also what is stored: every value survives JSON. They are checked when a schedule is created
(`times.compile_spec`, `check_policy`), where the text of the error names the field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum

from pydantic import ConfigDict

from rojak_ray.checks import shown
from rojak_ray.errors import InvalidSchedule
from rojak_ray.schedules.edges import check_duration, check_flag, check_number, check_text

_STORED = ConfigDict(extra="forbid")
"""What comes back from storage has these fields and no others."""

DEFAULT_CATCHUP_WINDOW = timedelta(days=365)
SHORTEST_CATCHUP_WINDOW = timedelta(seconds=10)
SHORTEST_RETENTION = timedelta(hours=1)
"""So long nobody stands still who has a conversation open; see `journal.burial`."""

_MOST_ACTIONS = 10**15


class ScheduleOverlapPolicy(IntEnum):
    """What to do when a run is due and the one before has not ended. The numbers are Temporal's.

    Example:
        await schedule.update(policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.BUFFER_ONE))
    """

    SKIP = 1
    """Start nothing; the next time after the running one has ended counts again."""

    BUFFER_ONE = 2
    """Start one when the running one has ended: the first that was due meanwhile."""

    BUFFER_ALL = 3
    """Start all that were due meanwhile, one after another."""

    CANCEL_OTHER = 4
    """Cancel the running one and start when it has ended."""

    TERMINATE_OTHER = 5
    """As CANCEL_OTHER; the stopped run is listed as terminated."""

    ALLOW_ALL = 6
    """Start at once, beside whatever runs. Such a run neither holds others back nor hands on its result."""


@dataclass(frozen=True)
class ScheduleRange:
    """Values from `start` to `end`, both included, in steps.

    Example:
        assert ScheduleRange(9, 17, step=4) == ScheduleRange(start=9, end=17, step=4)  # 9, 13 and 17
    """

    __pydantic_config__ = _STORED

    start: int
    end: int = 0
    """Below `start`: the same as `start`."""

    step: int = 0
    """0: the same as 1."""

    def __post_init__(self) -> None:
        """Fill in what 0 stands for."""
        # What is no number is left as it is: the check names it.
        if isinstance(self.start, int) and isinstance(self.end, int) and self.end < self.start:
            object.__setattr__(self, "end", self.start)
        if self.step == 0:
            object.__setattr__(self, "step", 1)


@dataclass
class ScheduleCalendarSpec:
    """Wall-clock times at which all fields match; without any, midnight of every day.

    Example:
        friday_evening = ScheduleCalendarSpec(hour=[ScheduleRange(18)], day_of_week=[ScheduleRange(5)])
        await rojak.create_schedule("friday", ScheduleSpec(calendars=[friday_evening]), agent, "Hello!")
    """

    __pydantic_config__ = _STORED

    second: Sequence[ScheduleRange] = (ScheduleRange(0),)
    """0 to 59."""

    minute: Sequence[ScheduleRange] = (ScheduleRange(0),)
    """0 to 59."""

    hour: Sequence[ScheduleRange] = (ScheduleRange(0),)
    """0 to 23."""

    day_of_month: Sequence[ScheduleRange] = (ScheduleRange(1, 31),)
    """1 to 31."""

    month: Sequence[ScheduleRange] = (ScheduleRange(1, 12),)
    """1 to 12."""

    year: Sequence[ScheduleRange] = ()
    """2000 to 2100; empty: every year."""

    day_of_week: Sequence[ScheduleRange] = (ScheduleRange(0, 6),)
    """0 (Sunday) to 6."""

    comment: str | None = None
    """For people, at most 200 characters."""


@dataclass
class ScheduleIntervalSpec:
    """Times a fixed distance apart, counted from the Unix epoch.

    Example:
        from datetime import timedelta

        every = ScheduleIntervalSpec(every=timedelta(hours=6), offset=timedelta(hours=1))  # 1, 7, 13, 19 o'clock, UTC
        await rojak.create_schedule("quarterly", ScheduleSpec(intervals=[every]), agent, "Hello!")
    """

    __pydantic_config__ = _STORED

    every: timedelta
    """At least a second; fractions of seconds are cut off."""

    offset: timedelta | None = None
    """Moves all of them; less than `every`."""


@dataclass
class ScheduleSpec:
    """When a schedule acts: whenever any calendar, interval or cron expression matches and no `skip` does.

    Example:
        christmas = ScheduleCalendarSpec(month=[ScheduleRange(12)], day_of_month=[ScheduleRange(24, 26)])
        spec = ScheduleSpec(cron_expressions=["0 9 * * 1-5"], skip=[christmas], time_zone_name="Europe/Berlin")
        await rojak.create_schedule("daily", spec, agent, "Hello!")
    """

    __pydantic_config__ = _STORED

    calendars: Sequence[ScheduleCalendarSpec] = field(default_factory=list[ScheduleCalendarSpec])
    intervals: Sequence[ScheduleIntervalSpec] = field(default_factory=list[ScheduleIntervalSpec])
    cron_expressions: Sequence[str] = field(default_factory=list[str])
    """`minute hour day-of-month month day-of-week`, then perhaps a year; with seven fields seconds come first.

    Both day fields must match. Also `@daily` and its like, `@every 45m` or `@every 6h/5h` (with an offset), a prefix
    `TZ=` or `CRON_TZ=`, and a comment after `#`.
    """

    skip: Sequence[ScheduleCalendarSpec] = field(default_factory=list[ScheduleCalendarSpec])
    """Times left out."""

    start_at: datetime | None = None
    """Nothing before; without a zone it is UTC. At most the year 2100, with which the calendar ends."""

    end_at: datetime | None = None
    """Nothing after; without a zone it is UTC."""

    jitter: timedelta | None = None
    """Each time is put off by some part of this, always the same for the same schedule, never past the next time.

    At most 366 days."""

    time_zone_name: str | None = None
    """IANA name (`Europe/Berlin`) of the zone of calendars and cron expressions; None: UTC."""


@dataclass
class SchedulePolicy:
    """How a schedule deals with runs that overlap, come late or fail.

    Example:
        from datetime import timedelta

        policy = SchedulePolicy(overlap=ScheduleOverlapPolicy.BUFFER_ONE, keep_runs=timedelta(days=30))
        hourly = ScheduleSpec(cron_expressions=["@hourly"])
        await rojak.create_schedule("hourly", hourly, agent, "Hello!", policy=policy)
    """

    __pydantic_config__ = _STORED

    overlap: ScheduleOverlapPolicy = ScheduleOverlapPolicy.SKIP
    catchup_window: timedelta | None = None
    """A time that is noticed later than this is missed. None: 365 days; less than 10 seconds counts as 10."""

    pause_on_failure: bool = False
    """Pause when a run fails or times out. Cancelled runs do not count."""

    keep_runs: timedelta | None = None
    """Remove its runs when they have ended for so long, at least an hour. None: keep them."""


@dataclass
class ScheduleState:
    """Whether a schedule acts, and how often still.

    Example:
        thrice = ScheduleState(limited_actions=True, remaining_actions=3)
        await rojak.create_schedule("hourly", ScheduleSpec(cron_expressions=["@hourly"]), agent, "Hello!", state=thrice)
    """

    __pydantic_config__ = _STORED

    note: str | None = None
    """For people; replaced by pausing, also by `pause_on_failure`."""

    paused: bool = False
    limited_actions: bool = False
    """Whether `remaining_actions` counts. Triggers and backfills neither need nor use it up."""

    remaining_actions: int = 0


@dataclass
class ScheduleBackfill:
    """A span of time to go through as if it passed now, both ends included.

    Example:
        from datetime import UTC, datetime

        span = ScheduleBackfill(datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 12, 31, tzinfo=UTC))
        await schedule.backfill(span)
    """

    __pydantic_config__ = _STORED

    start_at: datetime
    end_at: datetime
    overlap: ScheduleOverlapPolicy | None = None
    """None: the schedule's own policy."""


def check_policy(policy: SchedulePolicy) -> None:
    """Refuse a policy that cannot be followed.

    Raises:
        InvalidSchedule: The text names the field.
    """
    if not isinstance(policy, SchedulePolicy):
        raise InvalidSchedule(f"policy must be a SchedulePolicy, not {type(policy).__name__}.")
    check_overlap(policy.overlap, "policy.overlap")
    if policy.catchup_window is not None:
        check_duration(policy.catchup_window, "policy.catchup_window")
    check_flag(policy.pause_on_failure, "policy.pause_on_failure")
    if policy.keep_runs is not None and check_duration(policy.keep_runs, "policy.keep_runs") < SHORTEST_RETENTION:
        raise InvalidSchedule(f"policy.keep_runs is {policy.keep_runs}; it must be at least {SHORTEST_RETENTION}.")


def check_overlap(overlap: object, field_name: str) -> None:
    """Refuse what is no overlap policy; raises InvalidSchedule naming the field."""
    if not isinstance(overlap, ScheduleOverlapPolicy):
        names = ", ".join(policy.name for policy in ScheduleOverlapPolicy)
        raise InvalidSchedule(f"{field_name} must be a ScheduleOverlapPolicy ({names}), not {shown(overlap)}.")


def check_state(state: ScheduleState) -> None:
    """Refuse a state that contradicts itself.

    Raises:
        InvalidSchedule: The text names the field.
    """
    if not isinstance(state, ScheduleState):
        raise InvalidSchedule(f"state must be a ScheduleState, not {type(state).__name__}.")
    check_text(state.note, "state.note")
    check_flag(state.paused, "state.paused")
    check_flag(state.limited_actions, "state.limited_actions")
    remaining = state.remaining_actions
    check_number(remaining, "state.remaining_actions")
    if not 0 <= remaining <= _MOST_ACTIONS:
        raise InvalidSchedule(f"state.remaining_actions must be a count, not {shown(remaining)}.")
    if remaining and not state.limited_actions:
        raise InvalidSchedule("state.remaining_actions counts only with limited_actions=True; set both or neither.")
