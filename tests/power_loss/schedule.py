"""One seed: two processes write, read and delete the same few keys; one is killed, or the power goes; three times."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from rojak_ray.errors import ObjectExists, ObjectNotFound, StorageError
from rojak_ray.storage.local import LocalStore
from rojak_ray.storage.machine import LogSettings, Place
from rojak_ray.storage.pace import WritePace
from rojak_ray.storage.wal import Log

from .disk import Disk, Stopped, Turns

KEYS = ("a/1", "a/2", "a/3", "b/1")
BOOTS = 3
OPERATIONS = ("put", "put", "put", "put", "delete", "delete", "get", "list", "checkpoint", "close")
ANYTHING = b"(something)"


@dataclass(eq=False)
class Operation:
    """What a process asked for, when, and what it was told. `end` is when nothing can come of it any more."""

    kind: str
    key: str
    start: int
    data: bytes | None = None
    end: int = 1 << 60
    told: bool = False
    taken: bool = False
    listed: frozenset[str] = frozenset()

    def __str__(self) -> str:
        answer = "taken" if self.taken else "ok" if self.told else "no answer"
        return f"{self.start:4}-{self.end:<4} {self.kind:10} {self.key:4} {self.data or ''} {answer}"


@dataclass
class Report:
    """What came of a seed."""

    seed: int
    wrong: list[str] = field(default_factory=list)
    history: list[Operation] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)


class Inline(WritePace):
    """Every write on the calling thread."""

    def slow(self) -> bool:
        return False

    def alone(self) -> bool:
        return True


class Store(LocalStore):
    """A local store without threads."""

    def __init__(self, root: str, log: LogSettings) -> None:
        super().__init__(root, log=log)
        self._pace = Inline(self._clock)

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        return self._do(work)

    def _submit(self, work: Callable[[], None]) -> None:
        work()

    def _log_for(self, data: bytes) -> Log | None:
        """Also for the very write that made the log: writes are few here."""
        return super()._log_for(data) or (self._log and super()._log_for(data))

    def checkpoint(self, *, close: bool) -> None:
        log = self._log
        if log is not None and close:
            self._log = None
            log.close()
        elif log is not None:
            log.checkpoint()


class Boot:
    """The processes between one start of the machine and its end."""

    def __init__(self, number: int, base: str, dice: random.Random, report: Report, *, tracing: bool) -> None:
        self.number, self.dice, self.report, self.tracing = number, dice, report, tracing
        self.disk = Disk(base)
        self.disk.pause, self.disk.on_open = self._pause, self._opened
        self.turns = Turns(dice)
        self.calls = 0
        self.power_until = dice.randint(1, dice.choice([100, 300, 600]))
        self.kill_at = {number: dice.randint(1, 150) for number in range(2) if dice.random() < 0.3}
        self.calls_of = [0, 0]
        self.files: list[set[int]] = [set(), set()]
        self.stopping = False

    def _pause(self, call: str) -> None:
        me = self.turns.current
        assert me is not None
        if not self.stopping:
            self.turns.pause()
        self.calls += 1
        self.calls_of[me] += 1
        if self.tracing:
            self.report.trace.append(f"{self.number * 100_000 + self.calls} process {me}: {call}")
        if self.calls >= self.power_until:
            self.stopping = True
        if self.stopping or self.calls_of[me] >= self.kill_at.get(me, 1 << 60):
            raise Stopped

    def _opened(self, file: int) -> None:
        assert self.turns.current is not None
        self.files[self.turns.current].add(file)
        self.files[1 - self.turns.current].discard(file)

    def run(self) -> None:
        with self.disk.attached():
            self.turns.run([lambda me=me: self._process(me) for me in range(2)])

    def _process(self, me: int) -> None:
        ordered = self.dice.random() < 0.8
        place = Place(f"boot{self.number}", 1, ordered=ordered)
        settings = LogSettings(place, segment_bytes=700, largest=150, after_writes=self.dice.choice([0, 0, 0, 2]))
        store = Store(f"{self.disk.base}/root", settings)
        try:
            for number in range(self.dice.randint(2, 16)):
                self._operate(store, f"{self.number}-{me}-{number}.")
        except Stopped:
            pass
        except (StorageError, OSError) as error:
            self.report.wrong.append(f"process {me} of boot {self.number} failed: {error!r}")
        finally:
            for operation in self.report.history:
                if operation.end == 1 << 60 and operation.key.endswith(f"@{me}"):
                    operation.end = self.number * 100_000 + self.calls
                    operation.key = operation.key.partition("@")[0]
            for file in self.files[me] & self.disk.files.keys():
                self.disk.close(file)

    def _operate(self, store: Store, name: str) -> None:
        me = self.turns.current
        key = self.dice.choice(KEYS)
        kind = self.dice.choice(OPERATIONS)
        if kind in {"checkpoint", "close"}:
            store.checkpoint(close=kind == "close")
            return
        operation = Operation(kind, f"{key}@{me}", self._tick())
        self.report.history.append(operation)
        if kind == "put":
            operation.data = name.encode() * self.dice.choice([1, 5, 30])
        ask(store, operation, key)
        operation.end, operation.told, operation.key = self._tick(), True, key

    def _tick(self) -> int:
        self.calls += 1
        return self.number * 100_000 + self.calls


def ask(store: LocalStore, operation: Operation, key: str) -> None:
    """Carry an operation out and note the answer."""
    try:
        if operation.kind == "put":
            assert operation.data is not None
            drive(store.put_new(key, operation.data))
        elif operation.kind == "get":
            operation.data = drive(store.get(key))
        elif operation.kind == "delete":
            drive(store.delete(key))
        else:
            operation.listed = frozenset(drive(store.list("")))
    except ObjectExists:
        operation.taken = True
    except ObjectNotFound:
        operation.data = None


def drive(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits for something")


def run_schedule(seed: int, *, tracing: bool = False) -> Report:
    """Run one seed and judge it."""
    dice = random.Random(seed)
    report = Report(seed)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        base = f"{folder}/0"
        os.mkdir(base)
        for number in range(1, BOOTS + 1):
            boot = Boot(number, base, dice, report, tracing=tracing)
            try:
                boot.run()
            finally:
                report.trace = [line for line in report.trace if line]
            base = f"{folder}/{number}"
            boot.disk.lose_power(dice, base)
        store = Store(f"{base}/root", LogSettings(Place("last", 1)))
        try:
            look_at_everything(store, report)
        except (StorageError, OSError) as error:
            report.wrong.append(f"the store cannot be read: {error!r}")
    report.wrong += judge(report.history)
    report.wrong = [f"seed {seed}: {words}" for words in report.wrong]
    return report


def look_at_everything(store: LocalStore, report: Report) -> None:
    """Read every key at the end, twice; what it says must agree."""
    now = (BOOTS + 1) * 100_000
    listed: frozenset[str] | None = None
    for turn in range(2):
        found: set[str] = set()
        for key in KEYS:
            operation = Operation("get", key, now, end=now + 1, told=True)
            ask(store, operation, key)
            report.history.append(operation)
            if operation.data is not None:
                found.add(key)
            now += 2
        listing = Operation("list", "", now, end=now + 1, told=True)
        ask(store, listing, "")
        report.history.append(listing)
        now += 2
        if listing.listed != found or (listed is not None and listed != listing.listed):
            report.wrong.append(f"get found {sorted(found)}, list {sorted(listing.listed)} (round {turn})")
        listed = listing.listed


def judge(history: list[Operation]) -> list[str]:
    """What the answers promise and the later ones do not keep."""
    wrong: list[str] = []
    for key in KEYS:
        mine = [operation for operation in history if operation.key == key]
        lists = [operation for operation in history if operation.kind == "list"]
        wrong += _judge_key(key, mine, lists)
    return wrong


def _judge_key(key: str, mine: list[Operation], lists: list[Operation]) -> list[str]:
    puts = {one.data: one for one in mine if one.kind == "put"}
    deletes = [one for one in mine if one.kind == "delete"]
    proofs: list[tuple[Operation, bytes]] = []
    looks: list[tuple[Operation, bytes | None]] = []
    for one in mine:
        if one.kind == "put" and one.told:
            assert one.data is not None
            proofs.append((one, ANYTHING if one.taken else one.data))
            looks.append((one, ANYTHING if one.taken else None))
        elif one.kind == "get" and one.told:
            looks.append((one, one.data))
            if one.data is not None:
                proofs.append((one, one.data))
    for one in lists:
        if one.told:
            looks.append((one, ANYTHING if key in one.listed else None))
            if key in one.listed:
                proofs.append((one, ANYTHING))
    wrong: list[str] = []
    for look, seen in looks:
        wrong += _torn_or_back(look, seen, puts, deletes)
        for proof, content in proofs:
            same = seen is not None and (ANYTHING in {seen, content} or seen == content)
            if not same and proof.end < look.start and not _may_be_gone(proof, look, deletes):
                wrong.append(f"LOST {key}: after\n   {proof}\n   {content!r}, this saw {seen!r}:\n   {look}")
    return wrong


def _may_be_gone(proof: Operation, look: Operation, deletes: list[Operation]) -> bool:
    return any(one.start < look.end and one.end > proof.start for one in deletes)


def _torn_or_back(
    look: Operation, seen: bytes | None, puts: dict[bytes | None, Operation], deletes: list[Operation]
) -> list[str]:
    if seen is None:
        return []
    if seen != ANYTHING and seen not in puts:
        return [f"TORN: {seen!r} in\n   {look}"]
    origins = [one for one in puts.values() if not one.taken] if seen == ANYTHING else [puts[seen]]
    for put in origins:
        gone = [one for one in deletes if one.told and put.end < one.start and one.end < look.start]
        if put.start < look.end and not gone and not put.taken:
            return []
    return [f"BACK: {seen!r} in\n   {look}\n   although it was deleted or refused"]


def wrong_of(seed: int) -> list[str]:
    """What went wrong with a seed."""
    return run_schedule(seed).wrong
