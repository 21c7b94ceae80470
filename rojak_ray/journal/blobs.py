"""Large values, stored beside the records and snapshots that hold them: each once, however many snapshots follow.

A document that would grow too large has its large values carved out; `blobs` in the document says where each belongs
and what its checksum is, so the chain of records covers them too. Names are used once and never again: they begin with
the epoch and the slot that first needed the value, so no late deletion and no older writer can hit a newer one.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from rojak_ray.clock import Clock
from rojak_ray.errors import ObjectExists, ObjectNotFound, StoreUnavailable
from rojak_ray.journal.paths import BlobKind, Owner, Paths
from rojak_ray.journal.records import damaged, foreign
from rojak_ray.journal.schema import BlobRef, Document
from rojak_ray.messages import DATA_BYTES
from rojak_ray.storage.base import Store

BLOB_BYTES = 64 * 1024
"""Values that take more than this as JSON are stored beside the document. A request to a bucket costs about as much
as sending so many bytes."""

_READS_AT_ONCE = 16
_WRITE_ATTEMPTS = 4
_FIRST_WAIT_S = 0.05
_VALUES = frozenset({"context_variables", "context_set", "set"})
"""Fields whose values users choose: any JSON, carved out whole. Elsewhere only texts can be large."""


_REFS: TypeAdapter[tuple[BlobRef, ...]] = TypeAdapter(tuple[BlobRef, ...])


class Blobs:
    """What one writer has stored beside its journal."""

    def __init__(self, store: Store, paths: Paths, owner: Owner, clock: Clock) -> None:
        """Nothing is known to be stored; `epoch` is set when the journal is claimed."""
        self.epoch = 0
        self._store = store
        self._paths = paths
        self._owner = owner
        self._clock = clock
        self._stored: dict[tuple[BlobKind, str], int] = {}
        """Slot in the name of every value stored, by whose it is and its checksum."""

    async def carve(self, document: Document, within: Literal["events", "state"], slot: int) -> Document:
        """Store the large values below `document[within]` and put references in their place.

        Raises:
            StorageError: A value could not be stored; the document must not be.

        Crash safety:
            When it returns, the values are durable. Dying before leaves values that nobody refers to; a later
            compaction removes them.
        """
        carved = list(_large(document[within], (within,)))
        if not carved:
            return document
        document = {**document, within: copy.deepcopy(document[within])}
        refs: list[BlobRef] = []
        for path, value in carved:
            data = _encode(value)
            ref = await self._stored_once(path, data, slot, "record" if within == "events" else "snapshot")
            _put(document, path, "" if isinstance(value, str) else None)
            refs.append(ref)
        return {**document, "blobs": [ref.model_dump(mode="json") for ref in refs]}

    async def _stored_once(self, path: tuple[str | int, ...], data: bytes, slot: int, of: BlobKind) -> BlobRef:
        sha256 = hashlib.sha256(data).hexdigest()
        of = "record" if ("record", sha256) in self._stored else of  # a snapshot need not store it again
        known = self._stored.get((of, sha256))
        ref = BlobRef(path=path, epoch=self.epoch, slot=slot if known is None else known, sha256=sha256, of=of)
        if known is None:
            await self._write(ref, data)
            self._stored[of, sha256] = slot
        return ref

    def forget(self, ref: BlobRef) -> None:
        """A snapshot's value is about to be removed: if it is needed again, it gets another name."""
        if ref.epoch == self.epoch and self._stored.get((ref.of, ref.sha256)) == ref.slot:
            del self._stored[ref.of, ref.sha256]

    async def _write(self, ref: BlobRef, data: bytes) -> None:
        for attempt in range(_WRITE_ATTEMPTS):
            try:
                await self._store.put_new(key_of(self._paths, self._owner, ref), data)
            except ObjectExists:
                return  # an earlier try of ours: the name says what is in it
            except StoreUnavailable:
                if attempt == _WRITE_ATTEMPTS - 1:
                    raise
                await self._clock.sleep(_FIRST_WAIT_S * 2**attempt)
            else:
                return


def is_large(data: bytes) -> bool:
    """Whether a document may hold something to carve out."""
    return len(data) > min(BLOB_BYTES, DATA_BYTES)


def key_of(paths: Paths, owner: Owner, ref: BlobRef) -> str:
    """The object that holds a value."""
    return paths.blob(owner, ref.of, ref.epoch, ref.slot, ref.sha256)


def refs_of(key: str, document: Document) -> tuple[BlobRef, ...]:
    """The references of a stored document; raises JournalDamaged."""
    try:
        return _REFS.validate_python(document.get("blobs", ()))
    except ValidationError as error:
        raise damaged(key, f"its references to values stored beside it cannot be read ({error})") from error


async def inflate(store: Store, paths: Paths, owner: Owner, key: str, document: Document) -> Document:
    """The document with its carved values back in place.

    Raises:
        JournalDamaged: A value is missing or is not what was stored.
    """
    refs = refs_of(key, document)
    if not refs:
        return document
    limit = asyncio.Semaphore(_READS_AT_ONCE)

    async def read(ref: BlobRef) -> Any:
        blob = key_of(paths, owner, ref)
        async with limit:
            try:
                data = await store.get(blob)
            except ObjectNotFound:
                raise damaged(blob, f"it is missing, although {key} refers to it") from None
        if hashlib.sha256(data).hexdigest() != ref.sha256:
            raise damaged(blob, "its checksum does not match")
        return json.loads(data)

    values = await asyncio.gather(*(read(ref) for ref in refs))
    for ref, value in zip(refs, values, strict=True):
        try:
            _put(document, ref.path, value)
        except (KeyError, IndexError, TypeError) as error:
            raise damaged(key, f"it has no place for the value at {ref.path}") from error
    return document


def stored_ref(key: str, of: BlobKind) -> BlobRef:
    """What a blob's name says."""
    parts = key.rsplit("/", 1)[1].split("-")
    if len(parts) != 3 or not (parts[0].isdecimal() and parts[1].isdecimal()):
        raise foreign(key)
    return BlobRef(path=(), epoch=int(parts[0]), slot=int(parts[1]), sha256=parts[2], of=of)


def same_blobs(refs: Iterable[BlobRef]) -> set[tuple[BlobKind, int, int, str]]:
    """References without their places, to compare."""
    return {(ref.of, ref.epoch, ref.slot, ref.sha256) for ref in refs}


def _large(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Values to carve out, with their places."""
    if isinstance(value, str):
        limit = DATA_BYTES if path[-1] == "data" else BLOB_BYTES  # an image's or file's base64, and any other text
        if len(value) > limit or (len(value) * 6 > limit and len(_encode(value)) > limit):
            yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if path[-1] in _VALUES and not isinstance(item, str):
                if len(_encode(item)) > BLOB_BYTES:
                    yield (*path, key), item
            else:
                yield from _large(item, (*path, key))
    elif isinstance(value, Sequence):
        for index, item in enumerate(value):
            yield from _large(item, (*path, index))


def _encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def _put(document: Any, path: Sequence[str | int], value: Any) -> None:
    *way, last = path
    for part in way:
        document = document[part]
    document[last] = value
