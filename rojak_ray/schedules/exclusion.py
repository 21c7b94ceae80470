"""Times that are left out: the next instant that some part of a spec matches and no `skip` does.

Trying one match after another takes as many steps as are skipped, and there may be millions. Here a day of a wall clock
is one whole number with a bit for each of its seconds: what matches, without what is skipped, is a few operations a
day, whatever the fields are. Days and months on which nothing can match are passed over. So the search for what never
comes ends, too: with the last year a schedule may act in, after a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache, reduce
from operator import or_

from rojak_ray.schedules.calendar import CompiledCalendar
from rojak_ray.schedules.zone import APPROACH_S, Zone, clock_seconds_of, wall_time

_DAY_S = 86400
_FULL_DAY = (1 << _DAY_S) - 1
_FULL_MONTH = (1 << 32) - 2
"""Bits 1 to 31."""

_LONG_GAP_S = 32 * _DAY_S


class Exclusion:
    """Calendars and intervals without what is skipped."""

    def __init__(
        self,
        zone: Zone,
        calendars: Sequence[CompiledCalendar],
        intervals: Sequence[tuple[int, int]],
        skip: Sequence[CompiledCalendar],
        last: int,
    ) -> None:
        """Nothing is searched yet; nothing after the instant `last` is looked for."""
        self._zone = zone
        self._intervals = [(every, offset, _pattern(every)) for every, offset in intervals]
        self._calendars = [_DayBits(calendar) for calendar in calendars]
        self._skip = [_DayBits(calendar) for calendar in skip]
        self._last = last
        self._month = lru_cache(maxsize=4)(self._read_month)
        self._bits = lru_cache(maxsize=64)(self._read_bits)
        self._gap: tuple[int, int | None] = (0, 0)
        """The latest long stretch without a match, by what is before it and the match behind it (None: never)."""

    def after(self, instant: int) -> Iterator[int]:
        """The instants after one that count, in order."""
        before, behind = self._gap
        if behind is None and instant >= before:
            return
        if behind is not None and before <= instant < behind:
            instant = behind - 1
        previous = instant
        for found in self._search(instant + 1):
            self._remember(previous, found)
            yield found
            previous = found
        self._remember(previous, None)

    def _remember(self, previous: int, found: int | None) -> None:
        """So that whoever asks again need not search again."""
        if found is None or found - previous > _LONG_GAP_S:
            self._gap = (previous, found)

    def _search(self, start: int) -> Iterator[int]:
        offset, end = self._zone.stretch(start)
        while start <= self._last:
            if start >= end:
                offset, end = self._zone.stretch(start)
            day = wall_time(start + offset).date()
            month = self._month(day.year, day.month)
            candidates = month.candidates
            midnight = clock_seconds_of(day) - offset
            until = min(end, midnight + _DAY_S)
            if candidates >> day.day & 1:
                yield from self._within(day, start, min(until, self._last + 1), midnight)
            elif not candidates >> day.day:  # nor any later day of the month
                until = max(until, month.end - offset - APPROACH_S)
            start = until

    def _within(self, day: date, start: int, end: int, midnight: int) -> Iterator[int]:
        """Those of a stretch of a day, whose midnight (it may be outside the stretch) is given."""
        bits = self._counting(day, midnight) >> (start - midnight)
        while bits:
            step = (bits & -bits).bit_length()
            start += step
            if start > end:
                return
            yield start - 1
            bits >>= step

    def _counting(self, day: date, midnight: int) -> int:
        month, number = self._month(day.year, day.month), day.day
        counting, free = self._bits(
            tuple(index for index, days in month.calendars if days >> number & 1),
            tuple(index for index, days in month.skip if days >> number & 1),
        )
        if free:
            for every, offset, pattern in self._intervals:
                first = (offset - midnight) % every
                counting |= pattern << first & free if first < _DAY_S else 0
        return counting

    def _read_bits(self, calendars: tuple[int, ...], skip: tuple[int, ...]) -> tuple[int, int]:
        """For a day on which these match: what counts of the calendars, and what is not skipped at all."""
        free = _FULL_DAY & ~reduce(or_, (self._skip[index].seconds for index in skip), 0)
        return reduce(or_, (self._calendars[index].seconds for index in calendars), 0) & free, free

    def _read_month(self, year: int, month: int) -> _Month:
        calendars = [(index, one.days(year, month)) for index, one in enumerate(self._calendars)]
        skip = [(index, one.days(year, month)) for index, one in enumerate(self._skip)]
        candidates = _FULL_MONTH if self._intervals else reduce(or_, (days for _, days in calendars), 0)
        for index, days in skip:
            if self._skip[index].seconds == _FULL_DAY:
                candidates &= ~days
        following = (date(year, month, 1) + timedelta(days=32)).replace(day=1)
        return _Month(
            candidates,
            tuple((index, days) for index, days in calendars if days),
            tuple((index, days) for index, days in skip if days),
            clock_seconds_of(following),
        )


@dataclass(frozen=True)
class _Month:
    """A month's days, as bits 1 to 31."""

    candidates: int
    """Days on which something may count."""

    calendars: tuple[tuple[int, int], ...]
    """What matches on some day: its index, and the days."""

    skip: tuple[tuple[int, int], ...]
    """Likewise."""

    end: int
    """The first midnight after it, as a clock shows it."""


class _DayBits:
    """A calendar as bits: the seconds of its days, and the days of a month."""

    def __init__(self, calendar: CompiledCalendar) -> None:
        second = _set(calendar.second)
        minute = reduce(or_, (second << 60 * value for value in calendar.minute), 0)
        self.seconds = reduce(or_, (minute << 3600 * value for value in calendar.hour), 0)
        self._months, self._years = frozenset(calendar.month), frozenset(calendar.year)
        days = _set(calendar.day_of_month)
        # By the weekday (Monday is 0) of the first of a month.
        self._days = [
            days & _set(day for day in range(1, 32) if (first + day) % 7 in calendar.day_of_week) for first in range(7)
        ]

    def days(self, year: int, month: int) -> int:
        """The days of a month that match; a month that has fewer is not asked for the others."""
        if month not in self._months or year not in self._years:
            return 0
        return self._days[date(year, month, 1).weekday()]


def _set(values: Iterable[int]) -> int:
    return reduce(or_, (1 << value for value in values), 0)


def _pattern(every: int) -> int:
    """A day of bits, `every` apart, the first at 0."""
    bits, length = 1, every
    while length < _DAY_S:
        bits |= bits << length
        length *= 2
    return bits
