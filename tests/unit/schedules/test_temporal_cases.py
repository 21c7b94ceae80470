"""What a real Temporal server answered for 250 specs; `not_ours` marks a time that we leave out, with the reason."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rojak_ray.schedules import (
    ScheduleCalendarSpec,
    ScheduleIntervalSpec,
    ScheduleRange,
    ScheduleSpec,
    matching_times,
)

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "data/schedule_cases.json").read_text())


def read_calendar(stored: dict[str, Any]) -> ScheduleCalendarSpec:
    return ScheduleCalendarSpec(**{name: [ScheduleRange(**one) for one in ranges] for name, ranges in stored.items()})


def read_spec(stored: dict[str, Any]) -> ScheduleSpec:
    fields = dict(stored)
    for name in ("calendars", "skip"):
        fields[name] = [read_calendar(one) for one in stored.get(name, ())]
    fields["intervals"] = [
        ScheduleIntervalSpec(timedelta(seconds=one["every_s"]), timedelta(seconds=one["offset_s"]))
        for one in stored.get("intervals", ())
    ]
    for name in ("start_at", "end_at"):
        if name in stored:
            fields[name] = datetime.fromisoformat(stored[name])
    return ScheduleSpec(**fields)


@pytest.mark.parametrize("number", range(len(CASES)))
def test_spec_stands_for_the_times_that_a_temporal_server_answered(number: int):
    case = CASES[number]
    spec, after, until = read_spec(case["spec"]), *map(datetime.fromisoformat, (case["from"], case["to"]))
    if "error" in case:
        with pytest.raises(ValueError):
            matching_times(spec, after, until)
        return
    answered = [datetime.fromisoformat(one) for one in case["times"]]
    left_out = {datetime.fromisoformat(one) for one in case.get("not_ours", {}).get("times", ())}
    assert left_out <= set(answered)
    found = matching_times(spec, after, answered[-1] if case["truncated"] else until)
    assert found == [one for one in answered if one not in left_out]


def test_answers_that_are_not_ours_are_few_and_say_why():
    reasons = [case["not_ours"]["reason"] for case in CASES if "not_ours" in case]
    assert len(reasons) == 1
    assert all(reasons)
