"""Text that can be stored and sent: Python's strings may hold half characters (lone surrogates), UTF-8 cannot."""

from __future__ import annotations


def has_lone_surrogate(text: str) -> bool:
    """Whether the text cannot be written as UTF-8."""
    if text.isascii():
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return True
    return False


def clean_text(text: str) -> str:
    """The text with every half character replaced, so that it can be stored and sent."""
    return text.encode("utf-8", "replace").decode("utf-8") if has_lone_surrogate(text) else text


def join_halves(text: str) -> str:
    """The text with halves that stand side by side as the character they are, and every other half replaced.

    A vendor that spells characters as two escapes may send them in two pieces of a stream.
    """
    if not has_lone_surrogate(text):
        return text
    return clean_text(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass"))
