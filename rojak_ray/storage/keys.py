"""The one place that says which keys exist, so that no key leaves a store's root or differs between backends."""

from __future__ import annotations

import re

MAX_KEY_LENGTH = 424
"""The longest we write has 373 (journal/paths.py: a large value of a session with a long id and namespace)."""

MAX_PREFIX_LENGTH = 1024 - 1 - MAX_KEY_LENGTH
"""Buckets take names of 1,024 bytes, prefix and key together."""

MAX_SEGMENT_LENGTH = 200

_SEGMENT = rf"[A-Za-z0-9_=-][A-Za-z0-9._=-]{{0,{MAX_SEGMENT_LENGTH - 1}}}"
_KEY = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")


def is_key(text: str) -> bool:
    """Whether an object could be stored under this name."""
    return len(text) <= MAX_KEY_LENGTH and _KEY.fullmatch(text) is not None


def is_bucket_prefix(text: str) -> bool:
    """Whether keys could be stored below this folder of a bucket, the longest included."""
    return len(text) <= MAX_PREFIX_LENGTH and _KEY.fullmatch(text) is not None


def check_key(key: str) -> str:
    """Return `key` if it is segments of `A-Z a-z 0-9 . _ = -` joined by `/`, none of which starts with a dot.

    That rules out empty segments, `.` and `..`, and leaves names with a leading dot to the stores themselves. A key
    should not also be the folder of another key: a disk cannot hold both.

    Raises:
        ValueError: A bug of the caller; ids that people choose are encoded before they become part of a key.
    """
    if not is_key(key):
        raise ValueError(f"{key!r} cannot be a storage key.")
    return key


def check_prefix(prefix: str) -> str:
    """Return `prefix` if it is empty or a key followed by `/`.

    Raises:
        ValueError: As for `check_key`.
    """
    if prefix and not (prefix.endswith("/") and is_key(prefix[:-1])):
        raise ValueError(f"{prefix!r} is not a folder of storage keys; it must be empty or end in '/'.")
    return prefix


def check_data(key: str, data: bytes) -> bytes:
    """Return `data` if it is not empty.

    Raises:
        ValueError: An empty object cannot be told from a failed write on every backend.
    """
    if not data:
        raise ValueError(f"The object {key!r} is empty; a store takes at least one byte.")
    return data


def check_limit(limit: int | None) -> int | None:
    """Return `limit` if it is None or not negative.

    Raises:
        ValueError: It is negative.
    """
    if limit is not None and limit < 0:
        raise ValueError(f"A listing cannot be limited to {limit} keys.")
    return limit
