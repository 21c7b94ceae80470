"""What may be removed from a journal, and removing it: behind snapshots, and after a deletion."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from rojak_ray.errors import ObjectNotFound
from rojak_ray.journal.blobs import Blobs, refs_of, same_blobs, stored_ref
from rojak_ray.journal.paths import Owner, Paths, number_of
from rojak_ray.journal.records import unseal
from rojak_ray.journal.schema import BlobRef
from rojak_ray.journal.snapshots import SnapshotHeader, read_snapshot_header
from rojak_ray.storage.base import Store

_KEPT = 2
_DELETIONS_AT_ONCE = 16


async def compact(store: Store, paths: Paths, owner: Owner, blobs: Blobs) -> None:
    """Remove all but two snapshots, the records that both of them cover, except fences, and large values of neither.

    Raises:
        StorageError: Some of it may be removed. What is left is whole, and the next compaction goes on.
    """
    keys = await store.list(paths.snapshots(owner))
    if len(keys) < _KEPT:
        return
    newest, older = [await _header(store, key, owner) for key in (keys[-1], keys[-_KEPT])]
    log = await store.list(paths.log(owner))
    superseded = [key for key in log if number_of(key) <= older.position.slot and number_of(key) not in older.fences]
    await _delete(store, [*superseded, *keys[:-_KEPT]])
    kept = [key for key in log if number_of(key) > older.position.slot]
    await _collect(store, paths, owner, blobs, older.position.slot, (*newest.blobs, *older.blobs), kept)


async def purge(store: Store, paths: Paths, owner: Owner, blobs: Blobs, snapshot_key: str) -> None:
    """Remove everything except one snapshot, what it refers to, the fences and the claims.

    Raises:
        StorageError: Some of it may be removed; repeating goes on.
    """
    kept = await _header(store, snapshot_key, owner)
    slot = kept.position.slot
    log = await store.list(paths.log(owner))
    records = [key for key in log if number_of(key) <= slot and number_of(key) not in kept.fences]
    snapshots = [key for key in await store.list(paths.snapshots(owner)) if key < snapshot_key]
    tails = [key for key in await store.list(paths.tails(owner)) if number_of(key) < slot]
    await _delete(store, [*records, *snapshots, *tails])
    after = [key for key in log if number_of(key) > slot]
    await _collect(store, paths, owner, blobs, slot, kept.blobs, after)


async def _header(store: Store, key: str, owner: Owner) -> SnapshotHeader:
    return read_snapshot_header(key, unseal(key, await store.get(key))[0], owner)


async def _collect(
    store: Store, paths: Paths, owner: Owner, blobs: Blobs, slot: int, refs: Iterable[BlobRef], records: list[str]
) -> None:
    """Remove the large values that neither these references nor the records after a slot need."""
    stored = {key: stored_ref(key) for key in await store.list(paths.blobs(owner))}
    needed = same_blobs(refs)
    loose = {key: ref for key, ref in stored.items() if not same_blobs([ref]) & needed}
    if any(ref.epoch < blobs.epoch for ref in loose.values()):
        for key in records:
            try:
                needed |= same_blobs(refs_of(key, unseal(key, await store.get(key))[0]))
            except ObjectNotFound:
                continue  # a newer writer compacted it
    superfluous = [
        key
        for key, ref in loose.items()
        if not same_blobs([ref]) & needed
        and (ref.epoch < blobs.epoch or (ref.epoch == blobs.epoch and not blobs.needed(ref, slot)))
    ]
    await _delete(store, superfluous)


async def _delete(store: Store, keys: list[str]) -> None:
    limit = asyncio.Semaphore(_DELETIONS_AT_ONCE)

    async def delete(key: str) -> None:
        async with limit:
            await store.delete(key)

    await asyncio.gather(*(delete(key) for key in keys))
