"""`Timetable`: a checked spec, and the times it stands for. Pure; instants are whole seconds since the epoch."""

from __future__ import annotations

import hashlib
import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from rojak_ray.checks import check_list
from rojak_ray.errors import InvalidSchedule
from rojak_ray.schedules.calendar import Wall, compile_calendar
from rojak_ray.schedules.cron import read_cron
from rojak_ray.schedules.edges import LAST_YEAR, LONGEST_JITTER, check_duration, check_text, in_utc
from rojak_ray.schedules.exclusion import Exclusion
from rojak_ray.schedules.spec import ScheduleIntervalSpec, ScheduleSpec
from rojak_ray.schedules.zone import Zone, as_datetime, instants

_LAST = int(datetime.fromisoformat(f"{LAST_YEAR + 1}-01-01T00:00:00+00:00").timestamp()) - 1
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Tick:
    """One time of a schedule."""

    nominal: datetime
    """As the spec says it."""

    due: datetime
    """With jitter: when it is acted on."""


@dataclass(frozen=True)
class Timetable:
    """A spec ready to be asked."""

    zone: Zone
    walls: tuple[Wall, ...]
    intervals: tuple[tuple[int, int], ...]
    """Period and offset, in seconds."""

    exclusion: Exclusion | None
    """Set if something is skipped."""

    first: int
    last: int
    jitter_ms: int

    def after(self, instant: int) -> Iterator[int]:
        """Nominal times after an instant, in order, each once."""
        begin = max(instant, self.first - 1)
        if begin >= self.last:
            return
        found = self._matches(begin) if self.exclusion is None else self.exclusion.after(begin)
        yield from itertools.takewhile(lambda one: one <= self.last, found)

    def ticks(self, after: datetime, seed: str) -> Iterator[Tick]:
        """Times after a nominal one, with jitter that depends on nothing but them and the seed."""
        found = self.after(int(after.timestamp()))
        if not self.jitter_ms:
            yield from (Tick(nominal, nominal) for nominal in map(as_datetime, found))
            return
        current = next(found, None)
        while current is not None:
            following = next(found, None)
            limit_ms = self.jitter_ms if following is None else min(self.jitter_ms, 1000 * (following - current))
            nominal = as_datetime(current)
            yield Tick(nominal, nominal + timedelta(milliseconds=_jitter_ms(current, seed, limit_ms)))
            current = following

    def passed(self, now: datetime, seed: str) -> datetime:
        """A nominal time, or `now`: every tick up to it is due by now, every later one is not."""
        if not self.jitter_ms:
            return now
        # Jitter ends before the next time, so of the times up to now only the last can still be to come.
        back = 1.0
        while back < 2 * self.jitter_ms / 1000:
            recent = list(itertools.takewhile(lambda tick: tick.nominal <= now, self.ticks(now - back * _SECOND, seed)))
            if recent:
                return now if recent[-1].due <= now else recent[-1].nominal - _SECOND
            back *= 2
        return now

    def _matches(self, after: int) -> Iterator[int]:
        """What calendars, cron expressions and intervals match together."""
        sources: list[Iterator[int]] = [instants(self.zone, wall, after) for wall in self.walls]
        sources += [_multiples(every, offset, after) for every, offset in self.intervals]
        previous = after
        for found in heapq.merge(*sources):
            if found > previous:
                yield found
                previous = found


