"""What people write about a schedule: refused in words that name the field, or stored, read back and followed."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.plans import ACTION, MONDAY
from support.scheduling import World

from rojak_ray import OfflineAgent
from rojak_ray.errors import RequestError
from rojak_ray.schedules import (
    ScheduleActionStartRun,
    ScheduleBackfill,
    ScheduleCalendarSpec,
    ScheduleIntervalSpec,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    matching_times,
)
from rojak_ray.schedules.commands import CreateSchedule
from rojak_ray.schedules.decide import decide
from rojak_ray.schedules.events import Definition, Event
from rojak_ray.schedules.passing import next_ticks, wake_at
from rojak_ray.schedules.requests import ScheduleAsk
from rojak_ray.schedules.state import ScheduleRecord, evolve
from rojak_ray.testing.clock import FakeClock
from rojak_ray.testing.runtime import InProcessRuntime

DAILY = ScheduleSpec(cron_expressions=["@daily"])
ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    7,
    2**63,
    10**400,
    1.5,
    math.inf,
    -math.inf,
    math.nan,
    "",
    "x",
    "\ud800",
    "9" * 5000,
    b"@daily",
    [],
    [None],
    {},
    object(),
    timedelta(0),
    timedelta(-1),
    timedelta(days=40),
    timedelta.max,
    timedelta.min,
    datetime.min,  # noqa: DTZ901  (without a zone it is UTC)
    datetime.max,  # noqa: DTZ901
    datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))),
    datetime(2101, 1, 1, tzinfo=UTC),
    MONDAY,
    ScheduleRange(1),
    ScheduleRange(0, 10**400),
    [ScheduleRange(1, 2, 10**400)],
    [ScheduleRange(None, None, None)],  # type: ignore[arg-type]
    [ScheduleRange("a", "b")],  # type: ignore[arg-type]
    [ScheduleRange(True)],
    [ScheduleRange(1.0, math.nan)],  # type: ignore[arg-type]
    ["@every 1e9d"],
    ["@every 99999999999999d"],
    ["0 0 " + "9" * 500 + " * *"],
    ["* * * * * * 99999999999"],
    ["TZ=\ud800 * * * * *"],
    ["TZ= * * * * *"],
    [ScheduleCalendarSpec(comment="\ud800")],
    [ScheduleCalendarSpec(hour=[ScheduleRange(0, 23)], year=[ScheduleRange(2100)])],
    [ScheduleIntervalSpec(timedelta.max)],
    [ScheduleIntervalSpec(timedelta(days=36000), timedelta(days=35999))],
    [ScheduleIntervalSpec(None)],  # type: ignore[arg-type]
]
PARTS: dict[str, type[Any]] = {"spec": ScheduleSpec, "policy": SchedulePolicy, "state": ScheduleState}
FIELDS = [(part, one.name) for part, kind in PARTS.items() for one in dataclasses.fields(kind)]


def written(part: str, field: str, value: Any) -> dict[str, Any]:
    """A schedule with one odd field."""
    parts: dict[str, Any] = {"spec": dataclasses.replace(DAILY), "policy": SchedulePolicy(), "state": ScheduleState()}
    setattr(parts[part], field, value)
    return parts


def attempt(command: CreateSchedule) -> tuple[list[Event], str | None]:
    """What a creation leads to, or why it is refused."""
    try:
        return decide(None, command), None
    except RequestError as error:
        return [], str(error)


@pytest.mark.parametrize(("part", "field"), FIELDS)
def test_each_field_takes_what_can_be_followed_and_refuses_everything_else_by_its_name(part, field):
    """Given any odd value, when a schedule is made of it, then it is refused by name, or can be followed."""
    for value in ODD:
        given = written(part, field, value)
        command = CreateSchedule.model_construct(
            schedule_id="s",
            incarnation="i",
            definition=Definition.model_construct(action=ACTION, spec=given["spec"], policy=given["policy"]),
            state=given["state"],
            at=MONDAY,
        )
        events, refusal = attempt(command)
        if refusal is not None:
            assert field in refusal, (value, refusal)
            assert len(refusal) < 500
            continue
        schedule: ScheduleRecord | None = None
        for event in events:
            read = type(event).model_validate_json(json.dumps(event.model_dump(mode="json"), allow_nan=False))
            schedule = evolve(schedule, read)
        assert schedule is not None
        for now in (MONDAY, datetime(2030, 2, 28, tzinfo=UTC), datetime(2100, 12, 31, 23, 59, 59, tzinfo=UTC)):
            wake_at(schedule, now)
            list(itertools.islice(next_ticks(schedule, now), 3))


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ODD), st.sampled_from(ODD), st.sampled_from(["spec", "start_at", "end_at", "after", "until"]))
def test_spans_of_time_are_gone_through_or_refused_by_name(first, second, what):
    try:
        if what in {"start_at", "end_at"}:
            spec = ScheduleSpec(cron_expressions=["0 0 1 1 *"], start_at=first, end_at=second)
            matching_times(spec, MONDAY, MONDAY + timedelta(days=999))
        elif what == "spec":
            matching_times(first, MONDAY, MONDAY)
        else:
            spec = ScheduleSpec(cron_expressions=["0 0 1 1 *"])
            matching_times(spec, first, second)
    except RequestError as error:
        words = str(error)
    else:
        words = "until"
    assert any(word in words for word in ("spec", "start_at", "end_at", "after", "until"))


CALLS: dict[str, Any] = {
    "note": lambda handle, value: handle.pause(note=value),
    "note of unpause": lambda handle, value: handle.unpause(note=value),
    "overlap": lambda handle, value: handle.trigger(overlap=value),
    "request": lambda handle, value: handle.trigger(request_id=value),
    "start_at": lambda handle, value: handle.backfill(ScheduleBackfill(value, MONDAY)),
    "end_at": lambda handle, value: handle.backfill(ScheduleBackfill(MONDAY, value)),
    "overlap of a backfill": lambda handle, value: handle.backfill(ScheduleBackfill(MONDAY, MONDAY, value)),
    "backfill": lambda handle, value: handle.backfill(value),
    "spec": lambda handle, value: handle.update(spec=value),
    "policy": lambda handle, value: handle.update(policy=value),
    "state": lambda handle, value: handle.update(state=value),
    "action": lambda handle, value: handle.update(action=value),
    "updater": lambda handle, value: handle.update(value),
    "what an updater returns": lambda handle, value: handle.update(lambda _: value),
    "a schedule that an updater returns": lambda handle, value: handle.update(lambda _: ScheduleUpdate(value)),
    "an action's parts": lambda handle, value: handle.update(
        action=ScheduleActionStartRun(OfflineAgent(), value, value, value, value)
    ),
    "an action's agent": lambda handle, value: handle.update(action=ScheduleActionStartRun(value, "x")),
}


@pytest.mark.parametrize("name", CALLS)
async def test_every_call_is_followed_or_refused_with_an_error_of_ours(name):
    async with InProcessRuntime(clock=FakeClock(MONDAY)) as client:
        handle = await client.create_schedule("s", DAILY, OfflineAgent(), "x", state=ScheduleState(paused=True))
        for value in ODD:
            with contextlib.suppress(RequestError):
                await CALLS[name](handle, value)
            await handle.cancel_backfills()
        await handle.delete()


async def test_create_and_list_refuse_odd_arguments_with_errors_of_ours():
    async with InProcessRuntime(clock=FakeClock(MONDAY)) as client:
        for value in ODD:
            given: dict[str, Any] = {
                "schedule_id": "s",
                "schedule_spec": DAILY,
                "agent": OfflineAgent(),
                "messages": "x",
            }
            names = ("context_variables", "max_turns", "debug", "policy", "state", "request_id", "schedule_id", *given)
            for number, name in enumerate(names):
                with contextlib.suppress(RequestError):
                    await client.create_schedule(**{"schedule_id": f"s{number}", **given, name: value})
                    await client._handle(f"s{number}").delete()
            for name in ("schedule_id", "statuses", "limit", "page_size"):
                with contextlib.suppress(RequestError):
                    assert [one async for one in client.list_scheduled_runs(**{"schedule_id": "s", name: value})] == []


async def test_schedule_whose_first_time_is_in_the_last_year_waits_for_it():
    world = World()
    async with world.open() as desk:
        start = datetime(2100, 12, 31, tzinfo=UTC)
        await desk.create(spec=dataclasses.replace(DAILY, start_at=start))
        view = (await desk.service.ask(ScheduleAsk(schedule_id="s", view=True))).view
        assert view is not None
        assert view.next_times == (start,)
