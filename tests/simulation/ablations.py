"""The protocol with one of its parts taken out: each must be found out, or the schedules prove nothing.

Nothing in the package knows of this: the pool is given another class of journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

from rojak_ray.core.events import Event
from rojak_ray.core.state import SessionState
from rojak_ray.errors import Fenced, StorageError
from rojak_ray.journal import replay as replaying
from rojak_ray.journal.journal import Journal
from rojak_ray.journal.paths import Owner
from rojak_ray.journal.records import JournalRecord, RecordKind, read_header
from rojak_ray.journal.schema import Document
from rojak_ray.journal.snapshots import Position, Snapshot
from rojak_ray.sessions import pool


class NoVerify(Journal):
    """Does not look again after its fence (step 4)."""

    def __init__(self, store: Any, *rest: Any) -> None:
        super().__init__(_BlindAfterwards(store), *rest)


class NoFence(Journal):
    """Claims, but writes no fence (step 3)."""

    async def _write(self, kind: RecordKind, events: tuple[Event, ...]) -> None:
        if kind != "fence":
            await super()._write(kind, events)


class FencesCollected(Journal):
    """Lets compaction remove fences."""

    def take_snapshot(self, state: SessionState) -> Snapshot[SessionState]:
        return replace(super().take_snapshot(state), fences=())


class ConflictsAreOthers(Journal):
    """Takes whatever is in its slot for somebody else's (step 6), and goes on with the next one."""

    async def _is_mine(self, key: str, write_id: str) -> bool:
        return False

    async def _yield_to(self, key: str, slot: int, *, fencing: bool) -> None:
        return


class AnswersFirst(Journal):
    """Says that events are durable, then writes them."""

    _writing: asyncio.Task[int] | None = None

    async def append(self, events: Sequence[Event]) -> int:
        before, self._writing = self._writing, asyncio.create_task(self._write_later(events, self._writing))
        return self._position.seq if before is None else 0

    async def _write_later(self, events: Sequence[Event], before: asyncio.Task[int] | None) -> int:
        if before is not None:
            await asyncio.wait([before])
        try:
            return await super().append(events)
        except StorageError:
            return 0


class Pipelined(Journal):
    """Has as many appends in flight as it is asked for (step 5)."""

    async def append(self, events: Sequence[Event]) -> int:
        record = self._next_record("events", tuple(events))
        data, checksum = await self._encode(record)
        self._position = Position(record.slot, self._position.seq + len(events), self._epoch, checksum)
        seq = self._position.seq
        if not await self._create(self._paths.slot(self.owner, record.slot), data, record.write_id):
            raise Fenced("Another record is there.")
        return seq


class NewWithoutTheFirstClaim(Journal):
    """Takes a journal for new because it was when it looked, whichever claim it then gets."""

    async def open(self, *, new: bool = False) -> SessionState:
        if not new:
            return await super().open()
        await self._claim()
        self._refusal = None
        return SessionState(owner_kind=self.owner.kind, owner_id=self.owner.id)


JOURNALS: dict[str, type[Journal]] = {
    "no verify": NoVerify,
    "no fence": NoFence,
    "more than one append in flight": Pipelined,
    "fences collected": FencesCollected,
    "new without the first claim": NewWithoutTheFirstClaim,
    "every conflict is somebody else's": ConflictsAreOthers,
    "answers before it is durable": AnswersFirst,
}


VOID_RULE_DROPPED = "void rule dropped"


@contextmanager
def ablated(name: str) -> Iterator[None]:
    """Pools made meanwhile use a journal without the part; the void rule is dropped for whoever reads."""
    if name == VOID_RULE_DROPPED:
        with mock.patch.object(replaying, "read_header", _of_no_epoch):
            yield
    else:
        with mock.patch.object(pool, "Journal", JOURNALS[name]):
            yield


def _of_no_epoch(key: str, document: Document, owner: Owner, slot: int) -> JournalRecord:
    """A record that nobody can tell to be an older writer's."""
    return read_header(key, document, owner, slot).model_copy(update={"epoch": 1})


class _BlindAfterwards:
    """A store in which nothing is ever found beyond a place when only one is asked for."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        if after and limit == 1:
            return []
        return await self._inner.list(prefix, after=after, limit=limit)
