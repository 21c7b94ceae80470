"""Schedules on Ray: how late runs start at 1,000 schedules a minute, and what 10,000 idle schedules cost.

Lateness is from the time of a schedule to the moment at which its run is known to be durable, so it holds the journal
of the decision, the start of the run, and the run's own first write.

Budget (design, section 8): p99 <= 1 s.
"""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import ray
from rich.console import Console

from benchmarks import command
from rojak_ray import OfflineAgent, Rojak, ScheduleIntervalSpec, ScheduleSpec
from rojak_ray.runtime.settings import SCHEDULER

IDLE = timedelta(days=300)


@dataclass
class Figures:
    """What was measured."""

    schedules: int
    runs: int
    late_p50_s: float
    late_p99_s: float
    late_max_s: float
    idle_schedules: int
    idle_cpu_s_per_minute: float
    idle_mb: float
    idle_mb_without: float
    created_per_s: float


async def create(rojak: Rojak, count: int, prefix: str, every: timedelta) -> float:
    """Create schedules whose times are spread evenly; seconds it took."""
    agent = OfflineAgent(name="Clerk")
    limit = asyncio.Semaphore(64)

    async def one(number: int) -> None:
        offset = timedelta(seconds=int(every.total_seconds()) * number // count)
        spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(every, offset)])
        async with limit:
            await rojak.create_schedule(f"{prefix}-{number}", spec, agent, "Hello.")

    started = time.perf_counter()
    await asyncio.gather(*(one(number) for number in range(count)))
    return time.perf_counter() - started


async def lateness(rojak: Rojak, count: int, minutes: float) -> list[float]:
    """Seconds from each time that came to the start of its run."""
    late: list[float] = []
    await asyncio.sleep(60 * minutes)
    async for handle in rojak.list_schedules():
        info = (await handle.describe()).info
        late += [(result.started_at - result.scheduled_at).total_seconds() for result in info.recent_actions]
        await handle.delete()
    if not late:
        raise RuntimeError(f"None of {count} schedules acted.")
    return sorted(late)


async def usage(rojak: Rojak) -> tuple[float, float]:
    """CPU seconds and resident megabytes of the scheduler's process."""
    scheduler: Any = ray.get_actor(SCHEDULER, rojak.settings.ray_namespace)

    def measure(_: Any) -> tuple[float, float]:
        used = resource.getrusage(resource.RUSAGE_SELF)
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return used.ru_utime + used.ru_stime, pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    return await scheduler.__ray_call__.remote(measure)


async def bench(folder: Path, busy: int, idle: int, minutes: float, watched_s: float) -> Figures:
    """Set everything up, measure, take it down."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    async with Rojak(str(folder / "busy")) as rojak:
        await create(rojak, busy, "busy", timedelta(minutes=1))
        late = await lateness(rojak, busy, minutes)
    async with Rojak(str(folder / "idle")) as rojak:
        await create(rojak, 1, "first", IDLE)
        _, without = await usage(rojak)
        took = await create(rojak, idle, "idle", IDLE)
        await asyncio.sleep(3)
        before, _ = await usage(rojak)
        await asyncio.sleep(watched_s)
        after, size = await usage(rojak)
    ray.shutdown()
    return Figures(
        schedules=busy,
        runs=len(late),
        late_p50_s=statistics.median(late),
        late_p99_s=late[int(len(late) * 0.99)],
        late_max_s=late[-1],
        idle_schedules=idle,
        idle_cpu_s_per_minute=(after - before) * 60 / watched_s,
        idle_mb=size,
        idle_mb_without=without,
        created_per_s=idle / took,
    )


def report(figures: Figures, console: Console) -> None:
    """The words for people."""
    console.print(
        f"{figures.schedules} schedules a minute, {figures.runs} runs: late by p50 {figures.late_p50_s * 1e3:.0f} ms, "
        f"p99 {figures.late_p99_s * 1e3:.0f} ms, at most {figures.late_max_s * 1e3:.0f} ms (budget: p99 <= 1 s)\n"
        f"{figures.idle_schedules} idle schedules: {figures.idle_cpu_s_per_minute:.2f} CPU s a minute, "
        f"{figures.idle_mb:.0f} MB ({figures.idle_mb_without:.0f} MB without them); "
        f"{figures.created_per_s:.0f} created a second"
    )


def main() -> None:
    """Measure and print."""
    parser = command.parser(__doc__)
    parser.add_argument("--busy", type=int, default=1000, help="schedules that act every minute")
    parser.add_argument("--idle", type=int, default=10_000, help="schedules that act next year")
    parser.add_argument("--minutes", type=float, default=2.0, help="how long the busy ones are watched")
    parser.add_argument("--watched", type=float, default=30.0, help="seconds the idle ones are watched")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = bench(Path(folder), options.busy, options.idle, options.minutes, options.watched)
        figures = asyncio.run(work)
    command.tell(figures, options.json, report, asdict)


if __name__ == "__main__":
    main()
