"""Breaking lines at words, also of text that comes in pieces."""

from __future__ import annotations

import re

from rojak_ray.display import width_of


class Wrapping:
    """Text on its way to a terminal. A word that is not complete yet waits for its rest.

    A word that is longer than a line is left to the terminal.
    """

    def __init__(self, width: int, beginning: str) -> None:
        """Begin at the left of a terminal of that many columns; `beginning` is in front of every further line."""
        self._width = width
        self._beginning = beginning
        self._column = 0
        self._is_empty = True
        self._space = ""
        self._word = ""

    def feed(self, piece: str) -> str:
        """The next piece of printable text; returns what can be shown of it."""
        shown: list[str] = []
        for part in re.findall(r"\n|[^\S\n]+|\S+", piece):
            if not part.isspace():
                self._word += part
                continue
            shown.append(self._place_word())
            if part == "\n":
                shown.append(self._begin_line())
            else:
                self._space += part
        return "".join(shown)

    def end(self) -> str:
        """What is left to be shown."""
        return self._place_word()

    def _begin_line(self) -> str:
        self._column, self._space, self._is_empty = width_of(self._beginning), "", True
        return f"\n{self._beginning}"

    def _place_word(self) -> str:
        if not self._word:
            return ""
        word, space = self._word, self._space
        self._word = self._space = ""
        begun = ""
        if not self._is_empty and self._column + width_of(space + word) > self._width:
            begun, space = self._begin_line(), ""
        self._column += width_of(space + word)
        self._is_empty = False
        return begun + space + word


def wrap(text: str, width: int, beginning: str) -> str:
    """A whole text with its lines broken at words."""
    wrapping = Wrapping(width, beginning)
    return wrapping.feed(text) + wrapping.end()
