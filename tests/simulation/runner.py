"""Runs the schedules of many seeds side by side, and says how it goes."""

from __future__ import annotations

import gc
import logging
import multiprocessing
import multiprocessing.connection
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .schedule import Report, run_schedule

_BATCH = 20
_LINES = 10
_MOST_FAILURES = 20


def run_many(seeds: range, jobs: int) -> int:
    """Run them side by side; 1 if one failed."""
    began = time.monotonic()
    luck: Counter[str] = Counter()
    failed = done = 0
    batches = [seeds[start : start + _BATCH] for start in range(0, len(seeds), _BATCH)]
    show, close = _progress(len(seeds))
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin) as pool:
        for batch in as_completed([pool.submit(_run_batch, batch) for batch in batches]):
            for report in batch.result():
                done += 1
                luck += report.luck
                if report.wrong:
                    failed += 1
                    print("\n".join(failure_lines(report)), flush=True)
            show(done)
            if failed >= _MOST_FAILURES:
                print("giving up: too many failures")
                pool.shutdown(cancel_futures=True)
                break
    close()
    seconds = time.monotonic() - began
    counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(luck.items()))
    print(f"{done:,} schedules in {seconds:.1f} s ({done / seconds:.0f} a second on {jobs} processes): {failed} failed")
    print(counts)
    return bool(failed)


def _begin() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    quiet()
    gc.disable()
    gc.freeze()  # modules are not looked through for garbage


def _end_with_parent() -> None:
    """A worker of a pool waits for work for ever, also when whoever had the work was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _run_batch(seeds: range) -> list[Report]:
    """Their reports; what they left is collected once, at the end."""
    reports = [run_schedule(seed) for seed in seeds]
    gc.collect()
    return reports


def quiet() -> None:
    """Failing storage is what this is about; the audit judges, not the log."""
    logging.disable(logging.CRITICAL)


def failure_lines(report: Report) -> Iterator[str]:
    for text in report.wrong[:3]:
        yield f"FAILED {text}"
    if report.wrong:
        yield f"       replay: python -m tests.simulation --seed {report.seed} --trace"


def _progress(total: int) -> tuple[Callable[[int], None], Callable[[], None]]:
    """A bar on a terminal, a few plain lines elsewhere."""
    if sys.stdout.isatty():
        columns = (TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        progress = Progress(*columns, transient=True)
        task = progress.add_task("", total=total)
        progress.start()
        return lambda done: progress.update(task, completed=done), progress.stop
    told = 0

    def tell(done: int) -> None:
        nonlocal told
        if done * _LINES // total > told:
            told = done * _LINES // total
            print(f"{done:,} of {total:,} schedules", flush=True)

    return tell, lambda: None
