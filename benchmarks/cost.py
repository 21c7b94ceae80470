"""What 1,000 turns cost: requests to a bucket against Actions of Temporal Cloud; and what a resting session costs.

`python -m benchmarks.cost` measures and prints; `--docs` writes the section of docs/benchmarks.md.
Prices are text below, with where and when they were read: check them before you rely on a dollar.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from benchmarks import compare, counting_s3, measure, report, servers
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
S3_STORED = Price(0.023, 10**9, "S3 Standard, us-east-1: a GB for a month (same list; deepeshsoni.com/archives/256)")
ACTION = Price(
    50.0,
    1_000_000,
    "Temporal Cloud: an Action, pay as you go, first 5 million a month, without plan and storage "
    "(docs.temporal.io/cloud/pricing, read on 2026-11-25; falls to 25 dollars a million beyond 100 million)",
)
PRICES = (S3_WRITE, S3_READ, S3_STORED, ACTION)


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
            command = measure.command(contender, where, workload, "--count", str(count), "--at-once", "10")
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


def page(quick: bool) -> str:
    """Everything measured, as Markdown."""
    turns = 20 if quick else 200
    money: list[list[str]] = []
    for title, variant, workload in (
        ("**rojak-ray**, turns of one session (shared)", "shared", "latency"),
        ("**rojak-ray**, turns of one session (dedicated)", "dedicated", "latency"),
        ("**rojak-ray**, runs", "shared", "crowd"),
    ):
        counts = bucket_requests(variant, workload, turns)
        requests = [f"{counts[name]:,}" for name in ("PUT", "LIST", "GET", "HEAD", "DELETE")]
        sent = f"{counts['PUT bytes in'] / 1e6:,.2f}"
        money.append([title, *requests, "", sent, f"{bucket_dollars(counts):.4f}"])
    for name in ("rojak-temporal", "openai-agents-temporal"):
        title = next(each.title for each in CONTENDERS if each.name == name)
        try:
            billed = temporal_actions(name, turns)
        except (Unavailable, measure.Failed) as reason:
            money.append([title, str(reason), *[""] * 7])
            continue
        size = f"{billed['history_bytes'] / 1e6:,.2f}"
        money.append([title, *[""] * 5, f"{billed['actions']:,.0f}", size, f"{action_dollars(billed['actions']):.4f}"])
    header = ["1,000 turns", "PUT", "LIST", "GET", "HEAD", "DELETE", "Actions", "MB written", "dollars"]
    parts = [report.table(header, money), "Prices:\n\n" + "\n".join(f"- {_said(price)}" for price in PRICES)]
    resting: list[list[str]] = []
    for name, sessions in (("rojak-ray", 200), ("rojak-ray-dedicated", 8), ("rojak-ray-in-process", 200)):
        contender = next(each for each in CONTENDERS if each.name == name)
        cost = waiting(contender, sessions // (10 if quick and sessions > 10 else 1), 3 if quick else 20)
        figures = (cost.memory_mib, cost.idle_cpu_ms_s, cost.turn_cpu_ms, cost.base_mib, cost.base_cpu_ms_s)
        resting.append([contender.title, *(f"{figure:,.2f}" for figure in figures)])
    header = [
        "",
        "MiB a session",
        "idle CPU a session, ms/s",
        "CPU of opening it and a turn, ms",
        "MiB without",
        "idle CPU without, ms/s",
    ]
    parts.append(report.table(header, resting))
    return "\n\n".join(parts)


def _said(price: Price) -> str:
    return f"{price.dollars} dollars per {price.per:,}: {price.source}."


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer turns and sessions, shorter rests")
    parser.add_argument("--docs", action="store_true", help="write the section of docs/benchmarks.md")
    options = parser.parse_args(arguments)
    text = page(options.quick)
    Console().print(text, markup=False, soft_wrap=True)
    if options.docs:
        before, rest = compare.PAGE.read_text().split(BEGIN)
        compare.PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}")


if __name__ == "__main__":
    main()
