"""Whole results of functions, stored beside the journal by whoever has them: never by way of a host.

A host holds thousands of conversations on one event loop, so 60 MB never reach one. The process that ran the function
writes them in pieces under a name of their own (`write_id`), and the journal then names them: what no record names was
never kept. They go when the conversation is deleted.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator
from typing import Any

from rojak_ray.core.kept import KeptResult
from rojak_ray.errors import JournalDamaged, ObjectExists, ObjectNotFound, ResultNotKept, StoreUnavailable
from rojak_ray.ids import IdSource
from rojak_ray.journal.paths import Owner, Paths
from rojak_ray.storage.base import Store

MOST_KEPT_BYTES = 256 * 1024 * 1024
_WRITE_ATTEMPTS = 2
"""The store itself asks again for half a minute; what remains is a reply that was lost."""

_PIECE = 2 * 1024 * 1024
"""Characters of a piece: it is encoded in one go, so it is small enough to hold nobody up."""


class KeptResults:
    """Those of one installation."""

    def __init__(self, store: Store, paths: Paths, ids: IdSource) -> None:
        """Nothing is asked yet."""
        self._store = store
        self._paths = paths
        self._ids = ids

    async def write(self, owner: Owner, about: KeptResult, text: str) -> KeptResult:
        """Store a text of any size; where it is.

        Args:
            owner: Whose call it was.
            about: Says which call it was and what the text is; the rest is filled in.
            text: All of it.

        Raises:
            ResultNotKept: It is larger than anything is kept.
            StorageError: Some of it may be stored; nothing names it.

        Crash safety:
            When it returns, the whole is durable. Dying before leaves pieces that go with the conversation.
        """
        write_id, size, count, checksum = self._ids.new_id(), 0, 0, hashlib.sha256()
        if len(text) > MOST_KEPT_BYTES:
            raise ResultNotKept(f"It has more than {MOST_KEPT_BYTES >> 20} MiB.")
        for piece in _pieces(text):
            data = await asyncio.to_thread(_encoded, piece, checksum)
            size += len(data)
            if size > MOST_KEPT_BYTES:
                raise ResultNotKept(f"It has more than {MOST_KEPT_BYTES >> 20} MiB.")
            await self._write(self._paths.kept_piece(owner, write_id, count), data)
            count += 1
        found = {"write_id": write_id, "pieces": count, "size": size, "sha256": checksum.hexdigest()}
        return about.model_copy(update=found)

    async def _write(self, key: str, data: bytes) -> None:
        for attempt in range(_WRITE_ATTEMPTS):
            try:
                await self._store.put_new(key, data)
            except ObjectExists:
                return  # an earlier try of ours: nobody else has this name
            except StoreUnavailable:
                if attempt == _WRITE_ATTEMPTS - 1:
                    raise
            else:
                return

    async def read(self, owner: Owner, kept: KeptResult) -> str | list[dict[str, Any]]:
        """The whole result again: a text, or plain parts.

        Raises:
            ResultNotKept: It went with its conversation.
            JournalDamaged: A piece is missing or altered.
            StorageError: It cannot be read now.
        """
        checksum, texts = hashlib.sha256(), list[str]()
        for index in range(kept.pieces):
            key = self._paths.kept_piece(owner, kept.write_id, index)
            try:
                data = await self._store.get(key)
            except ObjectNotFound:
                if index == 0:
                    raise ResultNotKept(f"The whole result of call {kept.call_id!r} is gone.") from None
                raise JournalDamaged(f"The stored object {key} is missing; it is a piece of a result.") from None
            texts.append(await asyncio.to_thread(_decoded, data, checksum))
        if checksum.hexdigest() != kept.sha256:
            key = self._paths.kept_piece(owner, kept.write_id, 0)
            raise JournalDamaged(f"The stored object {key}, or one after it, is damaged: the checksum does not match.")
        text = "".join(texts)
        return text if kept.form == "text" else await asyncio.to_thread(json.loads, text)


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), _PIECE):
        yield text[start : start + _PIECE]


def _encoded(piece: str, checksum: Any) -> bytes:
    data = piece.encode("utf-8", "replace")
    checksum.update(data)
    return data


def _decoded(data: bytes, checksum: Any) -> str:
    checksum.update(data)
    return data.decode("utf-8", "replace")
