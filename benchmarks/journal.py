"""What a turn costs late in a long conversation: time and bytes at turn 1,000 against turn 10. Part of `make budgets`.

The model is the offline one and answers at once, so all of the time is ours. Bytes are those of the records, snapshots
and archives that a turn added, averaged over a window that holds several snapshots.

Budget (design, section 8): time <= 1.2x, bytes flat.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import ray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import command
from rojak_ray import OfflineAgent, Rojak
from rojak_ray.runtime import cluster
from rojak_ray.testing.runtime import InProcessRuntime

_WINDOW = 100


async def conversation(session: Any, turns: int, progress: Progress, bar: Any) -> list[float]:
    """Seconds of every turn."""
    times: list[float] = []
    for number in range(turns):
        started = time.perf_counter()
        await session.send_messages(f"This is message {number:05}.")
        times.append(time.perf_counter() - started)
        progress.advance(bar)
    return times


async def bench(turns: int, folder: Path, console: Console) -> dict[str, dict[str, float]]:
    """Hold the same long conversation in process and on Ray."""
    found: dict[str, dict[str, float]] = {}
    runtimes: dict[str, Any] = {
        "in process": InProcessRuntime(str(folder / "in process")),
        "shared": Rojak(str(folder / "shared"), placement="shared"),
    }
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("turns", total=(turns + 20 + 2 * _WINDOW) * len(runtimes))
        for name, runtime in runtimes.items():
            async with runtime:
                session = await runtime.create_session("long", OfflineAgent(name="A"))
                await conversation(session, _WINDOW, progress, bar)
                first_bytes = await asyncio.to_thread(_used, folder / name)
                await conversation(session, turns - 2 * _WINDOW, progress, bar)
                before = await asyncio.to_thread(_used, folder / name)
                late_times = await conversation(session, _WINDOW, progress, bar)
                after = await asyncio.to_thread(_used, folder / name)
                # The disk is not the same from minute to minute: a young session takes turns with the old one.
                young = await runtime.create_session("young", OfflineAgent(name="A"))
                early_times = (await conversation(young, 20, progress, bar))[10:]
                for _ in range(_WINDOW // 10):
                    late_times = late_times[10:] + await conversation(session, 10, progress, bar)
                    early_times += await conversation(young, 10, progress, bar)
            early, late = statistics.median(early_times), statistics.median(late_times)
            found[name] = {
                "early ms": early * 1e3,
                "late ms": late * 1e3,
                "ratio": late / early,
                "bytes a turn, first": first_bytes / _WINDOW,
                "bytes a turn, last": (after - before) / _WINDOW,
            }
    return found


def _used(folder: Path) -> int:
    """Bytes in storage."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def report(found: dict[str, dict[str, float]], console: Console) -> None:
    """The table for people."""
    table = Table("conversation", "turn 10 ms", "late ms", "ratio", "bytes/turn first", "last")
    for name, row in found.items():
        first, last = row["bytes a turn, first"], row["bytes a turn, last"]
        ratio = f"{row['ratio']:.2f}"
        table.add_row(name, f"{row['early ms']:.2f}", f"{row['late ms']:.2f}", ratio, f"{first:.0f}", f"{last:.0f}")
    console.print(table)
    console.print("Budget: ratio <= 1.2, bytes flat.")


def main() -> None:
    """Measure and print."""
    parser = command.parser(__doc__)
    parser.add_argument("--turns", type=int, default=1000)
    options = parser.parse_args()
    if options.turns < 3 * _WINDOW:
        parser.error(f"--turns must be at least {3 * _WINDOW}")
    console = command.console(options.json)
    cluster.prepare_environment()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
        try:
            found = asyncio.run(bench(options.turns, Path(folder), console))
        finally:
            ray.shutdown()
    command.tell(found, options.json, report)


if __name__ == "__main__":
    main()
