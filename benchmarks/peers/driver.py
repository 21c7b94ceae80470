"""What every system is put through: the same loops around its own way of answering a message.

Only the standard library is used here, since this runs in each peer's environment. A peer's `bench.py` defines a
`System` and calls `main(System)`. The protocol:

    python -m benchmarks.peers.NAME.bench WORKLOAD --url MODEL --folder DIR [--server ADDRESS] [--count N] ...

prints one line of JSON on stdout: unix times of what happened (`marks`), seconds of turns, how many were answered.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

MODEL = "bench"
INSTRUCTIONS = "You are a calculator."
MESSAGE = "What is one plus two?"
ANSWER = "The sum is 3."
CRASH_ID = "crash"
SETTLE_S = 1.2
"""Long enough for whoever watches to look at the processes before and after the load."""


class NoNumber(Exception):
    """There is nothing to measure: the system does not offer this, or loses what it was given. Says why."""


@dataclass(frozen=True)
class Setup:
    """What a system is given."""

    url: str
    """Base URL of the model, with /v1."""

    folder: Path
    """Where durable data goes, if it goes to files."""

    server: str
    """Address of the system's own server or URL of its bucket, if it has one."""

    variant: str
    """Which of its settings is measured."""


class System(AbstractAsyncContextManager["System"], Protocol):
    """How one system does things. Entering it connects; what it starts ends with it."""

    packages: ClassVar[tuple[str, ...]]
    """Distributions whose versions are reported."""

    def __init__(self, setup: Setup) -> None: ...

    async def turn(self, conversation: str, text: str) -> str:
        """Send a message to a conversation that keeps its history; make it if need be. Returns the answer."""
        ...

    async def once(self, conversation: str, text: str) -> str:
        """Answer one message that nothing follows, in the cheapest durable form the system has."""
        ...

    async def resume(self, conversation: str) -> str:
        """In a new process after the old one was killed in a `turn`: get that turn's answer."""
        ...


def add(a: int, b: int) -> str:
    """Add two numbers."""
    if path := os.environ.get("BENCH_EFFECTS"):
        with Path(path).open("a") as effects:
            effects.write(f"{a} + {b}\n")
    return str(a + b)


SCHEMA: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}


async def timed(work: Awaitable[str]) -> float:
    """Seconds until the right answer; a wrong one is an error."""
    started = time.perf_counter()
    answer = await work
    if answer != ANSWER:
        raise RuntimeError(f"answered {answer!r} instead of {ANSWER!r}")
    return time.perf_counter() - started


async def latency(system: Any, options: argparse.Namespace, marks: dict[str, float]) -> dict[str, Any]:
    """One conversation, one turn after the other."""
    seconds: list[float] = []
    deadline = time.monotonic() + options.limit_s
    for _ in range(options.count):
        seconds.append(await timed(system.turn("long", MESSAGE)))
        if time.monotonic() > deadline:
            break
    return {"seconds": seconds, "asked": options.count, "answered": len(seconds)}


async def crowd(
    system: Any, options: argparse.Namespace, marks: dict[str, float], prefix: str = "crowd"
) -> dict[str, Any]:
    """Many conversations of one turn, some or all at once, until all are answered or time is up."""
    gate = asyncio.Semaphore(options.at_once or options.count)

    async def one(index: int) -> float:
        async with gate:
            return await timed(system.once(f"{prefix}-{index}", MESSAGE))

    tasks = [asyncio.create_task(one(index)) for index in range(options.count)]
    done, late = await asyncio.wait(tasks, timeout=options.limit_s)
    seconds = [task.result() for task in done]
    for task in late:
        task.cancel()
    return {"seconds": seconds, "asked": options.count, "answered": len(seconds)}


async def start(system: Any, options: argparse.Namespace, marks: dict[str, float]) -> dict[str, Any]:
    """One turn that is meant to be interrupted."""
    return {"seconds": [await timed(system.turn(CRASH_ID, MESSAGE))], "asked": 1, "answered": 1}


