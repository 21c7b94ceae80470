"""Text on its way to a person's eyes: a terminal, a log, a pipe.

What models, users and functions say is shown among lines of ours. It must not drive the terminal, nor look like one of
our lines: everything that is shown goes through one of these three.
"""

from __future__ import annotations

import json
import unicodedata
from typing import Any

_JOINERS = "\u200c\u200d"
"""Without these two, Persian words and composed emoji fall apart; they move nothing."""

CONTINUED = "| "
"""Begins every line of a text after its first: no line of ours begins so."""


def printable(text: str) -> str:
    """The text without characters that would drive a terminal or reorder a line; plain line ends and tabs stay.

    Control characters, escape sequences, marks of direction and other line separators are replaced.
    """
    if text.isprintable():
        return text
    return "".join(mark if _harmless(mark) else "\N{REPLACEMENT CHARACTER}" for mark in text)


def one_line(text: str) -> str:
    """The text in one line, for a log: line ends and control characters are written as escapes."""
    if text.isprintable():
        return text
    return "".join(mark if mark.isprintable() or mark in _JOINERS else _escape(mark) for mark in text)


def hanging(text: str, indent: int = 0) -> str:
    """The printable text; each line after the first is indented and marked, so that it cannot pass for one of ours.

    Args:
        text: Any number of lines.
        indent: Spaces before the mark.
    """
    return printable(text.replace("\r\n", "\n")).replace("\n", f"\n{' ' * indent}{CONTINUED}")


def json_line(value: Any) -> str:
    """A value as JSON in one line, readable and harmless on a terminal: what is not printable is escaped.

    Raises:
        ValueError: The value holds NaN or an infinity. TypeError: it is no JSON data.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if text.isprintable():
        return text
    return "".join(mark if mark.isprintable() or mark in _JOINERS else _json_escape(mark) for mark in text)


def _harmless(mark: str) -> bool:
    return mark.isprintable() or mark in "\n\t" or mark in _JOINERS


def _escape(mark: str) -> str:
    return mark.encode("unicode_escape", "backslashreplace").decode("ascii")


def _json_escape(mark: str) -> str:
    return "".join(f"\\u{unit:04x}" for unit in _utf16(mark))


def _utf16(mark: str) -> list[int]:
    data = mark.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]


def width_of(text: str) -> int:
    """Columns a printable text takes on a terminal: wide characters take two, joined ones none."""
    return sum(_width_of(mark) for mark in text)


def _width_of(mark: str) -> int:
    if unicodedata.combining(mark) or mark in _JOINERS:
        return 0
    return 2 if unicodedata.east_asian_width(mark) in "WF" else 1
