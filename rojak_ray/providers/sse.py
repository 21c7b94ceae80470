"""Server-sent events out of bytes, however those are cut, as vendors and their imitators send them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_DONE = "[DONE]"


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event of a stream."""

    name: str
    """What the `event` field says; empty where there is none."""

    data: str

    @property
    def is_end(self) -> bool:
        """Whether it says that no other comes."""
        return self.data.strip().startswith(_DONE)

    def pieces(self) -> list[Any]:
        """What it holds, as data: one piece, or several where a server leaves out the blank lines between events.

        Raises:
            ValueError: It is not JSON.
        """
        try:
            return [json.loads(self.data)]
        except ValueError:
            lines = [line for line in self.data.split("\n") if line.strip() and not line.strip().startswith(_DONE)]
            if len(lines) < 2 and _DONE not in self.data:
                raise
            return [json.loads(line) for line in lines]


class EventReader:
    """Takes bytes as they come and gives the events that are complete.

    Lines end with CR, LF or both. Comments, unknown fields and a byte order mark are left out. Bytes that are no UTF-8
    are replaced: whether what they are in can be used is for the reader of the event to say.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._begun = False
        self._name = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[StreamEvent]:
        """The events that these bytes complete."""
        self._rest += chunk
        if not self._begun:
            if len(self._rest) < len(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK.startswith(self._rest):
                return  # perhaps the beginning of a mark
            self._rest = self._rest.removeprefix(_BYTE_ORDER_MARK)
            self._begun = True
        start = 0
        for end in _LINE_END.finditer(self._rest):
            if end.group() == b"\r" and end.end() == len(self._rest):
                break  # perhaps half of a line end
            yield from self._take(self._rest[start : end.start()])
            start = end.end()
        self._rest = self._rest[start:]

    def finish(self) -> Iterator[StreamEvent]:
        """The event that was under way when the bytes ended, if it has any data."""
        rest, self._rest = self._rest.removeprefix(_BYTE_ORDER_MARK), b""
        for line in _LINE_END.split(rest):
            yield from self._take(line)
        yield from self._take(b"")

    def _take(self, line: bytes) -> Iterator[StreamEvent]:
        if not line:
            if self._data:
                yield StreamEvent(self._name, "\n".join(self._data))
            self._name, self._data = "", []
            return
        field, _, value = line.partition(b":")
        text = value.removeprefix(b" ").decode("utf-8", "replace")
        if field == b"data":
            self._data.append(text)
        elif field == b"event":
            self._name = text
