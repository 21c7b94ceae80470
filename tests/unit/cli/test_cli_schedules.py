"""What `rojak schedules` does and says, over the in-process runtime."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from rich.console import Console
from typer.testing import CliRunner

from rojak_ray.cli import schedule_commands as commands
from rojak_ray.cli.main import app
from rojak_ray.cli.output import Voice
from rojak_ray.errors import InvalidAgent, InvalidSchedule, ScheduleNotFound
from rojak_ray.schedules import ScheduleCalendarSpec, ScheduleIntervalSpec, ScheduleRange, ScheduleSpec, zone
from rojak_ray.testing.clock import FakeClock
from rojak_ray.testing.runtime import InProcessRuntime

MORNING = datetime(2026, 6, 1, 8, tzinfo=UTC)
WEEKDAYS = commands.NewSchedule(
    message="Report.", cron=("0 9 * * 1-5",), zone="Europe/Berlin", name="Clerk", overlap="buffer-one", note="begun"
)


class Heard(Voice):
    """A voice whose words can be read."""

    def __init__(self) -> None:
        self.file = io.StringIO()
        super().__init__(Console(file=self.file, highlight=False, width=200))

    @property
    def text(self) -> str:
        return self.file.getvalue()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(MORNING)


@pytest_asyncio.fixture
async def rojak(clock) -> AsyncIterator[InProcessRuntime]:
    async with InProcessRuntime(clock=clock) as runtime:
        yield runtime


async def test_created_schedule_is_shown_in_its_zone(rojak):
    voice = Heard()
    await commands.create(rojak, "daily", WEEKDAYS, voice)
    assert voice.text == "daily acts next at 2026-06-02 09:00:00 CEST.\n"
    await commands.show(rojak, "daily", voice=voice)
    assert "acts     0 9 * * 1-5 (Europe/Berlin)" in voice.text
    assert "state    active (begun)" in voice.text
    assert "policy   BUFFER_ONE, catches up 365 days" in voice.text
    assert "next     2026-06-08 09:00:00 CEST" in voice.text


async def test_list_says_what_acts_next_and_json_says_everything(rojak):
    voice = Heard()
    await commands.list_all(rojak, voice=voice)
    assert "no schedules" in voice.text
    await commands.create(rojak, "daily", WEEKDAYS, Heard())
    await commands.pause(rojak, "daily", "holiday", Heard())
    await commands.list_all(rojak, voice=voice)
    assert "daily  paused  0 9 * * 1-5 (Europe/Berlin)" in voice.text
    as_json = Heard()
    await commands.list_all(rojak, as_json=True, voice=as_json)
    shown = json.loads(as_json.text)
    assert (shown["id"], shown["paused"], shown["note"], shown["overlap"]) == ("daily", True, "holiday", "BUFFER_ONE")
    assert shown["next"][0] == "2026-06-02T09:00:00+02:00"


async def test_pause_unpause_trigger_backfill_and_delete(rojak, clock):
    voice = Heard()
    await commands.create(rojak, "daily", WEEKDAYS, voice)
    await commands.pause(rojak, "daily", None, voice)
    await commands.unpause(rojak, "daily", None, voice)
    await commands.trigger(rojak, "daily", "ALLOW_ALL", voice)
    await commands.backfill(rojak, "daily", "2026-05-29T09:00", "2026-05-29T09:00", "ALLOW_ALL", voice)
    await clock.advance(5)
    runs = [one async for one in rojak.list_scheduled_runs("daily")]
    assert runs == ["daily-2026-06-01T08:00:00Z", "daily-2026-05-29T07:00:00Z"]
    await commands.delete(rojak, "daily", voice)
    assert voice.text.splitlines()[1:3] == ["daily is paused.", "daily acts next at 2026-06-02 09:00:00 CEST."]
    with pytest.raises(ScheduleNotFound, match="'daily'"):
        await commands.show(rojak, "daily")


async def test_backfills_are_shown_and_called_off(rojak):
    voice = Heard()
    await commands.create(rojak, "daily", WEEKDAYS, Heard())
    await commands.backfill(rojak, "daily", "1999-05-29T09:00", "2026-05-29T09:00", "ALLOW_ALL", Heard())
    await commands.show(rojak, "daily", voice=voice)
    assert "  backfill " in voice.text
    await commands.cancel_backfills(rojak, "daily", voice)
    assert voice.text.endswith("daily goes through no times any more (1 backfills were left).\n")
    assert (await (await rojak.get_schedule("daily")).describe()).info.backfills == []


async def test_schedule_that_was_set_aside_says_why_in_every_form(rojak, clock, monkeypatch):
    await commands.create(rojak, "daily", WEEKDAYS, Heard())
    await commands.create(rojak, "good", commands.NewSchedule(message="Report.", every=("45m",)), Heard())

    def unknown(name: str) -> None:
        if name == "Europe/Berlin":
            raise KeyError(name)

    monkeypatch.setattr(zone, "ZoneInfo", unknown)
    stored = rojak._local._store  # the next runtime is that of a machine which does not know the zone
    async with InProcessRuntime(stored, clock=clock) as other:
        await clock.advance(1)
        voice = Heard()
        await commands.list_all(other, voice=voice)
        await commands.show(other, "daily", voice=voice)
        await commands.list_all(other, as_json=True, voice=voice)
        lines = voice.text.splitlines()
        assert lines[0].startswith("daily  set aside (InvalidSchedule: time_zone_name 'Europe/Berlin' is no zone")
        assert lines[1].startswith("good  next ")
        assert "  aside    set aside, so that it does not act: InvalidSchedule" in voice.text
        shown = [json.loads(line) for line in lines if line.startswith("{")]
        assert [one["set_aside"] is None for one in shown] == [False, True]


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"cron": ()}, InvalidSchedule, "--cron or --every"),
        ({"every": ("soon",)}, InvalidSchedule, "soon"),
        ({"catchup": "later"}, InvalidSchedule, "--catchup"),
        ({"overlap": "QUEUE"}, InvalidSchedule, "BUFFER_ALL"),
        ({"model": "oracle:7"}, InvalidAgent, "oracle:7"),
    ],
)
async def test_what_cannot_be_understood_is_said(rojak, changes, error, says):
    new = commands.NewSchedule(**{"message": "Report.", "cron": ("@daily",), **changes})
    with pytest.raises(error, match=says):
        await commands.create(rojak, "daily", new)


async def test_time_that_is_none_is_refused(rojak):
    await commands.create(rojak, "daily", WEEKDAYS, Heard())
    with pytest.raises(InvalidSchedule, match="yesterday"):
        await commands.backfill(rojak, "daily", "yesterday", "today", None)


def test_specs_in_a_line():
    spec = ScheduleSpec(
        intervals=[ScheduleIntervalSpec(timedelta(hours=6), timedelta(minutes=5))],
        calendars=[
            ScheduleCalendarSpec(hour=[ScheduleRange(8, 18, 2)], day_of_week=[ScheduleRange(1)], comment="work")
        ],
        skip=[ScheduleCalendarSpec()],
    )
    assert commands.describe_spec(spec) == (
        "every 6:00:00 from 0:05:00 or day_of_week 1 hour 8-18/2 # work except midnight (UTC)"
    )


@pytest.mark.parametrize(
    "command",
    ["list", "show", "create", "pause", "unpause", "trigger", "backfill", "cancel-backfills", "delete"],
)
def test_every_command_explains_itself(command):
    result = CliRunner().invoke(app, ["schedules", command, "--help"])
    assert result.exit_code == 0
    assert "--namespace" in result.output
