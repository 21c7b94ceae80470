"""Removing conversations that ended long ago, so that one small object is left of each.

What is left is a snapshot of a deleted conversation: it answers for the id, and a request that began the conversation
and is repeated begins it no more. Claims and fences, which a deletion leaves, go as well: they keep a process that
stood still from writing under an old claim, and none stands still for as long as what is buried has lain there.
Whoever buries has seen that no host has the conversation open, by its marker.

In order, for a conversation that was ended and written to last before a time:

1. Claim the next epoch and record the deletion in the next slot, unless somebody has opened the conversation since it
   was listed: he has that slot, and nothing is buried.
2. Write the snapshot behind it.
3. Remove every object that was listed before, the claim and the record.

Dying after 1 leaves a deleted conversation, whose objects the next burial removes: the record says the time at which
the conversation was written to last. Dying within 3 leaves some objects behind the snapshot, where no reader looks.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import reduce

from rojak_ray.clock import Clock
from rojak_ray.core.commands import Delete
from rojak_ray.core.decide import decide
from rojak_ray.core.evolve import evolve
from rojak_ray.core.state import SessionState
from rojak_ray.errors import ObjectExists
from rojak_ray.ids import IdSource, id_of_key
from rojak_ray.journal.blobs import Blobs
from rojak_ray.journal.paths import Owner, OwnerKind, Paths
from rojak_ray.journal.records import JournalRecord, encode_record, listed_number, seal, unseal
from rojak_ray.journal.replay import Replayed, replay
from rojak_ray.journal.snapshots import Position, Snapshot, write_snapshot
from rojak_ray.storage.base import Store

_CALLS_AT_ONCE = 8


class Fate(StrEnum):
    """What became of a conversation that was looked at."""

    BURIED = "buried"
    """It is gone (or would be, if it was only looked at)."""

    GONE = "gone"
    """It was gone before."""

    YOUNG = "young"
    """Something was written later than the time that was given."""

    UNFINISHED = "unfinished"
    """It runs, waits, or was set aside for a person to look at."""

    OPEN = "open"
    """Some process has it in memory."""

    BUSY = "busy"
    """Somebody opened it meanwhile; it is left as it is."""


@dataclass(frozen=True)
class Looked:
    """A conversation, and what became of it."""

    owner: Owner
    fate: Fate
    objects: int
    """How many of its objects are gone."""


async def buried(store: Store, paths: Paths, owner: Owner) -> SessionState | None:
    """What is left of a deleted conversation, if that is only what keeps its id: there is nothing more to delete.

    One listing, and nothing else where there is more.
    """
    keys = await store.list(paths.owner(owner))
    log = [key for key in keys if key.startswith(paths.log(owner))]
    rest = [key for key in keys if not key.startswith((paths.log(owner), paths.epochs(owner)))]
    if len(rest) != 1 or not rest[0].startswith(paths.snapshots(owner)):
        return None
    replayed = await replay(_Listed(store, keys), paths, owner)
    fences = {paths.slot(owner, slot) for slot in replayed.fences}
    return replayed.state if not replayed.state.opened and fences.issuperset(log) else None


async def owner_of(store: Store, kind: OwnerKind, folder: str, keys: Sequence[str]) -> Owner:
    """Whose folder it is; an id that was too long for a readable key stands in every object.

    Raises:
        JournalDamaged: The object that was read for it cannot be trusted.
        ObjectNotFound: It was removed meanwhile.
    """
    segment = folder.rstrip("/").rpartition("/")[2]
    known = id_of_key(segment)
    if known is not None:
        return Owner(kind, known)
    named = next(key for key in keys if key.removeprefix(folder).startswith(("epoch/", "log/", "snap/")))
    return Owner(kind, str(unseal(named, await store.get(named))[0]["owner_id"]))


async def bury(
    store: Store,
    paths: Paths,
    owner: Owner,
    keys: Sequence[str],
    before: datetime,
    clock: Clock,
    ids: IdSource,
    unlist: Callable[[], Awaitable[None]],
    *,
    only_look: bool = False,
) -> Looked:
    """Remove a conversation that ended before a time, but for one object.

    Args:
        store: Where.
        paths: Of the namespace.
        owner: Whose.
        keys: Every object of it, in order, as listed a moment ago.
        before: When something was last written to it at the latest.
        clock: For what is written.
        ids: Likewise.
        unlist: Takes it out of lists; called before it is gone, so that nothing is listed that is.
        only_look: Change nothing.

    Raises:
        JournalDamaged, SchemaTooNew: It cannot be read, so it stays as it is.
        StorageError: Some of it may be done; the same again goes on.
    """
    log = [key for key in keys if key.startswith(paths.log(owner))]
    snapshots = [key for key in keys if key.startswith(paths.snapshots(owner))]
    if not log and len(snapshots) == len(keys) == 1:
        return Looked(owner, Fate.GONE, 0)
    written = await _written(store, log or keys)
    if written >= before:
        return Looked(owner, Fate.YOUNG, 0)
    replayed = await replay(_Listed(store, keys), paths, owner)
    state = replayed.state
    if state.opened and (not state.idle or state.set_aside is not None):
        return Looked(owner, Fate.UNFINISHED, 0)
    if only_look:
        return Looked(owner, Fate.BURIED, len(keys) - 1)
    if owner.kind == "run":
        await unlist()
    try:
        position, state, own = await _record_deletion(store, paths, owner, keys, replayed, written, ids)
    except ObjectExists:
        return Looked(owner, Fate.BUSY, 0)
    grave = Snapshot(position, (), state, position)
    left, _ = await write_snapshot(store, paths, owner, grave, Blobs(store, paths, owner, clock), ids.new_id())
    await _remove(store, [key for key in (*keys, *own) if key != left])
    return Looked(owner, Fate.BURIED, len(keys) - 1)


async def _record_deletion(
    store: Store,
    paths: Paths,
    owner: Owner,
    keys: Sequence[str],
    replayed: Replayed[SessionState],
    written: datetime,
    ids: IdSource,
) -> tuple[Position, SessionState, list[str]]:
    """Claim and record; where the journal stands then, and what was written for it.

    Raises:
        ObjectExists: Somebody else claimed it, or wrote to it.
    """
    claims = [listed_number(key) for key in keys if key.startswith(paths.epochs(owner))]
    before, at = replayed.position, written.isoformat()
    epoch = 1 + max([before.epoch, *claims])
    claim = {"version": 1, "owner_kind": owner.kind, "owner_id": owner.id, "write_id": ids.new_id(), "at": at}
    claimed = paths.epoch(owner, epoch)
    await store.put_new(claimed, seal(claim)[0])
    events = tuple(decide(replayed.state, Delete()))
    record = JournalRecord(
        owner_kind=owner.kind,
        owner_id=owner.id,
        slot=before.slot + 1,
        epoch=epoch,
        write_id=ids.new_id(),
        previous=before.checksum,
        first_seq=before.seq + 1,
        at=at,
        kind="events" if events else "fence",
        events=events,
    )
    data, checksum = encode_record(record)
    recorded = paths.slot(owner, record.slot)
    try:
        await store.put_new(recorded, data)
    except ObjectExists:
        await store.delete(claimed)
        raise
    position = Position(slot=record.slot, seq=before.seq + len(events), epoch=epoch, checksum=checksum)
    return position, reduce(evolve, events, replayed.state), [claimed, recorded]


async def _written(store: Store, keys: Sequence[str]) -> datetime:
    """When the last of these objects was written, as it says itself; one that does not say counts as new."""
    document = unseal(keys[-1], await store.get(keys[-1]))[0]
    try:
        return datetime.fromisoformat(str(document["at"])).astimezone(UTC)
    except (KeyError, ValueError):
        return datetime.max.replace(tzinfo=UTC)


async def _remove(store: Store, keys: Sequence[str]) -> None:
    limit = asyncio.Semaphore(_CALLS_AT_ONCE)

    async def remove(key: str) -> None:
        async with limit:
            await store.delete(key)

    await asyncio.gather(*(remove(key) for key in keys))


class _Listed(Store):
    """A store whose objects were listed a moment ago: listing them again costs nothing."""

    def __init__(self, store: Store, keys: Sequence[str]) -> None:
        self._store = store
        self._keys = keys

    @property
    def url(self) -> str:
        return self._store.url

    @property
    def shared(self) -> bool:
        return self._store.shared

    async def get(self, key: str) -> bytes:
        return await self._store.get(key)

    async def put_new(self, key: str, data: bytes) -> None:
        raise NotImplementedError(key)

    async def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[str]:
        begin = max(bisect_left(self._keys, prefix), bisect_right(self._keys, after))
        found = self._keys[begin : bisect_left(self._keys, prefix[:-1] + "0")]
        return list(found if limit is None else found[:limit])

    async def folders(self, prefix: str) -> list[str]:
        raise NotImplementedError(prefix)

    async def delete(self, key: str) -> None:
        raise NotImplementedError(key)

    async def aclose(self) -> None:
        raise NotImplementedError
