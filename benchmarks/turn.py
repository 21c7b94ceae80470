"""The turn: two completions and one function call, on an otherwise idle machine. Part of `make budgets`.

Measured in one run, in alternating rounds, so that noise hits all alike:

- raw: two calls of the vendor's own async client (the floor of the budget);
- Ray alone: the same through an actor and a task, nothing recorded; with four records on disk, a file for each; and
  with the four appended to a log, which is what a log of our own could bring;
- in process: the same turn on `InProcessRuntime` with a folder as storage;
- shared / dedicated: the same turn of a session on Ray, in a shared host or an actor of its own;
- run: a one-shot run on Ray.

Budgets: shared p50 <= 3x raw (decision 0020), and <= 1.25x Ray alone with records.
"""

from __future__ import annotations

import asyncio
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import openai
import ray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import bare_ray, command, model_server
from rojak_ray import OpenAIAgent, Rojak
from rojak_ray.agents import OpenAIAgentActivities, OpenAIAgentOptions
from rojak_ray.testing.runtime import InProcessRuntime

Turn = Callable[[], Awaitable[object]]

RECORDED = "Ray alone, with records"
MESSAGE = "What is one plus two?"
INSTRUCTIONS = "You are a calculator."
SCHEMA = {
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


def add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


async def async_add(a: int, b: int) -> str:
    """Add two numbers."""
    return str(a + b)


async_add.__name__ = "add"


def raw_turn(client: openai.AsyncOpenAI) -> Turn:
    """Two completions and the function, by hand."""
    create: Any = client.chat.completions.create

    async def turn() -> None:
        messages: list[Any] = [
            {"role": "system", "content": INSTRUCTIONS},
            {"role": "user", "content": MESSAGE},
        ]
        first = await create(model="bench", messages=messages, tools=[SCHEMA])
        call = first.choices[0].message.tool_calls[0]
        result = add(**json.loads(call.function.arguments))
        messages.append(first.choices[0].message)
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        await create(model="bench", messages=messages, tools=[SCHEMA])

    return turn


async def measure(turns: dict[str, Turn], rounds: int, per_round: int, console: Console) -> dict[str, list[float]]:
    """Seconds of every turn, by kind."""
    times: dict[str, list[float]] = {name: [] for name in turns}
    for turn in turns.values():
        for _ in range(5):
            await turn()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("turns", total=rounds * len(turns))
        for _ in range(rounds):
            for name, turn in turns.items():
                for _ in range(per_round):
                    started = time.perf_counter()
                    await turn()
                    times[name].append(time.perf_counter() - started)
                progress.advance(task)
    return times


async def bench(rounds: int, per_round: int, folder: Path, console: Console) -> dict[str, list[float]]:
    """Set everything up, measure, take it down."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    with model_server.running() as url:
        client = openai.AsyncOpenAI(api_key="bench", base_url=url, max_retries=0)
        activities = OpenAIAgentActivities(OpenAIAgentOptions(api_key="bench", base_url=url))
        agent = OpenAIAgent(name="A", model="bench", instructions=INSTRUCTIONS, functions=[add])
        waiting = OpenAIAgent(name="A", model="bench", instructions=INSTRUCTIONS, functions=[async_add])
        async with (
            InProcessRuntime(str(folder / "in-process")) as local,
            Rojak(str(folder / "shared"), placement="shared") as shared,
            Rojak(str(folder / "dedicated"), placement="dedicated") as dedicated,
        ):
            for runtime in (local, shared, dedicated):
                await runtime.create_worker([activities])
            one = await local.create_session("bench", agent)
            two = await shared.create_session("bench", agent)
            three = await dedicated.create_session("bench", agent)
            four = await shared.create_session("bench-async", waiting)
            bare = bare_ray.start(url, str(folder / "bare"))
            question = [{"role": "system", "content": INSTRUCTIONS}, {"role": "user", "content": MESSAGE}]
            turns: dict[str, Turn] = {
                "raw": raw_turn(client),
                "Ray alone": lambda: bare.turn.remote(question, [SCHEMA]),
                RECORDED: lambda: bare.turn.remote(question, [SCHEMA], "files"),
                "Ray alone, with a log": lambda: bare.turn.remote(question, [SCHEMA], "log"),
                "in process": lambda: one.send_messages(MESSAGE),
                "shared": lambda: two.send_messages(MESSAGE),
                "shared, async function": lambda: four.send_messages(MESSAGE),
                "dedicated": lambda: three.send_messages(MESSAGE),
                "run": lambda: shared.run(agent=agent, messages=MESSAGE),
            }
            times = await measure(turns, rounds, per_round, console)
        await client.close()
    ray.shutdown()
    return times


def report(times: dict[str, list[float]], console: Console) -> None:
    """The table for people."""
    floor, recorded = statistics.median(times["raw"]), statistics.median(times[RECORDED])
    title = "One turn: two completions and one function call"
    table = Table("turn", "p50 ms", "p95 ms", "x raw", "x Ray alone, with records", title=title)
    for name, values in times.items():
        p50, p95 = statistics.median(values), sorted(values)[int(len(values) * 0.95)]
        table.add_row(name, f"{p50 * 1e3:.2f}", f"{p95 * 1e3:.2f}", f"{p50 / floor:.2f}", f"{p50 / recorded:.2f}")
    console.print(table)
    console.print(
        f"Budget: shared <= 3x raw and <= 1.25x Ray alone, with records. {len(times['raw'])} turns each. "
        f"Python {platform.python_version()}, Ray {ray.__version__}, openai {openai.__version__}."
    )


def main() -> None:
    """Measure and print."""
    parser = command.parser(__doc__, "print seconds of every turn as JSON")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--per-round", type=int, default=20)
    options = parser.parse_args()
    console = command.console(options.json)
    with tempfile.TemporaryDirectory() as folder:
        times = asyncio.run(bench(options.rounds, options.per_round, Path(folder), console))
    command.tell(times, options.json, report)


if __name__ == "__main__":
    main()
