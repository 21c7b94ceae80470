"""Wall-clock times that match a calendar: sets of field values, and the next match by jumping from field to field.

No zones here: a `Wall` answers in naive local time, and `zone.instants` knows what a wall clock shows when.
"""

from __future__ import annotations

import calendar
from bisect import bisect_left
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from rojak_ray.checks import check_list, shown
from rojak_ray.errors import InvalidSchedule
from rojak_ray.schedules.edges import FIRST_YEAR, LAST_YEAR, check_number, check_text
from rojak_ray.schedules.spec import ScheduleCalendarSpec, ScheduleRange

LIMITS = {
    "second": (0, 59),
    "minute": (0, 59),
    "hour": (0, 23),
    "day_of_month": (1, 31),
    "month": (1, 12),
    "year": (FIRST_YEAR, LAST_YEAR),
    "day_of_week": (0, 6),
}
_LONGEST_COMMENT = 200

_LONGEST_STEP = 10**6


class Wall(Protocol):
    """Times that a wall clock shows."""

    def at_or_after(self, moment: datetime) -> datetime | None:
        """The first match from a naive moment (whole seconds) on; None if there is none any more."""
        ...


@dataclass(frozen=True)
class CompiledCalendar:
    """The values each field may have, rising. Days of the week count from Sunday, 0."""

    second: tuple[int, ...]
    minute: tuple[int, ...]
    hour: tuple[int, ...]
    day_of_month: tuple[int, ...]
    month: tuple[int, ...]
    year: tuple[int, ...]
    day_of_week: frozenset[int]

    def matches(self, moment: datetime) -> bool:
        """Whether a naive moment matches in all fields."""
        return (
            moment.second in self.second
            and moment.minute in self.minute
            and moment.hour in self.hour
            and self._day_matches(moment.year, moment.month, moment.day)
        )

    def at_or_after(self, moment: datetime) -> datetime | None:
        """See `Wall`."""
        if self._day_matches(moment.year, moment.month, moment.day):
            found = self._time_from(moment.hour, moment.minute, moment.second)
            if found is not None:
                hour, minute, second = found
                return moment.replace(hour=hour, minute=minute, second=second, microsecond=0)
        date = self._date_after(moment.year, moment.month, moment.day)
        return datetime(*date, self.hour[0], self.minute[0], self.second[0]) if date else None  # noqa: DTZ001

    def _day_matches(self, year: int, month: int, day: int) -> bool:
        return (
            month in self.month
            and day in self.day_of_month
            and year in self.year
            and (calendar.weekday(year, month, day) + 1) % 7 in self.day_of_week
        )

    def _time_from(self, hour: int, minute: int, second: int) -> tuple[int, int, int] | None:
        """The first matching time of a day from a time on."""
        if hour in self.hour:
            if minute in self.minute and (later := _first_from(self.second, second)) is not None:
                return hour, minute, later
            if (later := _first_from(self.minute, minute + 1)) is not None:
                return hour, later, self.second[0]
        if (later := _first_from(self.hour, hour + 1)) is not None:
            return later, self.minute[0], self.second[0]
        return None

    def _date_after(self, year: int, month: int, day: int) -> tuple[int, int, int] | None:
        """The first matching date after a date."""
        for a_year in self.year[bisect_left(self.year, year) :]:
            months = self.month if a_year > year else self.month[bisect_left(self.month, month) :]
            for a_month in months:
                first = day + 1 if (a_year, a_month) == (year, month) else 1
                weekday, length = calendar.monthrange(a_year, a_month)
                for a_day in self.day_of_month:
                    if first <= a_day <= length and (weekday + a_day) % 7 in self.day_of_week:
                        return a_year, a_month, a_day
        return None


def _first_from(values: tuple[int, ...], low: int) -> int | None:
    index = bisect_left(values, low)
    return values[index] if index < len(values) else None


def compile_calendar(spec: ScheduleCalendarSpec, name: str) -> CompiledCalendar:
    """Check a calendar and expand its ranges; `name` says where it stands.

    Raises:
        InvalidSchedule: The text names the field.
    """
    if not isinstance(spec, ScheduleCalendarSpec):
        raise InvalidSchedule(f"{name} must be a ScheduleCalendarSpec, not {type(spec).__name__}.")
    check_text(spec.comment, f"{name}.comment", _LONGEST_COMMENT)
    values = {field: _expand(getattr(spec, field), f"{name}.{field}", *LIMITS[field]) for field in LIMITS}
    if not spec.year:
        values["year"] = tuple(range(FIRST_YEAR, LAST_YEAR + 1))
    days = frozenset(values.pop("day_of_week"))
    return CompiledCalendar(**values, day_of_week=days)


def _expand(ranges: object, name: str, low: int, high: int) -> tuple[int, ...]:
    listed = check_list(ranges, name, InvalidSchedule, "ScheduleRange")
    if not listed and not name.endswith(".year"):
        raise InvalidSchedule(f"{name} is empty, so nothing would ever match; leave it out for its default.")
    found: set[int] = set()
    for one in listed:
        if not isinstance(one, ScheduleRange):
            raise InvalidSchedule(f"{name} holds {shown(one)}, which is no ScheduleRange.")
        for part in ("start", "end", "step"):
            check_number(getattr(one, part), f"{name}, {part} of a ScheduleRange,")
        if not low <= one.start <= high:
            raise InvalidSchedule(f"{name} starts at {shown(one.start)}, which is not in the range {low} to {high}.")
        if one.end > high:
            raise InvalidSchedule(f"{name} ends at {shown(one.end)}, which is not in the range {low} to {high}.")
        if not 1 <= one.step <= _LONGEST_STEP:
            raise InvalidSchedule(f"{name} has the step {shown(one.step)}; it must be from 1 to {_LONGEST_STEP}.")
        found.update(range(one.start, one.end + 1, one.step))
    return tuple(sorted(found))
