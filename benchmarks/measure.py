"""One measurement: a system, a workload, once. Starts everything, watches it, ends it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import model_server, servers, stats
from benchmarks.envs import PEERS, ROOT, Unavailable, prepare
from benchmarks.processes import Program, Watch, bytes_under
from benchmarks.systems import Contender, Workload

_UNSET = ("RAY_ADDRESS", "ROJAK_STORAGE", "OPENAI_BASE_URL", "PYTHONPATH", "BENCH_EFFECTS")
_QUIET = {
    "OPENAI_API_KEY": "bench",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",  # nothing here may leave this machine
    "LANGSMITH_TRACING": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ADDRESS": "local",  # never somebody else's cluster
}
_ACTORS = "ray::Session"  # titles of the actors that hold conversations
_HOLD_S = 45.0


class Failed(Exception):
    """A measurement that gave no number; says why."""


@dataclass(frozen=True)
class Place:
    """Where a measurement runs."""

    folder: Path
    url: str
    server: Program | None
    address: str
    env: dict[str, str]
    server_s: float

    @property
    def data(self) -> Path:
        """Where durable data goes."""
        return self.folder / "data"

    @property
    def effects(self) -> list[str]:
        """What the function did."""
        path = self.folder / "effects"
        return path.read_text().splitlines() if path.exists() else []

    def program(self, command: list[str]) -> Program:
        """Start a program of the system."""
        return Program(command, env=self.env, cwd=self.data, log=self.folder / "program.log")


@contextmanager
def place(contender: Contender, *model: str, delay_s: float = 0.0) -> Iterator[Place]:
    """A fresh folder, model server and, if it needs one, server of the system's own."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    (folder / "data").mkdir()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        url = stack.enter_context(model_server.running(delay_s, *model))
        env = {key: value for key, value in os.environ.items() if key not in _UNSET} | _QUIET
        env |= {"PYTHONPATH": str(ROOT), "OPENAI_BASE_URL": url, "ROJAK_STORAGE": str(folder / "data" / "storage")}
        server, address, server_s = None, "", 0.0
        if contender.server:
            began = time.monotonic()
            server, address, extra = servers.start(contender.server, folder / "server")
            stack.callback(server.end)
            server_s = time.monotonic() - began
            env |= extra
        yield Place(folder, url, server, address, env, server_s)


def command(contender: Contender, where: Place, driver_workload: str, *options: str) -> list[str]:
    """The command line of a system's `bench.py`."""
    python = prepare(contender.peer, contender.python)
    module = f"benchmarks.peers.{contender.peer}.bench"
    arguments = ["--url", where.url, "--folder", str(where.data), "--server", where.address]
    return [str(python), "-m", module, driver_workload, *arguments, "--variant", contender.variant, *options]


def finish(program: Program, where: Place, limit_s: float) -> dict[str, Any]:
    """The JSON line a program prints, once it has ended or been ended."""
    try:
        out, _ = program.process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise Failed(f"gave no result within {limit_s:.0f} s") from None
    finally:
        program.end()
    for line in reversed(out.splitlines()):
        if line.startswith("{"):
            found: dict[str, Any] = json.loads(line)
            if "no_number" in found:
                raise Failed(found["no_number"])
            return found
    log = (where.folder / "program.log").read_text(errors="replace").strip().splitlines()
    raise Failed(f"ended with {program.process.returncode}: {log[-1][:300] if log else 'said nothing'}")


def measure(contender: Contender, workload: Workload, quick: bool) -> dict[str, Any]:
    """The numbers of one repetition.

    Raises:
        Unavailable: The system cannot be had here.
        Failed: It gave no number.
    """
    measured = {"crash": crash, "actor": crash, "cold": cold, "schedules": schedules}.get(workload.name, loaded)
    return measured(contender, workload, quick)


