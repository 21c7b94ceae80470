"""Some thousand seeded schedules lose and double nothing; `make simulate` runs a hundred thousand."""

import os
import subprocess
import sys
from pathlib import Path

from .schedule import run_schedule

ROOT = Path(__file__).parents[2]
COUNT = 3000


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)


def test_no_schedule_loses_doubles_or_reorders_anything():
    done = run("--count", str(COUNT))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert f"{COUNT:,} schedules in" in done.stdout
    for kind in ("killed", "late", "lost reply", "lost request", "outage", "poisoned", "repeated", "stalled", "torn"):
        assert f" {kind}" in done.stdout, f"the schedules are too kind: nothing was {kind}"


def test_same_seed_does_the_same_in_every_process():
    traces = {run("--seed", "7", "--trace", PYTHONHASHSEED=seed).stdout for seed in ("1", "2")}
    assert len(traces) == 1
    assert len(next(iter(traces)).splitlines()) > 5


def test_schedules_that_once_failed():
    """14168: a stalled process found more to do; 59348: nobody read the answer of a host that had ended."""
    failed = {seed: report.wrong for seed in (14168, 59348) if (report := run_schedule(seed)).wrong}
    assert not failed


def test_schedules_in_which_many_want_the_same_conversation():
    failed = {seed: report.wrong for seed in range(40) if (report := run_schedule(seed, crowded=True)).wrong}
    assert not failed
