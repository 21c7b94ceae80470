"""The scheduler's process is killed with SIGKILL around times that come: every time leads to one run."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from support.actors import kill_actor
from support.plan import PlanActivities, PlanAgent, plan
from support.waiting import lines, until
from typer.testing import CliRunner

from rojak_ray import (
    Rojak,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
    ToolContext,
)
from rojak_ray.cli.main import app
from rojak_ray.runtime.settings import CATALOG, SCHEDULER
from rojak_ray.schedules import matching_times

pytestmark = pytest.mark.ray

EVERY_SECOND = ScheduleSpec(intervals=[ScheduleIntervalSpec(timedelta(seconds=1))])
ALLOW_ALL = SchedulePolicy(overlap=ScheduleOverlapPolicy.ALLOW_ALL)


@pytest_asyncio.fixture
async def worker(rojak: Rojak) -> AsyncIterator[None]:
    async with await rojak.create_worker([PlanActivities()]):
        yield


@pytest.mark.usefixtures("worker")
async def test_schedule_runs_without_its_program_and_is_found_by_the_next(installation, rojak, unique):
    async with Rojak(**installation) as program:
        await program.create_schedule(unique, EVERY_SECOND, PlanAgent(), plan("tick"), policy=ALLOW_ALL)

    async def completed() -> list[str]:
        return [one async for one in rojak.list_scheduled_runs(unique, ["Completed"])]

    run_id = (await until(completed, "a scheduled run"))[-1]
    assert (await rojak.get_run_result(run_id)).messages[-1].content == "tick"
    handle = await rojak.get_schedule(unique)
    assert unique in [one.id async for one in rojak.list_schedules()]
    await handle.delete()


@pytest.mark.usefixtures("worker")
async def test_scheduler_killed_around_ticks_loses_none_and_doubles_none(rojak, unique, effects: Path):
    path = str(effects)

    async def note(context: ToolContext) -> str:
        with open(path, "a") as file:
            file.write(f"{context.run_id}\n")
        return "noted"

    agent = PlanAgent(functions=[note])
    started = datetime.now(UTC)
    handle = await rojak.create_schedule(unique, EVERY_SECOND, agent, plan([["note", {}]]), policy=ALLOW_ALL)
    created = (await handle.describe()).info.created_at
    assert started <= created + timedelta(seconds=5)
    for number in range(6):
        # At the second, just before it and just after it, by the clock that schedules go by.
        phase = (0.95, 0.0, 0.05, 0.5, 0.99, 0.01)[number]
        await asyncio.sleep(1.0 + (phase - datetime.now(UTC).timestamp()) % 1.0)
        kill_actor(rojak, SCHEDULER)
    await asyncio.sleep(2)
    await handle.pause()
    paused = datetime.now(UTC)

    async def settled() -> bool:
        info = (await handle.describe()).info
        ended = await runs()
        # The last run may have been started and noted by now, and its start not be recorded yet.
        recorded = len(ended) == info.num_actions and set(ended) == set(lines(effects))
        return info.num_actions > 0 and not info.num_actions_buffered and recorded

    async def runs() -> list[str]:
        return [one async for one in rojak.list_scheduled_runs(unique, ["Completed"], limit=1000)]

    await until(settled, "all runs ended")
    expected = [f"{unique}-{one:%Y-%m-%dT%H:%M:%SZ}" for one in matching_times(EVERY_SECOND, created, paused)]
    found = await runs()
    assert len(found) == len(set(found))
    assert set(expected[:-1]) <= set(found) <= set(expected)
    assert len(found) >= 8
    noted = Counter(lines(effects))
    assert set(noted) == set(found)
    assert set(noted.values()) == {1}
    await handle.delete()


async def test_new_life_of_the_catalog_wakes_the_scheduler_without_a_caller(rojak, unique):
    import ray

    state = ScheduleState(paused=True)
    handle = await rojak.create_schedule(unique, EVERY_SECOND, PlanAgent(), plan("tick"), state=state)
    scheduler: Any = ray.get_actor(SCHEDULER, rojak.settings.ray_namespace)
    ray.kill(scheduler, no_restart=True)

    def is_there() -> bool:
        try:
            ray.get_actor(SCHEDULER, rojak.settings.ray_namespace)
        except ValueError:
            return False
        return True

    await until(lambda: not is_there(), "the scheduler's end")
    kill_actor(rojak, CATALOG)
    await until(is_there, "the scheduler's return")
    assert (await handle.describe()).state.paused
    await handle.delete()


def test_command_line_makes_shows_and_deletes_a_schedule(installation, unique):
    where = ["--storage", installation["storage"], "--namespace", installation["namespace"]]

    def rojak(*words: str) -> str:
        result = CliRunner().invoke(app, ["schedules", *words, *where])
        assert result.exit_code == 0, result.output
        return result.output

    created = rojak("create", unique, "--cron", "0 9 * * *", "--zone", "Europe/Berlin", "-m", "Report.", "--paused")
    assert f"{unique} is paused and acts next at" in created
    assert f"{unique}  paused  0 9 * * *" in rojak("list")
    assert "acts next at" in rojak("unpause", unique)
    assert json.loads(rojak("show", unique, "--json"))["paused"] is False
    rojak("delete", unique)
    assert CliRunner().invoke(app, ["schedules", "show", unique, *where]).exit_code == 1
