"""Records as bytes: a checksum line, then one JSON document. Whatever fails a check is an error that names the object.

The checksum covers the document; `previous` holds the checksum of the record before, so a swapped, missing or
replayed object breaks the chain. JSON is ASCII and without NaN: any reader on any system gets the same text back.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import ValidationError

from rojak_ray.errors import JournalDamaged
from rojak_ray.journal.aggregate import CONVERSATION, Aggregate, EventT, StateT
from rojak_ray.journal.paths import Owner, number_of
from rojak_ray.journal.schema import SCHEMA_VERSION, BlobRef, Document, upcast
from rojak_ray.messages import Record

_MAGIC = "rojak-record"


RecordKind = Literal["events", "fence"]


class JournalRecord(Record):
    """One object of a journal."""

    version: int = SCHEMA_VERSION
    owner_kind: str
    owner_id: str
    slot: int
    epoch: int
    write_id: str
    """Tells a writer its own record from another's when the reply to a write was lost."""

    previous: str
    """Checksum of the record before; empty for the first."""

    first_seq: int
    """Sequence number of the first event; events are numbered from 1 through the whole journal."""

    at: str
    """When it was written, for people; nothing is ordered by it."""

    kind: RecordKind = "events"
    blobs: tuple[BlobRef, ...] = ()
    """Large values of the events, stored beside the record."""

    events: tuple[Any, ...] = ()
    """Records of the aggregate's kinds."""


def encode_record(record: JournalRecord) -> tuple[bytes, str]:
    """A record's bytes and its checksum."""
    return seal(record.model_dump(mode="json"))


def decode_record(key: str, data: bytes, owner: Owner, slot: int) -> tuple[JournalRecord, str]:
    """Read a conversation's record without large values and its checksum back.

    Raises:
        JournalDamaged: The object is truncated, altered, or of another owner or slot.
        SchemaTooNew: A newer version of rojak_ray wrote it.
    """
    document, checksum = unseal(key, data)
    return read_events(key, read_header(key, document, owner, slot), document, CONVERSATION), checksum


def read_header(key: str, document: Document, owner: Owner, slot: int) -> JournalRecord:
    """A record without its events; raises JournalDamaged."""
    try:
        record = JournalRecord.model_validate({**document, "events": ()})
    except ValidationError as error:
        raise damaged(key, f"it does not hold what a record holds ({error})") from error
    if (record.owner_kind, record.owner_id) != (owner.kind, owner.id):
        raise damaged(key, f"it belongs to {record.owner_kind} {record.owner_id!r}")
    if record.slot != slot:
        raise damaged(key, f"it was written as record {record.slot}")
    return record


def read_events(
    key: str, header: JournalRecord, document: Document, aggregate: Aggregate[StateT, EventT]
) -> JournalRecord:
    """The record with its events, whose large values must be back in their places; raises JournalDamaged."""
    try:
        return header.model_copy(update={"events": aggregate.events.validate_python(document["events"])})
    except (ValidationError, KeyError) as error:
        raise damaged(key, f"it does not hold what a record holds ({error})") from error


def seal(document: Document) -> tuple[bytes, str]:
    """A document's bytes with its checksum in front, and the checksum."""
    body = json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")
    checksum = hashlib.sha256(body).hexdigest()
    return f"{_MAGIC} sha256={checksum}\n".encode("ascii") + body + b"\n", checksum


def unseal(key: str, data: bytes) -> tuple[Document, str]:
    """The document and its checksum; raises JournalDamaged or SchemaTooNew."""
    head, _, rest = data.partition(b"\n")
    body = rest.removesuffix(b"\n")
    checksum = hashlib.sha256(body).hexdigest()
    if head != f"{_MAGIC} sha256={checksum}".encode("ascii") or not rest.endswith(b"\n"):
        raise damaged(key, "its checksum does not match")
    try:
        document = json.loads(body)
    except ValueError as error:
        raise damaged(key, f"it is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise damaged(key, "it is not a record")
    return upcast(key, document), checksum


def damaged(key: str, why: str) -> JournalDamaged:
    """The error for a stored object that cannot be trusted."""
    return JournalDamaged(
        f"The stored object {key} is damaged: {why}. Nothing was changed; restore it from a backup or a bucket "
        "version.",
        key=key,
    )


def foreign(key: str) -> JournalDamaged:
    """The error for an object that somebody else put there."""
    return damaged(key, "it is not ours; remove it from this folder")


def listed_number(key: str) -> int:
    """The number a listed key ends in; an object that somebody else put there is named."""
    if not key.rsplit("/", 1)[1].isdecimal():
        raise foreign(key)
    return number_of(key)
