"""When a spec matches: clock changes, unions, exclusions, bounds, jitter, and what is refused."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from rojak_ray.errors import InvalidSchedule
from rojak_ray.schedules import (
    ScheduleCalendarSpec,
    ScheduleIntervalSpec,
    ScheduleRange,
    ScheduleSpec,
    matching_times,
)
from rojak_ray.schedules.spec import SchedulePolicy, ScheduleState, check_policy, check_state
from rojak_ray.schedules.times import Timetable, compile_spec

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
ALL_DAY = {
    "second": [ScheduleRange(0, 59)],
    "minute": [ScheduleRange(0, 59)],
    "hour": [ScheduleRange(0, 23)],
}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def clocks(spec: ScheduleSpec, after: str, until: str) -> list[str]:
    """Matches as the zone's clocks show them."""
    zone = ZoneInfo(spec.time_zone_name or "UTC")
    return [f"{one.astimezone(zone):%d %H:%M%z}" for one in matching_times(spec, at(after), at(until))]


def every(**duration: float) -> ScheduleIntervalSpec:
    return ScheduleIntervalSpec(timedelta(**duration))


def first(timetable: Timetable, after: datetime, count: int, seed: str = "s") -> list[tuple[datetime, datetime]]:
    return [(tick.nominal, tick.due) for tick in itertools.islice(timetable.ticks(after, seed), count)]


def test_time_that_spring_jumps_over_is_left_out_that_day():
    spec = ScheduleSpec(cron_expressions=["30 2 * * *"], time_zone_name="Europe/Berlin")
    assert clocks(spec, "2026-03-28", "2026-03-31") == ["28 02:30+0100", "30 02:30+0200"]


@pytest.mark.parametrize(
    "zone", ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Asia/Beirut", "UTC"]
)
@pytest.mark.parametrize("start", ["2026-03-07", "2026-03-28", "2026-04-04", "2026-10-03", "2026-10-24", "2026-10-31"])
def test_minutes_are_those_that_wall_clocks_show_also_when_they_change(zone, start):
    """Against the plainest oracle: look at the clock every minute. A repeated time counts each time it is shown."""
    begin, wanted = at(start), {(hour, minute) for hour in range(4) for minute in (0, 1, 15, 30, 59)}
    spec = ScheduleSpec(cron_expressions=["0,1,15,30,59 0-3 * * *"], time_zone_name=zone)
    shown = [begin + timedelta(minutes=number) for number in range(1, 3 * 24 * 60 + 1)]
    expected = [
        one for one in shown if (local := one.astimezone(ZoneInfo(zone))) and (local.hour, local.minute) in wanted
    ]
    assert matching_times(spec, begin, begin + timedelta(days=3)) == expected


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Europe/London", "Africa/Casablanca", "Australia/Sydney"])
def test_hour_before_a_repeated_one_comes_once(zone):
    """A Temporal server adds a time an hour later there, at which no clock shows what the spec says."""
    for hour in range(4):
        spec = ScheduleSpec(cron_expressions=[f"30 {hour} * * *"], time_zone_name=zone)
        found = matching_times(spec, at("2026-01-01"), at("2027-01-01"))
        assert {(one.astimezone(ZoneInfo(zone)).hour, one.astimezone(ZoneInfo(zone)).minute) for one in found} == {
            (hour, 30)
        }
    once = ScheduleSpec(cron_expressions=["30 1 25 10 *"], time_zone_name="Europe/Berlin")
    assert clocks(once, "2026-10-24T12:00", "2026-10-25T12:00") == ["25 01:30+0200"]
    twice = ScheduleSpec(cron_expressions=["30 2 25 10 *"], time_zone_name="Europe/Berlin")
    assert clocks(twice, "2026-10-24T12:00", "2026-10-25T12:00") == ["25 02:30+0200", "25 02:30+0100"]


def test_calendars_and_cron_expressions_agree():
    """Two evaluators, our matcher and croniter, on the same random fields."""
    random = Random(5)
    for _ in range(40):
        minute, hour, weekday = random.randrange(60), random.randrange(24), random.randrange(7)
        day, month, year = random.randrange(1, 32), random.randrange(1, 13), random.choice((None, 2027, 2100))
        cron = f"{minute} {hour} {day} {month} *" + (f" {year}" if year else "")
        calendar = ScheduleCalendarSpec(
            minute=[ScheduleRange(minute)],
            hour=[ScheduleRange(hour)],
            day_of_month=[ScheduleRange(day)],
            month=[ScheduleRange(month)],
            year=[ScheduleRange(year)] if year else (),
        )
        weekly = ScheduleCalendarSpec(minute=[ScheduleRange(minute)], day_of_week=[ScheduleRange(weekday)])
        for left, right in (
            (ScheduleSpec(cron_expressions=[cron]), ScheduleSpec(calendars=[calendar])),
            (ScheduleSpec(cron_expressions=[f"{minute} 0 * * {weekday}"]), ScheduleSpec(calendars=[weekly])),
        ):
            found = [first(compile_spec(spec), NEW_YEAR, 3) for spec in (left, right)]
            assert found[0] == found[1], cron


