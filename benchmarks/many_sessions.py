"""A thousand sessions made and asked at once with the default settings: seconds, errors, and memory above idle.

Each session is created by a program that has just started, and is asked once; the model answers at once. What is
measured is everything the program started, Ray included, against the same cluster when it is idle.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import command, measure, model_server
from benchmarks.processes import Program, Watch
from benchmarks.systems import CONTENDERS
from rojak_ray import OpenAIAgent, Rojak
from rojak_ray.agents import OpenAIAgentActivities, OpenAIAgentOptions

_REST_S = 5.0


async def crowd(url: str, storage: str, sessions: int, settings: dict[str, Any]) -> None:
    """What is measured: runs in a process of its own and prints when each part began and ended."""
    async with Rojak(storage, address="local", **settings) as rojak:
        await rojak.create_worker([OpenAIAgentActivities(OpenAIAgentOptions(api_key="bench", base_url=url))])
        agent = OpenAIAgent(name="A", model="bench", instructions="Answer.")
        await rojak.run(agent=agent, messages="warm up")
        await asyncio.sleep(_REST_S)
        _say(part="idle", at=time.time())
        errors: Counter[str] = Counter()

        async def one(number: int) -> None:
            try:
                session = await rojak.create_session(f"crowd-{number}", agent)
                await session.send_messages("hello")
            except Exception as error:  # noqa: BLE001  (every kind is counted)
                errors[f"{type(error).__name__}: {error}"[:200]] += 1

        began = time.time()
        await asyncio.gather(*(one(number) for number in range(sessions)))
        _say(part="done", at=time.time(), seconds=time.time() - began, errors=errors)
        await asyncio.sleep(_REST_S)


def _say(**line: Any) -> None:
    print(json.dumps(line), flush=True)


def bench(sessions: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Seconds, errors by text, MiB above idle at most and after, processes more than idle."""
    contender = next(each for each in CONTENDERS if each.name == "rojak-ray")
    with measure.place(contender) as where, tempfile.TemporaryDirectory() as folder, model_server.running() as url:
        arguments = [sys.executable, "-m", "benchmarks.many_sessions", "--inside", url, "--storage", folder]
        arguments += ["--sessions", str(sessions), "--settings", json.dumps(settings)]
        env = {**where.env, "PYTHONPATH": str(Path(__file__).parents[1])}
        log = Path(folder) / "log"
        with Program(arguments, env=env, cwd=Path(folder), log=log) as program, Watch([program]) as watch:
            assert program.process.stdout is not None
            said = [json.loads(line) for line in program.process.stdout if line.startswith("{")]
            words = log.read_text(errors="replace")
    found = {line["part"]: line for line in said}
    if "done" not in found:
        raise measure.Failed(f"it ended early: {words[-2000:]}")
    idle = [sample for sample in watch.samples if sample.at <= found["idle"]["at"] and sample.memory_mib][-1]
    after = [sample for sample in watch.samples if sample.at > found["idle"]["at"]]
    return {
        "sessions": sessions,
        "seconds": found["done"]["seconds"],
        "errors": found["done"]["errors"],
        "idle_mib": idle.memory_mib,
        "above_idle_mib": max(sample.memory_mib for sample in after) - idle.memory_mib,
        "processes_more": max(sample.processes for sample in after) - idle.processes,
    }


def report(found: dict[str, Any], console: Console) -> None:
    """The table for people."""
    table = Table("what", "measured", "budget", title=f"{found['sessions']:,} sessions made and asked at once")
    table.add_row("seconds", f"{found['seconds']:.1f}", "20")
    table.add_row("errors", str(sum(found["errors"].values())), "0")
    table.add_row("MiB above idle", f"{found['above_idle_mib']:.0f}", "1,430 (1.5 GB)")
    table.add_row("processes more than idle", str(found["processes_more"]), "")
    console.print(table)
    for text, number in found["errors"].items():
        console.print(f"{number}x {text}")


def main() -> None:
    """Measure and print."""
    parser = command.parser(__doc__, "print what was found as JSON")
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--settings", type=json.loads, default={}, help='of Rojak, as JSON: {"placement": "shared"}')
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("--storage", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        asyncio.run(crowd(options.inside, options.storage, options.sessions, options.settings))
        return
    command.tell(bench(options.sessions, options.settings), options.json, report)


if __name__ == "__main__":
    main()