def _multiples(every: int, offset: int, after: int) -> Iterator[int]:
    return itertools.count(((after - offset) // every + 1) * every + offset, every)


def _jitter_ms(instant: int, seed: str, below_ms: int) -> int:
    if below_ms <= 0:
        return 0
    fingerprint = hashlib.sha256(f"{instant}/{seed}".encode("utf-8", "replace")).digest()
    return int.from_bytes(fingerprint[:8], "big") * below_ms >> 64


_MADE_OF = {
    "calendars": "ScheduleCalendarSpec",
    "intervals": "ScheduleIntervalSpec",
    "cron_expressions": "texts",
    "skip": "ScheduleCalendarSpec",
}


def compile_spec(spec: ScheduleSpec) -> Timetable:
    """Check a spec and make it ready.

    Raises:
        InvalidSchedule: It cannot be followed; the text names the field.
    """
    if not isinstance(spec, ScheduleSpec):
        raise InvalidSchedule(f"A schedule's spec must be a ScheduleSpec, not {type(spec).__name__}.")
    for name in _MADE_OF:
        check_list(getattr(spec, name), name, InvalidSchedule, _MADE_OF[name])
    crons = [read_cron(text, f"cron_expressions[{index}]") for index, text in enumerate(spec.cron_expressions)]
    check_text(spec.time_zone_name, "time_zone_name")
    zone = Zone(_agreed_zone(spec.time_zone_name, {cron.zone_name for cron in crons}))
    calendars = [compile_calendar(one, f"calendars[{index}]") for index, one in enumerate(spec.calendars)]
    walls = [cron.wall for cron in crons if cron.wall is not None]
    intervals = [_read_interval(one, f"intervals[{index}]") for index, one in enumerate(spec.intervals)]
    intervals += [
        _read_interval(cron.interval, f"cron_expressions[{index}]")
        for index, cron in enumerate(crons)
        if cron.interval is not None
    ]
    jitter = timedelta(0) if spec.jitter is None else check_duration(spec.jitter, "jitter", LONGEST_JITTER)
    first, last = _read_bounds(spec)
    exclusion = None
    if skip := [compile_calendar(one, f"skip[{index}]") for index, one in enumerate(spec.skip)]:
        exclusion = Exclusion(zone, [*calendars, *(cron.calendar for cron in walls)], intervals, skip, last)
    return Timetable(
        zone=zone,
        walls=(*calendars, *walls),
        intervals=tuple(intervals),
        exclusion=exclusion,
        first=first,
        last=last,
        jitter_ms=jitter // timedelta(milliseconds=1),
    )


def _read_bounds(spec: ScheduleSpec) -> tuple[int, int]:
    """The first and the last second in which something may be started."""
    first, last = 0, _LAST
    if spec.start_at is not None:
        start = in_utc(spec.start_at, "start_at")
        if start.year > LAST_YEAR:
            raise InvalidSchedule(
                f"start_at is in the year {start.year}, after the calendar's last ({LAST_YEAR}); create the schedule "
                "paused if it is not to start by itself."
            )
        first = max(0, int(-(-start.timestamp() // 1)))
    if spec.end_at is not None:
        last = min(_LAST, int(in_utc(spec.end_at, "end_at").timestamp() // 1))
    return first, last


def _agreed_zone(given: str | None, named: set[str]) -> str | None:
    """The one zone of a spec: all cron expressions name the same or none, and not another than the field."""
    if len(named) > 1:
        names = " and ".join(repr(name) for name in sorted(named))
        raise InvalidSchedule(f"cron_expressions have conflicting time zones ({names}); all must name the same.")
    from_cron = next(iter(named), "")
    if from_cron and given and from_cron != given:
        raise InvalidSchedule(f"time_zone_name {given!r} is in conflict with {from_cron!r} in cron_expressions.")
    return given or from_cron or None


def _read_interval(spec: ScheduleIntervalSpec, name: str) -> tuple[int, int]:
    if not isinstance(spec, ScheduleIntervalSpec) or not isinstance(spec.every, timedelta):
        raise InvalidSchedule(f"{name} must be a ScheduleIntervalSpec whose `every` is a timedelta.")
    check_duration(spec.every, f"{name}.every")
    offset = timedelta(0) if spec.offset is None else check_duration(spec.offset, f"{name}.offset")
    if spec.every < _SECOND:
        raise InvalidSchedule(f"{name}.every is {spec.every}; it must be at least a second.")
    if offset >= spec.every:
        raise InvalidSchedule(f"{name}.offset ({offset}) must be less than every ({spec.every}).")
    return spec.every // _SECOND, offset // _SECOND


def matching_times(spec: ScheduleSpec, after: datetime, until: datetime) -> list[datetime]:
    """The times a spec stands for within a span, in order, in UTC; without jitter, which belongs to a schedule.

    Args:
        spec: When.
        after: Start of the span, excluded; without a zone it is UTC.
        until: End of the span, included.

    Raises:
        InvalidSchedule: (a ValueError) The spec cannot be followed; the text names the field.

    Example:
        from datetime import UTC, datetime

        noon = ScheduleSpec(cron_expressions=["0 12 * * *"])
        times = matching_times(noon, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC))
        assert [time.day for time in times] == [1, 2]
    """
    end = in_utc(until, "until").timestamp()
    found = compile_spec(spec).after(int(in_utc(after, "after").timestamp() // 1))
    return [as_datetime(instant) for instant in itertools.takewhile(lambda instant: instant <= end, found)]
