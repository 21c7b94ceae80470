"""`make chaos`: sessions and runs under load on a real Ray while processes are killed; then an audit of everything.

Exit code 1 if anything acknowledged was lost, doubled or reordered, or a recorded step ran again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path

import ray
from rich.console import Console
from rich.progress import Progress

from benchmarks.chaos.audit import Report, audit
from benchmarks.chaos.killer import Killer
from benchmarks.chaos.load import Load
from rojak_ray import Rojak
from rojak_ray.runtime import cluster

_DRAIN_S = 120.0


async def chaos(options: argparse.Namespace, folder: Path, console: Console) -> Report:
    """Load, kill, wait until all is answered, audit."""
    storage = options.storage or str(folder / "storage")
    effects = folder / "effects.txt"
    effects.touch()
    report = Report(seed=options.seed)
    names = {placement: f"chaos-{placement}-{options.seed}-{time.time_ns()}" for placement in ("shared", "dedicated")}
    async with (
        Rojak(storage, namespace=names["shared"], placement="shared") as shared,
        Rojak(storage, namespace=names["dedicated"]) as dedicated,
    ):
        clients = {"shared": shared, "dedicated": dedicated}
        load = Load(clients, effects, options.sessions)
        await load.prepare()
        killer = Killer(clients, load.conversations, effects, options.seed)
        stop_killing, stop_sending = asyncio.Event(), asyncio.Event()
        sending = asyncio.create_task(load.run(stop_sending))
        killing = asyncio.create_task(killer.run(stop_killing, options.every))
        await _show(load, killer, options.minutes * 60, sending, console)
        stop_killing.set()
        await killing
        stop_sending.set()
        try:
            async with asyncio.timeout(_DRAIN_S):
                await sending
        except TimeoutError:
            report.faults["hangs"] = [one.under_way for one in load.conversations if one.under_way]
        report.kills = dict(killer.kills)
        report.recovery_s = [
            (one.acknowledged[message] - at) / 1e9 for one, message, at in killer.cut if message in one.acknowledged
        ]
        await audit(report, load.conversations, clients, await asyncio.to_thread(_lines, effects))
    return report


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


async def _show(load: Load, killer: Killer, seconds: float, sending: asyncio.Task[None], console: Console) -> None:
    """A bar on a terminal, a line every ten seconds in a pipe."""
    started = time.monotonic()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("chaos", total=seconds)
        said = 0.0
        while (passed := time.monotonic() - started) < seconds and not sending.done():
            answered = sum(len(one.acknowledged) for one in load.conversations)
            text = f"{answered} answered, {killer.kills.total()} kills"
            progress.update(bar, completed=passed, description=text)
            if not console.is_terminal and passed - said >= 10:
                said = passed
                console.print(f"{passed:4.0f} s: {text}")
            await asyncio.sleep(0.2)


def show(report: Report, console: Console) -> None:
    """For people."""
    kills = ", ".join(f"{number} x {kind}" for kind, number in sorted(report.kills.items())) or "none"
    console.print(f"seed {report.seed}")
    console.print(f"sent {report.sent}, acknowledged {report.acknowledged}, outcome unknown {report.unknown}")
    console.print(f"kills: {kills}")
    for fault in ("lost", "doubled", "reordered", "run again after its result"):
        console.print(f"{fault}: {len(report.faults[fault])}")
    console.print(f"run again before a result was recorded (allowed): {report.run_again}")
    if report.recovery_s:
        times = sorted(report.recovery_s)
        p50, p99 = statistics.median(times), times[min(len(times) - 1, int(len(times) * 0.99))]
        console.print(f"from kill to answer of what was cut: p50 {p50:.2f} s, p99 {p99:.2f} s ({len(times)} messages)")
    for fault, cases in report.faults.items():
        for case in cases[:10]:
            console.print(f"  {fault}: {case}", markup=False)
    console.print("ok" if report.ok else "NOT ok")


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--sessions", type=int, default=8, help="over both placements; runs come on top")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two kills, on average")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--storage", help="path or URL; a temporary folder without it")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    console = Console(file=sys.stderr if options.json else sys.stdout)
    cluster.prepare_environment()
    # Ray writes what it thinks of killed processes to the standard output, where only the report belongs.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, redirect_stdout(sys.stderr):
        ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
        try:
            report = asyncio.run(chaos(options, Path(folder), console))
        finally:
            ray.shutdown()
    if options.json:
        json.dump(report.as_json(), sys.stdout)
    else:
        show(report, console)
    sys.exit(0 if report.ok else 1)


if __name__ == "__main__":
    main()
