"""A short run of the chaos program: processes are killed under load, and nothing is lost, doubled or reordered.

Nodes and the head have tests of their own; under load they are killed by `make chaos`, which takes minutes.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.waiting import HANG_S

pytestmark = pytest.mark.ray

ROOT = Path(__file__).resolve().parents[2]


def test_nothing_is_lost_doubled_or_reordered_while_processes_are_killed() -> None:
    options = ["--only", "processes", "--minutes", "0.4", "--sessions", "6", "--json"]
    command = [sys.executable, "-m", "benchmarks.chaos", *options]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=HANG_S, check=False)

    assert ran.stdout, ran.stderr[-3000:]
    report = json.loads(ran.stdout)
    assert ran.returncode == 0, report
    assert sum(report["kills"].values()) >= 3, report
    assert report["acknowledged"] >= 20, report
