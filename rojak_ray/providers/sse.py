"""Server-sent events out of bytes, however those are cut, as vendors and their imitators send them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_LINE_END = re.compile(rb"[\r\n]")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_DONE = "[DONE]"
_IDLE = ("ping", "keepalive", "keep-alive", "heartbeat")


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

    @property
    def is_idle(self) -> bool:
        """Whether it only keeps the connection open. Some gateways send on comments as data."""
        return self.name in _IDLE or not self.data.strip() or self.data.lstrip().startswith(":")

    def pieces(self) -> list[Any]:
        """What it holds, as data: one piece, or several where a server leaves out the blank lines between events.

        Raises:
            ValueError: It is not JSON.
        """
        try:
            return [json.loads(self.data)]
        except RecursionError:
            raise ValueError("it is nested too deep") from None
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
        self._begun = False
        self._line: list[bytes] = []
        """What came of the line under way: joined only at its end, which may be megabytes away."""

        self._follows_cr = False
        self._name = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[StreamEvent]:
        """The events that these bytes complete."""
        start = 0
        for end in _LINE_END.finditer(chunk):
            at = end.start()
            if self._follows_cr and at == start and end.group() == b"\n":
                self._follows_cr, start = False, at + 1  # the other half of a line end
                continue
            self._line.append(chunk[start:at])
            yield from self._take(self._whole_line())
            self._follows_cr, start = end.group() == b"\r", at + 1
        if start < len(chunk):
            self._line.append(chunk[start:])
            self._follows_cr = False

    def finish(self) -> Iterator[StreamEvent]:
        """The event that was under way when the bytes ended, if it has any data."""
        yield from self._take(self._whole_line())
        yield from self._take(b"")

    def _whole_line(self) -> bytes:
        line = b"".join(self._line)
        self._line.clear()
        if not self._begun:
            self._begun = True
            return line.removeprefix(BYTE_ORDER_MARK)
        return line

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
