"""Times without those that `skip` leaves out: against a plain oracle, over decades, and without a limit on steps."""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rojak_ray.schedules import (
    ScheduleCalendarSpec,
    ScheduleIntervalSpec,
    ScheduleRange,
    ScheduleSpec,
    matching_times,
)
from rojak_ray.schedules.times import compile_spec

ALL_DAY = {"second": [ScheduleRange(0, 59)], "minute": [ScheduleRange(0, 59)], "hour": [ScheduleRange(0, 23)]}
MINUTELY = ["* * * * *"]


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def first(spec: ScheduleSpec, after: datetime) -> datetime | None:
    tick = next(compile_spec(spec).ticks(after, "s"), None)
    return tick.nominal if tick else None


def ranges(low: int, high: int) -> st.SearchStrategy[list[ScheduleRange]]:
    value = st.integers(low, high)
    one = st.builds(lambda a, b, step: ScheduleRange(min(a, b), max(a, b), step), value, value, st.integers(1, 9))
    return st.lists(one, min_size=1, max_size=2)


CALENDARS = st.builds(
    ScheduleCalendarSpec,
    second=ranges(0, 59),
    minute=ranges(0, 59),
    hour=ranges(0, 23),
    day_of_month=st.one_of(st.just([ScheduleRange(1, 31)]), ranges(1, 31)),
    month=st.one_of(st.just([ScheduleRange(1, 12)]), ranges(1, 12)),
    day_of_week=st.one_of(st.just([ScheduleRange(0, 6)]), ranges(0, 6)),
)
SPANS = [("Europe/Berlin", utc(2026, 10, 24, 20)), ("Europe/Berlin", utc(2026, 3, 28, 20)), (None, utc(2028, 2, 28))]
SPANS += [("Australia/Lord_Howe", utc(2026, 4, 4, 12)), ("Asia/Kathmandu", utc(2026, 12, 31))]


def skipped(moment: datetime, calendar: ScheduleCalendarSpec, zone: str | None) -> bool:
    """The plainest oracle: look at the clock, field by field."""
    local = moment.astimezone(ZoneInfo(zone or "UTC"))
    shown = {name: getattr(local, name) for name in ("second", "minute", "hour", "month")}
    shown |= {"day_of_month": local.day, "day_of_week": local.isoweekday() % 7}
    return all(
        any(value in range(one.start, one.end + 1, one.step) for one in getattr(calendar, name))
        for name, value in shown.items()
    )


