"""Us against what you would use instead: `make compare`, or `python -m benchmarks.compare --help`.

Every measurement is stored as soon as it is made, so a run can be cut into slices: `--slice-s 500` stops before the
next measurement would begin, `--resume` goes on. Repetitions alternate between systems, so that noise hits all alike.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import measure, model_server, report, servers
from benchmarks.envs import ROOT, Unavailable
from benchmarks.systems import CONTENDERS, WORKLOADS, Contender, Workload, named

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
COPY = ROOT / "docs" / "benchmarks"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
UNFINISHED = 75
"""Exit code when a slice ended before the run did (EX_TEMPFAIL: call again)."""


@dataclass(frozen=True)
class Job:
    """One measurement to be made."""

    contender: Contender
    workload: Workload
    repeat: int

    @property
    def file(self) -> str:
        """Where its result is kept."""
        return f"{self.workload.name}.{self.contender.name}.{self.repeat}.json"


def plan(systems: Sequence[str], workloads: Sequence[str], repeats: int) -> list[Job]:
    """All measurements, in the order in which they are made."""
    return [
        Job(contender, workload, repeat)
        for repeat in range(1, repeats + 1)
        for workload in WORKLOADS
        if workload.name in workloads
        for contender in CONTENDERS
        if contender.name in systems and workload.name not in contender.skips
    ]


def perform(job: Job, quick: bool) -> dict[str, Any]:
    """One measurement, or why there is none."""
    began = time.monotonic()
    row: dict[str, Any] = {"system": job.contender.name, "workload": job.workload.name, "repeat": job.repeat}
    try:
        row |= measure.measure(job.contender, job.workload, quick)
    except (Unavailable, measure.Failed) as reason:
        row["error"] = str(reason)
    return {**row, "took_s": round(time.monotonic() - began, 1), "at": datetime.now(UTC).isoformat(timespec="seconds")}


def write(path: Path, value: Any) -> None:
    """Whole or not at all."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(value, indent=1) + "\n")
    os.replace(draft, path)


def load(folder: Path) -> list[dict[str, Any]]:
    """All stored measurements of a run."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.*.[0-9]*.json"))]


def machine() -> dict[str, Any]:
    """What it ran on, and what the model server of this run can do."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    memory = next((int(line.split()[1]) // 1024 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    with model_server.running() as url:
        capacity = servers.model_capacity(url)
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": memory,
        "system": platform.platform(),
        "model_server_per_s": round(capacity),
        "date": datetime.now(UTC).date().isoformat(),
        "load": round(os.getloadavg()[0], 1),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def run(jobs: Sequence[Job], folder: Path, quick: bool, slice_s: float, console: Console) -> int:
    """Make the measurements that are missing, until time is up. Returns how many are left."""
    left = [job for job in jobs if not (folder / job.file).exists()]
    deadline = time.monotonic() + slice_s if slice_s else float("inf")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("compare", total=len(jobs), completed=len(jobs) - len(left))
        while left and time.monotonic() + left[0].workload.limit_s / 2 < deadline:
            job = left.pop(0)
            progress.update(task, description=f"{job.contender.name}, {job.workload.name}, {job.repeat}")
            row = perform(job, quick)
            write(folder / job.file, row)
            progress.advance(task)
            if not console.is_terminal:
                said = row.get("error") or ", ".join(f"{key} {value:.4g}" for key, value in row["metrics"].items())
                console.print(f"{job.file}: {said} ({row['took_s']} s)", highlight=False, soft_wrap=True)
    return len(left)


def publish(folder: Path, rows: list[dict[str, Any]], about: dict[str, Any], names: Sequence[str], docs: bool) -> str:
    """The page of a run; with `docs` also into docs/benchmarks.md, with its numbers and its plot beside it."""
    took = sum(row["took_s"] for row in rows)
    warning = "; **a quick run: fewer turns, not for comparison**" if about["quick"] else ""
    head = (
        f"{about['date']}, {about['cores']} cores of {about['cpu']}, {about['memory_mib']:,} MiB, {about['system']}. "
        f"The model server answers {about['model_server_per_s']:,} requests/s. "
        f"Medians of {about['repeats']}, ranges in brackets{warning}. "
        f"The measurements took {took / 60:.0f} minutes in all."
    )
    text = f"{head}\n\n![Bars of the medians](benchmarks/comparison.svg)\n\n{report.page(rows, names)}"
    folder.joinpath("comparison.md").write_text(text + "\n")
    folder.joinpath("comparison.svg").write_text(report.plot(rows, names))
    if docs:
        COPY.mkdir(parents=True, exist_ok=True)
        COPY.joinpath("comparison.svg").write_text(report.plot(rows, names))
        write(COPY / "comparison.json", {"about": about, "rows": rows})
        before, rest = PAGE.read_text().split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}")
    return text


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", default="", help=",".join(each.name for each in CONTENDERS))
    parser.add_argument("--workloads", default="", help=",".join(each.name for each in WORKLOADS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="a tenth of the work: shows that it runs, no more")
    parser.add_argument("--resume", action="store_true", help="keep what an earlier call measured")
    parser.add_argument("--slice-s", type=float, default=0, help="stop after about so many seconds; exit code 75")
    parser.add_argument("--docs", action="store_true", help="write the result into docs/benchmarks.md")
    options = parser.parse_args()
    console = Console()
    jobs = plan(named(options.systems, CONTENDERS), named(options.workloads, WORKLOADS), options.repeats)
    folder = RESULTS / ("quick" if options.quick else "full")
    folder.mkdir(parents=True, exist_ok=True)
    about_file = folder / "about.json"
    if not options.resume:
        for path in folder.glob("*.json"):
            path.unlink()
    if not about_file.exists():
        write(about_file, {**machine(), "repeats": options.repeats, "quick": options.quick})
    about = json.loads(about_file.read_text())
    console.print(f"{len(jobs)} measurements. Model server: {about['model_server_per_s']:,} requests/s.")
    left = run(jobs, folder, options.quick, options.slice_s, console)
    if left:
        took = [row["took_s"] for row in load(folder)]
        minutes = sum(took) / max(1, len(took)) * left / 60
        console.print(
            f"{left} of {len(jobs)} measurements are left, some {minutes:.0f} minutes: "
            "the same command with --resume goes on."
        )
        sys.exit(UNFINISHED)
    names = named(options.systems, CONTENDERS)
    console.print(publish(folder, load(folder), about, names, options.docs), markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
