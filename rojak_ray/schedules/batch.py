"""Decisions that become durable together; later ones see earlier ones.

What goes wrong with one schedule stays with it: one whose times cannot be told (its zone is unknown on this machine,
its record came from a version with other rules, or a bug) is set aside, with the reason. It still takes what people
say about it: an update may mend it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from pydantic import TypeAdapter

from rojak_ray.errors import InternalError, InvalidSchedule, RequestConflict, RequestError, RojakError, ScheduleNotFound
from rojak_ray.ids import digest
from rojak_ray.logs import get_logger
from rojak_ray.schedules.commands import Advance, Command, CreateSchedule, Request, UpdateSchedule
from rojak_ray.schedules.decide import decide
from rojak_ray.schedules.events import ClockCorrected, Event, RequestTaken, ScheduleDeleted, TimesPassed
from rojak_ray.schedules.state import ScheduleRecord, SchedulerState, evolve

logger = get_logger(__name__)

_EVENTS: TypeAdapter[tuple[Event, ...]] = TypeAdapter(tuple[Event, ...])
_LONGEST_REASON = 500


class Batch:
    """What a number of commands leads to."""

    def __init__(self, state: SchedulerState, now: datetime) -> None:
        """Begin with schedules as they stand; all commands come at one time."""
        self.schedules = state.schedules.copy()
        self.requests = state.requests
        self.events: list[Event] = []
        self.touched: dict[str, bool] = {}
        """Schedules that commands were for, and whether anything happened to them."""

        self.set_aside: dict[str, str | None] = {}
        """Schedules whose times could not be told, with the reason; None: they could."""

        self._now = now

    @property
    def state(self) -> SchedulerState:
        """All schedules after what was taken."""
        return SchedulerState.model_construct(schedules=self.schedules, requests=self.requests)

    def take(self, schedule_id: str, command: Command) -> None:
        """Decide on a command.

        Raises:
            RequestError: It is refused; nothing of it counts.
        """
        command = command.model_copy(update={"at": self._now})
        if was_taken(self.requests, schedule_id, command.kind, command.request):
            return
        schedule = self.schedules.get(schedule_id)
        if schedule is None and not isinstance(command, CreateSchedule | Advance) and command.kind[:6] != "record":
            raise ScheduleNotFound(f"The schedule {schedule_id!r} does not exist; create it with create_schedule.")
        events = self._decide(schedule_id, schedule, command)
        self.touched[schedule_id] = self.touched.get(schedule_id, False) or bool(events)
        for event in events:
            schedule = evolve(schedule, event)
            _tell(schedule_id, command, event)
        if schedule is None:
            self.schedules.pop(schedule_id, None)
        else:
            self.schedules[schedule_id] = schedule
        self.events += events
        self._remember(schedule_id, command)

    def _remember(self, schedule_id: str, command: Command) -> None:
        request = command.request
        if request is not None:
            name = _name(schedule_id, command.kind, request)
            taken = RequestTaken(schedule_id=schedule_id, request=name, input=request.input)
            self.requests = {**self.requests, taken.request: taken.input}
            self.events.append(taken)

    def _decide(self, schedule_id: str, schedule: ScheduleRecord | None, command: Command) -> Sequence[Event]:
        try:
            events = _read_back(decide(schedule, command))
        except Exception as error:
            if schedule is None or isinstance(command, CreateSchedule):
                raise _refusal(schedule_id, error) from error
            try:
                events = _read_back(decide(schedule, command, stuck=True))  # it is refused for its own sake, or not
            except Exception as again:
                raise _refusal(schedule_id, again) from again
            self.set_aside[schedule_id] = reason_of(error)
            if isinstance(error, RojakError):
                logger.warning("schedule %r is set aside: %s", schedule_id, reason_of(error))
            else:
                logger.exception("a bug sets schedule %r aside", schedule_id)
        else:
            self.set_aside[schedule_id] = None
            return events
        if isinstance(command, UpdateSchedule):
            self.set_aside[schedule_id] = None  # it has other times now
        return events


def was_taken(requests: Mapping[str, str], schedule_id: str, kind: str, request: Request | None) -> bool:
    """Whether a request that its caller named is one of those that were taken before.

    Raises:
        RequestConflict: The name was used for something else.
    """
    if request is None or (before := requests.get(_name(schedule_id, kind, request))) is None:
        return False
    if before != request.input:
        raise RequestConflict(
            f"The request id {request.id!r} was used for another {kind} of schedule {schedule_id!r}; "
            "choose another id, or pass the same arguments."
        )
    return True


def _name(schedule_id: str, kind: str, request: Request) -> str:
    return digest({"schedule": schedule_id, "kind": kind, "request": request.id})


def _read_back(events: Sequence[Event]) -> Sequence[Event]:
    """The events as whoever opens the journal next will read them, so that nothing is written that nobody can read."""
    return _EVENTS.validate_json(_EVENTS.dump_json(tuple(events), warnings="error")) if events else ()


def _refusal(schedule_id: str, error: Exception) -> RequestError | InternalError:
    if isinstance(error, RequestError):
        return error
    if isinstance(error, ValueError):  # what cannot be stored, or not be read back
        return InvalidSchedule(f"Schedule {schedule_id!r} would hold what cannot be stored: {reason_of(error)}")
    return InternalError(f"Schedule {schedule_id!r}: {reason_of(error)}")


def reason_of(error: Exception) -> str:
    """What kept a schedule's times from being told, for people."""
    return f"{type(error).__name__}: {error}"[:_LONGEST_REASON]


def _tell(schedule_id: str, command: Command, event: Event) -> None:
    """Log what people should hear."""
    if isinstance(event, TimesPassed) and event.missed + event.dropped:
        logger.warning(
            "schedule %r: %d times noticed too late, %d without room", schedule_id, event.missed, event.dropped
        )
    if isinstance(event, ClockCorrected):
        logger.warning("schedule %r goes on from %s: the clock was ahead before", schedule_id, event.passed)
    if isinstance(event, ScheduleDeleted) and isinstance(command, Advance):
        logger.info("schedule %r has had nothing left to do for a week and is deleted", schedule_id)
