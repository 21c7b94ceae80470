"""The protocol with one part of it taken out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from rojak_ray.storage import local, recovery, segments, settle, wal
from rojak_ray.storage.local import LocalStore
from rojak_ray.storage.segments import Segment


def _without_sync(self: Segment, data: bytes) -> None:
    segments.write_at(self._file, data, self._at)
    self._at += len(data)


_place = LocalStore._place


def _placed_with_one_name(self: LocalStore, *arguments: Any) -> Any:
    placed = _place(self, *arguments)
    if placed is not None:
        os.unlink(placed.temp)
    return placed


def _not_checkpointed(_self: wal.Log, folder: int, done: list[str], orphans: list[segments.SegmentName]) -> None:
    for name in (*done, *(orphan.text for orphan in orphans)):
        os.unlink(name, dir_fd=folder)


PARTS: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "an acknowledged write is synced": (Segment, "append", _without_sync),
    "the second name goes after the log is written": (LocalStore, "_place", _placed_with_one_name),
    "the log is read after a crash": (local, "recover", lambda *_: None),
    "a torn object is told by its checksum": (settle, "_whole", lambda *_: True),
    "who finds an object with two names settles it": (settle, "unsettled", lambda *_: False),
    "a reader settles": (local, "unsettled", lambda *_: False),
    "removals are logged": (LocalStore, "_log_removal", lambda *_: None),
    "segments go after everything is synced": (wal.Log, "_clear", _not_checkpointed),
    "removals outlive the writes they took back": (recovery, "marks", lambda *_: []),
}


@contextmanager
def without(part: str) -> Iterator[None]:
    """Run the protocol without one of its parts."""
    owner, name, instead = PARTS[part]
    with patch.object(owner, name, instead):
        yield
