"""Agents made for one request each, with functions of their own: what stays when the requests are over.

In process, and on Ray with the memory of the catalog and of a shared host beside that of the program. A tenth of the
requests comes first and is not counted: caches fill and processes start. On Ray it goes on until the catalog forgets
as fast as it learns, since it keeps for a minute what nobody names any more.

Budget (issue "the edge to models and user code"): within 20 MB of where it began; the last requests cost what the
first ones did. What they cost is counted in time of the processors too, which says the same on a busy machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray
from rich.console import Console

from benchmarks import command
from rojak_ray import OfflineAgent, Rojak
from rojak_ray.runtime.known import GRACE_S
from rojak_ray.sessions.pool_settings import PoolSettings
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.testing.runtime import InProcessRuntime

AT_ONCE = 16
BATCH = 500


class Forgetful(MemoryStore):
    """A store in memory that is emptied between batches: what is stored is not what is measured here."""

    def forget(self) -> None:
        """Empty it."""
        self._objects.clear()
        self._sorted.clear()


@dataclass
class Figures:
    """What was measured; memory is resident, in megabytes."""

    where: str
    requests: int
    grown_mb: dict[str, float]
    first_ms: float
    last_ms: float
    first_cpu_ms: dict[str, float]
    """Of the processors, for each request, by process."""

    last_cpu_ms: dict[str, float]
    by_tenth_mb: dict[str, list[float]]
    """Resident after each tenth, the first being the one that is not counted: what fills up stops growing."""


def agent_for(number: int) -> OfflineAgent:
    """An agent whose function holds what belongs to one request."""
    request = {"number": number, "body": "x" * 10_000}

    async def look_up() -> str:
        """Look up the request."""
        return str(request["number"])

    return OfflineAgent(name="Clerk", functions=[look_up])


def resident_mb(pid: int | str = "self") -> float:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6


def processor_s(pid: int | str = "self") -> float:
    """Seconds of the processors that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def siblings(pid: int, name: str) -> list[int]:
    """Processes of a name that the same process started as this one: other Rays may run on the machine."""
    found: list[int] = []
    for other in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            same = parent(int(other.name)) == parent(pid)
            if same and (other / "cmdline").read_bytes().startswith(name.encode()):
                found.append(int(other.name))
    return found


def parent(pid: int) -> str:
    """The process that started another."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]


async def requests(client: Any, count: int, settle: Callable[[], Awaitable[None]]) -> float:
    """Run so many, some at once, and let what is over settle now and then; milliseconds each, without that."""
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with limit:
            await client.run(agent=agent_for(number), messages="Look up the request.")

    took = 0.0
    for begun in range(0, count, BATCH):
        started = time.perf_counter()
        await asyncio.gather(*(one(number) for number in range(begun, min(begun + BATCH, count))))
        took += time.perf_counter() - started
        await settle()
    return took * 1e3 / count


async def measured(
    where: str,
    client: Any,
    count: int,
    processes: Callable[[], Awaitable[dict[str, list[int | str]]]],
    settle: Callable[[], Awaitable[None]],
    warm_s: float = 0.0,
) -> Figures:
    """Requests between two looks at each process, the first one once it has gone on for so long."""
    part = max(count // 10, 1)

    async def each(look: Callable[[int | str], float]) -> dict[str, float]:
        return {name: sum(map(look, pids)) for name, pids in (await processes()).items()}

    async def some() -> tuple[float, dict[str, float]]:
        before = await each(processor_s)
        took = await requests(client, part, settle)
        after = await each(processor_s)
        return took, {name: (after[name] - before[name]) * 1e3 / part for name in before}

    began = time.monotonic()
    await some()
    while time.monotonic() - began < warm_s:
        await some()
    looks = [await each(resident_mb)]
    costs = list[tuple[float, dict[str, float]]]()
    for _ in range(10):
        costs.append(await some())
        looks.append(await each(resident_mb))
    (first, first_cpu), (last, last_cpu) = costs[0], costs[-1]
    by_tenth = {name: [look[name] for look in looks] for name in looks[0]}
    grown = {name: sizes[-1] - sizes[0] for name, sizes in by_tenth.items()}
    return Figures(where, 10 * part, grown, first, last, first_cpu, last_cpu, by_tenth)


async def in_process(count: int) -> Figures:
    """In one process; storage is emptied as it goes."""
    store = Forgetful()
    async with InProcessRuntime(store, settings=PoolSettings(run_idle_s=0.1, sweep_s=0.1)) as client:

        async def settle() -> None:
            while client.statistics().open_hosts:  # noqa: ASYNC110  (nobody tells when the last one is gone)
                await asyncio.sleep(0.1)
            store.forget()
            gc.collect()

        async def processes() -> dict[str, list[int | str]]:
            return {"program": ["self"]}

        return await measured("in process", client, count, processes, settle)


async def on_ray(folder: Path, count: int) -> Figures:
    """On a Ray of its own."""
    async with Rojak(str(folder), pool=PoolSettings(run_idle_s=0.5, sweep_s=0.2)) as client:
        catalog: Any = ray.get_actor("CatalogActor", client.settings.ray_namespace)

        async def processes() -> dict[str, list[int | str]]:
            pid: int = (await catalog.statistics.remote()).pid
            hosts: list[int | str] = [*siblings(pid, "ray::SessionHostActor")]
            workers: list[int | str] = [*siblings(pid, "ray::StepWorkerActor")]
            return {"program": ["self"], "catalog": [pid], "hosts": hosts, "step workers": workers}

        async def settle() -> None:
            gc.collect()

        async def forgotten() -> None:
            await asyncio.sleep(GRACE_S + 10)

        figures = await measured("on Ray", client, count, processes, settle, 1.5 * GRACE_S)
        await forgotten()
        left = await catalog.statistics.remote()
        figures.grown_mb["functions still known"] = left.functions
    ray.shutdown()
    return figures


def report(figures: list[Figures], console: Console) -> None:
    """The words for people."""
    for each in figures:
        grown = ", ".join(f"{name} {size:+.1f}" for name, size in each.grown_mb.items())
        console.print(
            f"{each.requests} requests {each.where}: {grown} MB (budget: 20); "
            f"{each.first_ms:.1f} ms each at first, {each.last_ms:.1f} ms in the end"
        )
        for name, sizes in each.by_tenth_mb.items():
            console.print(f"  {name}, after each tenth: {', '.join(f'{size:.0f}' for size in sizes)} MB")
        for name, first in each.first_cpu_ms.items():
            console.print(
                f"  processors, {name}: {first:.2f} ms each at first, {each.last_cpu_ms[name]:.2f} in the end"
            )


def main() -> None:
    """Measure and print."""
    parser = command.parser(__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="in process")
    parser.add_argument("--on-ray", type=int, default=3_000, help="on Ray; 0: not at all")
    options = parser.parse_args()

    async def both() -> list[Figures]:
        figures = [await in_process(options.requests)]
        if options.on_ray:
            with tempfile.TemporaryDirectory() as folder:
                figures.append(await on_ray(Path(folder), options.on_ray))
        return figures

    figures = asyncio.run(both())
    command.tell(figures, options.json, report, lambda each: [asdict(one) for one in each])


if __name__ == "__main__":
    main()
