"""Cron expressions with Temporal's reading, evaluated by croniter.

croniter is asked for wall-clock times only, with every field written out as numbers: names, `@daily`, comments, zones,
years, seconds in front and both-days-must-match are settled here, and what clocks do in spring and autumn in `zone`.
Its own extensions (`L`, `#`, `W`, `H`, `R`) never reach it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from croniter import CroniterBadDateError, croniter

from rojak_ray.checks import shown
from rojak_ray.errors import InvalidSchedule
from rojak_ray.schedules.calendar import FIRST_YEAR, LIMITS, CompiledCalendar
from rojak_ray.schedules.edges import check_duration, check_text
from rojak_ray.schedules.spec import ScheduleIntervalSpec

_PREDEFINED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = ("second", "minute", "hour", "day_of_month", "month", "day_of_week", "year")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = 2000
_MOST_DIGITS = 9
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")


@dataclass(frozen=True)
class Cron:
    """A cron expression that was read: fields or an interval, and the zone it names (empty: none)."""

    zone_name: str
    wall: CronWall | None = None
    interval: ScheduleIntervalSpec | None = None


class CronWall:
    """Wall-clock times of a cron expression; a `Wall`."""

    def __init__(self, fields: dict[str, tuple[int, ...]]) -> None:
        """Take the values each field may have."""
        values = dict(fields)
        days = frozenset(values.pop("day_of_week"))
        self.calendar = CompiledCalendar(**values, day_of_week=days)
        self._years = fields["year"]
        names = ("second", "minute", "hour", "day_of_month", "month", "day_of_week")
        text = " ".join(_written(fields[name], name) for name in names)
        start = datetime(FIRST_YEAR, 1, 1)  # noqa: DTZ001
        self._croniter = croniter(text, start, datetime, day_or=False, second_at_beginning=True)

    def at_or_after(self, moment: datetime) -> datetime | None:
        """See `Wall`."""
        while True:
            year = next((year for year in self._years if year >= moment.year), None)
            if year is None:
                return None
            if year > moment.year:
                moment = datetime(year, 1, 1)  # noqa: DTZ001
            try:
                found: datetime = self._croniter.get_next(start_time=moment - timedelta(seconds=1))
            except CroniterBadDateError:
                return None
            if found.year in self._years:
                return found
            moment = found


def _written(values: tuple[int, ...], field: str) -> str:
    low, high = LIMITS[field]
    return "*" if len(values) == high - low + 1 else ",".join(map(str, values))


def read_cron(expression: str, name: str) -> Cron:
    """Read a cron expression; `name` says where it stands.

    Raises:
        InvalidSchedule: The text names the field.
    """
    if expression is None:
        raise InvalidSchedule(f"{name} must be text, not None.")
    check_text(expression, name, _LONGEST)
    text = expression.partition("#")[0].strip()
    zone_name = ""
    if text.startswith(("TZ=", "CRON_TZ=")):
        prefix, _, text = text.partition(" ")
        zone_name, text = prefix.partition("=")[2], text.strip()
    if text.startswith("@every"):
        return Cron("", interval=_read_every(text.removeprefix("@every"), name))
    parts = _PREDEFINED.get(text, text).split()
    if not 5 <= len(parts) <= 7:
        raise InvalidSchedule(f"{name} {shown(expression)} must have 5 to 7 fields or be one of @daily, @every 5m, ...")
    if len(parts) < 7:
        parts = ["0", *parts]
    if len(parts) < 7:
        parts = [*parts, "*"]
    fields = {field: _read_field(part, field, name) for field, part in zip(_FIELDS, parts, strict=True)}
    return Cron(zone_name, wall=CronWall(fields))


def _read_every(text: str, name: str) -> ScheduleIntervalSpec:
    every, slash, offset = text.strip().partition("/")
    return ScheduleIntervalSpec(read_duration(every, name), read_duration(offset, name) if slash else None)


def read_duration(text: str, name: str) -> timedelta:
    """Read `45m`, `1h30m` or `90s`; raises InvalidSchedule naming `name`."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidSchedule(f"{name} has the duration {shown(text)}; write it like 45m, 1h30m or 90s.")
    try:
        return check_duration(timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts)), name)
    except OverflowError:
        raise InvalidSchedule(f"{name} has the duration {shown(text)}, which is more than a century.") from None


def _read_field(text: str, field: str, name: str) -> tuple[int, ...]:
    low, high = LIMITS[field]
    high = 7 if field == "day_of_week" else high
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        step = _read_number(step_text) if slash else 1
        if step is None or step < 1:
            raise InvalidSchedule(f"{name} has the step {shown(step_text)} in its {field}; it must be at least 1.")
        start, end = low, high
        if span != "*":
            first, dash, last = span.partition("-")
            start = _read_value(first, field, name, low, high)
            if dash:
                end = _read_value(last, field, name, start, high)
            elif not slash:
                end = start
        found.update(range(start, end + 1, step))
    if field == "day_of_week":
        found = {day % 7 for day in found}
    return tuple(sorted(found))


def _read_value(text: str, field: str, name: str, low: int, high: int) -> int:
    value = _read_number(text)
    if field == "month":
        value = _by_name(text, _MONTHS, 3, 1, value)
    elif field == "day_of_week":
        value = _by_name(text, _DAYS, 2, 0, value)
    if value is None or not low <= value <= high:
        raise InvalidSchedule(f"{name} has {shown(text)} in its {field}, which is not in the range {low} to {high}.")
    return value


def _read_number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else None


def _by_name(text: str, names: tuple[str, ...], shortest: int, first: int, otherwise: int | None) -> int | None:
    """The number of a name given by at least so many of its letters."""
    if len(text) < shortest:
        return otherwise
    found = (first + index for index, name in enumerate(names) if name.startswith(text.lower()))
    return next(found, otherwise)
