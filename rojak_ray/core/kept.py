"""Whole results that were kept beside a conversation, because its model was given only a part of them."""

from __future__ import annotations

from typing import Literal

from rojak_ray.messages import Record

MOST_REMEMBERED = 256
"""So many of them a conversation can name by the call; older ones stay stored, and their events name them."""


class KeptResult(Record):
    """Where the whole result of a call is, and how to see that it is all there."""

    call_id: str
    """Ours, as in the call's events."""

    name: str
    """The function's."""

    size: int
    """Bytes of the whole text."""

    form: Literal["text", "parts"] = "text"
    """A text, or a list of texts, images and files as JSON."""

    write_id: str
    pieces: int
    sha256: str
