"""Requests that were taken, remembered as little more than their ids for as long as the conversation lives.

An outcome is kept whole for a while only. Behind it stays an entry of 24 characters: a digest of the request's id, and
one of its content, so that the same id with other content is found out. Entries stand in blocks. A block that is full
never changes, and is large enough to be stored beside snapshots, once, whatever number of them follows.
"""

from __future__ import annotations

import base64
import hashlib
from typing import Literal

from rojak_ray.messages import Record

Kind = Literal["run", "answer", "change", "creation", "deletion"]

_ID_CHARACTERS = 16
_CONTENT_CHARACTERS = 8
_ENTRY = _ID_CHARACTERS + _CONTENT_CHARACTERS
BLOCK_ENTRIES = 2_800
"""67,200 characters: more than what is stored beside a document instead of in it."""


class Taken(Record):
    """Ids that were taken."""

    blocks: tuple[str, ...] = ()
    """Full ones, oldest first."""

    latest: str = ""

    def content(self, kind: Kind, request_id: str) -> str | None:
        """The digest of what was asked under an id, as `content_digest` makes it; None if it is not known."""
        wanted = _digest(f"{kind}/{request_id}", _ID_CHARACTERS)
        for block in (self.latest, *reversed(self.blocks)):
            at = block.find(wanted)
            while at >= 0:
                if at % _ENTRY == 0:
                    return block[at + _ID_CHARACTERS : at + _ENTRY]
                at = block.find(wanted, at + 1)  # it looked so across two entries
        return None

    def then(self, kind: Kind, request_id: str, content: str) -> Taken:
        """With one more."""
        latest = self.latest + _digest(f"{kind}/{request_id}", _ID_CHARACTERS) + content_digest(content)
        if len(latest) < BLOCK_ENTRIES * _ENTRY:
            return Taken(blocks=self.blocks, latest=latest)
        return Taken(blocks=(*self.blocks, latest), latest="")


def content_digest(content: str) -> str:
    """What stays of a request's content."""
    return _digest(content, _CONTENT_CHARACTERS)


def _digest(text: str, characters: int) -> str:
    raw = hashlib.sha256(text.encode("utf-8", "replace")).digest()[: characters * 3 // 4]
    return base64.urlsafe_b64encode(raw).decode("ascii")
