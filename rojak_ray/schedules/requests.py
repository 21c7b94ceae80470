"""What a client asks of the scheduler and what it hears back, as plain data that crosses processes."""

from __future__ import annotations

from datetime import datetime

from rojak_ray.messages import Record
from rojak_ray.schedules.commands import Command, Request
from rojak_ray.schedules.state import ScheduleRecord, Status


class NamedRequest(Record):
    """A request that its caller named, and its kind."""

    kind: str
    request: Request


class ScheduleAsk(Record):
    """A command to a schedule, or a look at one or many."""

    schedule_id: str = ""
    command: Command | None = None
    asked_before: NamedRequest | None = None
    """Only tell whether this was asked before."""

    view: bool = False
    list_after: str | None = None
    """List schedules whose ids come after this one."""

    runs_after: str | None = None
    """List runs of the schedule, the latest first, that come after this place."""

    limit: int = 100
    unlist: str | None = None
    """List this run, which is gone, no more."""


class ScheduleView(Record):
    """A schedule as it stands, and its times to come."""

    schedule: ScheduleRecord
    next_times: tuple[datetime, ...]
    set_aside: str | None = None
    """Why its times cannot be told, so that it does not act."""

    stands_by: str | None = None
    """Who rules, where the cluster that was asked stands by: nothing is started from here."""


class ListedRun(Record):
    """A run that a schedule started."""

    run_id: str
    status: Status
    place: str
    """Where it stands in the list."""


class ScheduleReply(Record):
    """The answer. Everything it says is durable."""

    asked_before: bool = False
    view: ScheduleView | None = None
    schedules: tuple[ScheduleView, ...] = ()
    runs: tuple[ListedRun, ...] = ()
