"""What may be asked of a schedule, in the imperative. Each happens at a time: what came due before comes first."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from pydantic import Field
from pydantic_core import to_jsonable_python

from rojak_ray.ids import check_id, digest
from rojak_ray.messages import Record
from rojak_ray.schedules.events import Definition, EndStatus, Span
from rojak_ray.schedules.spec import ScheduleOverlapPolicy, ScheduleState


class Request(Record):
    """What a caller calls his request, so that he may make it again, and what he asked, in a fingerprint."""

    id: str
    input: str = ""

    @classmethod
    def named(cls, request_id: str | None, **content: object) -> Request | None:
        """A caller's request with what it asks; None if he gave it no name.

        Raises:
            InvalidId: No request can have this name.
        """
        if request_id is None:
            return None
        return cls(id=check_id(request_id, "request"), input=digest(to_jsonable_python(content, fallback=repr)))


class _At(Record):
    at: datetime | None = None
    """Set by the scheduler from its own clock."""

    request: Request | None = None
    """Set if the caller named it: it is taken once, however often and whenever it comes."""


class CreateSchedule(_At):
    """Begin a schedule. `incarnation` names the request: the same again is no second one."""

    kind: Literal["create"] = "create"
    schedule_id: str
    incarnation: str
    definition: Definition
    state: ScheduleState = Field(default_factory=ScheduleState)


class UpdateSchedule(_At):
    """Replace what a person said about it."""

    kind: Literal["update"] = "update"
    definition: Definition
    state: ScheduleState
    token: int | None = None
    """Refuse if the schedule has changed since it had this one."""


class PauseSchedule(_At):
    """Take no times into account."""

    kind: Literal["pause"] = "pause"
    note: str | None = None


class UnpauseSchedule(_At):
    """Go on."""

    kind: Literal["unpause"] = "unpause"
    note: str | None = None


class TriggerSchedule(_At):
    """Start a run now."""

    kind: Literal["trigger"] = "trigger"
    request_id: str
    overlap: ScheduleOverlapPolicy | None = None


class BackfillSchedule(_At):
    """Go through spans of time as if they passed now."""

    kind: Literal["backfill"] = "backfill"
    request_id: str
    spans: tuple[Span, ...]


class CancelBackfills(_At):
    """Call off what is left of the backfills."""

    kind: Literal["cancel_backfills"] = "cancel_backfills"


class DeleteSchedule(_At):
    """Forget it."""

    kind: Literal["delete"] = "delete"


class Advance(_At):
    """Time has passed."""

    kind: Literal["advance"] = "advance"
    may_expire: bool = True
    """Whether the clock can be trusted to say that nothing has been left to do for days."""


class RecordStart(_At):
    """A planned run was started."""

    kind: Literal["record_start"] = "record_start"
    number: int
    run_id: str


class RecordNoStart(_At):
    """A planned run will never start."""

    kind: Literal["record_no_start"] = "record_no_start"
    number: int
    error: str
    missed: bool = False


class RecordEnd(_At):
    """A run ended."""

    kind: Literal["record_end"] = "record_end"
    number: int
    status: EndStatus
    result: str | None = None
    error: str | None = None


Command: TypeAlias = Annotated[
    CreateSchedule
    | UpdateSchedule
    | PauseSchedule
    | UnpauseSchedule
    | TriggerSchedule
    | BackfillSchedule
    | CancelBackfills
    | DeleteSchedule
    | Advance
    | RecordStart
    | RecordNoStart
    | RecordEnd,
    Field(discriminator="kind"),
]
