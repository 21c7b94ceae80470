"""What removing old runs costs: `python -m benchmarks.prune --runs 100000`.

Makes that many runs as they are stored, on a folder, prunes them in portions, and prints time and memory of each: flat
if it is linear.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rojak_ray import OfflineAgent
from rojak_ray.clock import SystemClock
from rojak_ray.ids import RandomIds
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.journal.records import seal, unseal
from rojak_ray.schedules.retention import PruneReport, prune
from rojak_ray.storage.memory import MemoryStore
from rojak_ray.storage.open import open_store
from rojak_ray.testing.clock import FakeClock
from rojak_ray.testing.runtime import InProcessRuntime

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
SEED = "seed"


async def a_run() -> dict[str, bytes]:
    """The objects of a run that ended."""
    store = MemoryStore()
    async with InProcessRuntime(store, clock=FakeClock(LONG_AGO)) as runtime:
        await runtime.run(SEED, OfflineAgent(), "hi")
    return {key: body for key, body in store.snapshot().items() if "/run/" in key and "/active/" not in key}


def write_runs(root: Path, count: int, seed: dict[str, bytes]) -> None:
    """As many runs, as a folder holds them. Their checksums are made anew, as their ids are part of them."""
    paths = Paths("rojak")
    from_folder = paths.owner(Owner("run", SEED))
    for number in range(count):
        run_id = f"run-{number:07}"
        folder = paths.owner(Owner("run", run_id))
        checksum = ""
        for key, body in sorted(seed.items()):
            document = unseal(key, body)[0]
            document["owner_id"] = run_id
            if "previous" in document:
                document["previous"] = checksum
            for event in document.get("events", ()):
                for name in ("owner_id", "run_id"):
                    if event.get(name) == SEED:
                        event[name] = run_id
            data, made = seal(document)
            checksum = made if "/log/" in key else checksum
            place = root / key.replace(from_folder, folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)


def resident_mib() -> float:
    """The most memory this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def measure(count: int) -> PruneReport:
    """Make, prune, print."""
    seed = await a_run()
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        write_runs(Path(folder), count, seed)
        print(f"{count:,} runs, {len(seed)} objects each, written in {time.perf_counter() - begin:.0f} s")
        store = open_store(folder)
        marks = [(time.perf_counter(), 0, resident_mib())]
        print("| runs pruned | seconds | ms a run in this tenth | MiB at most |\n| --- | --- | --- | --- |")

        def told(report: PruneReport) -> None:
            done = report.buried["run"]
            if done >= marks[-1][1] + count // 10:
                now = time.perf_counter()
                each = (now - marks[-1][0]) / (done - marks[-1][1]) * 1e3
                marks.append((now, done, resident_mib()))
                print(f"| {done:,} | {now - marks[0][0]:.0f} | {each:.2f} | {marks[-1][2]:.0f} |", flush=True)

        before = SystemClock().now() - timedelta(days=30)
        report = await prune(store, Paths("rojak"), before, SystemClock(), RandomIds(), told=told)
        begin = time.perf_counter()
        again = await prune(store, Paths("rojak"), before, SystemClock(), RandomIds())
        print(f"{report.buried['run']:,} pruned; a pass over what is left: {time.perf_counter() - begin:.1f} s")
        left = len(await store.list(f"{Paths('rojak').root}run/"))
        print(f"{left:,} objects left, memory at the beginning {marks[0][2]:.0f} MiB, at most {resident_mib():.0f} MiB")
        await store.aclose()
    assert not again.buried
    return report


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    asyncio.run(measure(parser.parse_args().runs))


if __name__ == "__main__":
    main()