@pytest.mark.parametrize(
    ("expression", "same"),
    [
        ("@every 90s", ScheduleSpec(intervals=[every(seconds=90)])),
        ("@every 1h30m", ScheduleSpec(intervals=[every(minutes=90)])),
        ("@every 6h/5h", ScheduleSpec(intervals=[ScheduleIntervalSpec(timedelta(hours=6), timedelta(hours=5))])),
        ("@daily", ScheduleSpec(calendars=[ScheduleCalendarSpec()])),
        ("0 9 * * mo-fr", ScheduleSpec(cron_expressions=["0 9 * * 1-5"])),
        ("0 0 * * 5#3", ScheduleSpec(cron_expressions=["0 0 * * FRI"])),
        ("0 9 1 sept * # invoices", ScheduleSpec(cron_expressions=["0 9 1 9 *"])),
        ("5/20 * * * *", ScheduleSpec(cron_expressions=["5,25,45 * * * *"])),
        ("CRON_TZ=Asia/Tokyo 0 9 * * *", ScheduleSpec(cron_expressions=["0 9 * * *"], time_zone_name="Asia/Tokyo")),
        ("*/20 30 9 * * * *", ScheduleSpec(cron_expressions=["0,20,40 30 9 * * * *"])),
        ("0 0 13 * 5", ScheduleSpec(cron_expressions=["0 0 13 2,3 * 2026"])),
    ],
)
def test_cron_expression_reads_as(expression, same):
    until = NEW_YEAR + timedelta(days=75)
    assert matching_times(ScheduleSpec(cron_expressions=[expression]), NEW_YEAR, until) == matching_times(
        same, NEW_YEAR, until
    )


def test_union_has_each_time_once_and_bounds_are_included():
    spec = ScheduleSpec(
        intervals=[every(hours=6), every(hours=12)],
        calendars=[ScheduleCalendarSpec(hour=[ScheduleRange(3, 6, 3)])],
        start_at=at("2026-01-01T03:00"),
        end_at=datetime(2026, 1, 1, 12),  # noqa: DTZ001  (without a zone it is UTC)
    )
    found = matching_times(spec, NEW_YEAR, NEW_YEAR + timedelta(days=2))
    assert [one.hour for one in found] == [3, 6, 12]


def test_after_is_excluded_until_is_included_and_fractions_of_seconds_count():
    spec = ScheduleSpec(intervals=[every(seconds=1)])
    half = timedelta(milliseconds=500)
    assert matching_times(spec, NEW_YEAR, NEW_YEAR + timedelta(seconds=1)) == [NEW_YEAR + timedelta(seconds=1)]
    assert matching_times(spec, NEW_YEAR - half, NEW_YEAR + half) == [NEW_YEAR]
    assert (
        matching_times(ScheduleSpec(intervals=[every(seconds=1)], start_at=NEW_YEAR + half), NEW_YEAR, NEW_YEAR) == []
    )


def test_interval_truncates_to_seconds_and_reaches_before_the_epoch_of_its_offset():
    spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(timedelta(seconds=2.9), timedelta(seconds=1.5))])
    found = matching_times(spec, NEW_YEAR, NEW_YEAR + timedelta(seconds=4))
    assert [one.second for one in found] == [1, 3]


def test_skip_leaves_out_and_long_stretches_are_jumped_over():
    weekend = ScheduleCalendarSpec(**ALL_DAY, day_of_week=[ScheduleRange(0), ScheduleRange(6)])
    spec = ScheduleSpec(intervals=[every(seconds=1)], skip=[weekend], time_zone_name="Europe/Berlin")
    saturday = at("2026-11-27T23:00")
    found = matching_times(spec, saturday - timedelta(seconds=2), saturday + timedelta(days=2, seconds=1))
    assert found == [saturday - timedelta(seconds=1), *(saturday + timedelta(days=2, seconds=s) for s in (0, 1))]


def test_spec_that_skips_everything_or_matches_no_day_has_no_times():
    nothing = ScheduleSpec(intervals=[every(hours=1)], skip=[ScheduleCalendarSpec(**ALL_DAY)])
    assert first(compile_spec(nothing), NEW_YEAR, 1) == []
    assert first(compile_spec(ScheduleSpec(cron_expressions=["0 0 31 2 *"])), NEW_YEAR, 1) == []
    assert first(compile_spec(ScheduleSpec()), NEW_YEAR, 1) == []


