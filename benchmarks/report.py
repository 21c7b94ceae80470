"""Results as a Markdown page and as a plot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import stats
from benchmarks.envs import PEERS
from benchmarks.systems import CONTENDERS, WORKLOADS, Contender, Workload

Row = Mapping[str, Any]
"""One stored measurement: system, workload, repeat, and metrics or an error."""


@dataclass(frozen=True)
class Column:
    """A column of a workload's table."""

    metric: str
    title: str
    digits: int = 1


COLUMNS: dict[str, tuple[Column, ...]] = {
    "turns": (
        Column("p50_first_ms", "p50 of turns 1-20, ms"),
        Column("p50_ms", "p50, ms"),
        Column("p99_ms", "p99, ms"),
        Column("last_ms", "p50 of the last 10, ms"),
        Column("growth", "last 10 / turns 6-15", 2),
        Column("stored_mb", "stored, MB", 2),
        Column("cpu_ms", "CPU a turn, ms"),
    ),
    "crowd": (
        Column("per_s", "turns/s"),
        Column("cpu_ms", "CPU a turn, ms"),
        Column("peak_mib", "peak memory, MiB", 0),
    ),
    "burst": (
        Column("wall_s", "wall, s (ideal 2)"),
        Column("answered", "answered", 0),
        Column("peak_mib", "peak memory, MiB", 0),
        Column("above_mib", "above idle, MiB", 0),
        Column("processes", "processes", 0),
    ),
    "crash": (
        Column("seconds", "until the answer, s"),
        Column("repeated", "completions repeated", 0),
        Column("functions", "times the function ran", 0),
    ),
    "actor": (
        Column("seconds", "until the answer, s"),
        Column("repeated", "completions repeated", 0),
        Column("functions", "times the function ran", 0),
    ),
    "cold": (Column("seconds", "until the answer, s"), Column("server_s", "its server before that, s")),
    "schedules": (Column("p50_s", "late p50, s", 2), Column("p99_s", "late p99, s", 2), Column("ran", "ran", 0)),
}

NOTES = {
    "turns": "Stored: what files grew by, the system's server included.",
    "crowd": "Each conversation has one turn, in the cheapest durable form a system has (a run, a short workflow).",
    "burst": "Memory: proportional set size of all processes, the system's server included; "
    "what had not answered after {limit:.0f} s is not counted.",
    "crash": "Everything but the system's server is killed with SIGKILL 0.3 s into the second completion, and started "
    "again at once, as a supervisor would. One repeated completion is unavoidable: its answer was lost on the way.",
    "actor": "The client stays; only the actor that holds the conversation is killed.",
    "cold": "`hello.py` of each system, from `exec` to its printed answer; Temporal's server runs already.",
    "schedules": "From when a schedule was due to its first question at the model. {count} schedules, one run each.",
}


def cells(contender: Contender, workload: Workload, rows: Sequence[Row]) -> list[str]:
    """A system's cells in a workload's table: numbers, or one reason why there are none."""
    columns = COLUMNS[workload.name]
    empty = [""] * (len(columns) - 1)
    if workload.name in contender.skips:
        return [contender.skips[workload.name], *empty]
    good = [row["metrics"] for row in rows if "metrics" in row]
    if not good:
        return [rows[-1]["error"] if rows else "not measured", *empty]
    texts = [stats.spread([metrics[column.metric] for metrics in good]).text(column.digits) for column in columns]
    unfinished = any(metrics.get("answered", 0) < metrics.get("asked", 0) for metrics in good)
    cut = [unfinished and column.metric == "wall_s" for column in columns]
    return [f"over {text}" if is_cut else text for text, is_cut in zip(texts, cut, strict=True)]


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    rule = ["---"] * len(header)
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, rule, *lines])


