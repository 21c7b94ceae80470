"""Functions that return 60 MB beside 100 turns of other conversations: does a host stand still?

A folder as storage, no network, in one process and on a local Ray. Ten programs take ten turns each, one after the
other, three times or more in the same run: by themselves, and beside five functions that return 60 MB each. Told are
the times of the turns, and in one process also the longest time that the event loop did not turn.

In one process the functions share the interpreter with the event loop, which is the worst case; by Ray synchronous ones
run in processes of their own and asynchronous ones in a step worker, and only what the model is given reaches a host.
"""

from __future__ import annotations

import asyncio
import math
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ray
from rich.console import Console

from benchmarks import command
from rojak_ray import OfflineAgent, Rojak, function
from rojak_ray.runtime import cluster
from rojak_ray.storage.local import LocalStore
from rojak_ray.testing.runtime import InProcessRuntime

_PROGRAMS = 10
_TURNS = 10
_LARGE = 5
_BYTES = 60 << 20


@dataclass(frozen=True)
class Found:
    """One round."""

    place: str
    beside: str
    turn_p50_s: float
    turn_p99_s: float
    stood_still_s: float
    """Of the event loop that the turns are asked on; by Ray that is not a host's."""

    large_s: float
    """Until the last large result was answered."""


async def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


def read_log() -> str:
    """Read the log."""
    return "x" * _BYTES


def read_table() -> list[dict[str, Any]]:
    """Read the table."""
    return [{"name": "x" * 480, "row": row} for row in range(_BYTES // 512)]


@function(keep_result=True)
def read_kept_log() -> str:
    """Read the log."""
    return "x" * _BYTES


async def read_table_later() -> list[dict[str, Any]]:
    """Read the table."""
    return await asyncio.to_thread(read_table)


_BESIDE: dict[str, Callable[[], Any] | None] = {
    "nothing": None,
    "log": read_log,
    "table": read_table,
    "kept log": read_kept_log,
    "table, async": read_table_later,
}


@asynccontextmanager
async def _in_process() -> AsyncGenerator[Any]:
    with tempfile.TemporaryDirectory() as folder:
        async with InProcessRuntime(LocalStore(Path(folder))) as runtime:
            yield runtime


@asynccontextmanager
async def _on_ray() -> AsyncGenerator[Any]:
    with tempfile.TemporaryDirectory() as folder:
        cluster.prepare_environment()
        ray.init(address="local", include_dashboard=False, logging_level="ERROR", log_to_driver=False)
        try:
            async with Rojak(folder, namespace="large-values", placement="shared") as runtime:
                yield runtime
        finally:
            ray.shutdown()


async def _round(runtime: Any, place: str, beside: str) -> Found:
    large = _BESIDE[beside]
    reader = OfflineAgent(name="Reader", functions=[large] if large else [])
    ended = asyncio.Event()
    watching = asyncio.create_task(_longest_pause(ended))
    began = time.monotonic()
    words = f"Read the {beside.split()[-1 if 'kept' in beside else 0].strip(',')}, please."
    reading = [asyncio.create_task(runtime.run(agent=reader, messages=words)) for _ in range(_LARGE if large else 0)]
    times = [took for some in await asyncio.gather(*(_turns(runtime) for _ in range(_PROGRAMS))) for took in some]
    for answer in await asyncio.gather(*reading):
        called = [message for message in answer.messages if message.role == "tool"]
        if not called:
            raise RuntimeError(f"the reader did not read: {answer.messages[-1].content!r}")
    large_s = time.monotonic() - began
    ended.set()
    return Found(place, beside, _percentile(times, 50), _percentile(times, 99), await watching, large_s)


async def _turns(runtime: Any) -> list[float]:
    calculator = OfflineAgent(name="Calculator", functions=[add])
    times: list[float] = []
    for _ in range(_TURNS):
        began = time.monotonic()
        await runtime.run(agent=calculator, messages="Add 1 and 2.")
        times.append(time.monotonic() - began)
    return times


def _percentile(times: list[float], percent: int) -> float:
    ordered = sorted(times)
    return ordered[min(len(ordered) - 1, math.ceil(len(ordered) * percent / 100) - 1)]


async def _longest_pause(ended: asyncio.Event) -> float:
    longest = 0.0
    while not ended.is_set():
        before = time.monotonic()
        await asyncio.sleep(0.005)
        longest = max(longest, time.monotonic() - before)
    return longest


async def measure(console: Console) -> list[Found]:
    """All rounds, the first of a place twice, since what comes first pays for everybody."""
    found: list[Found] = []
    for place, opened in (("one process", _in_process), ("Ray", _on_ray)):
        async with opened() as runtime:
            await _round(runtime, place, "nothing")
            for beside in _BESIDE:
                found.append(await _round(runtime, place, beside))
                console.print(_line(found[-1]))
    return found


def _line(one: Found) -> str:
    large = "" if one.beside == "nothing" else f" (answered after {one.large_s:.1f} s)"
    return (
        f"{one.place}, beside {one.beside}{large}: turn p50 {one.turn_p50_s * 1000:.0f} ms, "
        f"p99 {one.turn_p99_s * 1000:.0f} ms; loop still for {one.stood_still_s * 1000:.0f} ms"
    )


def report(found: list[Found], console: Console) -> None:
    """Each round was printed when it ended; at last, how much longer turns took beside large values."""
    for place in dict.fromkeys(one.place for one in found):
        rounds = [one for one in found if one.place == place]
        worst = max(one.turn_p99_s for one in rounds[1:])
        console.print(f"{place}: p99 of a turn {rounds[0].turn_p99_s * 1000:.0f} ms alone, {worst * 1000:.0f} at worst")


def main() -> None:
    """See the module."""
    args = command.parser(__doc__).parse_args()
    found = asyncio.run(measure(command.console(args.json)))
    command.tell(found, args.json, report, lambda rounds: [asdict(one) for one in rounds])


if __name__ == "__main__":
    main()
