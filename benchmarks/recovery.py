"""How long recovery takes, on an otherwise idle machine, with a folder as storage. Part of `make budgets`.

- kill: the process of a conversation's actor is killed while a function runs; until that function runs again.
- new cluster: every actor of an installation with N runs in flight is gone; from a worker's start until all run again.
- wake: a message to a session that has gone to storage, against the same message to one that is in memory.

Budgets (design, section 8): kill 2 s, new cluster with 1,000 in flight 60 s, wake 20 ms shared and 1 s dedicated.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import command
from rojak_ray import OfflineAgent, Rojak, ToolContext
from rojak_ray.journal.paths import Owner
from rojak_ray.runtime import actors, cluster
from rojak_ray.runtime.settings import home_of, host_name, session_name
from rojak_ray.sessions.pool_settings import PoolSettings

Times = dict[str, list[float]]
Tick = Callable[[], None]

BUDGETS_S = {"kill, shared": 2.0, "kill, dedicated": 2.0, "wake, shared": 0.02, "wake, dedicated": 1.0}
_LONGEST_S = 300.0


def make_hold(path: str) -> Callable[..., Any]:
    """A function that writes that it runs and waits until a file says that it may end."""

    async def hold_the_line(context: ToolContext) -> str:
        """Hold the line."""
        with open(path, "a") as file:
            file.write(f"{context.run_id} {context.attempt}\n")
        while not os.path.exists(path + ".go"):
            await asyncio.sleep(0.05)
        return "held"

    return hold_the_line


async def lines(path: Path, number: int) -> float:
    """When the file has so many lines."""
    async with asyncio.timeout(_LONGEST_S):
        while (await asyncio.to_thread(path.read_text)).count("\n") < number:
            await asyncio.sleep(0.005)
    return time.perf_counter()


def _holder(rojak: Rojak, session_id: str) -> str:
    """The actor that holds a session."""
    if rojak.settings.placement == "dedicated":
        return session_name(session_id)
    return host_name(home_of(Owner("session", session_id), rojak.settings.hosts))


async def kills(folder: Path, placement: Any, number: int, tick: Tick) -> list[float]:
    """From the kill of an actor until its run moves again."""
    found: list[float] = []
    async with Rojak(str(folder / "kills"), namespace=f"kill-{placement}", placement=placement) as rojak:
        for index in range(number):
            effects = folder / f"kill-{placement}-{index}"
            effects.touch()
            agent = OfflineAgent(name="A", functions=[make_hold(str(effects))])
            session = await rojak.create_session(f"s{index}", agent)
            answer = asyncio.create_task(session.send_messages("hold the line"))
            await lines(effects, 1)
            name = _holder(rojak, session.id)
            handle: Any = actors.find(name, rojak.settings)
            pid: int = await handle.__ray_call__.remote(lambda _: os.getpid())
            started = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            found.append(await lines(effects, 2) - started)
            Path(f"{effects}.go").touch()
            await answer
            tick()
    return found


async def new_cluster(folder: Path, number: int, tick: Tick) -> list[float]:
    """From a worker's start on the storage of a lost cluster until everything that was in flight runs again."""
    effects = folder / "in-flight"
    effects.touch()
    arguments = {"storage": str(folder / "lost"), "namespace": "lost", "placement": "shared"}
    hold = make_hold(str(effects))
    agent = OfflineAgent(name="A", functions=[hold])
    async with Rojak(**arguments) as rojak:
        settings = rojak.settings
        limit = asyncio.Semaphore(50)

        async def start(index: int) -> None:
            async with limit:
                await rojak.start_run(f"r{index}", agent, "hold the line")
            tick()

        await asyncio.gather(*(start(index) for index in range(number)))
        await lines(effects, number)
    for name in await asyncio.to_thread(actors.names_of, settings):
        ray.kill(ray.get_actor(name, settings.ray_namespace), no_restart=True)
    while await asyncio.to_thread(actors.names_of, settings):
        await asyncio.sleep(0.05)
    started = time.perf_counter()
    async with Rojak(**arguments) as later:
        await later.create_worker(functions=[hold])
        ended = await lines(effects, 2 * number)
        Path(f"{effects}.go").touch()
        await later.get_run_result(f"r{number - 1}")
    return [ended - started]


async def wakes(folder: Path, placement: Any, number: int, tick: Tick) -> list[float]:
    """What a message costs more when its session has to come back from storage."""
    pool = PoolSettings(session_idle_s=0.3, sweep_s=0.1)
    asleep, awake = list[float](), list[float]()
    async with Rojak(str(folder / "wakes"), namespace=f"wake-{placement}", placement=placement, pool=pool) as rojak:
        session = await rojak.create_session("s", OfflineAgent(name="A"))
        for _ in range(number):
            for times in (asleep, awake):
                started = time.perf_counter()
                await session.send_messages("hello")
                times.append(time.perf_counter() - started)
            await _passivated(rojak, placement)
            tick()
    usual = statistics.median(awake)
    return [max(0.0, each - usual) for each in asleep[1:]]  # the first was open already


async def _passivated(rojak: Rojak, placement: str) -> None:
    name = _holder(rojak, "s")
    async with asyncio.timeout(_LONGEST_S):
        while (handle := actors.find(name, rojak.settings)) is not None:
            if placement == "shared" and (await handle.statistics.remote()).open_hosts == 0:
                return
            await asyncio.sleep(0.05)


async def bench(options: argparse.Namespace, folder: Path, console: Console) -> Times:
    """Measure everything."""
    total = 4 * options.times + options.sessions
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("recovery", total=total)

        def tick() -> None:
            progress.advance(bar)

        times: Times = {}
        for placement in ("shared", "dedicated"):
            times[f"kill, {placement}"] = await kills(folder, placement, options.times, tick)
            times[f"wake, {placement}"] = await wakes(folder, placement, options.times + 1, tick)
        times[f"new cluster, {options.sessions} in flight"] = await new_cluster(folder, options.sessions, tick)
    return times


def report(times: Times, console: Console) -> None:
    """The table for people."""
    table = Table("recovery", "p50 s", "p99 s", "budget s", "times", title="From a loss until everything moves again")
    for name, values in times.items():
        worst = sorted(values)[min(len(values) - 1, int(len(values) * 0.99))]
        budget = BUDGETS_S.get(name, 60.0)
        table.add_row(name, f"{statistics.median(values):.3f}", f"{worst:.3f}", f"{budget:g}", str(len(values)))
    console.print(table)


def main() -> None:
    """Measure and print."""
    parser = command.parser(__doc__)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--sessions", type=int, default=1000)
    options = parser.parse_args()
    console = command.console(options.json)
    cluster.prepare_environment()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
        try:
            times = asyncio.run(bench(options, Path(folder), console))
        finally:
            ray.shutdown()
    command.tell(times, options.json, report)


if __name__ == "__main__":
    main()
