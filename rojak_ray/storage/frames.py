"""What a log says: frames of bytes, and what is left of them after a crash. No disk in here.

A frame is its length and CRC-32, a header (version, operation, length of the key, stamp), the key and the data.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from rojak_ray.errors import SchemaTooNew

VERSION = 1

_ENVELOPE = struct.Struct("<II")
_HEADER = struct.Struct("<BBHQ")


class Op(IntEnum):
    """What was done to a key. Of two with one stamp the greater value counts."""

    DELETE = 1
    PUT = 2


_OPS = frozenset(Op)


@dataclass(frozen=True, slots=True)
class Frame:
    """One write, or one removal. Stamps order what follows from each other on one machine; they are no time of day."""

    op: Op
    stamp: int
    key: str
    data: bytes = b""


def encode(frame: Frame) -> bytes:
    """The bytes of a frame."""
    key = frame.key.encode("ascii")
    body = b"".join((_HEADER.pack(VERSION, frame.op, len(key), frame.stamp), key, frame.data))
    return _ENVELOPE.pack(len(body), zlib.crc32(body)) + body


def decode(log: bytes) -> list[Frame]:
    """The frames from the start of a log up to the first that is not whole.

    Crash safety: a segment is written in order, one group after the other, and never again after a failure. So what
    stands behind a damaged frame was acknowledged to nobody.

    Raises:
        SchemaTooNew: A whole frame of a later version: this log must not be thrown away.
    """
    frames: list[Frame] = []
    view, at = memoryview(log), 0
    while at + _ENVELOPE.size <= len(log):
        length, checksum = _ENVELOPE.unpack_from(log, at)
        at += _ENVELOPE.size
        body = view[at : at + length]
        if length < _HEADER.size or len(body) < length or zlib.crc32(body) != checksum:
            break
        at += length
        version, op, key_length, stamp = _HEADER.unpack_from(body)
        if version != VERSION or op not in _OPS:
            raise SchemaTooNew(f"A log has frames of version {version}; this rojak_ray knows {VERSION}. Update it.")
        key_end = _HEADER.size + key_length
        frames.append(
            Frame(Op(op), stamp, str(body[_HEADER.size : key_end], "ascii", "replace"), bytes(body[key_end:]))
        )
    return frames


def outcome(frames: Iterable[Frame]) -> dict[str, Frame]:
    """The last operation on each key, for frames of one boot in any order."""
    last: dict[str, Frame] = {}
    for frame in frames:
        before = last.get(frame.key)
        if before is None or (frame.stamp, frame.op) >= (before.stamp, before.op):
            last[frame.key] = frame
    return last
