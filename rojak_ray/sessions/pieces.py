"""`Pieces`: a model's words on their way out, in pieces of a size that nobody drowns in.

The first word leaves at once, later ones together every so often: the more streams a process has, the less often, so
that what they cost together stays bounded. Batching happens here, where the vendor's words arrive, before they cross
any process.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from rojak_ray.agents.activities import OnDelta
from rojak_ray.checks import is_kind, kind_of
from rojak_ray.logs import get_logger
from rojak_ray.messages import join_halves

logger = get_logger(__name__)

_SHORTEST_S = 0.025
_PIECES_PER_S = 600.0
"""Of all streams of a process together."""

_HIGH_HALVES = ("\ud800", "\udbff")


class Pace:
    """How many streams a process has, and how often each may send."""

    def __init__(self) -> None:
        """No streams."""
        self.streams = 0

    @property
    def interval_s(self) -> float:
        """Between two pieces of one stream."""
        return max(_SHORTEST_S, self.streams / _PIECES_PER_S)


class Pieces:
    """One answer's words. Used as a context: leaving it sends what is held back."""

    def __init__(self, deliver: OnDelta, pace: Pace) -> None:
        """`deliver` gets the pieces, on the loop that this is entered on."""
        self._deliver = deliver
        self._pace = pace
        self._held: list[str] = []
        self._half = ""
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._warned = False

    def __enter__(self) -> Self:
        """Count as a stream."""
        self._loop = asyncio.get_running_loop()
        self._pace.streams += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send the rest, unless the answer failed; words that come later are dropped."""
        self._closed = True
        self._pace.streams -= 1
        if self._timer is not None:
            self._timer.cancel()
        if kind is None:
            self._send()

    def add(self, text: str) -> None:
        """Take some words, from any thread. What is no text is left out: watching never changes an answer."""
        if not is_kind(text, str):
            if text is not None and not self._warned:
                self._warned = True
                logger.warning("a provider gave on_delta a %s instead of text; watchers do not see it", kind_of(text))
            return
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if here:
            self._add(text)
        else:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it who watched
                self._loop.call_soon_threadsafe(self._add, text)

    def _add(self, text: str) -> None:
        if self._closed or not text:
            return
        # Half a character at the end waits for its other half: told alone, both would be replaced.
        text, self._half = self._half + text, ""
        if _HIGH_HALVES[0] <= text[-1] <= _HIGH_HALVES[1]:
            text, self._half = text[:-1], text[-1]
        self._held.append(text)
        if self._timer is None:
            self._send()
            self._timer = self._loop.call_later(self._pace.interval_s, self._next)

    def _next(self) -> None:
        self._timer = None
        if self._held:
            self._send()
            self._timer = self._loop.call_later(self._pace.interval_s, self._next)

    def _send(self) -> None:
        text = join_halves("".join(self._held))
        self._held.clear()
        if text:
            self._deliver(text)
