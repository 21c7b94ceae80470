"""What a schedule may be made of: checks that name the field, for everything that the calendar's arithmetic relies on.

What passes here can be stored, read back, and followed to the end of the calendar without an error.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rojak_ray import checks
from rojak_ray.checks import shown
from rojak_ray.errors import InvalidSchedule

FIRST_YEAR, LAST_YEAR = 2000, 2100
"""What a calendar's year may be."""

LONGEST_JITTER = timedelta(days=366)
LONGEST_DURATION = timedelta(days=36525)
"""A century: an interval or a catch-up window that is longer means nothing on this calendar."""

_LONGEST_NOTE = 2000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def check_text(value: object, name: str, longest: int = _LONGEST_NOTE) -> None:
    """Refuse what is neither None nor text that can be stored.

    Raises:
        InvalidSchedule: The text names the field.
    """
    if value is not None:
        checks.check_text(value, name, InvalidSchedule, longest=longest, empty=True)


def check_flag(value: object, name: str) -> None:
    """Refuse what is neither True nor False; raises InvalidSchedule naming the field."""
    checks.check_flag(value, name, InvalidSchedule)


def check_number(value: object, name: str) -> None:
    """Refuse what is no whole number (True and False are none); raises InvalidSchedule naming the field."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidSchedule(f"{name} must be a whole number, not {shown(value)}.")


def check_duration(value: object, name: str, longest: timedelta = LONGEST_DURATION) -> timedelta:
    """Refuse what is no timedelta from nothing to the longest.

    Raises:
        InvalidSchedule: The text names the field.
    """
    if not isinstance(value, timedelta):
        raise InvalidSchedule(f"{name} must be a timedelta, not {shown(value)}.")
    if value < timedelta(0):
        raise InvalidSchedule(f"{name} must be a timedelta that is not negative, not {value}.")
    if value > longest:
        raise InvalidSchedule(f"{name} is {value}; it must be at most {longest}.")
    return value


def in_utc(moment: object, name: str) -> datetime:
    """The instant in UTC; one without a zone is taken for UTC, as Temporal's SDK does.

    Raises:
        InvalidSchedule: It is no datetime, or before year 1 or after year 9999 in UTC.
    """
    if not isinstance(moment, datetime):
        raise InvalidSchedule(f"{name} must be a datetime, not {type(moment).__name__}.")
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (OverflowError, ValueError):
        raise InvalidSchedule(f"{name} ({shown(moment)}) is outside the years that UTC can name.") from None


def since_1970(moment: object, name: str) -> datetime:
    """As `in_utc`, for a time at which something is to begin.

    Raises:
        InvalidSchedule: It is no datetime, before 1970 or after the last year of the calendar.
    """
    instant = in_utc(moment, name)
    if instant < _EPOCH or instant.year > LAST_YEAR:
        raise InvalidSchedule(f"{name} is {instant:%Y-%m-%d}; it must lie between 1970 and the end of {LAST_YEAR}.")
    return instant