def test_jitter_is_the_same_each_time_differs_between_schedules_and_stays_before_the_next_time():
    spec = ScheduleSpec(intervals=[every(seconds=10)], jitter=timedelta(minutes=1))
    timetable = compile_spec(spec)
    ticks = first(timetable, NEW_YEAR, 50, "a")
    assert ticks == first(timetable, NEW_YEAR, 50, "a") != first(timetable, NEW_YEAR, 50, "b")
    assert all(nominal <= due < nominal + timedelta(seconds=10) for nominal, due in ticks)
    assert ticks[7:] == first(timetable, ticks[6][0], 43, "a")
    delays = [due - nominal for nominal, due in ticks]
    assert len(set(delays)) > 40
    assert max(delays) > timedelta(seconds=7)


def test_passed_separates_what_is_due_from_what_jitter_still_holds_back():
    timetable = compile_spec(ScheduleSpec(intervals=[every(minutes=7)], jitter=timedelta(hours=1)))
    for number in range(200):
        now = NEW_YEAR + timedelta(seconds=31 * number)
        passed = timetable.passed(now, "s")
        assert next(timetable.ticks(passed, "s")).due > now
        before = [tick.due for tick in itertools.islice(timetable.ticks(now - timedelta(hours=3), "s"), 40)]
        assert sum(due <= now for due in before) == sum(
            tick.nominal <= passed for tick in itertools.islice(timetable.ticks(now - timedelta(hours=3), "s"), 40)
        )


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (ScheduleSpec(cron_expressions=["@daily", "61 * * * *"]), r"cron_expressions\[1\].*minute"),
        (ScheduleSpec(cron_expressions=["0 0 * * 1L"]), r"day_of_week"),
        (ScheduleSpec(cron_expressions=["0 0 R * *"]), r"day_of_month"),
        (ScheduleSpec(cron_expressions=["@every soon"]), r"cron_expressions\[0\].*duration"),
        (ScheduleSpec(cron_expressions=["@every 10ms"]), r"cron_expressions\[0\].every"),
        (ScheduleSpec(cron_expressions="@daily"), r"cron_expressions must be a list"),
        (ScheduleSpec(cron_expressions=["TZ=Asia/Tokyo @daily", "@daily"]), r"conflicting time zones"),
        (ScheduleSpec(cron_expressions=["TZ=Asia/Tokyo @daily"], time_zone_name="UTC"), r"time_zone_name"),
        (ScheduleSpec(time_zone_name="Mars/Olympus"), r"time_zone_name"),
        (ScheduleSpec(time_zone_name="../etc/passwd"), r"time_zone_name"),
        (ScheduleSpec(time_zone_name="America"), r"time_zone_name"),
        (ScheduleSpec(intervals=[every(milliseconds=999)]), r"intervals\[0\].every"),
        (
            ScheduleSpec(intervals=[ScheduleIntervalSpec(timedelta(hours=1), timedelta(hours=1))]),
            r"intervals\[0\].offset",
        ),
        (ScheduleSpec(calendars=[ScheduleCalendarSpec(hour=[ScheduleRange(24)])]), r"calendars\[0\].hour"),
        (ScheduleSpec(calendars=[ScheduleCalendarSpec(minute=[ScheduleRange(5, 60)])]), r"calendars\[0\].minute"),
        (ScheduleSpec(calendars=[ScheduleCalendarSpec(minute=[ScheduleRange(5, 6, -1)])]), r"calendars\[0\].minute"),
        (ScheduleSpec(calendars=[ScheduleCalendarSpec(month=())]), r"calendars\[0\].month"),
        (ScheduleSpec(skip=[ScheduleCalendarSpec(year=[ScheduleRange(1999)])]), r"skip\[0\].year"),
        (ScheduleSpec(skip=[ScheduleCalendarSpec(comment="x" * 201)]), r"skip\[0\].comment"),
        (ScheduleSpec(jitter=timedelta(seconds=-1)), r"jitter"),
        (ScheduleSpec(start_at="tomorrow"), r"start_at"),
    ],
)
def test_spec_that_cannot_be_followed_is_refused_naming_the_field(spec, field):
    with pytest.raises(InvalidSchedule, match=field):
        compile_spec(spec)


def test_policies_and_states_that_make_no_sense_are_refused_naming_the_field():
    with pytest.raises(InvalidSchedule, match="overlap"):
        check_policy(SchedulePolicy(overlap="SKIP"))
    with pytest.raises(InvalidSchedule, match="catchup_window"):
        check_policy(SchedulePolicy(catchup_window=timedelta(seconds=-1)))
    with pytest.raises(InvalidSchedule, match="remaining_actions"):
        check_state(ScheduleState(remaining_actions=3))
    with pytest.raises(InvalidSchedule, match="remaining_actions"):
        check_state(ScheduleState(limited_actions=True, remaining_actions=-1))
