"""Snapshots: a journal folded up to a slot, so that opening it reads what came after, and older records may go.

A snapshot is written beside the log under a name of its own; nobody waits for it and nothing depends on it while the
records are there. Two are kept. Records are removed only up to the older one, so a damaged newest snapshot costs time,
never data; and fences are never removed, because a slot that was once a fence must never be free again.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass

from pydantic import ValidationError

from rojak_ray.core.state import SessionState
from rojak_ray.errors import JournalDamaged, ObjectExists, ObjectNotFound
from rojak_ray.journal.paths import Owner, Paths, number_of
from rojak_ray.journal.records import SCHEMA_VERSION, damaged, seal, unseal
from rojak_ray.storage.base import Store

logger = logging.getLogger(__name__)

_KEPT = 2


@dataclass(frozen=True)
class Position:
    """Where a journal stands."""

    slot: int = 0
    """Last record taken into account."""

    seq: int = 0
    """Last event."""

    epoch: int = 0
    """Highest epoch that wrote."""

    checksum: str = ""
    """Of the last record that counts."""


@dataclass(frozen=True)
class Snapshot:
    """A journal folded up to a position."""

    position: Position
    fences: tuple[int, ...]
    """Slots of all fences up to there."""

    state: SessionState


async def latest_snapshot(store: Store, paths: Paths, owner: Owner) -> Snapshot | None:
    """The newest snapshot that can be trusted; None if there is none, and the log is to be read from its start.

    Raises:
        SchemaTooNew: A newer version of rojak_ray wrote it.
    """
    for key in reversed(await store.list(paths.snapshots(owner))):
        snapshot = await _read(store, key, owner)
        if snapshot is not None:
            return snapshot
    return None


async def all_snapshots(store: Store, paths: Paths, owner: Owner) -> list[Snapshot]:
    """Every snapshot that can be trusted, the oldest first."""
    found = [await _read(store, key, owner) for key in await store.list(paths.snapshots(owner))]
    return [snapshot for snapshot in found if snapshot is not None]


async def save_snapshot(store: Store, paths: Paths, owner: Owner, snapshot: Snapshot, write_id: str) -> int:
    """Write a snapshot and remove what it makes superfluous; returns its size in bytes.

    Crash safety:
        Dying anywhere leaves a whole snapshot or none, and at worst records that the next compaction removes.
    """
    document = {
        "version": SCHEMA_VERSION,
        "owner_kind": owner.kind,
        "owner_id": owner.id,
        "position": asdict(snapshot.position),
        "fences": list(snapshot.fences),
        "state": snapshot.state.model_dump(mode="json"),
    }
    data, _ = seal(document)
    try:
        await store.put_new(paths.snapshot(owner, snapshot.position.slot, write_id), data)
    except ObjectExists:
        logger.debug("a retry found the snapshot written", extra={"owner": str(owner)})
    await compact(store, paths, owner)
    return len(data)


async def compact(store: Store, paths: Paths, owner: Owner) -> None:
    """Remove all but two snapshots, and the records that both of them cover, except fences."""
    keys = await store.list(paths.snapshots(owner))
    if len(keys) < _KEPT:
        return
    older = _decode(keys[-_KEPT], await store.get(keys[-_KEPT]), owner)
    for key in await store.list(paths.log(owner)):
        slot = number_of(key)
        if slot > older.position.slot:
            break
        if slot not in older.fences:
            await store.delete(key)
    for key in keys[:-_KEPT]:
        await store.delete(key)


async def _read(store: Store, key: str, owner: Owner) -> Snapshot | None:
    try:
        return _decode(key, await store.get(key), owner)
    except JournalDamaged as error:
        logger.error("falling back to another snapshot: %s", error)  # noqa: TRY400  (the text says it all)
    except ObjectNotFound:
        logger.debug("a snapshot was removed while we looked: a newer one is there", extra={"key": key})
    return None


def _decode(key: str, data: bytes, owner: Owner) -> Snapshot:
    document, _ = unseal(key, data)
    try:
        if (document["owner_kind"], document["owner_id"]) != (owner.kind, owner.id):
            raise damaged(key, f"it belongs to {document['owner_kind']} {document['owner_id']!r}")
        position = Position(**document["position"])
        if not key.rsplit("/", 1)[1].startswith(f"{position.slot:020}-"):
            raise damaged(key, f"it was written as the snapshot of record {position.slot}")
        return Snapshot(position, tuple(document["fences"]), SessionState.model_validate(document["state"]))
    except (KeyError, TypeError, ValidationError) as error:
        raise damaged(key, f"it does not hold what a snapshot holds ({error})") from error
