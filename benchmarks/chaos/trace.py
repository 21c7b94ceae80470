"""Where the time goes between the end of a process and the answer of what was under way on it, seen from outside.

Ray's table of actors tells when it noticed and when the next life was up; the storage, if it is a folder here, when the
conversation was claimed, taken over and finished; the effects file when its functions ran again.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import ray

from benchmarks.chaos.load import Conversation
from rojak_ray.journal.paths import Owner, Paths

MARKS = ("killed", "noticed", "process", "up", "claimed", "taken over", "moves", "recorded", "answered")
PARTS = {
    "noticed": "until Ray knows of the loss",
    "process": "until a process for its next life has begun",
    "up": "start of that process: Python, Ray, our imports, the actor's constructor",
    "claimed": "who rules, what was left, and the claim",
    "taken over": "replay and the record of it",
    "moves": "code, places for its steps, waits before a repetition; until a function runs",
    "recorded": "the rest of the work, until its end is recorded",
    "answered": "until its client has heard",
}
"""What ends with each mark, in words."""

_LOOK_S = 0.03


@dataclass
class Cut:
    """A message that was under way on a process that was killed."""

    conversation: Conversation
    message: str
    at: int
    """Time in ns."""

    actor_id: str = ""
    """Ray's id, in hex, of the actor whose process was killed."""

    pid: int = 0
    """Of that process."""

    root: Path | None = None
    """Where the owner's journal is, if that is a folder of this machine."""

    marks: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def owner(self) -> Owner:
        """Whose journal has the message; a run has the message for its id."""
        return Owner("session", self.conversation.name) if self.conversation.is_session else Owner("run", self.message)

    @property
    def answered(self) -> int | None:
        """When its client had the answer."""
        return self.conversation.acknowledged.get(self.message)

    def mark(self, name: str, at: int) -> None:
        """The first time counts."""
        if at >= self.at:
            self.marks.setdefault(name, at)

    def __str__(self) -> str:
        """Its parts in words."""
        parts = ", ".join(f"{mark} {seconds:.2f}" for mark, seconds in self.parts().items())
        return f"{self.owner} on process {self.pid}: {parts}"

    def parts(self) -> dict[str, float]:
        """Seconds by the mark that ends each part."""
        return dict(parts_of({**self.marks, "killed": self.at}))


def parts_of(marks: dict[str, int]) -> Iterator[tuple[str, float]]:
    """The seconds between each mark that is there and the latest before it."""
    there = [(name, marks[name]) for name in MARKS if name in marks]
    latest = there[0][1] if there else 0
    for (_, _), (name, at) in pairwise(there):
        yield name, max(0, at - latest) / 1e9
        latest = max(latest, at)


def percentile(values: Iterable[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Trace:
    """Follows what was cut until it is answered."""

    def __init__(self, storage: str, effects: Path) -> None:
        """`storage` as the clients have it; one that is no folder is not looked at."""
        folder = Path(storage)
        self._folder = folder if "://" not in storage and folder.is_dir() else None
        self._effects = effects
        self._open: list[Cut] = []
        self._following: asyncio.Task[None] | None = None
        self.cuts: list[Cut] = []
        """All, in the order of the kills."""

    def follow(self, cut: Cut, namespace: str) -> None:
        """From now on, until it is answered."""
        if self._folder is not None:
            cut.root = self._folder / Paths(namespace).owner(cut.owner)
        self.cuts.append(cut)
        self._open.append(cut)
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._follow(), name="follow what was cut")

    async def end(self) -> None:
        """Stop following, and read when functions ran."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)
        ran: dict[str, list[int]] = {}
        for line in (await asyncio.to_thread(self._effects.read_text)).splitlines():
            _, message, _, _, _, at = line.split()
            ran.setdefault(message, []).append(int(at))
        for cut in self.cuts:
            for at in sorted(ran.get(cut.message, ())):
                cut.mark("moves", at)
            if cut.answered is not None:
                cut.mark("answered", cut.answered)

    async def _follow(self) -> None:
        while self._open:
            await asyncio.to_thread(_look, tuple(self._open))
            self._open = [cut for cut in self._open if cut.answered is None]
            await asyncio.sleep(_LOOK_S)


def _look(cuts: Sequence[Cut]) -> None:
    for cut in cuts:
        if "up" not in cut.marks and cut.actor_id:
            _look_at_ray(cut)
        if cut.root is not None:
            _look_at_journal(cut, cut.root)


def _look_at_ray(cut: Cut) -> None:
    messages: Any = importlib.import_module("ray.core.generated.gcs_pb2")
    accessor: Any = importlib.import_module("ray._private.state").state._connect_and_get_accessor()
    packed = accessor.get_actor_info(ray.ActorID(bytes.fromhex(cut.actor_id)))
    if packed is None:
        return
    now, found = time.time_ns(), messages.ActorTableData.FromString(packed)
    alive = found.state == messages.ActorTableData.ALIVE
    if not alive or found.pid != cut.pid:
        cut.mark("noticed", now)
    if alive and found.pid != cut.pid:
        cut.mark("process", max(cut.marks["noticed"], _born(found.pid)))
        cut.mark("up", now)


def _born(pid: int) -> int:
    """When a process began; ns."""
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0
    booted = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return booted + ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _look_at_journal(cut: Cut, root: Path) -> None:
    for _, at in _written(root / "epoch", cut.at):
        cut.mark("claimed", at)
    if "claimed" not in cut.marks:
        return
    for path, at in _written(root / "log", cut.marks["claimed"]):
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue  # compacted meanwhile
        if b'"kind":"recovered"' in content:
            cut.mark("taken over", at)
        if b'"kind":"run_ended"' in content:
            cut.mark("recorded", at)


def _written(folder: Path, since: int) -> list[tuple[Path, int]]:
    """The files that were written since then, in the order of their names."""
    try:
        with os.scandir(folder) as entries:
            found = [(Path(entry.path), entry.stat().st_mtime_ns) for entry in entries if entry.is_file()]
    except FileNotFoundError:
        return []
    return sorted((path, at) for path, at in found if at >= since)
