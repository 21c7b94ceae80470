"""The format of what is stored, and how older formats are read.

A change that old code would misread gets a new version and a function that turns the version before into it. Each
version has a golden journal in `tests/data/golden/`, which every later version has to read.

Versions:
    1  the first
    2  large values may be stored beside a record (`blobs`); events of probation, setting aside, deletion, waiting
       and resting; what retrievers found is kept for the whole run
    3  contents are text or a list of parts; what vendors must get back unread stands beside its message
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from rojak_ray.errors import SchemaTooNew
from rojak_ray.messages import Record

SCHEMA_VERSION = 3

Document = dict[str, Any]


class BlobRef(Record):
    """A large value that is stored beside the document it belongs to."""

    path: tuple[str | int, ...]
    """Keys and indices from the document's root to the value's place."""

    epoch: int
    slot: int
    """Of the record or snapshot it was first stored for."""

    of: Literal["record", "snapshot"] = "record"
    """Values of records stay as long as the journal; those of snapshots go with the last snapshot that has them."""

    sha256: str


_RETRIEVED_ONCE = ("retrieval_done", "retrieved")


def _from_1(document: Document) -> Document:
    document = {**document, "version": 2, "blobs": []}
    state = document.get("state")
    if isinstance(state, dict) and isinstance(state.get("run"), dict):
        # What was retrieved used to be kept for one answer; without it, it is looked up once more.
        run = {name: value for name, value in state["run"].items() if name not in _RETRIEVED_ONCE}
        document["state"] = {**state, "run": run}
    return document


def _from_2(document: Document) -> Document:
    """All that format 3 adds has a default."""
    return {**document, "version": 3}


UPCASTS: Mapping[int, Callable[[Document], Document]] = {1: _from_1, 2: _from_2}
"""By the version they read; each writes the next one."""


def upcast(key: str, document: Document) -> Document:
    """A stored document in today's format.

    Raises:
        SchemaTooNew: A newer version of rojak_ray wrote it.
    """
    version = document.get("version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise SchemaTooNew(
            f"{key} was written in format {version}, this rojak_ray reads up to {SCHEMA_VERSION}; upgrade it.", key=key
        )
    while isinstance(version, int) and version in UPCASTS:
        document = UPCASTS[version](document)
        version = document["version"]
    return document
