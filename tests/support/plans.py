"""Given this schedule, when this happens at that time, then it leads to these runs.

A `Plan` drives one schedule through `decide` and `evolve` alone: time is a number of minutes after a Monday morning,
and runs start and end when the test says so.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from rojak_ray.agents.spec import AgentSpec
from rojak_ray.messages import Message
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
from rojak_ray.schedules.decide import decide
from rojak_ray.schedules.events import Action, Definition, EndStatus, Event, Span
from rojak_ray.schedules.passing import wake_at
from rojak_ray.schedules.spec import (
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
)
from rojak_ray.schedules.state import ScheduleRecord, evolve

MONDAY = datetime(2026, 6, 1, 8, tzinfo=UTC)
EVENT: TypeAdapter[Event] = TypeAdapter(Event)
COMMAND: TypeAdapter[Command] = TypeAdapter(Command)
ACTION = Action(
    agent=AgentSpec(type="offline", name="Clerk", model="m", instructions="Help."),
    messages=(Message(role="user", content="Report."),),
)
EVERY_MINUTE = ScheduleSpec(intervals=[ScheduleIntervalSpec(timedelta(minutes=1))])


def minute(number: float) -> datetime:
    return MONDAY + timedelta(minutes=number)


class Plan:
    """One schedule and what it was told. Records go through JSON on the way, as in storage."""

    def __init__(
        self,
        spec: ScheduleSpec = EVERY_MINUTE,
        policy: SchedulePolicy | None = None,
        state: ScheduleState | None = None,
        *,
        overlap: ScheduleOverlapPolicy | None = None,
    ) -> None:
        self.schedule: ScheduleRecord | None = None
        self.events: list[Event] = []
        self.told: list[Event] = []
        if overlap is not None:
            policy = SchedulePolicy(overlap=overlap)
        self.definition = Definition(action=ACTION, spec=spec, policy=policy or SchedulePolicy())
        self.when(
            CreateSchedule(
                schedule_id="s", incarnation="i", definition=self.definition, state=state or ScheduleState()
            ),
            0,
        )

    @property
    def now(self) -> ScheduleRecord:
        assert self.schedule is not None
        return self.schedule

    def when(self, command: Command, at: float) -> Plan:
        command = COMMAND.validate_json(COMMAND.dump_json(command.model_copy(update={"at": minute(at)})))
        self.told = [EVENT.validate_json(EVENT.dump_json(event)) for event in decide(self.schedule, command)]
        for event in self.told:
            json.dumps(event.model_dump(mode="json"), allow_nan=False)
            self.schedule = evolve(self.schedule, event)
        if self.schedule is not None:
            assert ScheduleRecord.model_validate_json(self.schedule.model_dump_json()) == self.schedule
        self.events += self.told
        return self

    def advance(self, at: float) -> Plan:
        """Time passes."""
        return self.when(Advance(), at).drain(at)

    def drain(self, at: float) -> Plan:
        """As often as the schedule wants to be woken at once."""
        while self.schedule is not None and (wake := wake_at(self.schedule, minute(at))) and wake <= minute(at):
            before = self.schedule
            self.when(Advance(), at)
            assert self.schedule != before, "woken for nothing"
        return self

    def pause(self, at: float, note: str | None = None) -> Plan:
        return self.when(PauseSchedule(note=note), at)

    def unpause(self, at: float, note: str | None = None) -> Plan:
        return self.when(UnpauseSchedule(note=note), at)

    def trigger(self, at: float, overlap: ScheduleOverlapPolicy | None = None, request: str | None = None) -> Plan:
        return self.when(TriggerSchedule(request_id=request or f"t{len(self.events)}", overlap=overlap), at)

    def backfill(self, at: float, first: float, last: float, overlap: ScheduleOverlapPolicy | None = None) -> Plan:
        span = Span(after=minute(first) - timedelta(microseconds=1), until=minute(last), overlap=overlap)
        return self.when(BackfillSchedule(request_id=f"b{len(self.events)}", spans=(span,)), at).drain(at)

    def update(self, at: float, token: int | None = None, **changes: Any) -> Plan:
        state = changes.pop("state", self.now.state)
        definition = self.now.definition.model_copy(update=changes)
        return self.when(UpdateSchedule(definition=definition, state=state, token=token), at)

    def delete(self, at: float) -> Plan:
        return self.when(DeleteSchedule(), at)

    def start(self, at: float) -> Plan:
        """Everything that is planned starts."""
        for run in self.now.runs:
            if run.started_at is None:
                self.when(RecordStart(number=run.plan.start.number, run_id=run.plan.run_id), at)
        return self

    def fail_to_start(self, at: float, *, missed: bool) -> Plan:
        run = next(run for run in self.now.runs if run.started_at is None)
        return self.when(RecordNoStart(number=run.plan.start.number, error="taken", missed=missed), at)

    def end(self, at: float, status: EndStatus = "completed", result: str | None = "ok", error: str = "") -> Plan:
        """The oldest run ends."""
        self.start(at)
        number = self.now.runs[0].plan.start.number
        result = result if status == "completed" else None
        return self.when(RecordEnd(number=number, status=status, result=result, error=error or None), at)

    @property
    def running(self) -> list[str]:
        """Nominal minutes of the runs that are planned or going."""
        return [f"{run.plan.start.nominal:%M}" for run in self.now.runs]

    @property
    def waiting(self) -> list[str]:
        return [f"{start.nominal:%M}" for start in self.now.waiting]

    @property
    def counts(self) -> dict[str, int]:
        """What was started, missed, skipped and dropped, without what is zero."""
        names = ("started", "missed", "skipped", "dropped")
        return {name: getattr(self.now, name) for name in names if getattr(self.now, name)}

    def wakes(self, at: float) -> float | None:
        """When it wants to be woken, in minutes."""
        wake = wake_at(self.now, minute(at))
        return (wake - MONDAY) / timedelta(minutes=1) if wake else None
