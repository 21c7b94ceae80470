"""Ids: where they come from, which ones are accepted, and how they become storage keys.

An id a person chooses names a folder in storage and an actor in Ray, so it is checked at the edge and encoded in keys.
Two ids that differ only in letter case get different keys, also on a disk that folds case.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import unicodedata
import uuid
from typing import Any, Protocol

from rojak_ray.errors import InvalidId

MAX_ID_LENGTH = 200

_PLAIN = re.compile(r"[a-z0-9-]{1,100}")


class IdSource(Protocol):
    """Where fresh ids come from."""

    def new_id(self) -> str:
        """A fresh id, unique without coordination: letters, digits and `-`."""
        ...


class RandomIds:
    """Ids from the operating system's randomness."""

    def new_id(self) -> str:
        """32 hexadecimal digits."""
        return uuid.uuid4().hex


def check_id(value: object, what: str) -> str:
    """Return `value` if it can name a `what` (run, session, schedule).

    Accepted: 1 to 200 printable characters in Unicode's composed form, without slashes of either kind, not `.` or `..`.

    Raises:
        InvalidId: The text says which rule was broken.
    """
    if not isinstance(value, str):
        raise InvalidId(f"A {what} id must be a string, not {type(value).__name__}.")
    if not value:
        raise InvalidId(f"A {what} id must not be empty.")
    shown = value if len(value) <= 60 else value[:60] + "…"
    if len(value) > MAX_ID_LENGTH:
        raise InvalidId(f"The {what} id {shown!r} has {len(value)} characters; at most {MAX_ID_LENGTH} are allowed.")
    if "/" in value or "\\" in value or value in {".", ".."}:
        raise InvalidId(f"The {what} id {shown!r} must not contain a slash or be a path like '..'.")
    if not value.isprintable() or value != value.strip():
        raise InvalidId(f"The {what} id {shown!r} has control characters or outer spaces; use printable text.")
    if unicodedata.normalize("NFC", value) != value:
        raise InvalidId(f"The {what} id {shown!r} is not in Unicode's composed form (NFC); normalize it first.")
    return value


def id_key(value: str) -> str:
    """Encode an accepted id as one path segment that is unique on any file system or bucket.

    Lower-case letters, digits and `-` stay readable; anything else (capitals too: some disks fold case) becomes
    base32 of the text, or a hash where that would be too long. The first letter tells which, so no two ids meet.
    """
    if _PLAIN.fullmatch(value):
        return f"p-{value}"
    raw = value.encode("utf-8")
    encoded = base64.b32encode(raw).decode("ascii").rstrip("=").lower()
    if len(encoded) <= 120:
        return f"b-{encoded}"
    return f"h-{hashlib.sha256(raw).hexdigest()}"


def id_of_key(key: str) -> str | None:
    """The id that a segment made by `id_key` stands for; None if it is a hash, or was not made by it."""
    kind, text = key[:2], key[2:]
    if kind == "p-":
        found = text
    elif kind == "b-":
        try:
            found = base64.b32decode(text.upper() + "=" * (-len(text) % 8)).decode("utf-8")
        except ValueError:
            return None
    else:
        return None
    return found if id_key(found) == key else None


def digest(value: Any) -> str:
    """A stable fingerprint (32 hex digits) of plain JSON data."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:32]
