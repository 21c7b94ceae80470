"""Reading a journal: the latest snapshot that can be trusted, then every record after it, without gaps.

Nothing is claimed, so readers may follow a writer; what they see is a prefix of what it wrote.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from rojak_ray.core.evolve import fold
from rojak_ray.core.state import SessionState
from rojak_ray.errors import JournalDamaged, ObjectNotFound
from rojak_ray.journal.blobs import inflate
from rojak_ray.journal.paths import Owner, Paths, number_of
from rojak_ray.journal.records import JournalRecord, damaged, read_events, read_header, unseal
from rojak_ray.journal.snapshots import Position, all_snapshots, latest_snapshot
from rojak_ray.journal.tail import check_tail, marked_slot
from rojak_ray.storage.base import Store

_READS_AT_ONCE = 32


@dataclass(frozen=True)
class Replayed:
    """A journal folded."""

    state: SessionState
    position: Position
    fences: tuple[int, ...] = ()
    """Slots that hold fences: compaction never removes them."""

    tail: int = 0
    """The record marked as the last."""


async def read_records(store: Store, paths: Paths, owner: Owner) -> list[JournalRecord]:
    """The records that count and that compaction has left, in order: what a person or a follower sees.

    Raises:
        JournalDamaged: A record is missing or cannot be trusted.
    """
    marked = await marked_slot(store, paths, owner)
    snapshots = await all_snapshots(store, paths, owner)
    start = snapshots[0].position if snapshots else Position()
    records, position = await _load(store, paths, owner, start)
    check_tail(paths, owner, marked, position.slot)
    return records


@dataclass(frozen=True)
class Chapter:
    """A stretch of a journal, and the state it begins in."""

    before: SessionState
    first: int
    """Number of the first event in `records`."""

    records: list[JournalRecord]
    slot: int
    """Last record there is."""


async def read_after(store: Store, paths: Paths, owner: Owner, seq: int) -> Chapter:
    """What came after event `seq`, with a little before it where no snapshot fits; compacted events are left out.

    Raises:
        JournalDamaged: A record is missing or cannot be trusted.
    """
    seen = -1
    while True:
        marked = await marked_slot(store, paths, owner)
        snapshots = await all_snapshots(store, paths, owner)
        fitting = [snapshot for snapshot in snapshots if snapshot.position.seq <= seq] or snapshots[:1]
        start = fitting[-1].position if fitting else Position()
        try:
            records, position = await _load(store, paths, owner, start)
            check_tail(paths, owner, marked, position.slot)
        except (JournalDamaged, ObjectNotFound):
            latest = snapshots[-1].position.slot if snapshots else 0
            if latest <= seen:
                raise
            seen = latest  # the writer may have compacted what we were about to read
            continue
        state = fitting[-1].state if fitting else SessionState(owner_kind=owner.kind, owner_id=owner.id)
        return Chapter(state, start.seq + 1, records, position.slot)


async def exists(store: Store, paths: Paths, owner: Owner) -> bool:
    """Whether anybody ever wrote this owner's journal."""
    return bool(await store.list(paths.log(owner), limit=1))


async def replay(store: Store, paths: Paths, owner: Owner) -> Replayed:
    """Fold a journal without claiming it. The result may be behind a writer's, never wrong.

    Raises:
        JournalDamaged: A record is missing or cannot be trusted, and no snapshot stands in for it.
    """
    seen = -1
    while True:
        marked = await marked_slot(store, paths, owner)  # before the log, which only grows
        snapshot = await latest_snapshot(store, paths, owner)
        start = snapshot.position if snapshot else Position()
        try:
            records, position = await _load(store, paths, owner, start)
            check_tail(paths, owner, marked, position.slot)
        except (JournalDamaged, ObjectNotFound):
            if start.slot <= seen:
                raise
            seen = start.slot  # the writer may have compacted what we were about to read: look for its new snapshot
            continue
        state = snapshot.state if snapshot else SessionState(owner_kind=owner.kind, owner_id=owner.id)
        fences = tuple(record.slot for record in records if record.kind == "fence")
        events = (event for record in records for event in record.events)
        return Replayed(fold(state, events), position, (*(snapshot.fences if snapshot else ()), *fences), marked)


def listed_number(key: str) -> int:
    """The number a listed key ends in; an object that somebody else put there is named."""
    if not key.rsplit("/", 1)[1].isdecimal():
        raise damaged(key, "it is not ours; remove it from this folder")
    return number_of(key)


async def _load(store: Store, paths: Paths, owner: Owner, start: Position) -> tuple[list[JournalRecord], Position]:
    """Read the records after `start`, checking that none is missing, and drop the void ones."""
    keys = await store.list(paths.log(owner), after=paths.slot(owner, start.slot) if start.slot else "")
    expected = range(start.slot + 1, start.slot + 1 + len(keys))
    for key in keys:
        listed_number(key)
    for key, slot in zip(keys, expected, strict=True):
        if number_of(key) != slot:
            raise damaged(paths.slot(owner, slot), "it is missing, although later records exist")
    records: list[JournalRecord] = []
    position = start
    for begin in range(0, len(keys), _READS_AT_ONCE):
        some = keys[begin : begin + _READS_AT_ONCE]
        bodies = await asyncio.gather(*(store.get(key) for key in some))
        for key, body in zip(some, bodies, strict=True):
            slot = number_of(key)
            document, checksum = unseal(key, body)
            record = read_header(key, document, owner, slot)
            if record.epoch < position.epoch:
                position = Position(slot=slot, seq=position.seq, epoch=position.epoch, checksum=position.checksum)
                continue
            if record.previous != position.checksum or record.first_seq != position.seq + 1:
                raise damaged(key, "it does not follow the record before it")
            record = read_events(key, record, await inflate(store, paths, owner, key, document))
            records.append(record)
            seq = position.seq + len(record.events)
            position = Position(slot=slot, seq=seq, epoch=record.epoch, checksum=checksum)
    return records, position