def loaded(contender: Contender, workload: Workload, quick: bool) -> dict[str, Any]:
    """Turns of one conversation, or many conversations."""
    count = workload.quick if quick else workload.count
    name = "latency" if workload.name == "turns" else "crowd"
    options = ["--count", str(count), "--at-once", str(workload.at_once), "--limit-s", str(workload.limit_s)]
    with place(contender, delay_s=workload.delay_s) as where:
        before = bytes_under(where.folder)
        with where.program(command(contender, where, name, *options)) as program:
            with Watch([each for each in (program, where.server) if each]) as watch:
                found = finish(program, where, workload.limit_s + 60)
            marks = found["marks"]
            samples = watch.between(marks["ready"], marks["done"])
        if not found["answered"]:
            raise Failed(f"answered none of {found['asked']} in {workload.limit_s:.0f} s")
        if where.server is not None:
            where.server.end()
        seconds = found["seconds"]
        wall = marks["done"] - marks["ready"]
        metrics = {
            "asked": found["asked"],
            "answered": found["answered"],
            "wall_s": wall,
            "per_s": found["answered"] / wall,
            "cpu_ms": (samples[-1].cpu_s - samples[0].cpu_s) * 1e3 / found["answered"],
            "peak_mib": max(sample.memory_mib for sample in samples),
            "above_mib": max(sample.memory_mib for sample in samples) - samples[0].memory_mib,
            "processes": max(sample.processes for sample in samples),
        }
        if name == "latency":
            middle = slice(5, 15) if len(seconds) > 20 else slice(0, 10)
            metrics |= {
                "p50_ms": stats.percentile(seconds, 0.5) * 1e3,
                "p50_first_ms": stats.percentile(seconds[:20], 0.5) * 1e3,
                "p99_ms": stats.percentile(seconds, 0.99) * 1e3,
                "last_ms": stats.percentile(seconds[-10:], 0.5) * 1e3,
                "growth": stats.percentile(seconds[-10:], 0.5) / stats.percentile(seconds[middle], 0.5),
                "stored_mb": (bytes_under(where.folder) - before) / 1e6,
            }
        return {"metrics": metrics, "versions": found["versions"], "python": found["python"]}


def crash(contender: Contender, workload: Workload, quick: bool) -> dict[str, Any]:
    """Kill -9 while the second completion is on its way: all of the program, or only the actor of the conversation."""
    with place(contender, "--hold-s", str(_HOLD_S)) as where:
        where.env["BENCH_EFFECTS"] = str(where.folder / "effects")
        with where.program(command(contender, where, "start")) as program:
            deadline = time.monotonic() + 60
            while not servers.model_stats(where.url)["texts"]:
                if program.process.poll() is not None or time.monotonic() > deadline:
                    finish(program, where, 1)
                    raise Failed("never asked the second question")
                time.sleep(0.02)
            time.sleep(0.3)
            only = _ACTORS if workload.name == "actor" else ""
            killed_at = time.time()
            if not program.kill(only):
                raise Failed("found nothing to kill")
            if only:
                found = finish(program, where, workload.limit_s)
            else:
                program.end()
                with where.program(command(contender, where, "resume")) as again:
                    found = finish(again, where, workload.limit_s)
        asked = servers.model_stats(where.url)
        metrics = {
            "seconds": found["marks"]["done"] - killed_at,
            "repeated": asked["calls"] + asked["texts"] - 2,
            "functions": len(where.effects),
        }
        return {"metrics": metrics, "versions": found["versions"], "python": found["python"], "acts": contender.acts}


def cold(contender: Contender, workload: Workload, quick: bool) -> dict[str, Any]:
    """From the start of the durable hello world to its answer; the system's server runs already."""
    hello = PEERS / contender.peer / contender.hello
    python = prepare(contender.peer, contender.python)
    with place(contender) as where, where.program([str(python), str(hello)]) as program:
        assert program.process.stdout is not None
        said: list[str] = []
        for line in program.process.stdout:
            said.append(line.strip())
            if said[-1] == "The sum is 3.":
                break
        seconds = time.time() - program.started_at
        program.end()
        if not said or said[-1] != "The sum is 3.":
            log = (where.folder / "program.log").read_text(errors="replace").strip().splitlines()
            raise Failed(f"hello world did not answer: {(log or said or ['it said nothing'])[-1][:300]}")
        return {"metrics": {"seconds": seconds, "server_s": where.server_s}}


def schedules(contender: Contender, workload: Workload, quick: bool) -> dict[str, Any]:
    """How late schedules ask their first question, as the model sees it."""
    every_s = 10 if quick else 60
    count = workload.quick if quick else workload.count
    with place(contender, "--trace") as where:
        options = ("--count", str(count), "--every-s", str(every_s))
        with where.program(command(contender, where, "schedules", *options)) as program:
            found = finish(program, where, workload.limit_s)
        created = found["marks"]["created"]
        arrivals = [(at, text) for at, text in servers.model_stats(where.url)["arrivals"] if at > created]
        late = stats.lateness(arrivals, every_s)
        if not late:
            raise Failed(f"none of {count} schedules ran within {every_s} s")
        metrics = {
            "p50_s": stats.percentile(late, 0.5),
            "p99_s": stats.percentile(late, 0.99),
            "ran": len(late),
            "count": count,
        }
        return {"metrics": metrics, "versions": found["versions"], "python": found["python"]}


def main() -> None:
    """`python -m benchmarks.measure SYSTEM WORKLOAD [--quick]`: one measurement, for a closer look."""
    from benchmarks.systems import CONTENDERS, WORKLOADS

    contender = next(each for each in CONTENDERS if each.name == sys.argv[1])
    workload = next(each for each in WORKLOADS if each.name == sys.argv[2])
    try:
        print(json.dumps(measure(contender, workload, "--quick" in sys.argv), indent=1))
    except (Failed, Unavailable) as reason:
        print(reason)


if __name__ == "__main__":
    main()
