"""Snapshots: a journal folded up to a slot, so that opening it reads what came after, and older records may go.

A snapshot is written beside the log under a name of its own; nobody waits for it and nothing depends on it while the
records are there. Two are kept. Records are removed only up to the older one, so a damaged newest snapshot costs time,
never data; and fences are never removed, because a slot that was once a fence must never be free again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Generic

from pydantic import ValidationError

from rojak_ray.errors import JournalDamaged, ObjectExists, ObjectNotFound
from rojak_ray.journal.aggregate import Aggregate, StateT
from rojak_ray.journal.blobs import Blobs, inflate, is_large, refs_of
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.journal.records import damaged, foreign, seal, unseal
from rojak_ray.journal.schema import SCHEMA_VERSION, BlobRef, Document
from rojak_ray.logs import get_logger
from rojak_ray.storage.base import Store

logger = get_logger(__name__)


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


BEGINNING = Position()


@dataclass(frozen=True)
class Snapshot(Generic[StateT]):
    """A journal folded up to a position."""

    position: Position
    fences: tuple[int, ...]
    """Slots of all fences up to there."""

    state: StateT
    begins: Position = BEGINNING
    """What was recorded up to here is gone: it was deleted."""

    size: int = field(default=0, compare=False)
    """Bytes it takes where it was read; 0 if it was not."""


@dataclass(frozen=True)
class SnapshotHeader:
    """A stored snapshot without its state."""

    position: Position
    fences: tuple[int, ...]
    blobs: tuple[BlobRef, ...]
    begins: Position


async def snapshot_keys(store: Store, paths: Paths, owner: Owner) -> list[str]:
    """The keys of all snapshots, the oldest first; raises JournalDamaged if there is something else among them."""
    keys = await store.list(paths.snapshots(owner))
    for key in keys:
        _slot_of(key)
    return keys


def _slot_of(key: str) -> int:
    """The record that a snapshot's name tells."""
    slot, dash, _ = key.rsplit("/", 1)[1].partition("-")
    if not dash or not slot.isdecimal():
        raise foreign(key)
    return int(slot)


async def latest_snapshot(
    store: Store, paths: Paths, owner: Owner, aggregate: Aggregate[StateT, Any]
) -> tuple[Snapshot[StateT] | None, int]:
    """The newest snapshot that can be trusted (None: the log is to be read from its start), and the newest's record.

    A snapshot was written after its record: also one that cannot be trusted is a witness that the record was there.

    Raises:
        SchemaTooNew: A newer version of rojak_ray wrote it.
    """
    keys = await snapshot_keys(store, paths, owner)
    witnessed = _slot_of(keys[-1]) if keys else 0
    for key in reversed(keys):
        snapshot = await _read(store, paths, key, owner, aggregate)
        if snapshot is not None:
            return snapshot, witnessed
    return None, witnessed


async def all_snapshots(
    store: Store, paths: Paths, owner: Owner, aggregate: Aggregate[StateT, Any]
) -> list[Snapshot[StateT]]:
    """Every snapshot that can be trusted, the oldest first."""
    found = [await _read(store, paths, key, owner, aggregate) for key in await snapshot_keys(store, paths, owner)]
    return [snapshot for snapshot in found if snapshot is not None]


async def write_snapshot(
    store: Store, paths: Paths, owner: Owner, snapshot: Snapshot[Any], blobs: Blobs, write_id: str
) -> tuple[str, int]:
    """Write a snapshot; returns its key and its size in bytes.

    Crash safety:
        Dying anywhere leaves a whole snapshot or none.
    """
    document: Document = {
        "version": SCHEMA_VERSION,
        "owner_kind": owner.kind,
        "owner_id": owner.id,
        "position": asdict(snapshot.position),
        "fences": list(snapshot.fences),
        "begins": asdict(snapshot.begins),
        "blobs": [],
        "state": snapshot.state.model_dump(mode="json"),
    }
    data, _ = seal(document)
    if is_large(data):
        data, _ = seal(await blobs.carve(document, "state", snapshot.position.slot))
    key = paths.snapshot(owner, snapshot.position.slot, write_id)
    try:
        await store.put_new(key, data)
    except ObjectExists:
        logger.debug("a retry found the snapshot written", extra={"owner": str(owner)})
    return key, len(data)


def read_snapshot_header(key: str, document: Document, owner: Owner) -> SnapshotHeader:
    """What compaction needs to know of a snapshot; raises JournalDamaged."""
    try:
        if (document["owner_kind"], document["owner_id"]) != (owner.kind, owner.id):
            raise damaged(key, f"it belongs to {document['owner_kind']} {document['owner_id']!r}")
        position = Position(**document["position"])
        if not key.rsplit("/", 1)[1].startswith(f"{position.slot:020}-"):
            raise damaged(key, f"it was written as the snapshot of record {position.slot}")
        begins = Position(**document.get("begins", {}))
        return SnapshotHeader(position, tuple(document["fences"]), refs_of(key, document), begins)
    except (KeyError, TypeError) as error:
        raise damaged(key, f"it does not hold what a snapshot holds ({error})") from error


async def _read(
    store: Store, paths: Paths, key: str, owner: Owner, aggregate: Aggregate[StateT, Any]
) -> Snapshot[StateT] | None:
    try:
        body = await store.get(key)
        document, _ = unseal(key, body)
        header = read_snapshot_header(key, document, owner)
        document = await inflate(store, paths, owner, key, document)
        state = aggregate.state.model_validate(document["state"])
        return Snapshot(header.position, header.fences, state, header.begins, len(body))
    except JournalDamaged as error:
        logger.error("falling back to another snapshot: %s", error)  # noqa: TRY400  (the text says it all)
    except (KeyError, ValidationError) as error:
        logger.error("falling back to another snapshot: %s does not hold a state (%s)", key, error)  # noqa: TRY400
    except ObjectNotFound:
        logger.debug("a snapshot was removed while we looked: a newer one is there", extra={"key": key})
    return None
