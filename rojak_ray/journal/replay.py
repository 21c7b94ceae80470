"""Reading a journal: the latest snapshot that can be trusted, then every record after it, without gaps.

Nothing is claimed, so readers may follow a writer; what they see is a prefix of what it wrote.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, Generic, overload

from rojak_ray.core.state import SessionState
from rojak_ray.errors import JournalDamaged, ObjectNotFound, SchemaTooNew
from rojak_ray.ids import id_of_key
from rojak_ray.journal.aggregate import CONVERSATION, Aggregate, EventT, StateT
from rojak_ray.journal.archive import read_archives
from rojak_ray.journal.blobs import inflate
from rojak_ray.journal.paths import Owner, OwnerKind, Paths
from rojak_ray.journal.records import JournalRecord, damaged, listed_number, read_events, read_header, unseal
from rojak_ray.journal.snapshots import BEGINNING, Position, Snapshot, all_snapshots, latest_snapshot
from rojak_ray.journal.tail import check_tail, marked_slot
from rojak_ray.storage.base import Store

_READS_AT_ONCE = 32
_STRETCH_TRIES = 3


@dataclass(frozen=True)
class Replayed(Generic[StateT]):
    """A journal folded."""

    state: StateT
    position: Position
    fences: tuple[int, ...] = ()
    """Slots that hold fences: compaction never removes them."""

    tail: int = 0
    """The record marked as the last."""

    begins: Position = BEGINNING
    """What was recorded up to here is gone: it was deleted."""

    records: int = 0
    """How many were read after the snapshot, fences and void ones included."""

    size: int = 0
    """Their bytes."""

    snapshot_size: int = 0
    """Bytes of the snapshot."""


@dataclass(frozen=True)
class Stretch(Generic[StateT]):
    """Part of a journal, from some event on."""

    state: StateT
    """Before the first of the records."""

    position: Position
    """Likewise."""

    records: list[JournalRecord]
    end: Position
    """After the last of them."""


async def read_records(
    store: Store, paths: Paths, owner: Owner, aggregate: Aggregate[Any, Any] = CONVERSATION
) -> list[JournalRecord]:
    """Every record that counts, from the first one on, in order.

    Raises:
        JournalDamaged: A record is missing or cannot be trusted.
    """
    return (await read_stretch(store, paths, owner, aggregate, after_seq=0)).records


async def read_stretch(
    store: Store, paths: Paths, owner: Owner, aggregate: Aggregate[StateT, Any], after_seq: int
) -> Stretch[StateT]:
    """The records that count with events after `after_seq`, and perhaps some before them; for followers.

    Nothing is claimed. It begins at a snapshot if one is old enough, else at the journal's beginning.

    Raises:
        JournalDamaged: A record is missing or cannot be trusted.
    """
    tries = 0
    while True:
        marked = await marked_slot(store, paths, owner)
        snapshots = await all_snapshots(store, paths, owner, aggregate)
        begins = snapshots[-1].begins if snapshots else BEGINNING
        old = (one for one in reversed(snapshots) if one.position.seq <= after_seq and one.position.slot >= begins.slot)
        start = next(old, None)
        position = start.position if start else begins
        try:
            # A snapshot whose write took long may land when the records behind it are archived, or deleted.
            archived = await read_archives(store, paths, owner, position.slot)
            records, end, _ = await _load(store, paths, owner, position, aggregate, archived)
            check_tail(paths, owner, marked, end.slot)
        except (JournalDamaged, ObjectNotFound):
            tries += 1
            if tries == _STRETCH_TRIES:
                raise
            continue  # records may have moved into an archive while we looked
        return Stretch(start.state if start else aggregate.begin(owner), position, records, end)


@dataclass(frozen=True)
class Inspection:
    """What can be read of a conversation's journal."""

    records: list[JournalRecord]
    damage: JournalDamaged | SchemaTooNew | None = None
    """What keeps the rest from being read."""


async def inspect(store: Store, paths: Paths, owner: Owner) -> Inspection:
    """Every record that counts, in order, up to the first object that cannot be trusted; for people who look."""
    records: list[JournalRecord] = []
    try:
        stretch = await read_stretch(store, paths, owner, CONVERSATION, after_seq=0)
    except (JournalDamaged, SchemaTooNew) as error:
        damage = error
    except ObjectNotFound as error:
        damage = damaged(error.key, "it was listed, but is missing")
    else:
        return Inspection(stretch.records)
    with contextlib.suppress(JournalDamaged, SchemaTooNew, ObjectNotFound):
        archived = await read_archives(store, paths, owner, 0)
        await _load(store, paths, owner, BEGINNING, CONVERSATION, archived, records)
    return Inspection(records, damage)


