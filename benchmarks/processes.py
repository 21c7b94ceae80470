"""Programs under measurement: started, watched and ended with everything that they start themselves.

A process belongs to a program if it carries the program's mark in its environment, is in its session, or was started
by a process that belongs to it. Ray's workers overwrite their environment, daemons leave their parent: one criterion
alone would miss some. Linux only (`/proc`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_TICKS = os.sysconf("SC_CLK_TCK")
_MARK = "BENCH_MARK"


@dataclass(frozen=True)
class Sample:
    """All processes of a program at one moment."""

    at: float
    memory_mib: float
    """Proportional set size: memory shared between them is counted once."""

    cpu_s: float
    """CPU seconds since they started, of ended ones up to the last look at them."""

    processes: int


class Program:
    """A command and everything it starts."""

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path) -> None:
        """Start it; what it prints on stderr goes to `log`."""
        self._mark = uuid.uuid4().hex
        self._known: dict[tuple[int, int], float] = {}
        self._unmarked: set[tuple[int, int]] = set()
        """Processes whose environment was read: looking must cost those who are measured little."""

        self._memory_mib = 0.0
        with log.open("ab") as errors:
            self.started_at = time.time()
            self.process = subprocess.Popen(
                list(command),
                env={**env, _MARK: self._mark},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )

    def pids(self) -> list[int]:
        """Living processes of the program."""
        parents: dict[int, int] = {}
        found: set[int] = set()
        starts: dict[int, int] = {}
        for entry in os.scandir("/proc"):
            if not entry.name.isdigit():
                continue
            pid = int(entry.name)
            try:
                fields = _stat(pid)
                parents[pid], session, starts[pid] = int(fields[1]), int(fields[3]), int(fields[19])
                known = (pid, starts[pid]) in self._known or session == self.process.pid
                if fields[0] != "Z" and (known or self._marked(pid, starts[pid])):
                    found.add(pid)
            except OSError:
                continue
        grown = True
        while grown:
            grown = {pid for pid, parent in parents.items() if parent in found and pid not in found}
            found |= grown
        for pid in found:
            self._known.setdefault((pid, starts[pid]), 0.0)
        return sorted(found)

    def _marked(self, pid: int, started: int) -> bool:
        if (pid, started) in self._unmarked:
            return False
        if self._mark.encode() in Path(f"/proc/{pid}/environ").read_bytes():
            return True
        self._unmarked.add((pid, started))
        return False

    def sample(self, weigh: bool = True) -> Sample:
        """CPU now; memory too if it is to be weighed, else as it was when it last was."""
        memory = 0.0
        pids = self.pids()
        for pid in pids:
            try:
                fields = _stat(pid)
                self._known[pid, int(fields[19])] = (int(fields[11]) + int(fields[12])) / _TICKS
                memory += _memory_mib(pid) if weigh else 0.0
            except OSError:
                continue
        self._memory_mib = memory if weigh else self._memory_mib
        return Sample(time.time(), self._memory_mib, sum(self._known.values()), len(pids))

    def kill(self, title: str = "") -> int:
        """SIGKILL to every process, or to those whose title begins so; returns how many."""
        killed = 0
        for pid in self.pids():
            try:
                if title and not Path(f"/proc/{pid}/cmdline").read_bytes().startswith(title.encode()):
                    continue
                os.kill(pid, signal.SIGKILL)
                killed += 1
            except OSError:
                continue
        return killed

    def end(self) -> None:
        """End whatever is left, politely first."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        deadline = time.monotonic() + 10
        while self.kill() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.process.wait(10)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> Self:
        """Already started."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.end()


class Watch:
    """Samples programs in the background.

    Weighing two dozen processes takes 40 ms of CPU, so it is done on every fourth look only: watching must not cost
    those who have many processes what it is meant to measure.
    """

    def __init__(self, programs: Sequence[Program], every_s: float = 0.25) -> None:
        """Nothing is watched before it is entered."""
        self._programs = programs
        self._every_s = every_s
        self._looks = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.samples: list[Sample] = []

    def _run(self) -> None:
        while not self._stop.is_set():
            each = [program.sample(weigh=self._looks % 4 == 0) for program in self._programs]
            self._looks += 1
            total = Sample(
                time.time(),
                sum(sample.memory_mib for sample in each),
                sum(sample.cpu_s for sample in each),
                sum(sample.processes for sample in each),
            )
            self.samples.append(total)
            self._stop.wait(self._every_s)

    def between(self, start: float, end: float) -> list[Sample]:
        """Samples of a period, with the last before it and the first after it."""
        before = [sample for sample in self.samples if sample.at < start][-1:]
        after = [sample for sample in self.samples if sample.at > end][:1]
        return before + [sample for sample in self.samples if start <= sample.at <= end] + after

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join(10)


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on (the third field of proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()


def _memory_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def bytes_under(folder: Path) -> int:
    """Bytes of all files of a folder, as a user would add them up."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
