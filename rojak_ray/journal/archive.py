"""Archives: records that snapshots cover, many in one object, byte for byte as they were written."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping

from rojak_ray.errors import ObjectExists
from rojak_ray.journal.paths import Owner, Paths, number_of
from rojak_ray.journal.records import damaged, foreign, unseal
from rojak_ray.storage.base import Store

_MAGIC = "rojak-archive"


async def write_archive(store: Store, paths: Paths, owner: Owner, records: Mapping[str, bytes]) -> None:
    """Put records together, keyed as in the log.

    Raises:
        JournalDamaged: One of them is not what was written.
        StorageError: Nothing was written, or all of it; the records are to stay.

    Crash safety:
        Records never change, so two archives that overlap agree.
    """
    slots = sorted(number_of(key) for key in records)
    last_seq = 0
    for key, body in records.items():
        document, _ = unseal(key, body)
        last_seq = max(last_seq, document["first_seq"] + len(document["events"]) - 1)
    body = b"".join(records[key] for key in sorted(records))
    head = f"{_MAGIC} sha256={hashlib.sha256(body).hexdigest()}\n".encode("ascii")
    with contextlib.suppress(ObjectExists):  # ours, from a try that did not get on to removing the records
        await store.put_new(paths.archive(owner, slots[0], slots[-1], last_seq), head + body)


async def archived_slots(store: Store, paths: Paths, owner: Owner) -> set[int]:
    """Slots that were archived, with the fences between them."""
    ranges = [_numbers(key) for key in await store.list(paths.archives(owner))]
    return {slot for first, last, _ in ranges for slot in range(first, last + 1)}


async def read_archives(store: Store, paths: Paths, owner: Owner, after_slot: int) -> dict[int, bytes]:
    """Archived records by slot; archives that end at or before a slot are left out.

    Raises:
        JournalDamaged: An archive is not what was written.
    """
    found: dict[int, bytes] = {}
    for key in await store.list(paths.archives(owner)):
        if last_slot(key) > after_slot:
            found.update(_split(key, await store.get(key)))
    return found


def last_slot(key: str) -> int:
    """The last record in an archive, from its name."""
    return _numbers(key)[1]


def _numbers(key: str) -> tuple[int, int, int]:
    """First slot, last slot and last event, from an archive's name."""
    parts = key.rsplit("/", 1)[1].split("-")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        raise foreign(key)
    first, last, seq = map(int, parts)
    return first, last, seq


def _split(key: str, data: bytes) -> dict[int, bytes]:
    head, _, body = data.partition(b"\n")
    if head != f"{_MAGIC} sha256={hashlib.sha256(body).hexdigest()}".encode("ascii"):
        raise damaged(key, "its checksum does not match")
    lines = body.splitlines(keepends=True)
    records = [lines[index] + lines[index + 1] for index in range(0, len(lines), 2)]
    return {int(unseal(key, record)[0]["slot"]): record for record in records}
