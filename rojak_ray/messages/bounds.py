"""How much one value may hold, and how a text that holds more is cut.

A host holds thousands of conversations on one event loop: whatever it encodes, hashes and sends holds up all of them,
so nothing reaches it that takes longer than a few milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from rojak_ray.messages.parts import Content, FilePart, ImagePart, Part, TextPart
from rojak_ray.messages.text import pieces_of

RESULT_BYTES = 256 * 1024
"""Of a function's result that a model is given, unless the function says otherwise: more than any model reads well."""

MOST_RESULT_BYTES = 4 * 1024 * 1024
"""What a function may say at most."""

TEXT_BYTES = 4 * 1024 * 1024
"""Of the text of one message, of an answer, and of one context variable as JSON."""

SHOWN_BYTES = 20 * 1024 * 1024
"""Of the images and files that one result shows."""

LEAST_RESULT_BYTES = 1024
_HEAD_SHARE = 0.7
_PER_NODE = 4
"""Bytes that the marks around a value take in JSON, about."""


def size_of(text: str) -> int:
    """Bytes of a text as UTF-8, half characters counted as what replaces them."""
    return len(text) if text.isascii() else sum(len(piece.encode("utf-8", "replace")) for piece in pieces_of(text))


def is_longer(text: str, most: int) -> bool:
    """Whether a text has more than `most` bytes; what is plainly shorter is not encoded to find out."""
    return len(text) * 4 > most and size_of(text) > most


def bounded_text(text: str, most: int, what: str = "result") -> str:
    """A text of at most about `most` bytes: of a longer one its beginning and end, and between them what was cut.

    Args:
        text: Any text.
        most: Bytes of it to keep; the words about the cut come on top.
        what: What it is, for those words.
    """
    if len(text) * 4 <= most or (size := size_of(text)) <= most:
        return text
    head = int(most * _HEAD_SHARE)
    tail = most - head
    begin = text[:head].encode("utf-8", "replace")[:head].decode("utf-8", "ignore")
    end_data = text[-tail:].encode("utf-8", "replace") if tail else b""
    end = end_data[max(0, len(end_data) - tail) :].decode("utf-8", "ignore")
    cut = size - most
    return (
        f"{begin}\n[... The {what} has {size:,} bytes, of which {most:,} are given: {cut:,} bytes were cut here. "
        f"Ask for less at a time to see them. ...]\n{end}"
    )


def bounded_content(content: Content, most: int) -> Content:
    """What a function returned, bounded: its texts share `most` bytes, its images and files `SHOWN_BYTES`.

    What is shown past that is named with its size instead.
    """
    if isinstance(content, str):
        return bounded_text(content, most)
    left, left_to_show = most, SHOWN_BYTES
    kept: list[Part] = []
    for part in content:
        if isinstance(part, TextPart):
            text = bounded_text(part.text, left)
            left = max(0, left - size_of(part.text))
            kept.append(part if text is part.text else TextPart(text=text))
            continue
        size = len(part.data) * 3 // 4 if part.data is not None else 0
        left_to_show -= size
        kept.append(part if left_to_show >= 0 or not size else _named(part, size))
    return tuple(kept)


def _named(part: ImagePart | FilePart, size: int) -> TextPart:
    return TextPart(
        text=f"[{part.type} left out: it has {size:,} bytes, and a result may show {SHOWN_BYTES:,} in all. Show fewer "
        "or smaller ones.]"
    )


def too_large(what: str) -> str:
    """The words for a value that no conversation can hold."""
    return (
        f"{what} is larger than {TEXT_BYTES // 1024 // 1024} MiB, which is the most that is kept of one. Put it into a "
        "file or bucket of your own, and pass its name."
    )


def weighs_more(value: Any, most: int) -> bool:
    """Whether plain data, or what objects hold in their fields, takes more than about `most` bytes as JSON.

    Looks at no more of it than it takes to find out, and runs no code of the value's class.
    """
    left = most
    waiting: list[Any] = [value]
    while waiting and left >= 0:
        item = waiting.pop()
        kind = type(item)
        left -= _PER_NODE
        if issubclass(kind, str):
            left -= str.__len__(item)
        elif issubclass(kind, bytes | bytearray):
            left -= len(cast("bytes", item))
        elif issubclass(kind, dict):
            fields = cast("dict[Any, Any]", item)
            if dict.__len__(fields) * _PER_NODE > left:
                return True
            waiting += dict.keys(fields)
            waiting += dict.values(fields)
        elif kind in (list, tuple, set, frozenset):
            items = cast("list[Any]", item)
            if len(items) * _PER_NODE > left:
                return True
            waiting += items
        elif isinstance(inner := _fields(item), Mapping):
            waiting += inner.values()
        # A thing may hold itself: every look at it costs, so this ends.
    return left < 0


def _fields(item: Any) -> Any:
    try:
        return object.__getattribute__(item, "__dict__") if not isinstance(item, type) else None
    except BaseException:  # noqa: BLE001  (`__dict__` may be a property like any other)
        return None
