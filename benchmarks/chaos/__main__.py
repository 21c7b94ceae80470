"""`make chaos`: conversations under load while what they run on is killed; then an audit of every message and effect.

Half of the time processes of a local Ray are killed: actors, step workers, tasks. The other half worker nodes, the
head and programs of users, on a cluster of several nodes; and in the end all of it at once, after which another cluster
on the same storage has to go on before anybody asks. Both halves are on by default: the second finds what the first
cannot (a client whose head is gone, an actor that has to move), and who asks whether anything is lost means both.
`--only` leaves one out. A machine that does not allow the second is told so in a line.

Exit code 1 if anything acknowledged was lost, doubled or reordered, a recorded step ran again, or anything hangs.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import random
import shutil
import statistics
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

from rich.console import Console

from benchmarks.chaos import losses, trace
from benchmarks.chaos.audit import Report
from benchmarks.chaos.processes import kill_processes
from benchmarks.chaos.trace import percentile

PARTS = ("processes", "nodes")


def run(options: argparse.Namespace, folder: Path, console: Console) -> Report:
    """The parts asked for, one after the other, in one report."""
    parts = [options.only] if options.only else list(PARTS)
    report = Report(seed=options.seed)
    if "nodes" in parts and (reason := losses.why_not()):
        report.left_out.append(f"nodes: {reason}")
        parts.remove("nodes")
    for part in parts:
        lose = kill_processes if part == "processes" else losses.lose_nodes
        one = asyncio.run(lose(options, options.minutes * 60 / len(parts), folder, console))
        if not one.acknowledged:
            one.faults["no answers"].append(part)
        report.add(one)
    return report


def show(report: Report, console: Console) -> None:
    """For people."""
    say = functools.partial(console.print, markup=False, soft_wrap=True)
    kills = ", ".join(f"{number} x {kind}" for kind, number in sorted(report.kills.items())) or "none"
    say(f"seed {report.seed}")
    say(f"sent {report.sent}, acknowledged {report.acknowledged}, outcome unknown {report.unknown}")
    say(f"kills: {kills}")
    for fault in ("lost", "doubled", "reordered", "run again after its result", "hangs", "not resumed"):
        say(f"{fault}: {len(report.faults[fault])}")
    say(f"run again before a result was recorded (allowed): {report.run_again}")
    for loss, times in report.recovery_s.items():
        if times:
            p50, p99 = _percentiles(times)
            say(f"from kill to answer of what was under way, {loss}: {p50}, {p99} ({len(times)} messages)")
    for mark, words in trace.PARTS.items():
        if times := report.parts_s.get(mark):
            p50, p99 = _percentiles(times)
            say(f"  {mark}: {p50}, {p99} ({len(times)}): {words}")
    for case in report.slowest:
        say(f"  slowest: {case}")
    if losses.EVERYTHING in report.kills:
        ended = ", ".join(f"{number} on {node}" for node, number in sorted(report.ended.items())) or "none"
        say(f"programs that ended though only another machine was lost: {ended}")
        say(f"resumed after everything was lost, before anybody asked: {report.resumed}")
    for reason in report.left_out:
        say(f"left out: {reason}")
    for fault, cases in report.faults.items():
        for case in cases[:10]:
            say(f"  {fault}: {case}")
    say("ok" if report.ok else "NOT ok")


def _percentiles(times: list[float]) -> tuple[str, str]:
    return f"p50 {statistics.median(times):.2f} s", f"p99 {percentile(times, 0.99):.2f} s"


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0, help="under load, over both parts; recovery comes on top")
    parser.add_argument("--only", choices=PARTS, help="leave the other part out")
    parser.add_argument("--sessions", type=int, default=8, help="over both placements; runs come on top")
    parser.add_argument("--node-sessions", type=int, default=4, help="likewise, while nodes are killed")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two kills of processes, on average")
    parser.add_argument("--node-every", type=float, default=6.0, help="likewise of nodes and programs")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--storage", help="path or URL; a temporary folder without it")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    console = Console(file=sys.stderr if options.json else sys.stdout)
    # Ray writes what it thinks of killed processes to the standard output, where only the report belongs.
    folder = Path(tempfile.mkdtemp(prefix="rojak-chaos-"))
    with redirect_stdout(sys.stderr):
        report = run(options, folder, console)
    if report.ok:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        console.print(f"storage, effects and diaries are kept in {folder}", markup=False)
    if options.json:
        json.dump(report.as_json(), sys.stdout)
    else:
        show(report, console)
    sys.exit(0 if report.ok else 1)


if __name__ == "__main__":
    main()