async def resume(system: Any, options: argparse.Namespace, marks: dict[str, float]) -> dict[str, Any]:
    """The answer to the interrupted turn."""
    return {"seconds": [await timed(system.resume(CRASH_ID))], "asked": 1, "answered": 1}


async def idle(system: Any, options: argparse.Namespace, marks: dict[str, float]) -> dict[str, Any]:
    """Conversations that have had one turn, and then nothing for a while."""
    seconds = [await timed(system.turn(f"idle-{index}", MESSAGE)) for index in range(options.count)]
    marks["opened"] = time.time()
    await asyncio.sleep(options.rest_s)
    return {"seconds": seconds, "asked": options.count, "answered": len(seconds)}


async def schedules(system: Any, options: argparse.Namespace, marks: dict[str, float]) -> dict[str, Any]:
    """Schedules spread over a period; the model server sees when each one asks. Lasts one whole period."""
    if not hasattr(system, "schedule"):
        raise NoNumber("no schedules")
    gate = asyncio.Semaphore(20)

    async def create(index: int) -> None:
        offset_s = index * options.every_s // options.count  # whole seconds: Temporal drops the rest
        async with gate:
            await system.schedule(f"late-{index}", options.every_s, offset_s, f"offset {offset_s} of {index}")

    await asyncio.gather(*(create(index) for index in range(options.count)))
    marks["created"] = time.time()
    await asyncio.sleep(options.every_s + 2)
    return {"asked": options.count}


async def actions(system: Any, options: argparse.Namespace, marks: dict[str, float]) -> dict[str, Any]:
    """What a vendor bills for the turns of one conversation."""
    found = await latency(system, options, marks)
    return {**found, "billed": await system.actions("long")}


WORKLOADS: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
    "latency": latency,
    "crowd": crowd,
    "actions": actions,
    "start": start,
    "resume": resume,
    "idle": idle,
    "schedules": schedules,
}


async def run(system_type: Callable[[Setup], Any], options: argparse.Namespace) -> dict[str, Any]:
    """Open the system, warm it up unless it is about a crash, put it through the workload."""
    marks = {"started": time.time()}
    setup = Setup(options.url, options.folder, options.server, options.variant)
    async with system_type(setup) as system:
        if options.workload not in ("start", "resume"):
            for _ in range(3):
                await timed(system.turn("warm", MESSAGE))
                await timed(system.once("warm-once", MESSAGE))
            if options.workload == "crowd" and options.at_once:
                # A rate is that of a system at work: pools and processes for so many at once exist by then.
                await crowd(system, options, marks, prefix="warm-crowd")
            await asyncio.sleep(SETTLE_S)
        marks["ready"] = time.time()
        found = await WORKLOADS[options.workload](system, options, marks)
        marks["done"] = time.time()
        packages = {name: importlib.metadata.version(name) for name in system.packages}
        result = {"python": platform.python_version(), "versions": packages, "marks": marks, **found}
        if options.workload not in ("start", "resume"):
            await asyncio.sleep(SETTLE_S)
        print(json.dumps(result), flush=True)
        if found.get("answered", 0) < found["asked"]:
            os._exit(0)  # what did not answer in time would not end in time either
    return result


def main(system_type: Callable[[Setup], Any]) -> None:
    """The command line of every `bench.py`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("--url", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--server", default="")
    parser.add_argument("--variant", default="")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=0, help="0: all of them")
    parser.add_argument("--limit-s", type=float, default=120.0)
    parser.add_argument("--rest-s", type=float, default=10.0)
    parser.add_argument("--every-s", type=int, default=60)
    try:
        asyncio.run(run(system_type, parser.parse_args()))
    except NoNumber as reason:
        print(json.dumps({"no_number": str(reason)}), flush=True)
        sys.exit(0)
