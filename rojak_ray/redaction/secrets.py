"""`Secrets`: values that must never be quoted, found in a text however they are spelled there."""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rojak_ray.redaction.spelling import SpelledSecret

HIDDEN = "***"
SHORTEST = 6
"""Shorter values are left: local servers take any word for a key, and replacing it would garble every text."""

_ENOUGH = 12
"""So many first characters of a longer secret are hidden by themselves: a server may cut what it repeats."""

_USERINFO = re.compile(r"(?<=://)[^/\s?#'\"<>\\@]*@(?:[^/\s?#'\"<>\\@]*@)*")
_ESCAPE = re.compile(
    r"%(?:25)*(?P<byte>[0-7][0-9a-fA-F])"
    r"|(?P<bytes>(?:%(?:25)*[89a-fA-F][0-9a-fA-F])+)"
    r"|\\+(?:u(?P<u>[0-9a-fA-F]{4})|x(?P<x>[0-9a-fA-F]{2})|(?P<backslashed>.))"
    r"|&(?:amp;)*#(?:0*(?P<decimal>\d{1,6})|[xX]0*(?P<hexadecimal>[0-9a-fA-F]{1,5}));"
    r"|&(?:amp;)*(?P<named>amp|lt|gt|quot|apos);",
    re.DOTALL,
)
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_WHITE = {"n": "\n", "r": "\r", "t": "\t"}
_BASE64 = str.maketrans("-_", "+/", " \t\r\n\\")
"""To one alphabet, without the breaks between its lines."""


class Secrets:
    """A set of secret values. Its own text tells only how many, so it may stand in tracebacks and logs."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        """Values that are too short to be told from ordinary words are not kept."""
        self._values = frozenset(value for value in values if len(value) >= SHORTEST)

    def __or__(self, others: Secrets | Iterable[str]) -> Secrets:
        """These and others; this very object if it has them all."""
        more = others._values if isinstance(others, Secrets) else Secrets(others)._values
        return self if more <= self._values else Secrets(self._values | more)

    def __eq__(self, other: object) -> bool:
        """Whether both hold the same."""
        return isinstance(other, Secrets) and self._values == other._values

    def __hash__(self) -> int:
        """Of the values."""
        return hash(self._values)

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._values)

    def __repr__(self) -> str:
        """How many."""
        return f"Secrets({len(self._values)})"

    def redact(self, text: str) -> str:
        """The text with every secret replaced, and whatever stands before the `@` of an address.

        Found are: the value itself; percent-encoded, as an HTML or JSON escape, also several times over; in base64,
        wherever in a longer text that was encoded it stands; in hexadecimal digits; and its beginning, where the text
        breaks off.
        """
        text = _USERINFO.sub(f"{HIDDEN}@", text)
        if not self._values:
            return text
        decoded = _ESCAPE.sub(_meaning, text)
        found = [place for each in self._spellings.spelled for place in each.places(text)]
        found += _places(self._spellings.hexadecimal, decoded.lower(), lambda place: _decoded_places(text)[place])
        joined = decoded.translate(_BASE64)
        found += _places(self._spellings.base64, joined, lambda place: _joined_places(text)[place])
        return _without(text, found)

    @functools.cached_property
    def _spellings(self) -> _Spellings:
        return _Spellings.of(self._values)


NO_SECRETS = Secrets()


@dataclass(frozen=True, repr=False)
class _Spellings:
    """What to look for in a text as it is, and in what its escapes stand for."""

    spelled: Sequence[SpelledSecret]
    hexadecimal: Sequence[str]
    base64: Sequence[str]

    @classmethod
    def of(cls, values: Iterable[str]) -> _Spellings:
        """Also of what they stand for: a login may be configured as an address spells it."""
        encoded = [value.encode("utf-8", "replace") for value in values]
        meant = {_ESCAPE.sub(_meaning, value) for value in values}
        return cls(
            spelled=[SpelledSecret(value, _ENOUGH) for value in sorted(meant.union(values)) if value],
            hexadecimal=[data.hex() for data in encoded],
            base64=sorted({core for data in encoded for core in _base64_cores(data)}),
        )


def _base64_cores(data: bytes) -> Iterator[str]:
    """The characters of base64 that follow from `data` alone, wherever in an encoded text it begins."""
    for before, unknown in ((0, 0), (1, 2), (2, 3)):
        yield base64.b64encode(b"\0" * before + data).decode("ascii")[unknown : (before + len(data)) * 8 // 6]


def _meaning(escape: re.Match[str]) -> str:
    """The characters that an escape stands for."""
    kind, value = escape.lastgroup, escape[escape.lastgroup or 0]
    if kind == "bytes":
        return bytes(int(byte, 16) for byte in re.findall("%(?:25)*(..)", value)).decode("utf-8", "replace")
    if kind == "backslashed":
        return _WHITE.get(value, f"\\{value}" if value.isalnum() else value)
    if kind == "named":
        return _NAMED[value]
    return chr(int(value, 10 if kind == "decimal" else 16))


def _places(values: Sequence[str], text: str, place_of: Callable[[int], int]) -> Iterator[tuple[int, int]]:
    """Where the values are."""
    for value in values:
        start = text.find(value)
        while value and start >= 0:
            yield place_of(start), place_of(start + len(value))
            start = text.find(value, start + len(value))


@functools.lru_cache(maxsize=1)
def _decoded_places(text: str) -> Sequence[int]:
    """Where in the text each character of the decoded one begins; the last is its end."""
    places: list[int] = []
    end = 0
    for escape in _ESCAPE.finditer(text):
        places += range(end, escape.start())
        places += [escape.start()] * len(_meaning(escape))
        end = escape.end()
    return [*places, *range(end, len(text) + 1)]


@functools.lru_cache(maxsize=1)
def _joined_places(text: str) -> Sequence[int]:
    """The same without what base64 is broken into lines with."""
    decoded, places = _ESCAPE.sub(_meaning, text), _decoded_places(text)
    return [*(place for place, letter in zip(places, decoded, strict=False) if letter.translate(_BASE64)), len(text)]


def _without(text: str, found: Sequence[tuple[int, int]]) -> str:
    told: list[str] = []
    end = 0
    for start, stop in sorted(found):
        if start >= end:
            told += (text[end:start], HIDDEN)
        elif stop <= end:
            continue
        end = stop
    return "".join((*told, text[end:]))
