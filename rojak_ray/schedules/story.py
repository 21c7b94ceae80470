"""Events in the making, with the schedule they lead to: later decisions see earlier ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from rojak_ray.schedules.events import Event, Start
from rojak_ray.schedules.spec import ScheduleOverlapPolicy
from rojak_ray.schedules.state import ScheduleRecord, evolve
from rojak_ray.schedules.times import Tick, Timetable

MOST_WAITING = 1000
"""Starts that may wait; more are dropped."""


@dataclass
class Story:
    """What a command leads to, as far as it is decided."""

    schedule: ScheduleRecord
    events: list[Event] = field(default_factory=list[Event])
    gone: bool = False

    @property
    def id(self) -> str:
        """Whose story it is."""
        return self.schedule.schedule_id

    def tell(self, event: Event) -> None:
        """Add an event, and see the schedule after it."""
        self.events.append(event)
        after = evolve(self.schedule, event)
        if after is None:
            self.gone = True
        else:
            self.schedule = after

    def due_start(self, tick: Tick, offset: int) -> Start:
        """The start that a time leads to when it has come: the next number but `offset`."""
        number = self.schedule.next_number + offset
        return Start(number=number, nominal=tick.nominal, due=tick.due, by_time=True)

    def asked_start(
        self, tick: Tick, offset: int, overlap: ScheduleOverlapPolicy | None, *, first_copy: int, backfill: bool
    ) -> Start:
        """A start that somebody asked for."""
        return Start(
            number=self.schedule.next_number + offset,
            nominal=tick.nominal,
            due=tick.due,
            overlap=overlap,
            manual=True,
            backfill=backfill,
            first_copy=first_copy,
        )

    @property
    def timetable(self) -> Timetable:
        """The schedule's times."""
        return self.schedule.definition.timetable

    def over(self, now: datetime) -> datetime:
        """Nominal times up to here lead to no start by themselves any more, those after it may."""
        schedule = self.schedule
        if schedule.behind_since is not None:
            return min(schedule.passed, schedule.behind_since)
        if schedule.acts:
            return schedule.passed
        return max(schedule.passed, self.timetable.passed(now, schedule.incarnation))
