"""Our own script under the benchmarks' harness, small: what `make compare` does, on Ray once."""

import sys
import time
from pathlib import Path

from benchmarks import measure
from benchmarks.processes import Program, Watch
from benchmarks.systems import CONTENDERS, Workload

CONTENDER = {contender.name: contender for contender in CONTENDERS}


def test_a_turn_is_measured_with_all_processes_and_bytes() -> None:
    found = measure.measure(CONTENDER["rojak-ray"], Workload("turns", "", 60, quick=3), quick=True)
    metrics = found["metrics"]
    assert metrics["answered"] == 3
    assert metrics["p50_ms"] > 0
    assert metrics["stored_mb"] > 0
    assert metrics["processes"] > 5  # Ray's own are among them
    assert found["versions"]["ray"]


def test_a_killed_program_goes_on_without_a_caller() -> None:
    found = measure.measure(CONTENDER["rojak-ray-in-process"], Workload("crash", "", 60), quick=True)
    assert found["metrics"]["repeated"] == 1  # the interrupted completion, and no other
    assert found["metrics"]["functions"] == 1


def test_nothing_outlives_its_program(tmp_path: Path) -> None:
    """A grandchild in a session of its own, whose parent has ended."""
    grandchild = "[sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True"
    child = f"import subprocess, sys; subprocess.Popen({grandchild})"
    with Program([sys.executable, "-c", child], env={}, cwd=tmp_path, log=tmp_path / "log") as program:
        program.process.wait(20)
        with Watch([program], every_s=0.01) as watch:
            deadline = time.monotonic() + 10
            while not any(sample.processes for sample in watch.samples) and time.monotonic() < deadline:
                time.sleep(0.01)
        assert len(program.pids()) == 1
        assert max(sample.memory_mib for sample in watch.samples) > 1
    assert program.pids() == []
