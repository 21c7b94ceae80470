"""Keeping a journal quick to open: records behind snapshots are put together, and what nobody needs is removed.

Records are history, so compaction loses none: those that both kept snapshots cover move into an archive, many in one
object. Only a deletion removes them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from rojak_ray.errors import ObjectNotFound
from rojak_ray.journal.archive import archived_slots, last_slot, write_archive
from rojak_ray.journal.blobs import Blobs, key_of, refs_of, same_blobs, stored_ref
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.journal.records import listed_number, unseal
from rojak_ray.journal.schema import BlobRef
from rojak_ray.journal.snapshots import SnapshotHeader, read_snapshot_header, snapshot_keys
from rojak_ray.storage.base import Store

_KEPT = 2
_CALLS_AT_ONCE = 16
_CALLS_BESIDE = 8
"""While the conversation goes on: more get in the way of its turns. With four, records of a conversation that has a
turn every 2 ms are written faster than they are removed."""


async def compact(store: Store, paths: Paths, owner: Owner, blobs: Blobs) -> None:
    """Keep two snapshots; move the records that both of them cover, except fences, into an archive.

    Raises:
        StorageError: Some of it may be done. What is left is whole, and the next compaction goes on.

    Crash safety:
        The archive is durable before the first of its records is removed; a record may be in both.
    """
    keys = await snapshot_keys(store, paths, owner)
    if len(keys) < _KEPT:
        return
    newest, older = [await _header(store, key, owner) for key in (keys[-1], keys[-_KEPT])]
    log = await store.list(paths.log(owner))
    superseded = [
        key for key in log if listed_number(key) <= older.position.slot and listed_number(key) not in older.fences
    ]
    read = await _read(store, superseded, _CALLS_BESIDE)
    # A slot that compaction has freed may be written by a request that was under way for long: that is no record. The
    # archives are listed after the records were read, because what is in them may have been freed before.
    freed = await archived_slots(store, paths, owner)
    archived = {
        key: body
        for key, body in read.items()
        if listed_number(key) > older.begins.slot and listed_number(key) not in freed
    }
    if archived:
        await write_archive(store, paths, owner, archived)
    await _delete(store, [*superseded, *keys[:-_KEPT]], _CALLS_BESIDE)
    await _collect_of_snapshots(store, paths, owner, blobs, (*newest.blobs, *older.blobs))
    later = [key for key in log if listed_number(key) > older.position.slot]
    slots = _judged({*map(listed_number, archived), *older.fences}, older.position.slot)
    await _collect_of_records(store, paths, owner, blobs, slots, archived, later)


async def purge(store: Store, paths: Paths, owner: Owner, blobs: Blobs, snapshot_key: str) -> None:
    """Remove everything except one snapshot, the fences, and what was written after the snapshot.

    Claims up to the snapshot's go as well: whoever claims one of their numbers again finds the snapshot, which is not
    older, and claims a later one.

    Raises:
        StorageError: Some of it may be removed; repeating goes on.
    """
    kept = await _header(store, snapshot_key, owner)
    slot = kept.position.slot
    log = await store.list(paths.log(owner))
    records = [key for key in log if listed_number(key) <= slot and listed_number(key) not in kept.fences]
    snapshots = [key for key in await store.list(paths.snapshots(owner)) if key < snapshot_key]
    tails = [key for key in await store.list(paths.tails(owner)) if listed_number(key) <= slot]
    archives = [key for key in await store.list(paths.archives(owner)) if last_slot(key) <= slot]
    stored = await _stored(store, paths, owner)
    values = [key for key, ref in stored.items() if ref.epoch <= blobs.epoch and ref.slot <= slot]
    for key in values:
        blobs.forget(stored[key])
    needed = {key_of(paths, owner, ref) for ref in kept.blobs}
    claims = [key for key in await store.list(paths.epochs(owner)) if listed_number(key) <= kept.position.epoch]
    whole = await store.list(paths.kept(owner))  # what they were results of is before the snapshot
    gone = [*records, *snapshots, *tails, *archives, *claims, *whole, *(key for key in values if key not in needed)]
    await _delete(store, gone, _CALLS_AT_ONCE)


async def _header(store: Store, key: str, owner: Owner) -> SnapshotHeader:
    return read_snapshot_header(key, unseal(key, await store.get(key))[0], owner)


async def _stored(store: Store, paths: Paths, owner: Owner) -> dict[str, BlobRef]:
    """Every large value that is stored, with what its name says."""
    found = {key: stored_ref(key, "record") for key in await store.list(paths.blobs(owner, "record"))}
    return {**found, **{key: stored_ref(key, "snapshot") for key in await store.list(paths.blobs(owner, "snapshot"))}}


def _judged(known: set[int], last: int) -> range:
    """The slots up to `last` of which every record was just read: another writer may have archived those before."""
    first = last + 1
    while first - 1 in known:
        first -= 1
    return range(first, last + 1)


async def _collect_of_snapshots(
    store: Store, paths: Paths, owner: Owner, blobs: Blobs, kept: Iterable[BlobRef]
) -> None:
    """Remove the values that only snapshots had which are gone; those of a newer writer are not ours to judge."""
    needed = same_blobs(kept)
    stored = {key: stored_ref(key, "snapshot") for key in await store.list(paths.blobs(owner, "snapshot"))}
    loose = [key for key, ref in stored.items() if ref.epoch <= blobs.epoch and not same_blobs([ref]) & needed]
    for key in loose:
        blobs.forget(stored[key])
    await _delete(store, loose, _CALLS_BESIDE)


async def _collect_of_records(
    store: Store,
    paths: Paths,
    owner: Owner,
    blobs: Blobs,
    slots: range,
    archived: dict[str, bytes],
    later: list[str],
) -> None:
    """Remove the values of records that an older writer did not get to write.

    A record refers to values whose names bear its own slot or an earlier one. So among those with slots from which on
    every record was read, the ones that neither the records just archived nor later ones refer to are nobody's.
    """
    stored = {key: stored_ref(key, "record") for key in await store.list(paths.blobs(owner, "record"))}
    needed = {key_of(paths, owner, ref) for key, body in archived.items() for ref in refs_of(key, unseal(key, body)[0])}
    loose = [key for key, ref in stored.items() if ref.epoch < blobs.epoch and ref.slot in slots and key not in needed]
    if loose:
        bodies = await _read(store, later, _CALLS_BESIDE)
        needed = {
            key_of(paths, owner, ref) for key, body in bodies.items() for ref in refs_of(key, unseal(key, body)[0])
        }
    await _delete(store, [key for key in loose if key not in needed], _CALLS_BESIDE)


async def _read(store: Store, keys: list[str], at_once: int) -> dict[str, bytes]:
    """Objects by key, without those that are gone: a newer writer compacted them."""
    limit = asyncio.Semaphore(at_once)

    async def read(key: str) -> bytes | None:
        async with limit:
            try:
                return await store.get(key)
            except ObjectNotFound:
                return None

    bodies = await asyncio.gather(*(read(key) for key in keys))
    return {key: body for key, body in zip(keys, bodies, strict=True) if body is not None}


async def _delete(store: Store, keys: list[str], at_once: int) -> None:
    limit = asyncio.Semaphore(at_once)

    async def delete(key: str) -> None:
        async with limit:
            await store.delete(key)

    await asyncio.gather(*(delete(key) for key in keys))
