"""Some thousand seeded schedules lose and double nothing; `make simulate` runs a hundred thousand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.leftovers import children, command_of

from .schedule import run_schedule

ROOT = Path(__file__).parents[2]
COUNT, PARTS = 3000, 6


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True)


@pytest.mark.parametrize("first", range(0, COUNT, COUNT // PARTS))
def test_no_schedule_loses_doubles_or_reorders_anything(first: int):
    count = COUNT // PARTS
    done = run("--first", str(first), "--count", str(count))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert f"{count:,} schedules in" in done.stdout
    for kind in ("killed", "late", "lost reply", "lost request", "outage", "poisoned", "repeated", "stalled", "torn"):
        assert f" {kind}" in done.stdout, f"the schedules are too kind: nothing was {kind}"


def test_workers_end_with_the_process_that_gave_them_work():
    command = [sys.executable, "-m", "tests.simulation", "--count", "100000", "--jobs", "2"]
    killed = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    assert killed.stdout is not None
    workers: list[int] = []
    while len(workers) < 2:
        assert killed.poll() is None
        workers = [pid for pid in children(killed.pid) if "spawn_main" in command_of(pid)]
    killed.kill()
    killed.communicate()  # its standard output closes when the last of them has ended
    assert not [pid for pid in workers if "spawn_main" in command_of(pid)]


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