@settings(max_examples=30, deadline=None)
@given(
    st.lists(CALENDARS, max_size=2),
    st.lists(st.integers(1, 200_000), max_size=2),
    st.sampled_from([[], ["*/7 * * * *"], ["* 1-3 * * *", "30 2 * * 0"]]),
    st.lists(CALENDARS, min_size=1, max_size=3),
    st.sampled_from(SPANS),
)
def test_what_is_left_is_what_matches_without_what_is_skipped(calendars, every, crons, skip, span):
    zone, begin = span
    intervals = [ScheduleIntervalSpec(timedelta(seconds=one), timedelta(seconds=one // 3)) for one in every]
    spec = ScheduleSpec(calendars=calendars, intervals=intervals, cron_expressions=crons, time_zone_name=zone)
    end = begin + timedelta(hours=8)
    expected = [
        one for one in matching_times(spec, begin, end) if not any(skipped(one, calendar, zone) for calendar in skip)
    ]
    spec.skip = skip
    assert matching_times(spec, begin, end) == expected


@pytest.mark.parametrize(
    ("spec", "after", "expected"),
    [
        (  # August of every minute: 44,640 matches
            ScheduleSpec(cron_expressions=MINUTELY, skip=[ScheduleCalendarSpec(**ALL_DAY, month=[ScheduleRange(8)])]),
            utc(2026, 7, 31, 23, 59),
            utc(2026, 9, 1),
        ),
        (  # thirty years
            ScheduleSpec(
                cron_expressions=MINUTELY, skip=[ScheduleCalendarSpec(**ALL_DAY, year=[ScheduleRange(2027, 2056)])]
            ),
            utc(2026, 12, 31, 23, 59),
            utc(2057, 1, 1),
        ),
        (  # only full minutes are skipped, and only full minutes match, but for one day far away
            ScheduleSpec(
                cron_expressions=MINUTELY,
                skip=[
                    ScheduleCalendarSpec(
                        hour=[ScheduleRange(0, 23)], minute=[ScheduleRange(0, 59)], year=[ScheduleRange(2026, 2070)]
                    )
                ],
            ),
            utc(2026, 6, 1),
            utc(2071, 1, 1),
        ),
        (  # each second is skipped by one of two, up to the last day of the calendar
            ScheduleSpec(
                intervals=[ScheduleIntervalSpec(timedelta(seconds=1))],
                skip=[
                    ScheduleCalendarSpec(
                        second=[ScheduleRange(odd, 59, 2)],
                        minute=[ScheduleRange(0, 59)],
                        hour=[ScheduleRange(0, 23)],
                        year=[ScheduleRange(2000, 2099)],
                    )
                    for odd in (0, 1)
                ],
            ),
            utc(2026, 6, 1),
            utc(2100, 1, 1),
        ),
        (  # never: everything that matches is skipped
            ScheduleSpec(
                cron_expressions=["0,20 * * * *"],
                skip=[ScheduleCalendarSpec(hour=[ScheduleRange(0, 23)], minute=[ScheduleRange(0, 59, 10)])],
            ),
            utc(2026, 6, 1),
            None,
        ),
        (  # thirty years of holidays, each by its date
            ScheduleSpec(
                cron_expressions=["0 9 1 1 *"],
                skip=[
                    ScheduleCalendarSpec(
                        **ALL_DAY,
                        year=[ScheduleRange(year)],
                        month=[ScheduleRange(month)],
                        day_of_month=[ScheduleRange(1)],
                    )
                    for year in range(2026, 2056)
                    for month in (1, 5, 8, 12)
                ],
            ),
            utc(2026, 1, 1),
            utc(2056, 1, 1, 9),
        ),
    ],
)
def test_no_number_of_skipped_matches_means_never_again(spec, after, expected):
    for zone in (None, "Europe/Berlin"):
        spec.time_zone_name = zone
        found = first(spec, after)
        if expected is None:
            assert found is None
        else:
            assert found is not None
            local = found.astimezone(ZoneInfo(zone or "UTC")).replace(tzinfo=UTC)
            assert local == expected


def test_search_for_what_never_comes_is_made_once():
    seconds = [ScheduleCalendarSpec(**{**ALL_DAY, "second": [ScheduleRange(odd, 59, 2)]}) for odd in (0, 1)]
    spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(timedelta(seconds=7))], skip=seconds)
    timetable = compile_spec(spec)
    begin = time.process_time()
    assert next(timetable.after(1_780_000_000), None) is None
    once = time.process_time() - begin
    begin = time.process_time()
    assert all(next(timetable.after(1_780_000_000 + later), None) is None for later in range(1000))
    assert time.process_time() - begin < max(once, 0.05), "each search was made again"


def test_every_third_february_of_a_schedule_is_found_across_a_long_gap_and_asked_again():
    leap = ScheduleCalendarSpec(**ALL_DAY, month=[ScheduleRange(1), ScheduleRange(3, 12)])
    spec = ScheduleSpec(cron_expressions=["0 12 29 * *"], skip=[leap])
    timetable = compile_spec(spec)
    found = list(itertools.islice(timetable.ticks(utc(2026, 6, 1), "s"), 4))
    assert [one.nominal.year for one in found] == [2028, 2032, 2036, 2040]
    assert next(timetable.ticks(utc(2029, 1, 1), "s")) == found[1]
