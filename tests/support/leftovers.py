"""Processes that tests started and did not end. Linux only: elsewhere nothing is found.

Orphans are not among them. Adopting them (PR_SET_CHILD_SUBREAPER) was tried: nobody reaps them then, and tests that
wait for a killed process to be gone wait for ever.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

GRACE_S = 30.0


def end_descendants(grace_s: float = GRACE_S) -> list[str]:
    """Kill what this process and its descendants started and is still alive; a line for each.

    What was told to end a moment ago gets some seconds for it: Ray's workers do not end with `ray.shutdown`.
    """
    deadline = time.monotonic() + grace_s
    while _descendants() and time.monotonic() < deadline:
        time.sleep(0.05)
    left: list[str] = []
    while found := _descendants():
        for pid, command in found.items():
            left.append(f"{pid}: {command[:150]}")
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in found:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
    return left


def children(pid: int) -> list[int]:
    """The living processes that a process started itself."""
    return [child for child, parent in _parents().items() if parent == pid]


def command_of(pid: int) -> str:
    """The command line of a living process; nothing for one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _parents() -> dict[int, int]:
    """The parent of every living process."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = entry.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(entry.parent.name)] = int(parent)
    return parents


def _descendants() -> dict[int, str]:
    parents = _parents()
    return {pid: command_of(pid) for pid in parents if _descends(pid, parents)}


def _descends(pid: int, parents: dict[int, int]) -> bool:
    while pid in parents:
        pid = parents[pid]
        if pid == os.getpid():
            return True
    return False
