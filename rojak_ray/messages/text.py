"""Text that can be stored and sent: Python's strings may hold half characters (lone surrogates), UTF-8 cannot."""

from __future__ import annotations

from collections.abc import Iterable

_PIECE = 256 * 1024
"""Characters that are encoded in one go: while that lasts no other thread runs, such as one with an event loop."""


def pieces_of(text: str) -> Iterable[str]:
    """A text in pieces of which each takes no time."""
    if len(text) <= _PIECE:
        return (text,)
    return (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))


def has_lone_surrogate(text: str) -> bool:
    """Whether the text cannot be written as UTF-8."""
    return not text.isascii() and any(map(_has_lone_surrogate, pieces_of(text)))


def _has_lone_surrogate(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def clean_text(text: str) -> str:
    """The text with every half character replaced, so that it can be stored and sent."""
    if not has_lone_surrogate(text):
        return text
    return "".join(piece.encode("utf-8", "replace").decode("utf-8") for piece in pieces_of(text))


def join_halves(text: str) -> str:
    """The text with halves that stand side by side as the character they are, and every other half replaced.

    A vendor that spells characters as two escapes may send them in two pieces of a stream.
    """
    if not has_lone_surrogate(text):
        return text
    return clean_text(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass"))