def section(workload: Workload, rows: Sequence[Row], names: Sequence[str]) -> str:
    """A workload's heading, table and note."""
    by_name: Callable[[str], list[Row]] = lambda name: [row for row in rows if row["system"] == name]  # noqa: E731
    lines: list[list[str]] = []
    for contender in CONTENDERS:
        if contender.name not in names or (workload.name == "actor" and "actor" in contender.skips):
            continue
        mine = by_name(contender.name)
        line = [contender.title, *cells(contender, workload, mine)]
        if workload.name in ("crash", "actor"):
            line.append(contender.acts if any("metrics" in row for row in mine) else "")
        lines.append(line)
    header = ["system", *(column.title for column in COLUMNS[workload.name])]
    if workload.name in ("crash", "actor"):
        header.append("who acts")
    counts = {row["metrics"].get("count", row["metrics"].get("asked")) for row in rows if "metrics" in row}
    count = "/".join(str(each) for each in sorted(counts - {None}))
    note = NOTES[workload.name].format(limit=workload.limit_s, count=count)
    return f"### {workload.title[0].upper()}{workload.title[1:]}\n\n{table(header, lines)}\n\n{note}"


def hello_lines() -> str:
    """Lines of code of every durable hello world."""
    lines = []
    for contender in CONTENDERS:
        if contender.hello and contender.skips.get("cold") != "as shared":
            path = PEERS / contender.peer / contender.hello
            count = stats.lines_of_code(path.read_text())
            server = {"temporal": "a Temporal server", "bucket": "a bucket"}.get(contender.server, "none")
            lines.append(
                [contender.title, str(count), server, f"[{path.name}](../{path.relative_to(PEERS.parent.parent)})"]
            )
    note = "Lines that are neither empty nor comment nor docstring, all formatted by the same formatter."
    header = ["system", "lines", "services beside it", "program"]
    return f"### The durable hello world\n\n{table(header, lines)}\n\n{note}"


def versions(rows: Sequence[Row]) -> str:
    """What was measured."""
    lines = []
    for contender in CONTENDERS:
        found = next((row for row in rows if row["system"] == contender.name and row.get("versions")), None)
        if found:
            named = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
            lines.append([contender.title, found["python"], named])
    return table(["system", "Python", "versions"], lines)


def page(rows: Sequence[Row], names: Sequence[str]) -> str:
    """All tables."""
    parts = [
        section(workload, [row for row in rows if row["workload"] == workload.name], names)
        for workload in WORKLOADS
        if any(row["workload"] == workload.name for row in rows)
    ]
    return "\n\n".join([*parts, hello_lines(), f"### Versions\n\n{versions(rows)}"])


def plot(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Horizontal bars of four workloads, as SVG; a broken-off bar says its number."""
    panels = [
        ("turns", "p50_ms", "p50 of a turn in a long conversation, ms", False),
        ("crowd", "per_s", "turns a second, 50 at a time", True),
        ("burst", "wall_s", "500 at once with a 1 s model, s (ideal 2)", False),
        ("crash", "seconds", "killed in the second completion: until the answer, s", False),
    ]
    width, left, bar, gap = 860, 250, 16, 6
    shown = [contender for contender in CONTENDERS if contender.name in names]
    body: list[str] = []
    top = 10
    for workload, metric, title, _ in panels:
        medians = {}
        for contender in shown:
            good = [
                row["metrics"][metric]
                for row in rows
                if row["system"] == contender.name and row["workload"] == workload and "metrics" in row
            ]
            if good:
                medians[contender.name] = stats.spread(good).median
        if not medians:
            continue
        body.append(f'<text x="10" y="{top + 14}" class="t">{title}</text>')
        top += 24
        scale = (width - left - 80) / max(medians.values())
        for contender in shown:
            if contender.name not in medians:
                continue
            value = medians[contender.name]
            length = max(1.0, value * scale)
            colour = "#c2410c" if contender.ours else "#64748b"
            label = contender.title.replace("**", "")
            body.append(f'<text x="{left - 8}" y="{top + 12}" text-anchor="end">{label}</text>')
            body.append(f'<rect x="{left}" y="{top}" width="{length:.1f}" height="{bar}" fill="{colour}"/>')
            body.append(f'<text x="{left + length + 6:.1f}" y="{top + 12}">{value:,.1f}</text>')
            top += bar + gap
        top += 14
    style = "text{font:12px sans-serif;fill:#1e293b}.t{font-weight:bold;font-size:13px}"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" viewBox="0 0 {width} {top}">'
    return f'{head}<style>{style}</style><rect width="100%" height="100%" fill="white"/>{"".join(body)}</svg>\n'
