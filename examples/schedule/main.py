"""A schedule starts a run every second, each of which sees what the one before answered; then it is paused."""

import asyncio
import secrets
import sys
from datetime import UTC, datetime, timedelta

from rojak_ray import (
    OfflineAgent,
    Rojak,
    ScheduleBackfill,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    ScheduleSpec,
    ToolContext,
)
from rojak_ray.testing.runtime import InProcessRuntime


def count_guests(context: ToolContext):
    """Count the guests who have come so far."""
    before = context.schedule.last_result  # None in the first run
    return "one more guest than before" if before else "the first guest"


agent = OfflineAgent(name="Doorman", functions=[count_guests])


async def finished(rojak, schedule_id, count):
    """Wait until so many of the schedule's runs have completed; their ids, the latest first."""
    while True:
        runs = [run_id async for run_id in rojak.list_scheduled_runs(schedule_id, ["Completed"])]
        if len(runs) >= count:
            return runs
        await asyncio.sleep(0.1)


async def main():
    async with InProcessRuntime() if "--in-process" in sys.argv else Rojak() as rojak:
        schedule_id = f"door-{secrets.token_hex(3)}"
        spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=1))])
        schedule = await rojak.create_schedule(schedule_id, spec, agent, "Count the guests.")
        # The schedule is durable now: this program could end, and a new cluster on the storage would go on with it.

        for run_id in reversed(await finished(rojak, schedule_id, 2)):
            response = await rojak.get_run_result(run_id)
            print(f"{run_id.removeprefix(schedule_id)[1:5]}: {response.messages[-1].content}")

        await schedule.pause(note="closed for today")
        found = await schedule.describe()
        print(f"paused: {found.state.note}, next would be {found.info.next_action_times[0]:%Y}")

        # Triggers and backfills work while it is paused.
        noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
        before = len(await finished(rojak, schedule_id, found.info.num_actions))
        await schedule.backfill(ScheduleBackfill(noon, noon + timedelta(seconds=2), ScheduleOverlapPolicy.BUFFER_ALL))
        runs = await finished(rojak, schedule_id, before + 3)
        print(f"backfilled: {[run_id[-9:] for run_id in runs if '2026-01-01T12' in run_id]}")
        await schedule.delete()


asyncio.run(main())
