"""From the start of a program to its answer, against what Ray alone takes for the same. Part of `make budgets`.

- ray.init: a program that imports Ray and starts it, and does nothing with it;
- an actor and a task: the same, and an actor has a task run a function: what an answer needs at least;
- shared, in process: our hello world, with a model without latency.

Importing and starting Ray is the floor of every program that starts Ray. `InProcessRuntime` needs none.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import command, measure, stats
from benchmarks.envs import PEERS
from benchmarks.processes import Program
from benchmarks.systems import CONTENDERS

_LONGEST_S = 60.0
_ANSWER = "The sum is 3."
_INIT = """
import logging, ray
ray.init(address="local", include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
"""
_ASK = """
@ray.remote
def add(a, b):
    return a + b

@ray.remote(num_cpus=0)
class Host:
    async def ask(self):
        return await add.remote(1, 2)

assert ray.get(Host.remote().ask.remote()) == 3
"""
_SAY = f"print({_ANSWER!r}, flush=True)"


def commands() -> dict[str, list[str]]:
    """Each program by what it is called in the table."""
    ours = PEERS / "rojak_ray"
    return {
        "ray.init": [sys.executable, "-c", _INIT + _SAY],
        "ray.init, an actor and a task": [sys.executable, "-c", _INIT + _ASK + _SAY],
        "shared": [sys.executable, str(ours / "hello.py")],
        "in process": [sys.executable, str(ours / "hello_in_process.py")],
    }


def seconds_to_answer(arguments: list[str], env: Mapping[str, str], folder: Path) -> float:
    """From the start of a program until it says the answer."""
    log = folder / "program.log"
    with Program(arguments, env=env, cwd=folder, log=log) as program:
        patience = threading.Timer(_LONGEST_S, program.kill)
        patience.start()
        try:
            assert program.process.stdout is not None
            for line in program.process.stdout:
                if line.strip() == _ANSWER:
                    return time.time() - program.started_at
        finally:
            patience.cancel()
    words = log.read_text(errors="replace").strip().splitlines()
    raise measure.Failed(f"did not answer: {words[-1] if words else 'it said nothing'}")


def bench(rounds: int, console: Console) -> dict[str, list[float]]:
    """Seconds of every start, by program; the programs alternate."""
    contender = next(each for each in CONTENDERS if each.name == "rojak-ray")
    every = commands()
    times: dict[str, list[float]] = {name: [] for name in every}
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("starts", total=rounds * len(every))
        for _ in range(rounds):
            for name, arguments in every.items():
                with measure.place(contender) as where, tempfile.TemporaryDirectory() as folder:
                    times[name].append(seconds_to_answer(arguments, where.env, Path(folder)))
                progress.advance(task)
    return times


def report(times: dict[str, list[float]], console: Console) -> None:
    """The table for people."""
    table = Table("program", "seconds until its answer", title="Cold start")
    for name, values in times.items():
        table.add_row(name, stats.spread(values).text())
    console.print(table)


def main() -> None:
    """Measure and print."""
    parser = command.parser(__doc__, "print seconds of every start as JSON")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    command.tell(bench(options.rounds, command.console(options.json)), options.json, report)


if __name__ == "__main__":
    main()
