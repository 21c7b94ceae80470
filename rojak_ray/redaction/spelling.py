r"""One secret, found in a text however its characters are spelled there: as they are, escaped, percent-encoded.

The text is not decoded first: what stands behind a secret may look like the rest of an escape that the secret begins
(`%` before `00`), and then a decoded text holds neither. Each character of the secret has a set of spellings instead,
and the text is followed through them. A character may have any number of backslashes before it, and a `%` or `&` may
be encoded itself any number of times, for a text may be quoted in a text that is quoted.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence

_TOKENS = re.compile(r"\\+|[^\\]", re.DOTALL)
_NAMED = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}
_WHITE = {"\n": "n", "\r": "r", "\t": "t"}


class SpelledSecret:
    """A secret, prepared for looking. That takes time linear in the text, whatever a stranger wrote there."""

    def __init__(self, value: str, enough: int) -> None:
        """Prepare a secret.

        Args:
            value: The secret, at least one character.
            enough: So many first characters give it away: they are found also where the text breaks off behind them.
        """
        begin = _patterns(value[:enough])
        self._begin = re.compile("".join(f"(?:{'|'.join(each)})" for each in begin))
        self._patterns = _patterns(value)

    def places(self, text: str) -> Iterator[tuple[int, int]]:
        """Where the secret is, or its beginning and as much of the rest as is there: starts and ends."""
        found = self._begin.search(text)
        while found:
            end = max(self._follow(text, found.start()), found.end())
            yield found.start(), end
            found = self._begin.search(text, end)

    def _follow(self, text: str, start: int) -> int:
        """How far the text goes on as the secret does; two spellings may both fit, one being the other's beginning."""
        ends = {start}
        for spellings in self._patterns:
            patterns = [re.compile(spelling) for spelling in spellings]
            after = {found.end() for end in ends for pattern in patterns if (found := pattern.match(text, end))}
            if not after:
                break
            ends = after
        return max(ends)


def _patterns(value: str) -> Sequence[Sequence[str]]:
    """For each character, or run of backslashes, the patterns of its spellings."""
    tokens: list[str] = _TOKENS.findall(value)
    before = ["", *(token[-1] for token in tokens)]
    return [
        _run_of_backslashes(len(token), first=not behind) if token[0] == "\\" else _character(token, *_quoted(behind))
        for token, behind in zip(tokens, before, strict=False)
    ]


def _quoted(behind: str) -> tuple[str, str]:
    r"""The backslashes before a character, and those before the letter of an escape, by what stands before it.

    At the beginning the fewest are enough, or a text of nothing but backslashes would be read anew from each of them.
    A run of the secret's own has taken all there are.
    """
    if not behind:
        return "", r"\\"
    return ("", r"\\*") if behind == "\\" else (r"\\*", r"\\+")


@functools.lru_cache(maxsize=1024)
def _character(letter: str, quoted: str, escape: str) -> Sequence[str]:
    code, data = ord(letter), letter.encode("utf-8", "surrogatepass")
    units = letter.encode("utf-16-be", "surrogatepass").hex()
    spellings = [
        quoted + re.escape(letter),
        "".join(rf"%(?:25)*(?i:{byte:02x})" for byte in data),
        escape + r"\\+".join(f"u(?i:{units[at : at + 4]})" for at in range(0, len(units), 4)),
        escape + r"\\+".join(f"x(?i:{byte:02x})" for byte in data),
        rf"&(?:amp;)*#(?:0*{code}|[xX]0*(?i:{code:x}));",
    ]
    if 0x7F < code <= 0xFF:
        spellings.append(f"{escape}x(?i:{code:02x})")
    if code > 0xFFFF:
        spellings.append(f"{escape}U(?i:{code:08x})")
    if letter == " ":
        spellings.append(r"\+")
    if letter in _NAMED:
        spellings.append(f"&(?:amp;)*{_NAMED[letter]};")
    if letter in _WHITE:
        spellings.append(escape + _WHITE[letter])
    return spellings


def _run_of_backslashes(count: int, *, first: bool) -> Sequence[str]:
    """At least as many as the secret has: each may have been doubled. All that are there are taken, and kept."""
    edge = r"(?<!\\)" if first else ""
    return [
        rf"{edge}\\{{{count},}}+",
        rf"(?:%(?:25)*5[cC]){{{count}}}",
        rf"{edge}(?:\\+u005[cC]){{{count}}}",
        rf"{edge}(?:\\+x5[cC]){{{count}}}",
        rf"(?:&(?:amp;)*#(?:0*92|[xX]0*5[cC]);){{{count}}}",
    ]
