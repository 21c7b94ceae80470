"""What 1,000 turns cost: requests to a bucket against Actions of Temporal Cloud; and what a resting session costs.

`python -m benchmarks.cost` measures and prints; `--docs` writes the section of docs/benchmarks.md.
Prices are text below, with where and when they were read: check them before you rely on a dollar.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks import compare, counting_s3, measure, report, servers, store_requests
from benchmarks.envs import Unavailable
from benchmarks.processes import Watch
from benchmarks.systems import CONTENDERS, Contender

BEGIN, END = "<!-- cost: begin -->", "<!-- cost: end -->"


@dataclass(frozen=True)
class Price:
    """A published price."""

    dollars: float
    per: int
    source: str


S3_WRITE = Price(
    0.005,
    1_000,
    "S3 Standard: PUT, COPY, POST, LIST (the vendor's list is aws.amazon.com/s3/pricing; the figure is as quoted by "
    "c3x.dev/blog/s3-request-fees-explained, read on 2026-11-25)",
)
S3_READ = Price(0.0004, 1_000, "S3 Standard: GET, HEAD and others (same pages); DELETE is free")
ACTION = Price(
    50.0,
    1_000_000,
    "Temporal Cloud: an Action, pay as you go, first 5 million a month, without plan and storage "
    "(docs.temporal.io/cloud/pricing, read on 2026-11-25; falls to 25 dollars a million beyond 100 million)",
)
PRICES = (S3_WRITE, S3_READ, ACTION)


def bucket_dollars(counts: Counter[str]) -> float:
    """What requests to a bucket cost."""
    writes = counts["PUT"] + counts["POST"] + counts["LIST"]
    reads = counts["GET"] + counts["HEAD"]
    return writes * S3_WRITE.dollars / S3_WRITE.per + reads * S3_READ.dollars / S3_READ.per


def action_dollars(actions: float) -> float:
    """What Actions cost."""
    return actions * ACTION.dollars / ACTION.per


def bucket_requests(variant: str, workload: str, turns: int) -> Counter[str]:
    """Requests of so many turns in one session (latency) or of as many runs (crowd), warm-up subtracted."""
    contender = next(each for each in CONTENDERS if each.ours and each.variant == variant and not each.server)
    seen: list[Counter[str]] = []
    for count in (1, turns + 1):
        with counting_s3.running() as endpoint, measure.place(contender) as where:
            servers.make_bucket(endpoint)
            where.env.update(servers.s3_environment(endpoint))
            command = measure.command(contender, where, workload, "--count", str(count))
            command[command.index("--server") + 1] = f"s3://{servers.BUCKET}/rojak"
            before = counting_s3.counts(endpoint)
            with where.program(command) as program:
                measure.finish(program, where, 300)
            seen.append(counting_s3.counts(endpoint) - before)
    first, second = seen
    second.subtract(first)
    return Counter({name: value * 1000 // turns for name, value in second.items()})


def temporal_actions(name: str, turns: int) -> dict[str, float]:
    """Actions and bytes of history of 1,000 turns of one conversation on Temporal, from its event history."""
    contender = next(each for each in CONTENDERS if each.name == name)
    with measure.place(contender) as where:
        command = measure.command(contender, where, "actions", "--count", str(turns))
        with where.program(command) as program:
            found = measure.finish(program, where, 300)
    return {key: value * 1000 / turns for key, value in found["billed"].items()}


@dataclass(frozen=True)
class Waiting:
    """What sessions cost while they do nothing, and what a turn costs in CPU."""

    memory_mib: float
    idle_cpu_ms_s: float
    base_mib: float
    base_cpu_ms_s: float
    turn_cpu_ms: float


def waiting(contender: Contender, sessions: int, rest_s: float) -> Waiting:
    """Open sessions with a turn each, let them rest; what is above a run with one session is theirs."""
    found: list[tuple[float, float, float]] = []
    for count in (1, 1 + sessions):
        with measure.place(contender) as where:
            command = measure.command(contender, where, "idle", "--count", str(count), "--rest-s", str(rest_s))
            with where.program(command) as program, Watch([program]) as watch:
                marks = measure.finish(program, where, 300)["marks"]
                rest = watch.between(marks["opened"], marks["done"])
                busy = watch.between(marks["ready"], marks["opened"])
            rested = (rest[-1].cpu_s - rest[0].cpu_s) / (rest[-1].at - rest[0].at)
            found.append((rest[-2].memory_mib, rested * 1e3, (busy[-1].cpu_s - busy[0].cpu_s) * 1e3))
    one, many = found
    return Waiting(
        (many[0] - one[0]) / sessions, (many[1] - one[1]) / sessions, one[0], one[1], (many[2] - one[2]) / sessions
    )


MONEY = ("1,000 turns", "PUT", "LIST", "GET", "HEAD", "DELETE", "Actions", "MB written", "dollars")
REST = (
    "sessions with one turn each",
    "MiB a session",
    "idle CPU a session, ms/s",
    "CPU of opening it and a turn, ms",
    "MiB without them",
    "idle CPU without them, ms/s",
)


def bucket_line(title: str, variant: str, workload: str, turns: int) -> list[str]:
    """A system of ours on S3."""
    counts = bucket_requests(variant, workload, turns)
    requests = [f"{counts[name]:,}" for name in ("PUT", "LIST", "GET", "HEAD", "DELETE")]
    return [title, *requests, "", f"{counts['PUT bytes in'] / 1e6:,.2f}", f"{bucket_dollars(counts):.4f}"]


def temporal_line(name: str, turns: int) -> list[str]:
    """A system on Temporal Cloud, if it were there."""
    title = next(each.title for each in CONTENDERS if each.name == name)
    try:
        billed = temporal_actions(name, turns)
    except (Unavailable, measure.Failed) as reason:
        return [title, str(reason), *[""] * 7]
    size = f"{billed['history_bytes'] / 1e6:,.2f}"
    return [title, *[""] * 5, f"{billed['actions']:,.0f}", size, f"{action_dollars(billed['actions']):.4f}"]


def rest_line(name: str, sessions: int, rest_s: float) -> list[str]:
    """A system of ours at rest."""
    contender = next(each for each in CONTENDERS if each.name == name)
    cost = waiting(contender, sessions, rest_s)
    figures = (cost.memory_mib, cost.idle_cpu_ms_s, cost.turn_cpu_ms, cost.base_mib, cost.base_cpu_ms_s)
    return [f"{contender.title}, {sessions}", *(f"{figure:,.2f}" for figure in figures)]


def plan(quick: bool) -> dict[str, Callable[[], list[str]]]:
    """Every line of both tables, by the name of its file; those of `rest` after those of money."""
    turns, many, few, rest_s = (20, 20, 4, 3.0) if quick else (200, 200, 8, 20.0)
    session = "**rojak-ray**, turns of one session"
    return {
        "money.shared": lambda: bucket_line(f"{session} (shared)", "shared", "latency", turns),
        "money.dedicated": lambda: bucket_line(f"{session} (dedicated)", "dedicated", "latency", turns),
        "money.runs": lambda: bucket_line("**rojak-ray**, runs", "shared", "crowd", turns),
        "money.rojak-temporal": lambda: temporal_line("rojak-temporal", turns),
        "money.openai-agents-temporal": lambda: temporal_line("openai-agents-temporal", turns),
        "rest.shared": lambda: rest_line("rojak-ray", many, rest_s),
        "rest.dedicated": lambda: rest_line("rojak-ray-dedicated", few, rest_s),
        **{
            f"requests.{number}": partial(store_requests.line, name) for number, name in enumerate(store_requests.CASES)
        },
        "rest.in-process": lambda: rest_line("rojak-ray-in-process", many, rest_s),
    }


def page(folder: Path, names: Sequence[str]) -> str:
    """Both tables and the prices, as Markdown."""
    lines = {name: json.loads((folder / f"{name}.json").read_text()) for name in names}
    money = report.table(MONEY, [line for name, line in lines.items() if name.startswith("money")])
    rest = report.table(REST, [line for name, line in lines.items() if name.startswith("rest")])
    asked = report.table(store_requests.HEAD, [line for name, line in lines.items() if name.startswith("requests")])
    return f"{money}\n\nPrices:\n\n" + "\n".join(f"- {_said(price)}" for price in PRICES) + f"\n\n{rest}\n\n{asked}"


def _said(price: Price) -> str:
    return f"{price.dollars} dollars per {price.per:,}: {price.source}."


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer turns and sessions, shorter rests")
    parser.add_argument("--resume", action="store_true", help="keep what an earlier call measured")
    parser.add_argument(
        "--slice-s", type=float, default=float("inf"), help="start nothing later than this; exit code 75"
    )
    parser.add_argument("--docs", action="store_true", help="write the section of docs/benchmarks.md")
    options = parser.parse_args(arguments)
    console = Console()
    folder = compare.RESULTS / ("cost-quick" if options.quick else "cost")
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + options.slice_s
    jobs = plan(options.quick)
    for name, job in jobs.items():
        path = folder / f"{name}.json"
        if options.resume and path.exists():
            continue
        if time.monotonic() > deadline:
            console.print(f"{name} and what follows are left: the same command with --resume goes on.")
            sys.exit(compare.UNFINISHED)
        with console.status(name):
            compare.write(path, job())
    text = page(folder, list(jobs))
    console.print(text, markup=False, soft_wrap=True)
    if options.docs:
        before, rest = compare.PAGE.read_text().split(BEGIN)
        compare.PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
