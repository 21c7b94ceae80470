"""What wall clocks show when: the passage from local time to instants.

A time that a clock change jumps over does not happen; one that it repeats happens twice. That follows from walking
through stretches of time with one offset each, in which local time and instants run side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from rojak_ray.checks import shown
from rojak_ray.errors import InvalidSchedule
from rojak_ray.schedules.calendar import Wall
from rojak_ray.schedules.edges import check_text

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  (local times are naive)
_SECOND = timedelta(seconds=1)
STRETCH_S = 36 * 3600
"""No zone changes its clock twice within this time."""

APPROACH_S = 48 * 3600
"""Offsets of a zone differ by less: so long before a far match the walk begins again."""


class Zone:
    """An IANA zone, reduced to its offsets."""

    def __init__(self, name: str | None) -> None:
        """Load a zone; None is UTC.

        Raises:
            InvalidSchedule: There is no such zone.
        """
        check_text(name, "time_zone_name")
        self.name = name or "UTC"
        try:
            self._info = ZoneInfo(self.name)
        except (ValueError, KeyError, OSError, TypeError) as error:
            raise InvalidSchedule(
                f"time_zone_name {shown(name)} is no zone this machine knows; use an IANA name such as 'Europe/Berlin'."
            ) from error

    def local(self, instant: int) -> datetime:
        """What a clock of the zone shows, naive."""
        return wall_time(instant + self._offset(instant))

    def stretch(self, instant: int) -> tuple[int, int]:
        """The offset at an instant, and until when it holds at least."""
        offset, end = self._offset(instant), instant + STRETCH_S
        if self._offset(end) == offset:
            return offset, end
        same, other = instant, end
        while other - same > 1:
            middle = (same + other) // 2
            if self._offset(middle) == offset:
                same = middle
            else:
                other = middle
        return offset, other

    def _offset(self, instant: int) -> int:
        offset = datetime.fromtimestamp(instant, self._info).utcoffset()
        return int(offset.total_seconds()) if offset is not None else 0


def wall_time(seconds: int) -> datetime:
    """Seconds since the epoch of a local clock, as the naive time it shows."""
    return _EPOCH + timedelta(seconds=seconds)


def instants(zone: Zone, wall: Wall, after: int) -> Iterator[int]:
    """The instants (seconds since the epoch) after one, in order, at which the zone's clocks show a match."""
    start = after + 1
    while True:
        offset, end = zone.stretch(start)
        yield from _shown(wall, start, end, offset)
        if end - start < STRETCH_S:
            start = end  # a clock that goes back shows again what it has shown
            continue
        found = wall.at_or_after(wall_time(end + offset))
        if found is None:
            return
        start = max(end, clock_seconds(found) - offset - APPROACH_S)


def _shown(wall: Wall, start: int, end: int, offset: int) -> Iterator[int]:
    """The matches within a stretch."""
    found = wall.at_or_after(wall_time(start + offset))
    while found is not None:
        instant = clock_seconds(found) - offset
        if instant >= end:
            return
        yield instant
        found = wall.at_or_after(found + _SECOND)


def clock_seconds(local: datetime) -> int:
    """The naive time a clock shows, as seconds since its epoch; `wall_time` the other way round."""
    return int((local - _EPOCH).total_seconds())


def clock_seconds_of(day: date) -> int:
    """Midnight of a day, as `clock_seconds`."""
    return (day - _EPOCH.date()).days * 86400


def as_datetime(instant: int) -> datetime:
    """An instant as an aware datetime in UTC."""
    return datetime.fromtimestamp(instant, UTC)