async def stored_owners(store: Store, paths: Paths, kind: OwnerKind) -> list[Owner]:
    """Everyone of a kind who ever wrote, in the order of their ids, deleted ones included.

    An owner whose id was too long for a readable key is found through its claims; without any, the key stands for it.
    """
    limit = asyncio.Semaphore(_READS_AT_ONCE)

    async def below(folder: str) -> list[str]:
        async with limit:
            return await store.folders(folder)

    async def identify(folder: str) -> Owner:
        key = folder.rstrip("/").rpartition("/")[2]
        async with limit:
            return Owner(kind, id_of_key(key) or await _claimed_id(store, folder) or key)

    spread = await asyncio.gather(*map(below, await store.folders(f"{paths.root}{kind}/")))
    owners = await asyncio.gather(*(identify(folder) for folders in spread for folder in folders))
    return sorted(owners, key=lambda owner: owner.id)


async def _claimed_id(store: Store, folder: str) -> str | None:
    """The id that an owner's first claim tells."""
    for key in await store.list(f"{folder}epoch/", limit=1):
        with contextlib.suppress(JournalDamaged, ObjectNotFound):
            found = unseal(key, await store.get(key))[0].get("owner_id")
            return found if isinstance(found, str) else None
    return None


async def written_at(store: Store, paths: Paths, owner: Owner, slot: int) -> str | None:
    """When a record was written; None if it was archived, or is gone."""
    key = paths.slot(owner, slot)
    try:
        return str(unseal(key, await store.get(key))[0]["at"])
    except (ObjectNotFound, KeyError):
        return None


async def exists(store: Store, paths: Paths, owner: Owner) -> bool:
    """Whether anybody ever wrote this owner's journal: a claim is not enough, and whatever else is there is."""
    behind_claims = paths.epochs(owner)[:-1] + "0"
    return bool(await store.list(paths.owner(owner), after=behind_claims, limit=1))


@overload
async def replay(store: Store, paths: Paths, owner: Owner) -> Replayed[SessionState]: ...


@overload
async def replay(
    store: Store, paths: Paths, owner: Owner, aggregate: Aggregate[StateT, EventT]
) -> Replayed[StateT]: ...


async def replay(
    store: Store, paths: Paths, owner: Owner, aggregate: Aggregate[Any, Any] = CONVERSATION
) -> Replayed[Any]:
    """Fold a journal without claiming it. The result may be behind a writer's, never wrong.

    Raises:
        JournalDamaged: A record is missing or cannot be trusted, and no snapshot stands in for it.
    """
    seen = -1
    while True:
        marked = await marked_slot(store, paths, owner)  # before the log, which only grows
        snapshot, witnessed = await latest_snapshot(store, paths, owner, aggregate)
        start = snapshot.position if snapshot else Position()
        try:
            records, position, size = await _load(store, paths, owner, start, aggregate)
            check_tail(paths, owner, max(marked, witnessed), position.slot)
        except (JournalDamaged, ObjectNotFound):
            if start.slot <= seen:
                raise
            seen = start.slot  # the writer may have compacted what we were about to read: look for its new snapshot
            continue
        before = snapshot or Snapshot(start, (), aggregate.begin(owner))
        events = (event for record in records for event in record.events)
        return Replayed(
            state=reduce(aggregate.evolve, events, before.state),
            position=position,
            fences=(*before.fences, *(record.slot for record in records if record.kind == "fence")),
            tail=marked,
            begins=before.begins,
            records=position.slot - start.slot,
            size=size,
            snapshot_size=before.size,
        )


async def _load(
    store: Store,
    paths: Paths,
    owner: Owner,
    start: Position,
    aggregate: Aggregate[Any, Any],
    archived: Mapping[int, bytes] | None = None,
    records: list[JournalRecord] | None = None,
) -> tuple[list[JournalRecord], Position, int]:
    """Read the records after `start`, checking that none is missing, and drop the void ones; with all their bytes.

    They are added to `records`, so that whoever passes it has what could be read before an error.
    """
    known = {slot: body for slot, body in (archived or {}).items() if slot > start.slot}
    listed = await store.list(paths.log(owner), after=paths.slot(owner, start.slot) if start.slot else "")
    slots = sorted({listed_number(key) for key in listed} | set(known))
    for slot, expected in zip(slots, itertools.count(start.slot + 1), strict=False):
        if slot != expected:
            raise damaged(paths.slot(owner, expected), "it is missing, although later records exist")
    records = [] if records is None else records
    position = start
    size = 0

    async def read(slot: int) -> bytes:
        return known[slot] if slot in known else await store.get(paths.slot(owner, slot))

    for begin in range(0, len(slots), _READS_AT_ONCE):
        some = slots[begin : begin + _READS_AT_ONCE]
        for slot, body in zip(some, await asyncio.gather(*map(read, some)), strict=True):
            size += len(body)
            key = paths.slot(owner, slot)
            document, checksum = unseal(key, body)
            record = read_header(key, document, owner, slot)
            if record.epoch < position.epoch:
                position = replace(position, slot=slot)
                continue
            if record.previous != position.checksum or record.first_seq != position.seq + 1:
                raise damaged(key, "it does not follow the record before it")
            record = read_events(key, record, await inflate(store, paths, owner, key, document), aggregate)
            records.append(record)
            seq = position.seq + len(record.events)
            position = Position(slot=slot, seq=seq, epoch=record.epoch, checksum=checksum)
    return records, position, size
